"""Columns as flat arrays: an episode's rows start at an offset, a row is `width` numbers long.

The same description serves the memory-mapped file (offsets into the HDF5) and arrays in RAM (offsets into a
concatenation), so the code that gathers rows serves both.
"""

import math
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import CorruptDatasetError, DatasetReplacedError
from idaq.core.types import ACTIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode, is_observation
from idaq.format import layout
from idaq.format.documents import Column
from idaq.format.reader import StoredDataset, identity_of


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
    def width(self) -> int:
        """Numbers in one row."""
        return math.prod(self.shape)

    def rows(self, episode: int, length: int) -> Array:
        """An episode's rows, without a copy: (T or T + 1, *shape)."""
        count = length + self.extra_row
        start = int(self.offsets[episode])
        return self.flat[start : start + count * self.width].reshape(count, *self.shape)


_MOST_DIMENSIONS = 32
"""of HDF5, rows included; NumPy has 64"""

Columns = dict[str, FlatColumn]
"""by name"""


def map_columns(stored: StoredDataset) -> Columns:
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
        for name in stored.manifest.columns:
            _check_offsets(stored, name, stored.manifest.columns[name], size)
        _check_overlaps(stored)
        if stored.identity is not None and identity_of(file.fileno()) != stored.identity:
            raise DatasetReplacedError(f"{stored.path} was replaced while it was read", hint="run the command again")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    columns = {}
    for name, column in stored.manifest.columns.items():
        offsets = stored.episodes.offsets[name]
        dtype = np.dtype(column.dtype)
        flat = np.frombuffer(mapped, dtype=dtype, count=size // dtype.itemsize)
        columns[name] = FlatColumn(
            flat=flat, offsets=offsets // dtype.itemsize, shape=tuple(column.shape), extra_row=column.rows == "T+1"
        )
    return columns


def get_episode(columns: Columns, episode: int, length: int) -> Episode:
    """Copy one episode out."""
    found = {name: column.rows(episode, length).copy() for name, column in columns.items()}
    return Episode.from_columns(found | {name: found[name].astype(bool) for name in (TERMINATIONS, TRUNCATIONS)})


def check_columns(columns: dict[str, Column], place: str, largest_row: int) -> None:
    """The columns are what format 1 allows: names, order, rows, flags that are flags, no row of more than
    `largest_row` bytes.

    Raises CorruptDatasetError naming `place`.
    """
    if fault := layout.names_fault(columns):
        raise CorruptDatasetError(f"{place}: {fault}")
    if list(columns) != list(layout.file_order(columns)):
        raise CorruptDatasetError(f"{place}: its columns are not in order: {list(columns)[:20]}")
    for name, column in columns.items():
        if not _is_valid(name, column) or layout.row_bytes(column) > largest_row:
            found = f"{column.rows} rows of {column.dtype} and shape {column.shape}"
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


def _check_offsets(stored: StoredDataset, name: str, column: Column, size: int) -> None:
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


def _check_overlaps(stored: StoredDataset) -> None:
    """No byte belongs to two columns: a small file could else claim to hold more values than any memory does."""
    table = stored.episodes
    names = list(stored.manifest.columns)
    starts = np.concatenate([table.offsets[name] for name in names])
    ends = starts + np.concatenate([_bytes(stored.manifest.columns[name], table.length) for name in names])
    order = np.argsort(starts, kind="stable")
    bad = np.flatnonzero(starts[order][1:] < ends[order][:-1])
    if len(bad):
        (first, second) = (divmod(int(place), len(table)) for place in order[bad[0] : bad[0] + 2])
        raise CorruptDatasetError(
            f"{layout.data_folder(stored.path) / layout.EPISODES}: column {names[second[0]]} of episode {second[1]} "
            f"overlaps column {names[first[0]]} of episode {first[1]}",
            hint=f"idaq dataset verify {stored.path}",
        )


def _bytes(column: Column, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return (lengths + (column.rows == "T+1")) * layout.row_bytes(column)


def _name(path: Path) -> str:
    return f"{path.name} ({path.stat().st_size} bytes)"
