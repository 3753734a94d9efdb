"""The whole job: scan, assimilate, scan again, compare; and the demo that needs no input."""
