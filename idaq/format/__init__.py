"""What a dataset IS on disk: typed documents, HDF5 writer and reader, verify. The specification is schemas/FORMAT.md."""

FORMAT_VERSION = 1
