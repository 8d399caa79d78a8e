"""Plain Minari datasets, which idaq did not write: chunked, compressed, any storage. Read by Minari, once, into RAM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import h5py
import numpy as np
from numpy.typing import NDArray

from idaq.core.checks import as_column, as_flags, check_finite, check_numbers, check_returns
from idaq.core.digest import episode_digest
from idaq.core.errors import CorruptDatasetError, DatasetError, MissingExtraError
from idaq.core.notes import Notes
from idaq.core.reading import check_members
from idaq.core.types import TERMINATIONS, TRUNCATIONS, Array, Episode, Task, is_observation
from idaq.format import layout
from idaq.format.columns import Columns, FlatColumn
from idaq.format.documents import About, Column
from idaq.format.plain_minari import open_minari
from idaq.format.reader import EpisodeTable
from idaq.format.spaces import Leaf, parse_leaves

if TYPE_CHECKING:
    from minari import MinariDataset


@dataclass(frozen=True, kw_only=True)
class PlainMinariDataset:
    """A Minari dataset that idaq did not write, as one task. Success is unknown."""

    dataset_id: str
    task: Task
    episodes: EpisodeTable
    columns: Columns
    observation_space: gym.spaces.Box
    """one row of numbers"""
    action_space: gym.spaces.Box
    """one row of numbers"""
    attributes: tuple[dict[str, Any], ...]
    """of each episode, as its maker stored them"""
    left_out: Notes
    """episodes without steps, and counts that are not as stated"""
    layout_notes: Notes
    """what changes no transition: shapes written as rows, infos, seeds that are no number"""

    @property
    def column_info(self) -> dict[str, Column]:
        """As the manifest of a dataset that idaq wrote states columns."""
        columns = self.columns.items()
        return {name: layout.column_of(name, c.flat.dtype, c.shape, c.extra_row, About()) for name, c in columns}

    @property
    def leaves(self) -> dict[str, Leaf]:
        """The space of each column of observations and actions; its maker may have stored them in another dtype."""
        from minari.serialization import serialize_space

        spaces = {"observation_space": self.observation_space, "action_space": self.action_space}
        stated = {name: serialize_space(space) for name, space in spaces.items()}
        return parse_leaves(stated, self.dataset_id)

    @property
    def action_low(self) -> NDArray[np.float32]:
        """(A,) lowest value of each number of an action."""
        return _float32(self.action_space.low)

    @property
    def action_high(self) -> NDArray[np.float32]:
        """(A,) highest value of each number of an action."""
        return _float32(self.action_space.high)


def read_plain_minari(path: Path) -> PlainMinariDataset:
    """Read a whole dataset. Observations may be a Box or a (nested) Dict of Boxes, flattened in Gymnasium's order.

    What is left out or laid out otherwise is noted. Raises DatasetError for spaces that have no vector form here and
    for NaN or infinity, naming the episode; CorruptDatasetError if Minari cannot read it.
    """
    left_out, layout_notes = Notes(), Notes()
    dataset, leaves, episodes, attributes = _read_episodes(path, left_out, layout_notes)
    left_out.add(dataset.id, "episodes without steps are left out", len(attributes) - len(episodes))
    if not episodes:
        raise DatasetError(f"{path} has no episodes with steps")
    for number, episode in episodes.items():
        _check_steps(len(episode), attributes[number], dataset, left_out, f"{path}, episode {number}")
    low, high = (np.concatenate([bound.ravel() for bound in bounds]) for bounds in zip(*leaves.values(), strict=True))
    space: Any = dataset.action_space
    _check_sizes(episodes, (low.size, space.low.size), path)
    for name in next(iter(episodes.values())).columns:
        kinds = sorted({str(episode.columns[name].dtype) for episode in episodes.values()})
        if len(kinds) > 1:
            layout_notes.add(dataset.id, f"{name} of unequal dtypes, {', '.join(kinds)}, are read as the widest")
    stated = [attributes[number].get("seed") for number in episodes]
    seeds = list(map(_seed, stated))
    said = "episodes state a seed that is no whole number from 0 to 2^64 - 1: it is unknown"
    layout_notes.add(dataset.id, said, seeds.count(None) - sum(seed is None for seed in stated))
    return PlainMinariDataset(
        dataset_id=dataset.id,
        task=_only_task(),
        episodes=_table(list(episodes.values()), seeds),
        columns=_columns(list(episodes.values())),
        observation_space=_flat_box(low, high),
        action_space=_flat_box(space.low, space.high),
        attributes=tuple(attributes[number] for number in episodes),
        left_out=left_out,
        layout_notes=layout_notes,
    )


def _check_sizes(episodes: Mapping[int, Episode], sizes: tuple[int, int], path: Path) -> None:
    """Rows of observations and actions are as long as the spaces say."""
    for number, episode in episodes.items():
        found = episode.observations.shape[1], episode.actions.shape[1]
        if found != sizes:
            said = f"observations and actions have {found} numbers, their spaces {sizes}"
            raise CorruptDatasetError(f"{path}, episode {number}: {said}")


def _read_episodes(
    path: Path, left_out: Notes, layout_notes: Notes
) -> "tuple[MinariDataset, dict[str, tuple[Array, Array]], dict[int, Episode], list[dict[str, Any]]]":
    """The dataset, the leaves of its observation space, the episodes with steps by number, and what each states."""
    check_members(path, links_out=True)
    try:
        dataset = open_minari(layout.data_folder(path))
        space = dataset.action_space
        if not isinstance(space, gym.spaces.Box):
            raise DatasetError(f"{path}: the action space {space} is not a Box; only continuous actions are supported")
        leaves = _leaf_spaces(dataset.observation_space, path)
        if not leaves:
            raise DatasetError(f"{path}: observations hold nothing")
        _tell_shapes(dataset, leaves, layout_notes)
        numbers, episodes = range(_stored_episodes(dataset, path, left_out)), {}
        for number, raw in zip(numbers, dataset.iterate_episodes(numbers), strict=True):
            infos = ", ".join(sorted(map(str, raw.infos or {}))[:12])
            layout_notes.add(dataset.id, f"episodes with infos, which are not read: {infos}", int(bool(infos)))
            if len(raw.rewards):
                episodes[number] = _episode(raw, dataset.observation_space, f"{path}, episode {number}")
        return dataset, leaves, episodes, _attributes(dataset, numbers, path)
    except (DatasetError, MissingExtraError):
        raise
    except Exception as error:  # a broken dataset leads Minari and h5py to errors of any kind
        raise CorruptDatasetError(f"Minari cannot read {path}: {error}") from error


def _stored_episodes(dataset: "MinariDataset", path: Path, notes: Notes) -> int:
    """How many episodes the storage holds; notes where metadata.json states another number."""
    stated, folder = int(dataset.total_episodes), layout.data_folder(path)
    if dataset.storage.FORMAT == "hdf5":
        with h5py.File(folder / layout.HDF5, "r") as file:
            names: set[str] = set(file)
    else:
        names = {f"episode_{child.name}" for child in folder.iterdir() if child.is_dir()}
    stored = next(k for k in range(len(names) + 1) if f"episode_{k}" not in names)
    if stored < stated:
        raise CorruptDatasetError(f"Minari cannot read {path}: it states {stated} episodes and stores {stored}")
    beyond = sum(name.startswith("episode_") for name in names) - stored
    notes.add(dataset.id, f"episodes whose numbers do not follow on 0 to {stored - 1} are not read", beyond)
    if stored > stated:
        notes.add(dataset.id, f"metadata.json states {stated} episodes, {stored} are stored: all of them are read")
    return stored


def _attributes(dataset: "MinariDataset", numbers: Sequence[int], path: Path) -> list[dict[str, Any]]:
    """What the maker says of each episode. From HDF5 as it stands: Minari makes a number of every seed, or fails."""
    if dataset.storage.FORMAT != "hdf5":
        return [dict(found) for found in dataset.storage.get_episode_metadata(numbers)]
    with h5py.File(layout.data_folder(path) / layout.HDF5, "r") as file:
        return [dict(file[f"episode_{number}"].attrs) for number in numbers]


def _seed(stated: object) -> int | None:
    if not isinstance(stated, int | np.integer) or isinstance(stated, bool):
        return None
    seed = int(stated)
    return seed if 0 <= seed < 2**64 else None


def _leaf_spaces(space: gym.Space[Any], path: Path, name: str = "") -> dict[str, tuple[Array, Array]]:
    """Lower and upper bounds of each Box of an observation space, by name, in the order of flattening."""
    if isinstance(space, gym.spaces.Box):
        return {name: (space.low, space.high)}
    if not isinstance(space, gym.spaces.Dict):
        raise DatasetError(f"{path}: observations hold a {space}; only Box and Dict of Box are supported")
    found: dict[str, tuple[Array, Array]] = {}
    for key, child in space.spaces.items():
        found |= _leaf_spaces(child, path, f"{name}/{key}" if name else str(key))
    return found


def _tell_shapes(dataset: "MinariDataset", leaves: dict[str, tuple[Array, Array]], notes: Notes) -> None:
    """What is not a plain row of numbers becomes one."""
    if list(leaves) != [""]:
        parts = ", ".join(f"{name} ({low.size} of {low.dtype})" for name, (low, _) in leaves.items())
        notes.add(dataset.id, f"Dict observations are written as one row of numbers of one dtype: {parts}")
    shapes = {"observations": dataset.observation_space.shape, "actions": dataset.action_space.shape}
    for what, shape in shapes.items():
        if shape is not None and len(shape) > 1:  # a Dict has none
            notes.add(dataset.id, f"{what} of shape {shape} are written as rows of {int(np.prod(shape))} numbers")


def _check_steps(length: int, attributes: dict[str, Any], dataset: "MinariDataset", notes: Notes, where: str) -> None:
    """The number of steps that an episode states. Minari cuts long episodes of an Arrow storage into pieces."""
    stated = attributes.get("total_steps")
    if stated is None or stated == length:
        return
    if dataset.storage.FORMAT != "hdf5":
        raise CorruptDatasetError(f"{where} states {stated} steps and Minari reads {length}")
    notes.add(dataset.id, "episodes state another number of steps than they have: those stored are read", 1)


def _episode(raw: Any, space: gym.Space[Any], where: str) -> Episode:
    length = len(raw.rewards)
    observations, actions = _leaves(raw.observations, space, length + 1, where), np.asarray(raw.actions)
    columns = {
        "observations": observations[0] if len(observations) == 1 else np.concatenate(observations, axis=1),
        "actions": _rows("actions", actions, length, where),
        "rewards": as_column("rewards", _rows("rewards", raw.rewards, length, where), where),
    }
    for name, column in columns.items():
        check_finite(name, column, where)
    check_returns(columns["rewards"], where)
    terminated, truncated = (
        as_flags(name, _rows(name, getattr(raw, name), length, where), where)
        for name in ("terminations", "truncations")
    )
    return Episode.from_columns(columns | {TERMINATIONS: terminated, TRUNCATIONS: truncated})


def _leaves(value: Any, space: gym.Space[Any], rows: int, where: str) -> list[Array]:
    if isinstance(space, gym.spaces.Dict):
        return [leaf for key, child in space.spaces.items() for leaf in _leaves(value[key], child, rows, where)]
    return [_rows("observations", value, rows, where)]


def _rows(name: str, value: Any, rows: int, where: str) -> Array:
    """(rows, numbers), where it has as many rows: a reshape alone would share other numbers out over them."""
    array = check_numbers(name, np.asarray(value), where)
    if array.shape[:1] != (rows,):
        raise CorruptDatasetError(f"{where}: {name} of shape {array.shape} do not have {rows} rows")
    return array.reshape(rows, -1)


def _flat_box(low: Array, high: Array) -> gym.spaces.Box:
    kind = np.result_type(low, high)
    if kind.kind == "b":
        kind = np.dtype(np.uint8)
    return gym.spaces.Box(low.ravel().astype(kind), high.ravel().astype(kind), dtype=kind.type)


def _float32(bound: Array) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return bound.astype(np.float32)


def _only_task() -> Task:
    return Task(task_id="task-0", task_index=0, params={}, split="train", success=None)


def _table(episodes: list[Episode], seeds: list[int | None]) -> EpisodeTable:
    count = len(episodes)
    digests = [episode_digest(e, task_index=0, seed=seed) for e, seed in zip(episodes, seeds, strict=True)]
    return EpisodeTable(
        task_index=np.zeros(count, np.int64),
        behaviour=np.full(count, "unknown"),
        history=np.full(count, -1),
        policy_step=np.full(count, -1),
        seed=np.array([seed or 0 for seed in seeds], np.uint64),
        seed_known=np.array([seed is not None for seed in seeds]),
        length=np.array([len(e) for e in episodes], np.int64),
        total_reward=np.array([e.total_reward for e in episodes]),
        success=np.zeros(count, bool),
        success_known=np.zeros(count, bool),
        terminated=np.array([bool(e.terminated.any()) for e in episodes]),  # some makers go on after a termination
        truncated=np.array([bool(e.truncated[-1]) for e in episodes]),
        offsets={},
        digest=np.array(digests),
    )


def _columns(episodes: list[Episode]) -> Columns:
    columns = {}
    for name in episodes[0].columns:
        parts = [episode.columns[name] for episode in episodes]
        offsets = np.concatenate([[0], np.cumsum([part.size for part in parts])[:-1]]).astype(np.int64)
        columns[name] = FlatColumn(
            flat=np.concatenate([part.ravel() for part in parts]),
            offsets=offsets,
            shape=parts[0].shape[1:],
            extra_row=is_observation(name),
        )
    return columns
