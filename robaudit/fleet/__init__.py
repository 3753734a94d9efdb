"""Measuring with many processes: images are shared out in shards, workers measure them, findings come back."""
