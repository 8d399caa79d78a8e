"""What every room shares: errors, configuration, documents, seeds, digests, files. NumPy and pydantic only."""
