"""Is the model given what it was trained on? Asked before anything is measured or trained."""
