"""Scripts that are copied into policy folders; each runs one without idaq."""
