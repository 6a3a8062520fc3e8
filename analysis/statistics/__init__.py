"""Statistics of trials and clips, on arrays."""
