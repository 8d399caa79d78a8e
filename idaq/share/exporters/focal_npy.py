"""The folders that the FOCAL lineage reads: `goal_idx<k>/trj_evalsample<n>_step<S>.npy`, a file an episode.

`k` is the task index. `S`, in that lineage the training step of the policy that made the episode, is the behaviour's
place in the recipe (0, 1, ...), and `n` counts the episodes of that task and behaviour. A file has T rows s, a, r, s'.
T transitions, D observation and A action numbers. Two forms of a row, because readers differ:

- `flat` (default): one (T, D + A + 1 + D) array of numbers, no pickle. For readers that split each row by width, as
  `s, a, r, s2 = numpy.split(rows, [D, D + A, D + A + 1], axis=1)`.
- `objects`: a (T, 4) object array of [s, a, r, s'], which NumPy pickles. For the published loaders (FOCAL's, and
  those copied from it: CSRO, IDAQ's reference and others), which take `rows[:, 0]` to `rows[:, 3]` of
  `numpy.load(..., allow_pickle=True)`, and for `for s, a, r, s2 in rows`. **Give those no flat file: they would take
  its first four numbers for s, a, r, s' without an error.** Loading a pickle runs what is in it: use `objects` for
  your own files, and share the dataset instead.

That layout has no place for tasks, seeds and how an episode ended (its readers take every last row for terminal, so a
time limit stops bootstrapping). They stand beside it: `episodes.jsonl`, a line a file, with `terminated` and
`truncated` of the last row (all others are false) and its place in a learning history, and `dataset.json` with D, A,
the tasks, the columns and their dtypes, and what S means. Of a Dict the leaves stand in s one after the other, in
order. Extra columns have no place at all, nor has a terminal or time-out before the last row: both are left out, and
noted.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from idaq.core.config import canonical_json
from idaq.core.errors import DatasetError
from idaq.core.files import write_json, write_text
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, Advance, Array, Episode, ignore_progress, is_observation, leaves_of
from idaq.format.boxes import count_changed
from idaq.format.layout import is_extra, row_width
from idaq.format.reader import StoredDataset
from idaq.share.exporting import document_of, each_episode, new_folder

RowForm = Literal["flat", "objects"]
_AMID = "terminals and time-outs before an episode's last row are left out: this layout has one of each file alone"


def export_focal_npy(
    stored: StoredDataset, target: Path, *, rows: RowForm = "flat", progress: Advance = ignore_progress
) -> Notes:
    """Write the folder `target` atomically; `progress` counts episodes. One episode is in memory at a time.

    Flat rows have the dtype that holds all four columns (float32 observations and float64 rewards: float64); objects
    keep each column's own. Raises DatasetExistsError if `target` exists, DatasetError where flat rows would change a
    number.
    """
    recipe = [behaviour.name for behaviour in stored.manifest.recipe.behaviours]
    behaviours = list(dict.fromkeys([*recipe, *stored.episodes.behaviour.tolist()]))
    written: dict[tuple[int, str], int] = {}
    notes, lines = _left_out(stored), list[str]()
    with new_folder(target) as folder:
        for entry in each_episode(stored, progress):
            cell = (entry.task.task_index, entry.behaviour)
            written[cell] = written.get(cell, -1) + 1
            step = behaviours.index(entry.behaviour)
            path = f"goal_idx{entry.task.task_index}/trj_evalsample{written[cell]}_step{step}.npy"
            (folder / path).parent.mkdir(exist_ok=True)
            content = _flat(entry.episode) if rows == "flat" else _objects(entry.episode)
            np.save(folder / path, content, allow_pickle=rows == "objects")
            before_last = [entry.episode.terminated[:-1], entry.episode.truncated[:-1]]
            notes.add(entry.task.task_id, _AMID, int(np.sum(before_last)))
            lines.append(canonical_json({"path": path, **entry.facts}) + "\n")
        write_text(folder / "episodes.jsonl", "".join(lines))
        write_json(folder / "dataset.json", _about(stored, rows, behaviours))
    return notes


def _left_out(stored: StoredDataset) -> Notes:
    """Extra columns."""
    notes, steps = Notes(), stored.manifest.counts.steps
    for name in filter(is_extra, stored.manifest.columns):
        notes.add(name, "rows of the column are left out: this layout has s, a, r and s' alone", steps)
    return notes


def _about(stored: StoredDataset, rows: RowForm, behaviours: list[str]) -> dict[str, object]:
    columns = stored.manifest.columns
    return {
        **document_of(stored, "focal-npy"),
        "rows": rows,
        "observation_numbers": sum(row_width(column) for name, column in columns.items() if is_observation(name)),
        "action_numbers": row_width(columns[ACTIONS]),
        "steps": dict(enumerate(behaviours)),
        "splits": stored.manifest.splits,
    }


def _parts(episode: Episode) -> list[Array]:
    """s (T, D), a (T, A), r (T, 1), s' (T, D)."""
    length = len(episode)
    leaves = [leaf.reshape(length + 1, -1) for leaf in leaves_of(episode.observations).values()]
    states = _joined(leaves)
    return [states[:-1], episode.actions.reshape(length, -1), episode.rewards[:, None], states[1:]]


def _flat(episode: Episode) -> Array:
    """One array of all columns. Raises DatasetError where its dtype does not hold an integer of theirs."""
    return _joined(_parts(episode))


def _joined(parts: list[Array]) -> Array:
    """(T, W) arrays side by side. Raises DatasetError where the common dtype does not hold an integer of theirs."""
    rows = np.concatenate(parts, axis=1)
    ends = np.cumsum([part.shape[1] for part in parts])
    for part, end in zip(parts, ends.tolist(), strict=True):
        counted = part.dtype.kind in "iu" and rows.dtype.kind == "f"
        if counted and count_changed(part, rows[:, end - part.shape[1] : end]):
            said = f"one array of {rows.dtype} does not hold all numbers of {part.dtype} that the dataset has"
            raise DatasetError(said, hint="--to focal-npy-objects keeps each column's own dtype")
    return rows


def _objects(episode: Episode) -> Array:
    states, actions, rewards, following = _parts(episode)
    content = np.empty((len(episode), 4), object)  # np.array(rows) would merge columns of equal width into numbers
    for place, column in enumerate((states, actions, rewards[:, 0], following)):
        for step, value in enumerate(column):
            content[step, place] = value
    return content
