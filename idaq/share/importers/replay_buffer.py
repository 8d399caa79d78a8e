"""Replay buffers of Stable-Baselines3, as `model.save_replay_buffer` pickles them: arrays (buffer, environments, ...).

Each environment's transitions in the order in which they happened: a full buffer is read from its oldest. Of a Box
action space SB3 stores actions scaled to [-1, 1]: they are written as the environment took them.
"""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from idaq.core.checks import as_flags
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import OBSERVATIONS, Array
from idaq.format.boxes import Space
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug
from idaq.format.outside_columns import as_numbers, flat
from idaq.share.importers.pickled import Record, said
from idaq.share.rows import Rows, episodes_of_rows

_NEEDED = {"observations", "actions", "rewards", "dones", "pos", "full"}


def is_replay_buffer(value: Any) -> bool:
    """Whether an object has the parts of a Stable-Baselines3 buffer."""
    return isinstance(value, Record) and value.state.keys() >= _NEEDED


def import_replay_buffer(value: Any, path: Path) -> Import:
    """One task; episodes environment by environment. Raises DatasetError for what is no such buffer."""
    if not is_replay_buffer(value):
        raise DatasetError(f"{path} is no replay buffer of Stable-Baselines3: it holds {said(value)}"[:1000])
    state, result = value.state, Import(tasks=[], origin=path.name)
    order, following = _order(state, str(path)), state.get("next_observations")
    if state.get("optimize_memory_usage"):
        following, order = None, order[1:] if state["full"] else order  # the oldest row is another's next observation
    columns = {
        "observations": _leaves(state["observations"], path),
        "next_observations": None if following is None else _leaves(following, path),
    }
    actions = _numbers(state["actions"], "actions", path)
    space = space_of_record(state.get("action_space"))
    if isinstance(space, gym.spaces.Box):
        actions = _unscaled(actions, space, result, path)
    result.action_space, result.observation_space = space, space_of_record(state.get("observation_space"))
    rewards = _numbers(state["rewards"], "rewards", path)
    dones, timeouts = (_numbers(state.get(name, np.zeros_like(rewards)), name, path) for name in ("dones", "timeouts"))
    shapes = {actions.shape[:2], rewards.shape, dones.shape, timeouts.shape}
    if len(shapes) > 1 or rewards.ndim != 2:
        raise CorruptDatasetError(f"{path}: actions, rewards, dones and timeouts of unequal shapes {sorted(shapes)}")
    entries: list[ImportedEpisode] = []
    for stream in range(rewards.shape[1]):
        take: Any = lambda array, stream=stream: array[order, stream]  # noqa: E731
        ended, limited = (as_flags("dones", take(flags), str(path)) for flags in (dones, timeouts))
        after = columns["next_observations"]
        rows = Rows(
            observations={name: take(rows) for name, rows in (columns["observations"] or {}).items()},
            next_observations=None if after is None else {name: take(rows) for name, rows in after.items()},
            actions=take(actions),
            rewards=take(rewards),
            terminated=ended & ~limited,
            truncated=limited,
        )
        entries += [ImportedEpisode(episode=episode) for episode in episodes_of_rows(rows, result.notes, path.name)]
    if state["full"]:
        result.notes.add(path.name, "the buffer is full: the oldest episode of each environment may lack its beginning")
    result.tasks.append(ImportedTask(name=slug(path.stem), episodes=entries))
    return result


def _order(state: dict[str, Any], where: str) -> Any:
    """Rows of the buffer from the oldest to the newest."""
    size, place, full = len(state["rewards"]), state["pos"], state["full"]
    if not isinstance(place, int | np.integer) or not 0 <= place <= size or not isinstance(full, bool | np.bool_):
        raise CorruptDatasetError(f"{where}: pos {place!r} and full {full!r} are none of a buffer of {size}")
    rows = np.arange(size)
    found = np.roll(rows, -int(place)) if full else rows[: int(place)]
    if not len(found):
        raise DatasetError(f"{where}: the buffer is empty")
    return found


def _leaves(value: Any, path: Path) -> dict[str, Array]:
    return {name: _numbers(leaf, name, path) for name, leaf in flat(value, OBSERVATIONS).items()}


def _numbers(value: Any, name: str, path: Path) -> Array:
    array = as_numbers(value)
    if array is None or array.ndim < 2:
        raise CorruptDatasetError(f"{path}: {name} is no array of (buffer, environments, ...) but {said(value)}"[:500])
    return array


def _unscaled(actions: Array, space: gym.spaces.Box, result: Import, path: Path) -> Array:
    """What the environment took, from [-1, 1]."""
    low, high = space.low.astype(np.float64).ravel(), space.high.astype(np.float64).ravel()
    if actions.shape[2:] != low.shape or ((low == -1) & (high == 1)).all() or not np.isfinite([low, high]).all():
        return actions
    result.notes.add(path.name, "actions are stored scaled to [-1, 1]: they are written in the units of their space")
    return (low + 0.5 * (actions.astype(np.float64) + 1) * (high - low)).astype(actions.dtype)


def space_of_record(record: Any) -> Space | None:
    """A Gymnasium space of what its pickle states; None for one that has no place in the format."""
    if not isinstance(record, Record):
        return None
    state = record.state
    try:
        match type(record).__name__:
            case "Box":
                return gym.spaces.Box(
                    np.asarray(state["low"]), np.asarray(state["high"]), dtype=np.dtype(state["dtype"]).type
                )
            case "Discrete":
                return gym.spaces.Discrete(int(state["n"]), start=int(state.get("start", 0)))
            case "MultiDiscrete":
                return gym.spaces.MultiDiscrete(
                    np.asarray(state["nvec"]), start=np.asarray(state.get("start", 0 * state["nvec"]))
                )
            case "MultiBinary":
                return gym.spaces.MultiBinary(np.asarray(state["n"]).tolist())
            case "Dict":
                inner = {str(key): space_of_record(value) for key, value in dict(state["spaces"]).items()}
                return None if None in inner.values() else gym.spaces.Dict(inner)  # type: ignore[arg-type]
            case _:
                return None
    except Exception:  # what a pickle states may be of any kind
        return None
