"""Where a loader gets episodes from, whatever holds them: a mapped file, arrays in RAM, a Zarr group far away."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from idaq.core.types import Episode
from idaq.format.columns import Columns, StoredColumns, flat_columns, get_episode


class EpisodeStore(Protocol):
    """Episodes by number; `columns` gives many at once for random access."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each column, by name."""
        ...

    def episode(self, number: int) -> Episode:
        """Copy one episode out. Raises CorruptDatasetError where the store checks what it reads."""
        ...

    def columns(self, numbers: NDArray[np.int64]) -> Columns:
        """Columns that hold at least the episodes `numbers`; but those that only `episode` unpacks."""
        ...


@dataclass(frozen=True)
class FlatEpisodes:
    """Episodes that lie in columns already, mapped or in memory."""

    stored: StoredColumns
    lengths: NDArray[np.int64]
    """(M,)"""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each column, by name."""
        return {name: column.shape for name, column in self.stored.items()}

    def episode(self, number: int) -> Episode:
        """Copy one episode out. Raises CorruptDatasetError where a compressed column does not unpack."""
        return get_episode(self.stored, number, int(self.lengths[number]))

    def columns(self, numbers: NDArray[np.int64]) -> Columns:
        """The columns of all episodes that are not compressed."""
        return flat_columns(self.stored)
