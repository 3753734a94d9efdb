"""T and C: the light modules put in front of a backbone. A leaf that needs only torch."""
