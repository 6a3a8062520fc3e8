"""Reads a run directory; needs the standard library only."""
