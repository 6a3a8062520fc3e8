"""Videos in, batches out: sources, decoding, the clip store and its loader."""
