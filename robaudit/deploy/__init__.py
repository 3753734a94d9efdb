"""A classifier as a file that runs without robaudit: T, C, normalisation and network in one."""
