"""Is this number believable? One question per file."""
