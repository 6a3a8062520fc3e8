"""Builds a clip store: decodes, computes latents, writes shards, and takes up what was stopped."""
