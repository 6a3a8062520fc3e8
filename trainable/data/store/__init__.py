"""The clip store on disk, and batches from it."""
