"""Reads video files: every frame in presentation order, and what is damaged by name."""
