"""The streaming form: Zarr 3, for object stores and sets larger than memory."""
