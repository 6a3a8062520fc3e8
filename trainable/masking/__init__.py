"""Draws which tokens of a clip are hidden; one file a strategy."""
