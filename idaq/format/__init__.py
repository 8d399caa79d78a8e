"""What a dataset IS on disk: typed documents, HDF5 writer and reader, verify. Specified in schemas/FORMAT.md."""

FORMAT_VERSION = 1
