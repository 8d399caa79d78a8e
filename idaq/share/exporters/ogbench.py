"""One NumPy archive as OGBench lays it out, T + 1 rows an episode: `ogbench.load_dataset(path)` reads it.

    observations  s_0   s_1   ...  s_T         actions    a_0   a_1   ...  0         terminals  0   0   ...  1

`terminals` marks the last row of each episode, whose action is never used; its loader makes s, a, s' of the rows, and
float32 of the numbers (`ob_dtype=`, `action_dtype=` keep others). It knows no rewards, tasks or time limits: they stand
beside it under the dataset's names, T + 1 rows of each, the last of them zero where a column has T: `rewards`,
`terminations`, `truncations`, extra columns; and `task_index` of each row. Its arrays of observations are one: of a
Dict the leaves are put one after the other, in order, and stand beside it too. Of episodes: `archive`.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, Advance, Array, ignore_progress, is_observation
from idaq.format.columns import StoredColumn, StoredColumns, map_columns
from idaq.format.reader import StoredDataset
from idaq.share.exporters.archive import DOCUMENT, FACTS, Archive, add_facts, new_archive
from idaq.share.exporting import Names

TERMINALS = "terminals"
_TAKEN = (TERMINALS, "task_index", DOCUMENT, *FACTS)


def export_ogbench(stored: StoredDataset, target: Path, *, progress: Advance = ignore_progress) -> Notes:
    """Write `target` atomically; memory holds one episode. `progress` counts episodes.

    Raises DatasetExistsError if `target` exists.
    """
    notes, columns, lengths = Notes(), map_columns(stored), stored.episodes.length
    names = _names(columns, notes)
    rows = int((lengths + 1).sum())
    with new_archive(target) as archive:
        for name, (here,) in names.items():
            column, advance = columns[name], progress if name == ACTIONS else ignore_progress
            archive.add_rows(here, column.dtype, (rows, *column.shape), _padded(column, lengths, advance))
        if OBSERVATIONS not in columns:
            _add_joined(archive, columns, lengths, rows, notes)
        ends = (lengths + 1).cumsum() - 1
        archive.add(TERMINALS, np.isin(np.arange(rows), ends))
        archive.add("task_index", stored.episodes.task_index.repeat(lengths + 1))
        add_facts(archive, stored, "ogbench", names)
    return notes


def _names(columns: StoredColumns, notes: Notes) -> Names:
    """Columns by their own names, but for those that mean something else here."""
    names = Names()
    for name in columns:
        here = name
        while here in _TAKEN or (here != name and here in columns):
            here += "_"
        if here != name:
            notes.add(name, f"the column is written as {here}: {name} means something else there")
        names[name] = (here,)
    return names


def _padded(column: StoredColumn, lengths: Array, advance: Advance) -> Iterator[Array]:
    """T + 1 rows of each episode."""
    for number, length in enumerate(lengths.tolist()):
        rows = column.rows(number, length)
        yield rows if column.extra_row else np.concatenate([rows, np.zeros_like(rows[:1])])
        advance(1)


def _add_joined(archive: Archive, columns: StoredColumns, lengths: Array, rows: int, notes: Notes) -> None:
    """Leaves of a Dict as one array."""
    leaves = [column for name, column in columns.items() if is_observation(name)]
    kind, width = np.result_type(*(leaf.dtype for leaf in leaves)), sum(math.prod(leaf.shape) for leaf in leaves)

    def joined() -> Iterator[Array]:
        for number, length in enumerate(lengths.tolist()):
            yield np.concatenate([leaf.rows(number, length).reshape(length + 1, -1) for leaf in leaves], 1, dtype=kind)

    archive.add_rows(OBSERVATIONS, kind, (rows, width), joined())
    said = f"observations are a Dict, which OGBench has none of: it reads rows of {width} numbers, the parts in order"
    notes.add(OBSERVATIONS, said, len(leaves))
