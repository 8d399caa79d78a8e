"""A point mass in a maze of two rooms."""
