"""Labelled images: bytes -> Images."""
