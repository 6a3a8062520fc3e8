"""Frozen teachers; one file each."""
