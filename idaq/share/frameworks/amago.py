"""AMAGO: an RLDataset of trajectories, which its `Experiment` trains from."""

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError, UsageError
from idaq.core.extras import optional
from idaq.core.types import ACTIONS, OBSERVATIONS, Array, leaves_of
from idaq.format.spaces import Leaf
from idaq.loader import Dataset
from idaq.share.frameworks.rows import refuse_empty


def to_amago(dataset: Dataset, episodes: int = 1) -> Any:
    """An `amago.loading.RLDataset` whose random trajectory is `episodes` in a row of one task and behaviour.

    In a row means in the order of a learning history where there are such, else in that of the dataset. Several are
    joined as AMAGO's own k-episode environments do it: the first observation of the next episode stands where the last
    of the one before was, an observation `reset` is 1 at each first, and only the last episode can terminate the
    trajectory. Observations are a dict, `observation` where the dataset's are not; numbers are float32, bytes stay
    bytes. Continuous actions are scaled to [-1, 1] from the bounds of their space, and Discrete ones are one-hot, both
    as AMAGO's agents act. It has no place for extra columns.

    Raises MissingExtraError without AMAGO, DatasetError for an empty selection, actions that AMAGO has not or that have
    no bounds, UsageError for no episodes.
    """
    if episodes < 1:
        raise UsageError(f"a trajectory of {episodes} episodes", hint="episodes=1 or more")
    loading, torch = optional("amago.loading"), optional("torch")
    refuse_empty(dataset)
    _check_actions(dataset)
    groups = _groups(dataset)

    class Trajectories(loading.RLDataset):
        save_new_trajs_to = None

        def get_description(self) -> str:
            return f"{dataset.dataset_id}: {len(dataset)} episodes, {episodes} a trajectory"

        def sample_random_trajectory(self) -> Any:
            return self.trajectory(random.randrange(len(dataset)))

        def trajectory(self, position: int) -> Any:
            """That which begins with the `position`-th selected episode, or ends with the last of its group."""
            group = groups[position]
            begin = max(min(int(np.flatnonzero(group == position)[0]), len(group) - episodes), 0)
            columns = _columns(dataset, group[begin : begin + episodes].tolist(), marked=episodes > 1)
            columns = {name: torch.from_numpy(np.ascontiguousarray(rows)) for name, rows in columns.items()}
            observations = {n.removeprefix("obs/"): columns.pop(n) for n in list(columns) if n.startswith("obs/")}
            return loading.RLData(obs=observations, **columns)

    return Trajectories(dset_name=dataset.dataset_id.replace("/", "_"))


def _check_actions(dataset: Dataset) -> None:
    leaf = dataset.leaves[ACTIONS]
    if leaf.kind not in ("Box", "Discrete", "MultiBinary"):
        raise DatasetError(f"{dataset.dataset_id}: AMAGO has no actions of a {leaf.kind} space")
    if leaf.kind == "Box" and not (np.isfinite(leaf.low).all() and np.isfinite(leaf.high).all()):
        raise DatasetError(f"{dataset.dataset_id}: AMAGO acts in [-1, 1], and the action space has no bounds")


def _groups(dataset: Dataset) -> list[NDArray[np.int64]]:
    """For each selected episode, the positions of all of its learning history, else of its task and behaviour."""
    table, numbers = dataset.episodes, dataset.numbers
    members: dict[tuple[int, str, int], list[int]] = {}
    keys = list(
        zip(
            table.task_index[numbers].tolist(),
            table.behaviour[numbers].tolist(),
            table.history[numbers].tolist(),
            strict=True,
        )
    )
    for position, key in enumerate(keys):
        members.setdefault(key, []).append(position)
    ordered = {
        key: np.array(sorted(found, key=lambda at: (int(table.policy_step[numbers[at]]), at)))
        for key, found in members.items()
    }
    return [ordered[key] for key in keys]


def _columns(dataset: Dataset, positions: list[int], *, marked: bool) -> dict[str, Array]:
    """What `RLData` takes of these episodes: observations (T + 1, ...) as `obs/...`, all else (T, ...)."""
    found = [dataset.episode(position) for position in positions]
    steps = sum(len(episode) for episode in found)
    dones = np.zeros((steps, 1), bool)
    if len(found) == 1:
        dones[:, 0] = found[0].terminated
    dones[-1] = found[-1].terminated[-1]
    columns: dict[str, Array] = {
        "actions": np.concatenate([_actions(episode.actions, dataset.leaves[ACTIONS]) for episode in found]),
        "rews": np.concatenate([episode.rewards for episode in found]).astype(np.float32)[:, None],
        "dones": dones,
        "time_idxs": np.arange(steps + 1)[:, None],
    }
    for name in leaves_of(found[0].observations):
        leaves = [leaves_of(episode.observations)[name] for episode in found]
        rows = np.concatenate([*(leaf[:-1] for leaf in leaves), leaves[-1][-1:]])
        called = name.removeprefix(f"{OBSERVATIONS}/") if name != OBSERVATIONS else "observation"
        columns[f"obs/{called}"] = _numbers(rows)
    if marked:
        firsts = np.cumsum([0, *(len(episode) for episode in found[:-1])])
        columns["obs/reset"] = np.isin(np.arange(steps + 1), firsts).astype(np.float32)[:, None]
    return columns


def _numbers(rows: Array) -> Array:
    """(T + 1, W) or more dimensions; bytes stay bytes."""
    wide = rows[:, None] if rows.ndim == 1 else rows
    return wide if wide.dtype == np.uint8 else wide.astype(np.float32)


def _actions(actions: Array, leaf: Leaf) -> Array:
    if leaf.kind == "Discrete":
        return np.eye(int(leaf.high - leaf.low) + 1, dtype=np.float32)[actions - leaf.low]
    flat = actions.reshape(len(actions), -1)
    if leaf.kind == "MultiBinary":
        return flat.astype(np.float32)
    low, high = leaf.low.ravel().astype(np.float64), leaf.high.ravel().astype(np.float64)
    span = np.where(high > low, high - low, 1)
    return (2 * (flat - low) / span - 1).astype(np.float32)
