"""All columns of selected episodes as rows of transitions. S transitions, M episodes, B of a batch.

    observation (S, D)   action (S, A)   reward (S,)   next_observation (S, D)   terminated (S,)   truncated (S,)
    task_index (S,)   episode (S,), its number in the whole dataset   step (S,)

Rows keep their shape. Of a Dict its parts, `observation/a` and `next_observation/a`; extra columns by their names,
those of T + 1 rows with a second one before whose name stands `next_`; a name that is taken gets `_` behind it.
"""

from collections.abc import Iterable

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike, NDArray

from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import Array
from idaq.format.columns import FlatColumn
from idaq.loader import Dataset
from idaq.share.exporters.parquet import PLAIN
from idaq.share.exporting import transition_names

OWN = ("task_index", "episode", "step")


class TransitionRows:
    """All columns of a dataset's selected episodes, read where they lie. Raises DatasetError for an empty selection."""

    def __init__(self, dataset: Dataset, floats: DTypeLike | None = np.float32) -> None:
        refuse_empty(dataset)
        numbers = dataset.numbers
        lengths = dataset.episodes.length[numbers]
        self._columns, self._floats = dataset.store.columns(numbers), floats
        self._numbers, self._lengths = numbers, lengths
        two = {name: column.extra_row for name, column in self._columns.items()}
        self.names = transition_names(two, PLAIN, OWN, Notes())
        """of each column of the dataset: how it is called here, and what follows"""
        self._own = {
            "task_index": dataset.episodes.task_index[numbers].repeat(lengths),
            "episode": numbers.repeat(lengths),
            "step": np.concatenate([np.arange(length) for length in lengths.tolist()]),
        }

    def __len__(self) -> int:
        return len(self._own["step"])

    def batch(self, indices: NDArray[np.int64]) -> dict[str, Array]:
        """The transitions numbered `indices` (B,), as copies: (B, ...) of each. Raises IndexError."""
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"transition numbers must lie in [0, {len(self)}), got {indices.min()} to {indices.max()}")
        episode, step = self._own["episode"][indices], self._own["step"][indices]
        found: dict[str, Array] = {}
        for name, here in self.names.items():
            for later, its in enumerate(here):
                found[its] = self._cast(_rows(self._columns[name], episode, step + later))
        return found | {name: values[indices] for name, values in self._own.items()}

    def all(self) -> dict[str, Array]:
        """All of them, in RAM: (S, ...) of each."""
        found: dict[str, Array] = {}
        for name, here in self.names.items():
            for part, its in zip(_parts(len(here)), here, strict=True):
                found[its] = self._cast(np.concatenate([rows[part] for rows in self._episodes(name)]))
        return found | self._own

    def _episodes(self, name: str) -> Iterable[Array]:
        column = self._columns[name]
        for number, length in zip(self._numbers.tolist(), self._lengths.tolist(), strict=True):
            yield column.rows(number, length)

    def _cast(self, rows: Array) -> Array:
        wanted = rows.dtype.kind == "f" and self._floats is not None
        return rows.astype(self._floats, copy=False) if wanted else rows


def _parts(names: int) -> list[slice]:
    """What of an episode's rows has each of a column's names."""
    return [slice(None, -1), slice(1, None)] if names == 2 else [slice(None)]


def _rows(column: FlatColumn, episode: NDArray[np.int64], step: NDArray[np.int64]) -> Array:
    """Rows (B, *shape) of a column, each by its episode and its place there."""
    flat, width = column.flat, column.width
    item = flat.dtype.itemsize
    sliding = as_strided(flat, (len(flat) - width + 1, width), (item, item), writeable=False)
    return sliding[column.offsets[episode] + step * width].reshape(len(step), *column.shape)


def refuse_empty(dataset: Dataset) -> None:
    """Raise DatasetError where no episode is selected."""
    if not len(dataset):
        raise DatasetError(f"no episode of {dataset.dataset_id} is selected", hint="loosen select(...)")
