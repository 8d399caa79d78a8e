"""The algorithms, one file each, which reads top to bottom; its config beside it needs no torch."""
