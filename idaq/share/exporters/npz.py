"""All transitions of a dataset as one NumPy archive, a row each. S transitions, D observation, A action.

Arrays: `observations` (S, D), `actions` (S, A), `rewards` (S,), `next_observations` (S, D), `terminated` (S,),
`truncated` (S,), `task_index` (S,), `episode` (S,). Rows keep the dataset's order and each column's shape and dtype; an
episode's rows are contiguous. Of a Dict its leaves, `observations/a` and `next_observations/a`; extra columns by their
names, those of T + 1 rows with a second one before whose name stands `next_`. Bounds of Box spaces: `observation_low`
(D,), `observation_high` (D,), `action_low` (A,), `action_high` (A,). What is known of episodes: `archive`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, TERMINATIONS, TRUNCATIONS, Advance, Array, ignore_progress
from idaq.format.columns import StoredColumn, map_columns
from idaq.format.reader import StoredDataset
from idaq.format.spaces import read_leaves
from idaq.share.exporters.archive import DOCUMENT, FACTS, Archive, add_facts, new_archive
from idaq.share.exporting import has_last_rows, transition_names

PLAIN = {TERMINATIONS: "terminated", TRUNCATIONS: "truncated"}
"""columns that are called otherwise here"""
_BOUNDS = {OBSERVATIONS: "observation", ACTIONS: "action"}
TAKEN = (
    "task_index",
    "episode",
    DOCUMENT,
    *FACTS,
    *(f"{name}_{end}" for name in _BOUNDS.values() for end in ("low", "high")),
)


def export_npz(stored: StoredDataset, target: Path, *, progress: Advance = ignore_progress) -> Notes:
    """Write `target` atomically; memory holds one episode of one column. `progress` counts episodes.

    Raises DatasetExistsError if `target` exists.
    """
    notes, columns, lengths = Notes(), map_columns(stored), stored.episodes.length
    names = transition_names(has_last_rows(stored.manifest.columns), PLAIN, TAKEN, notes)
    steps = int(lengths.sum())
    with new_archive(target) as archive:
        for name, (here, *following) in names.items():
            column, advance = columns[name], progress if name == ACTIONS else ignore_progress
            kind, shape = column.dtype, (steps, *column.shape)
            archive.add_rows(here, kind, shape, _rows(column, lengths, slice(None, -1 if following else None), advance))
            for after in following:
                archive.add_rows(after, kind, shape, _rows(column, lengths, slice(1, None), ignore_progress))
        archive.add("task_index", stored.episodes.task_index.repeat(lengths))
        archive.add("episode", np.arange(len(lengths)).repeat(lengths))
        _add_bounds(archive, stored)
        add_facts(archive, stored, "npz", names)
    return notes


def _rows(column: StoredColumn, lengths: Array, part: slice, advance: Callable[[int], None]) -> Iterator[Array]:
    """The rows of each episode that are a transition's."""
    for number, length in enumerate(lengths.tolist()):
        yield column.rows(number, length)[part]
        advance(1)


def _add_bounds(archive: Archive, stored: StoredDataset) -> None:
    leaves = read_leaves(stored.metadata, stored.manifest.columns, str(stored.path))
    for name, what in _BOUNDS.items():
        if name in leaves and leaves[name].kind == "Box":
            archive.add(f"{what}_low", leaves[name].low)
            archive.add(f"{what}_high", leaves[name].high)
