"""The jobs of `prepare`: build, maintain and inspect a clip store."""

from typing import Final

BASELINES: Final = "baselines"
"""Folder within a store of what probes read off its latents, beside random weights; it is no part of the store."""
