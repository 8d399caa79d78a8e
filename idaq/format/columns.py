"""Columns as flat arrays: an episode's rows start at an offset, a row is `width` numbers long. Or compressed ones.

The same description serves the memory-mapped file (offsets into the HDF5) and arrays in RAM (offsets into a
concatenation), so the code that gathers rows serves both. A compressed column has no such array: rows are unpacked out
of the mapped file as they are asked for, without HDF5.
"""

import math
import mmap
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetReplacedError
from idaq.core.machine import total_memory
from idaq.core.types import ACTIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode, is_observation
from idaq.format import layout
from idaq.format.documents import Column
from idaq.format.reader import Chunks, StoredDataset, identity_of


@dataclass(frozen=True, kw_only=True)
class FlatColumn:
    """One column of all episodes. M episodes."""

    flat: Array
    """1-D numbers"""
    offsets: NDArray[np.int64]
    """(M,) where each episode's first row starts, in numbers"""
    shape: tuple[int, ...]
    """of one row"""
    extra_row: bool
    """T + 1 rows an episode rather than T"""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""
        return self.flat.dtype

    @property
    def width(self) -> int:
        """Numbers in one row."""
        return math.prod(self.shape)

    def rows(self, episode: int, length: int, first: int = 0, stop: int | None = None) -> Array:
        """An episode's rows from `first` up to `stop`, without a copy: (T or T + 1, *shape) for all."""
        count = length + self.extra_row
        start = int(self.offsets[episode])
        return self.flat[start : start + count * self.width].reshape(count, *self.shape)[first:stop]


