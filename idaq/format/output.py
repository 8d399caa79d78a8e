"""The file below an HDF5 being written. HDF5 crashes the process when a write fails; this keeps the failure from it."""

import io
from pathlib import Path
from typing import Any


class Output(io.RawIOBase):
    """A binary file that remembers its first failed write and takes in all later ones without writing them.

    For h5py's file-like driver: HDF5 continues and closes normally; then `raise_failure` says what happened. The bytes
    are those that HDF5 would have written itself, at the same speed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b", buffering=0)
        self._failure: OSError | None = None

    def raise_failure(self) -> None:
        """Raise the OSError of the first write that failed, if any did."""
        if self._failure is not None:
            self._failure.filename = str(self._path)
            raise self._failure

    def write(self, content: Any) -> int:
        rest = memoryview(content)
        size = len(rest)
        try:
            while rest and self._failure is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            if self._failure is None:
                self._file.truncate(size)
        except OSError as error:
            self._failure = error
        return self.tell() if size is None else size

    def readinto(self, buffer: Any) -> int | None:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
