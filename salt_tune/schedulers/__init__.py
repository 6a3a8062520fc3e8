"""Which trial trains next, and how far; one file a scheduler."""
