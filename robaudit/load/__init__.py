"""Model files: bytes -> Classifier."""
