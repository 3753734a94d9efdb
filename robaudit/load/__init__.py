"""Model files and images: bytes -> Classifier, Images."""
