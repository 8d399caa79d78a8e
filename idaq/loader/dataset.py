"""Open a dataset by id or path; filter by task, split, behaviour or return without touching the data."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import Episode, Task
from idaq.format.columns import Columns, get_episode, map_columns
from idaq.format.documents import Manifest
from idaq.format.foreign import read_foreign
from idaq.format.reader import EpisodeTable, is_idaq_dataset, open_stored
from idaq.format.selection import Selection, select
from idaq.format.store import find_dataset
from idaq.loader.table import TransitionTable

Where = Literal["auto", "map", "ram"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Some or all episodes of a dataset. Cheap: data is read when asked for."""

    dataset_id: str
    path: Path
    all_tasks: tuple[Task, ...]
    episodes: EpisodeTable
    """of the whole dataset; `numbers` says which are selected"""
    columns: Columns
    numbers: NDArray[np.int64]
    """selected episodes, ascending, hence sorted by task"""
    action_low: NDArray[np.float32]
    action_high: NDArray[np.float32]
    manifest: Manifest | None
    """None for datasets of other makers"""
    mapped: bool

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks with at least one selected episode, by index."""
        present = set(self.episodes.task_index[self.numbers].tolist())
        return tuple(task for task in self.all_tasks if task.task_index in present)

    def select(
        self,
        *,
        split: str | None = None,
        tasks: Iterable[int | str] | None = None,
        behaviour: str | None = None,
        min_return: float | None = None,
        max_return: float | None = None,
        quantiles: tuple[float, float] | None = None,
    ) -> "Dataset":
        """The selected episodes that meet every condition given; tasks by index or id. Reads no data.

        `quantiles` are of the returns of all episodes of the same task: (0.5, 1.0) is the better half of each.
        Raises UnknownNameError for a split, task or behaviour that the dataset does not have.
        """
        selection = Selection(
            split=split,
            tasks=None if tasks is None else tuple(tasks),
            behaviour=behaviour,
            min_return=min_return,
            max_return=max_return,
            quantiles=quantiles,
        )
        keep = select(self.episodes, self.all_tasks, selection)
        return replace(self, numbers=self.numbers[keep[self.numbers]])

    def episode(self, position: int) -> Episode:
        """Copy out the `position`-th selected episode; negative positions count from the end. Raises IndexError."""
        number = int(self.numbers[position])
        return get_episode(self.columns, number, int(self.episodes.length[number]))

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(position) for position in range(len(self)))

    def transitions(self, where: Where = "auto") -> TransitionTable:
        """All transitions of the selected episodes, by memory map or from RAM.

        "auto" takes RAM when the transitions fit in a quarter of the free memory. Raises DatasetError for an empty
        selection, and for "map" where the dataset cannot be mapped.
        """
        if not len(self):
            raise DatasetError(f"no episode of {self.dataset_id} is selected", hint="loosen select(...)")
        if where == "map" and not self.mapped:
            message = f"{self.dataset_id} was not written by idaq: it cannot be mapped"
            raise DatasetError(message, hint='use where="ram"')
        in_ram = where == "ram" or (where == "auto" and (self._fits() or not self.mapped))
        return TransitionTable(self.columns, self.episodes, self.numbers, in_ram)

    def _fits(self) -> bool:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        row = 2 * self.columns["observations"].width + self.columns["actions"].width + 2
        return 4 * row * int(self.episodes.length[self.numbers].sum()) < free / 4


def open_dataset(id_or_path: str | Path, root: str | Path | None = None) -> Dataset:
    """Open a dataset by id (below `root`, else $MINARI_DATASETS_PATH, else Minari's default) or by path.

    Datasets of other makers load too: one task, columns read into RAM. Raises DatasetNotFoundError,
    FormatVersionError or CorruptDatasetError.
    """
    path = find_dataset(id_or_path, root)
    if not is_idaq_dataset(path):
        foreign = read_foreign(path)
        return Dataset(
            dataset_id=foreign.dataset_id,
            path=path,
            all_tasks=(foreign.task,),
            episodes=foreign.episodes,
            columns=foreign.columns,
            numbers=np.arange(len(foreign.episodes)),
            action_low=foreign.action_low,
            action_high=foreign.action_high,
            manifest=None,
            mapped=False,
        )
    stored = open_stored(path)
    low, high = _bounds(stored.metadata, path)
    return Dataset(
        dataset_id=stored.manifest.dataset_id,
        path=path,
        all_tasks=stored.tasks,
        episodes=stored.episodes,
        columns=map_columns(stored),
        numbers=np.arange(len(stored.episodes)),
        action_low=low,
        action_high=high,
        manifest=stored.manifest,
        mapped=True,
    )


def _bounds(metadata: dict[str, Any], path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    try:
        space = json.loads(metadata["action_space"])
        return np.array(space["low"], np.float32).ravel(), np.array(space["high"], np.float32).ravel()
    except (ValueError, KeyError, TypeError):
        raise CorruptDatasetError(f"{path}: the action space is not a Box with low and high") from None
