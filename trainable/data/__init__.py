"""Videos in, batches out."""
