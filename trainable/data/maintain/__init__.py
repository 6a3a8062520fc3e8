"""Verifies, repairs, extends and copies a clip store that is there."""
