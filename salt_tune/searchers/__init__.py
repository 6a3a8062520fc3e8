"""Which values the next trial takes; one file a searcher."""
