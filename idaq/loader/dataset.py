"""Open a dataset by id or path; filter by task, split, behaviour or return without touching the data."""

import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError, DatasetReplacedError
from idaq.core.extras import naming_extras
from idaq.core.machine import free_memory, total_memory
from idaq.core.types import ACTIONS, Episode, Task
from idaq.format.columns import map_columns
from idaq.format.documents import Column, Manifest
from idaq.format.episodes import EpisodeStore, FlatEpisodes
from idaq.format.minari_reader import read_plain_minari
from idaq.format.reader import EpisodeTable, is_idaq_dataset, open_stored
from idaq.format.selection import Selection, select
from idaq.format.spaces import Leaf, read_leaves
from idaq.format.store import find_dataset
from idaq.loader.flat import DiscreteAs, FlatView, flat_view
from idaq.loader.table import KEPT, TransitionTable

Where = Literal["auto", "map", "ram", "fetch"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Some or all episodes of a dataset. Cheap: data is read when asked for."""

    dataset_id: str
    path: Path | str
    """the folder, or the URL of a Zarr form"""
    all_tasks: tuple[Task, ...]
    episodes: EpisodeTable
    """of the whole dataset; `numbers` says which are selected"""
    store: EpisodeStore
    column_info: Mapping[str, Column]
    """of every column, by name: dtype, shape of a row, rows, unit, meaning"""
    leaves: Mapping[str, Leaf]
    """the space of each column of observations and actions, by name"""
    numbers: NDArray[np.int64]
    """selected episodes, ascending, hence sorted by task"""
    action_low: NDArray[np.float32]
    action_high: NDArray[np.float32]
    manifest: Manifest | None
    """None for datasets of other makers"""
    mapped: bool
    discrete: DiscreteAs = "one-hot"
    """as what values of discrete spaces are read into transitions"""
    streamed: bool = False
    """whether every episode is fetched when asked for"""

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def view(self) -> FlatView:
        """As what numbers transitions are read."""
        return flat_view(self.leaves, self.discrete)

    def with_discrete(self, discrete: DiscreteAs) -> "Dataset":
        """The same episodes, values of Discrete and MultiDiscrete spaces read as one-hot numbers or as their index."""
        return replace(self, discrete=discrete)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks with at least one selected episode, by index."""
        present = set(np.unique(self.episodes.task_index[self.numbers]).tolist())
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

        `split` is one, or several joined by `+`: "train+val". `quantiles` are of the returns of all episodes of the
        same task: (0.5, 1.0) is the better half of each. Raises UnknownNameError for a split, task or behaviour that
        the dataset does not have.
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
        return self.store.episode(number)

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(position) for position in range(len(self)))

    def transitions(self, where: Where = "auto", *, memory: int = KEPT) -> TransitionTable:
        """All transitions of the selected episodes, by memory map or from RAM; or, with "fetch", out of each episode as
        it is needed: the latest `memory` bytes are kept.

        "auto" takes RAM when the transitions fit in a quarter of the free memory, if the system says what is free. A
        Zarr form is then read into RAM whole.
        Raises DatasetError for an empty selection, for "map" where the dataset cannot be mapped, and for a Zarr form
        larger than the machine's memory.
        """
        if not len(self):
            raise DatasetError(f"no episode of {self.dataset_id} is selected", hint="loosen select(...)")
        if where == "map" and not self.mapped:
            reason = "lies in Zarr form" if self.streamed else "was not written by idaq"
            raise DatasetError(f"{self.dataset_id} {reason}: it cannot be mapped", hint='use where="ram"')
        fetched = where == "fetch"
        if not fetched and self.streamed and self._packed_bytes() > (total_memory() or math.inf):
            message = f"the {len(self)} selected episodes of {self.dataset_id} do not fit in memory"
            raise DatasetError(message, hint='stream them: idaq.loader.StreamedBatches, or where="fetch"')
        in_ram = where == "ram" or (where == "auto" and self._fits())
        columns = {} if fetched else self.store.columns(self.numbers)
        in_ram &= not self.streamed  # what was fetched is in RAM already: packing would make a second copy
        return TransitionTable(
            columns, self.episodes, self.numbers, in_ram, view=self.view, store=self.store, memory=memory
        )

    def _fits(self) -> bool:
        return not self.mapped or self._packed_bytes() < (free_memory() or 0) / 4

    def _packed_bytes(self) -> int:
        """Size of the packed transitions."""
        return 4 * self.view.packed_width * int(self.episodes.length[self.numbers].sum())


def open_dataset(id_or_path: str | Path, root: str | Path | None = None) -> Dataset:
    """Open a dataset by id (below `root`, else $MINARI_DATASETS_PATH, else Minari's default), by path or by URL.

    `<path>.zarr` and whatever holds `://` is a Zarr form, read when asked for. Datasets of other makers load too: one
    task, columns read into RAM, with a warning for what is left out of them. Raises DatasetNotFoundError,
    FormatVersionError, CorruptDatasetError, and DatasetError for another maker's NaN.
    """
    if _is_zarr(str(id_or_path)):
        return _open_streamed(os.path.expanduser(id_or_path))
    path = find_dataset(id_or_path, root)
    return _open_mapped(path) if is_idaq_dataset(path) else _open_foreign(path)


def _is_zarr(text: str) -> bool:
    return "://" in text or text.rstrip("/").endswith(".zarr")


def _open_mapped(path: Path) -> Dataset:
    stored = open_stored(path)
    try:
        columns = map_columns(stored)
    except DatasetReplacedError:
        return _open_mapped(path)
    leaves = read_leaves(stored.metadata, stored.manifest.columns, str(path))
    low, high = _bounds(leaves[ACTIONS])
    return Dataset(
        dataset_id=stored.manifest.dataset_id,
        path=path,
        all_tasks=stored.tasks,
        episodes=stored.episodes,
        store=FlatEpisodes(columns, stored.episodes.length),
        column_info=stored.manifest.columns,
        leaves=leaves,
        numbers=np.arange(len(stored.episodes)),
        action_low=low,
        action_high=high,
        manifest=stored.manifest,
        mapped=True,
    )


def _open_streamed(url: str) -> Dataset:
    with naming_extras():
        from idaq.format.zarr.reader import open_zarr  # half a second, which only who streams shall wait for

    stored = open_zarr(url)
    leaves = read_leaves(stored.metadata, stored.manifest.columns, url)
    low, high = _bounds(leaves[ACTIONS])
    return Dataset(
        dataset_id=stored.manifest.dataset_id,
        path=url,
        all_tasks=stored.tasks,
        episodes=stored.episodes,
        store=stored,
        column_info=stored.manifest.columns,
        leaves=leaves,
        numbers=np.arange(len(stored.episodes)),
        action_low=low,
        action_high=high,
        manifest=stored.manifest,
        mapped=False,
        streamed=True,
    )


def _open_foreign(path: Path) -> Dataset:
    foreign = read_plain_minari(path)
    for note in foreign.left_out:
        warnings.warn(note, stacklevel=3)
    return Dataset(
        dataset_id=foreign.dataset_id,
        path=path,
        all_tasks=(foreign.task,),
        episodes=foreign.episodes,
        store=FlatEpisodes(foreign.columns, foreign.episodes.length),
        column_info=foreign.column_info,
        leaves=foreign.leaves,
        numbers=np.arange(len(foreign.episodes)),
        action_low=foreign.action_low,
        action_high=foreign.action_high,
        manifest=None,
        mapped=False,
    )


def _bounds(actions: Leaf) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return actions.low.ravel().astype(np.float32), actions.high.ravel().astype(np.float32)
