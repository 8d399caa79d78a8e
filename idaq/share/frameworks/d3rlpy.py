"""d3rlpy: an MDPDataset of episodes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from idaq.core.errors import DatasetError
from idaq.core.extras import optional
from idaq.core.types import ACTIONS, Array, Episode, is_observation, leaves_of
from idaq.format.spaces import Leaf
from idaq.loader import Dataset
from idaq.share.frameworks.rows import refuse_empty


def to_d3rlpy(dataset: Dataset, tasks: Iterable[int | str] | None = None) -> Any:
    """A `d3rlpy.dataset.MDPDataset` of the selected episodes, in order; `tasks` selects by index or id.

    d3rlpy takes s' from the row after, and an episode that did not terminate then loses its last transition. So such an
    episode gets one more row, (s_T, zeros, 0): it is the s' of the last transition, starts none itself, and adds
    nothing to a return. An episode that terminated has no such row; d3rlpy never uses its last s'. Hence every
    transition of Q-learning is there and a time limit bootstraps; sequence models (Decision Transformer) see that row
    as a step. d3rlpy has no column for tasks: episode k's is `dataset.episodes.task_index[dataset.numbers[k]]`.
    (`d3rlpy.datasets.get_minari` shifts observations against actions by one more row each episode: do not use it.)

    Numbers become float32. Pictures (height, width, channels) of bytes stay bytes, channels first, as d3rlpy has them;
    a Dict becomes a tuple of its parts, in order; other rows of more than one dimension are flattened. Actions of a
    Discrete space are counted from 0. It has no place for extra columns.

    Raises MissingExtraError without d3rlpy, DatasetError for an empty selection, actions that are neither continuous
    nor Discrete, or an episode that continues after a termination, UnknownNameError for a task that the dataset does
    not have.
    """
    d3rlpy = optional("d3rlpy")
    chosen = dataset if tasks is None else dataset.select(tasks=tasks)
    refuse_empty(chosen)
    leaf = chosen.leaves[ACTIONS]
    if leaf.kind not in ("Box", "Discrete"):
        raise DatasetError(f"{chosen.dataset_id}: d3rlpy has no actions of a {leaf.kind} space")
    parts: dict[str, list[Array]] = {}
    for position, episode in enumerate(chosen):
        if episode.terminated[:-1].any():
            raise DatasetError(f"{chosen.dataset_id}: selected episode {position} continues after it terminated")
        for name, rows in _rows(episode, chosen.leaves).items():
            parts.setdefault(name, []).append(rows)
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    seen = [columns.pop(name) for name in list(columns) if is_observation(name)]
    discrete = leaf.kind == "Discrete"
    return d3rlpy.dataset.MDPDataset(
        observations=tuple(seen) if len(seen) > 1 else seen[0],
        **columns,
        action_space=d3rlpy.ActionSpace.DISCRETE if discrete else d3rlpy.ActionSpace.CONTINUOUS,
        action_size=int(leaf.high - leaf.low) + 1 if discrete else columns["actions"].shape[1],
    )


def _rows(episode: Episode, leaves: Mapping[str, Leaf]) -> dict[str, Array]:
    """An episode's rows: T of one that terminated, else T + 1."""
    length, ended = len(episode), bool(episode.terminated[-1])
    rows = length if ended else length + 1
    actions, ends = _actions(episode.actions, leaves[ACTIONS]), np.arange(rows) == rows - 1
    found = {name: _observations(leaf[:rows], leaves[name]) for name, leaf in leaves_of(episode.observations).items()}
    return found | {
        "actions": np.concatenate([actions, np.zeros_like(actions[: rows - length])]),
        "rewards": np.append(episode.rewards, np.zeros(rows - length)).astype(np.float32)[:, None],
        "terminals": (ends & ended).astype(np.float32),
        "timeouts": (ends & (not ended)).astype(np.float32),
    }


def _actions(actions: Array, leaf: Leaf) -> Array:
    if leaf.kind == "Discrete":
        return (actions - leaf.low).astype(np.int32).reshape(len(actions), 1)
    return actions.reshape(len(actions), -1).astype(np.float32)


def _observations(rows: Array, leaf: Leaf) -> Array:
    if rows.dtype == np.uint8 and rows.ndim == 4:
        return np.ascontiguousarray(rows.transpose(0, 3, 1, 2))
    return rows.reshape(len(rows), -1).astype(np.float32)
