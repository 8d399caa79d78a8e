"""Which episode a transition is of, from the lengths alone: memory follows the episodes, not the transitions."""

import numpy as np
from numpy.typing import NDArray

_MOST_STEPS = 6
"""from where a binary search over all pieces is faster than to go on from the nearest one that is known"""


class Partition:
    """The numbers 0 .. size-1 in consecutive pieces of at least one number: transitions in episodes, for one.

    Pieces of one length, which most datasets have, take a division. For others a table names the piece of every 2^k-th
    number, k so that there are one or two entries a piece, and `of` goes on from there; very unequal ones take a binary
    search.
    """

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        self.edges: NDArray[np.int64] = np.zeros(len(lengths) + 1, np.int64)
        """(pieces + 1,) first number of each piece, and the size"""
        np.cumsum(lengths, out=self.edges[1:])
        self._length = int(lengths[0]) if len(lengths) and (lengths == lengths[0]).all() else 0
        """of every piece; 0 where they differ"""
        if self._length:
            return
        self._shift = max(0, (self.size // max(1, len(lengths))).bit_length() - 1)
        marks = np.arange(0, self.size, 1 << self._shift)
        self._known = self.edges.searchsorted(marks, side="right") - 1
        ends = np.append(self._known[1:], len(lengths) - 1)
        self._steps = int((ends - self._known).max(initial=0))

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self.edges[-1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(pieces,)"""
        return np.diff(self.edges)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.edges.nbytes + (0 if self._length else self._known.nbytes)

    def of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The piece of each number (...), which must be one of 0 .. size-1."""
        if self._length:
            return numbers // self._length
        if self._steps > _MOST_STEPS:
            return self.edges.searchsorted(numbers, side="right") - 1
        piece = self._known.take(numbers >> self._shift)
        for _ in range(self._steps):
            piece += self.edges.take(piece + 1) <= numbers
        return piece
