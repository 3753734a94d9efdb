"""load + attack + checks -> an audit record, resumable."""
