"""A search in Ray's own Tuner, for those that have one already."""
