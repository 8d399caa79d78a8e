"""Rows of one column by transition: where they lie, mapped or in RAM, or out of episodes that are fetched.

Shapes: R transitions, N windows of L rows, and the column's own row `*shape`.
"""

import mmap
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from idaq.core.types import Array, Episode
from idaq.format.columns import FlatColumn

Numbers = NDArray[np.int64]


class Rows(Protocol):
    """The rows of one column, in its own dtype, always as a copy. `episode` is the position of a number's episode."""

    def take(self, episode: Numbers, numbers: Numbers, following: int = 0) -> Array:
        """The rows (R, *shape) of transitions (R,), or those `following` rows later in the same episode."""
        ...

    def windows(self, episode: Numbers, begin: Numbers, length: int, following: int = 0) -> Array:
        """`length` rows from each of `begin` (N,) on, none of them beyond its episode: (N, L, *shape)."""
        ...


class FlatRows:
    """Rows of a flat column. Those of an episode follow each other: row = base[episode] + transition.

    Where every episode starts at a whole number of rows (on disk: rows of up to 64 bytes whose size is a power of two)
    the column is a matrix and `take` copies rows. Elsewhere the numbers are seen as overlapping rows, one starting at
    each number, which costs a fancy index but no copy of the file. A window is one long row.
    """

    def __init__(self, column: FlatColumn, numbers: Numbers, first: Numbers) -> None:
        start, self._width, self._shape = column.offsets[numbers], column.width, column.shape
        self._flat = column.flat
        self._is_matrix = not (start % self._width).any()
        self._stride = 1 if self._is_matrix else self._width
        self._base = start // self._width - first if self._is_matrix else start - first * self._width
        whole = len(self._flat) // self._width * self._width
        self._rows = self._flat[:whole].reshape(-1, self._width) if self._is_matrix else self._long_rows(1)

    def take(self, episode: Numbers, numbers: Numbers, following: int = 0) -> Array:
        """As `Rows.take`."""
        index = self._index(episode, numbers, following)
        found = self._rows.take(index, axis=0) if self._is_matrix else self._rows[index]
        return found.reshape(len(numbers), *self._shape)

    def windows(self, episode: Numbers, begin: Numbers, length: int, following: int = 0) -> Array:
        """As `Rows.windows`."""
        index = self._index(episode, begin, following)
        if self._is_matrix:
            index *= self._width
        return self._long_rows(length)[index].reshape(len(begin), length, *self._shape)

    def _index(self, episode: Numbers, numbers: Numbers, following: int) -> Numbers:
        index = self._base.take(episode)
        index += numbers * self._stride if self._stride > 1 else numbers
        if following:
            index += following * self._stride
        return index

    def _long_rows(self, rows: int) -> Array:
        return sliding(self._flat, rows * self._width)


class FetchedRows:
    """Rows out of episodes that are fetched as they are needed: what is compressed, far away, or larger than memory."""

    def __init__(self, fetch: Callable[[int], Array], numbers: Numbers, first: Numbers) -> None:
        self._fetch, self._numbers, self._first = fetch, numbers, first

    def take(self, episode: Numbers, numbers: Numbers, following: int = 0) -> Array:
        """As `Rows.take`; each episode is asked for once."""
        if not len(numbers):
            return self._fetch(int(self._numbers[0]))[:0].copy()
        order = np.argsort(episode, kind="stable")
        found, firsts = np.unique(episode[order], return_index=True)
        parts = list[Array]()
        for position, chosen in zip(found.tolist(), np.split(order, firsts[1:]), strict=True):
            rows = self._fetch(int(self._numbers[position]))
            parts.append(rows[numbers[chosen] - self._first[position] + following])
        return np.concatenate(parts)[np.argsort(order, kind="stable")]

    def windows(self, episode: Numbers, begin: Numbers, length: int, following: int = 0) -> Array:
        """As `Rows.windows`."""
        numbers = (begin[:, None] + np.arange(length)).ravel()
        rows = self.take(episode.repeat(length), numbers, following)
        return rows.reshape(len(begin), length, *rows.shape[1:])


class EpisodeCache:
    """The columns of episodes by number: the latest ones, as many as `memory` bytes hold, but one at least."""

    def __init__(self, fetch: Callable[[int], Episode], memory: int) -> None:
        self._fetch, self._room = fetch, memory
        self._kept: dict[int, dict[str, Array]] = {}

    def __call__(self, number: int) -> dict[str, Array]:
        """Those of an episode, fetched unless they are kept."""
        columns = self._kept.pop(number, None)
        if columns is None:
            columns = self._fetch(number).columns
            self._room -= _nbytes(columns)
        self._kept[number] = columns  # at the end: used last
        while self._room < 0 and len(self._kept) > 1:
            self._room += _nbytes(self._kept.pop(next(iter(self._kept))))
        return columns


def sliding(flat: Array, size: int) -> Array:
    """`size` numbers from each number on: a view, (len(flat) - size + 1, size)."""
    item = flat.dtype.itemsize
    return as_strided(flat, (len(flat) - size + 1, size), (item, item), writeable=False)


@contextmanager
def reading_in_order(flat: Iterable[Array]) -> Generator[None]:
    """Mapped numbers are read from first to last meanwhile, with read-ahead; then here and there, a page at a time.

    Where read-ahead is large, a row that no cache holds costs a thirtieth without it.
    """
    arrays = list(flat)
    _advise(arrays, "MADV_NORMAL")
    try:
        yield
    finally:
        _advise(arrays, "MADV_RANDOM")


def _advise(flat: Iterable[Array], advice: str) -> None:
    maps = dict[int, mmap.mmap]()
    for array in flat:
        base: Any = array
        while isinstance(base, np.ndarray | memoryview):
            base = base.obj if isinstance(base, memoryview) else base.base
        if isinstance(base, mmap.mmap):
            maps[id(base)] = base
    for mapped in maps.values():
        if hasattr(mmap, advice):  # not on every system
            mapped.madvise(getattr(mmap, advice))


def _nbytes(columns: dict[str, Array]) -> int:
    return sum(column.nbytes for column in columns.values())
