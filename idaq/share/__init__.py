"""Datasets to and from elsewhere. So far: one NumPy archive of all transitions, which any library can read."""
