"""Attacks and the curve engine: Classifier x images -> the smallest eps found that fools each image."""