@dataclass(frozen=True, kw_only=True)
class CompressedColumn:
    """One column of all episodes, in chunks that are each packed by deflate. Safe to read from several threads."""

    content: memoryview
    """the mapped HDF5"""
    chunks: Chunks
    chunk_rows: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """of one row"""
    extra_row: bool
    """T + 1 rows an episode rather than T"""
    where: str
    """file and column, for errors"""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize

    def rows(self, episode: int, length: int, first: int = 0, stop: int | None = None) -> Array:
        """An episode's rows from `first` up to `stop`, out of the chunks that hold them: (T or T + 1, *shape) for all.

        Raises CorruptDatasetError for a chunk that does not unpack to what it should.
        """
        count = length + self.extra_row
        first, stop, _ = slice(first, stop).indices(count)
        found = np.empty((max(stop - first, 0), *self.shape), self.dtype)
        rows = min(self.chunk_rows, count)
        for number in range(first // rows, -(-stop // rows)):
            begin, chunk = number * rows, self._unpack(episode, number, rows)
            low, high = max(first, begin), min(stop, begin + rows)
            found[low - first : high - first] = chunk[low - begin : high - begin]
        return found

    def _unpack(self, episode: int, number: int, rows: int) -> Array:
        """A chunk of an episode, its last one filled up: (rows, *shape). Never more is unpacked than that takes."""
        place = self.chunks.first[episode] + number
        start, size = int(self.chunks.offset[place]), int(self.chunks.size[place])
        stream, whole = zlib.decompressobj(), rows * self.row_bytes
        try:
            content = stream.decompress(self.content[start : start + size], whole + 1)
            fault = "" if stream.eof and not stream.unused_data else "the stream does not end where it should"
        except zlib.error as error:
            content, fault = b"", str(error)
        if fault or len(content) != whole:
            fault = fault or f"{len(content)} bytes, not {whole}"
            raise CorruptDatasetError(f"{self.where} of episode {episode}: chunk {number} does not unpack: {fault}")
        return np.frombuffer(content, self.dtype).reshape(rows, *self.shape)


_MOST_DIMENSIONS = 32
"""of HDF5, rows included; NumPy has 64"""

Columns = dict[str, FlatColumn]
"""by name"""
StoredColumn = FlatColumn | CompressedColumn
StoredColumns = Mapping[str, StoredColumn]
"""by name, as they lie on disk"""


def map_columns(stored: StoredDataset) -> StoredColumns:
    """Map the HDF5 file and describe its columns; reads nothing yet.

    Raises CorruptDatasetError if a column is not as the format has it, unaligned, would leave the file, or overlaps
    another; DatasetReplacedError if the file is not the one that was opened.
    """
    try:
        opened = stored.hdf5.open("rb")
    except FileNotFoundError:
        raise DatasetReplacedError(f"{stored.path} was deleted while it was read") from None
    with opened as file:
        size = os.fstat(file.fileno()).st_size
        check_columns(stored.manifest.columns, str(layout.data_folder(stored.path) / layout.MANIFEST), size)
        for name, column in stored.manifest.columns.items():
            _check_places(stored, name, column, size)
        _check_overlaps(stored)
        if stored.identity is not None and identity_of(file.fileno()) != stored.identity:
            raise DatasetReplacedError(f"{stored.path} was replaced while it was read", hint="run the command again")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return {name: _mapped(stored, name, column, mapped) for name, column in stored.manifest.columns.items()}


def _mapped(stored: StoredDataset, name: str, column: Column, mapped: mmap.mmap) -> FlatColumn | CompressedColumn:
    dtype, shape, extra_row = np.dtype(column.dtype), tuple(column.shape), column.rows == "T+1"
    if column.chunk_rows is None:
        flat = np.frombuffer(mapped, dtype=dtype, count=len(mapped) // dtype.itemsize)
        offsets = stored.episodes.offsets[name] // dtype.itemsize
        return FlatColumn(flat=flat, offsets=offsets, shape=shape, extra_row=extra_row)
    return CompressedColumn(
        content=memoryview(mapped),
        chunks=stored.chunks[name],
        chunk_rows=column.chunk_rows,
        dtype=dtype,
        shape=shape,
        extra_row=extra_row,
        where=f"{stored.hdf5}: {name}",
    )


def unpacked(columns: StoredColumns, numbers: NDArray[np.int64], lengths: NDArray[np.int64]) -> Columns:
    """All columns flat; of compressed ones the episodes `numbers` are unpacked into RAM. `lengths` (M,) are of all.

    Raises CorruptDatasetError for a chunk that does not unpack, DatasetError for what no memory of this machine holds.
    """
    packed = [column for column in columns.values() if isinstance(column, CompressedColumn)]
    needed = sum(int((lengths[numbers] + column.extra_row).sum()) * column.row_bytes for column in packed)
    if packed and needed > (total_memory() or needed):
        raise DatasetError(
            f"compressed columns of {len(numbers)} episodes unpack to {needed / 1e9:.1f} GB, more than the memory here",
            hint="select(...) fewer episodes, or read them one by one",
        )
    return {
        name: column if isinstance(column, FlatColumn) else _flattened(column, numbers, lengths)
        for name, column in columns.items()
    }


def _flattened(column: CompressedColumn, numbers: NDArray[np.int64], lengths: NDArray[np.int64]) -> FlatColumn:
    counts = lengths[numbers] + column.extra_row
    ends, width = counts.cumsum(), math.prod(column.shape)
    rows = np.empty((int(counts.sum()), *column.shape), column.dtype)
    for number, count, end in zip(numbers.tolist(), counts.tolist(), ends.tolist(), strict=True):
        rows[end - count : end] = column.rows(number, count - column.extra_row)
    offsets = np.zeros(len(lengths), np.int64)
    offsets[numbers] = (ends - counts) * width
    return FlatColumn(flat=rows.reshape(-1), offsets=offsets, shape=column.shape, extra_row=column.extra_row)


def get_episode(columns: StoredColumns, episode: int, length: int) -> Episode:
    """Copy one episode out."""
    found = {name: column.rows(episode, length).copy() for name, column in columns.items()}
    return Episode.from_columns(found | {name: found[name].astype(bool) for name in (TERMINATIONS, TRUNCATIONS)})


def check_columns(columns: dict[str, Column], place: str, largest_row: int) -> None:
    """The columns are what format 1 allows: names, order, rows, flags that are flags, no row of more than
    `largest_row` bytes, no chunk of more than a compressed column may have.

    Raises CorruptDatasetError naming `place`.
    """
    if fault := layout.names_fault(columns):
        raise CorruptDatasetError(f"{place}: {fault}")
    if list(columns) != list(layout.file_order(columns)):
        raise CorruptDatasetError(f"{place}: its columns are not in order: {list(columns)[:20]}")
    for name, column in columns.items():
        largest = largest_row if column.chunk_rows is None else layout.LARGEST_COMPRESSED
        if not _is_valid(name, column) or layout.row_bytes(column) * (column.chunk_rows or 1) > largest:
            chunked = f", {column.chunk_rows} in a chunk" if column.chunk_rows else ""
            found = f"{column.rows} rows of {column.dtype} and shape {column.shape}{chunked}"
            raise CorruptDatasetError(f"{place}: column {name} cannot have {found}")


def _is_valid(name: str, column: Column) -> bool:
    """Whether a column of that name may be so."""
    flag, reward, action = name in (TERMINATIONS, TRUNCATIONS), name == REWARDS, name == ACTIONS
    valid = len(column.shape) < _MOST_DIMENSIONS and (column.known or reward)
    if flag or reward:
        valid &= column.dtype in ("|b1",) * flag + ("<f4", "<f8") * reward and not column.shape
    elif is_observation(name) or action:
        valid &= column.dtype != "|b1"
    return valid and (column.rows == ("T+1" if is_observation(name) else "T") or layout.is_extra(name))


def _check_places(stored: StoredDataset, name: str, column: Column, size: int) -> None:
    """All rows of a column lie inside its file of `size` bytes, those of a contiguous one aligned."""
    if column.chunk_rows is not None:
        _check_chunks(stored, name, size)
        return
    offsets, lengths = stored.episodes.offsets[name], stored.episodes.length
    # Rows that fit, not bytes that are needed: no length can overflow that.
    fitting = (size - offsets) // layout.row_bytes(column) - (column.rows == "T+1")
    bad = np.flatnonzero((offsets % layout.ALIGNMENT != 0) | (offsets < 0) | (lengths < 1) | (lengths > fitting))
    if len(bad):
        raise CorruptDatasetError(
            f"{layout.data_folder(stored.path) / layout.EPISODES}: episode {bad[0]}, column {name}: "
            f"offset {offsets[bad[0]]} is not a {layout.ALIGNMENT}-byte aligned place inside {_name(stored.hdf5)}",
            hint=f"idaq dataset verify {stored.path}",
        )


def _check_chunks(stored: StoredDataset, name: str, size: int) -> None:
    chunks = stored.chunks[name]
    bad = np.flatnonzero((chunks.offset < 0) | (chunks.size < 1) | (chunks.size > size - chunks.offset))
    if len(bad):
        episode, number = _chunk_of(chunks, int(bad[0]))
        raise CorruptDatasetError(
            f"{layout.data_folder(stored.path) / layout.CHUNKS}: episode {episode}, column {name}: chunk {number}, "
            f"{chunks.size[bad[0]]} bytes from {chunks.offset[bad[0]]} on, does not lie inside {_name(stored.hdf5)}",
            hint=f"idaq dataset verify {stored.path}",
        )


def _chunk_of(chunks: Chunks, place: int) -> tuple[int, int]:
    """The episode of a chunk, and which of the episode's it is."""
    episode = int(np.searchsorted(chunks.first, place, "right")) - 1
    return episode, place - int(chunks.first[episode])


def _check_overlaps(stored: StoredDataset) -> None:
    """No byte belongs to two columns: a small file could else claim to hold more values than any memory does."""
    names, table = list(stored.manifest.columns), stored.episodes
    places = [table.offsets[name] if name in table.offsets else stored.chunks[name].offset for name in names]
    sizes = [
        _bytes(column, table.length) if column.chunk_rows is None else stored.chunks[name].size
        for name, column in stored.manifest.columns.items()
    ]
    starts = np.concatenate(places)
    ends = starts + np.concatenate(sizes)
    order = np.argsort(starts, kind="stable")
    bad = np.flatnonzero(starts[order][1:] < ends[order][:-1])
    if len(bad):
        edges = np.cumsum([0, *map(len, places)])

        def owner(place: int) -> str:
            column = int(np.searchsorted(edges, place, "right")) - 1
            name, number = names[column], place - int(edges[column])
            episode = _chunk_of(stored.chunks[name], number)[0] if name in stored.chunks else number
            return f"column {name} of episode {episode}"

        first, second = (owner(int(place)) for place in order[bad[0] : bad[0] + 2])
        raise CorruptDatasetError(
            f"{layout.data_folder(stored.path) / layout.EPISODES}: {second} overlaps {first}",
            hint=f"idaq dataset verify {stored.path}",
        )


def _bytes(column: Column, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return (lengths + (column.rows == "T+1")) * layout.row_bytes(column)


def _name(path: Path) -> str:
    return f"{path.name} ({path.stat().st_size} bytes)"
