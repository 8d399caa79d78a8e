"""All transitions of a dataset as one NumPy archive, without pickle. S transitions, D observation, A action.

Arrays: `observations` (S, D), `actions` (S, A), `rewards` (S,), `next_observations` (S, D), `terminated` (S,),
`truncated` (S,), `task_index` (S,), `episode` (S,). Rows keep the dataset's order; an episode's rows are contiguous.
And the bounds of the spaces: `observation_low` (D,), `observation_high` (D,), `action_low` (A,), `action_high` (A,).
"""

from pathlib import Path

import gymnasium as gym
import numpy as np

from idaq.core.types import TERMINATIONS, TRUNCATIONS, Advance, Array, ignore_progress
from idaq.format.columns import Columns, FlatColumn, map_columns
from idaq.format.reader import StoredDataset, read_space
from idaq.share.exporting import new_file


def export_npz(stored: StoredDataset, target: Path, *, progress: Advance = ignore_progress) -> int:
    """Write `target` atomically; returns the number of transitions. Peak memory is about twice the data.

    `progress` counts episodes, all at once. Raises DatasetExistsError if `target` exists.
    """
    columns, lengths = map_columns(stored), stored.episodes.length
    observations = _stack(columns, "observations", lengths.tolist())
    last = np.cumsum(lengths + 1) - 1  # row of each episode's s_T, which starts no transition
    first = last - lengths  # row of each episode's s_0, which ends none
    arrays: dict[str, Array] = {
        "observations": np.delete(observations, last, axis=0),
        "next_observations": np.delete(observations, first, axis=0),
        **{name: _stack(columns, name, lengths.tolist()) for name in ("actions", "rewards")},
        "terminated": _stack(columns, TERMINATIONS, lengths.tolist()),
        "truncated": _stack(columns, TRUNCATIONS, lengths.tolist()),
        "task_index": stored.episodes.task_index.repeat(lengths),
        "episode": np.arange(len(lengths)).repeat(lengths),
        **_bounds(stored, "observation"),
        **_bounds(stored, "action"),
    }
    with new_file(target) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]
        progress(len(lengths))
    return len(arrays["rewards"])


def _bounds(stored: StoredDataset, what: str) -> dict[str, Array]:
    space = read_space(stored.metadata, f"{what}_space", str(stored.path))
    return {f"{what}_low": space.low, f"{what}_high": space.high} if isinstance(space, gym.spaces.Box) else {}


def _stack(columns: Columns, name: str, lengths: list[int]) -> Array:
    column: FlatColumn = columns[name]
    return np.concatenate([column.rows(number, length) for number, length in enumerate(lengths)])
