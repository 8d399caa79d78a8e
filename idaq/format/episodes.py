"""Where a loader gets episodes from, whatever holds them: a mapped file, arrays in RAM, a Zarr group far away."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from idaq.core.types import Episode
from idaq.format.columns import Columns, StoredColumns, get_episode, unpacked


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
        """All columns, which hold at least the episodes `numbers`: mapped, or in RAM where they are to be unpacked."""
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
        """The columns of all episodes; compressed ones unpacked into RAM, of the episodes `numbers` alone.

        Raises CorruptDatasetError, and DatasetError for what no memory of this machine holds.
        """
        return unpacked(self.stored, numbers, self.lengths)
