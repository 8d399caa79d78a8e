"""Plain Minari datasets of any space, which idaq did not write: chunked, compressed, any storage. Read by Minari, once,
into RAM, a column a leaf; infos are extra columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import h5py
import numpy as np
from numpy.typing import NDArray

from idaq.core.checks import as_column, as_flags, check_finite, check_returns
from idaq.core.digest import episode_digest
from idaq.core.errors import CorruptDatasetError, DatasetError, MissingExtraError
from idaq.core.notes import Notes
from idaq.core.reading import check_members
from idaq.core.types import ACTIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode, Task, is_observation
from idaq.format import casting, layout
from idaq.format.columns import Columns, FlatColumn
from idaq.format.documents import About, Column
from idaq.format.gym_spaces import leaf_spaces
from idaq.format.minari_spaces import Converted, converted
from idaq.format.outside_columns import as_numbers, extra_columns, flat
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
    observation_space: gym.Space[Any]
    """that the columns are of: a Tuple is a Dict, text is bytes"""
    action_space: gym.Space[Any]
    attributes: tuple[dict[str, Any], ...]
    """of each episode, as its maker stored them"""
    left_out: Notes
    """episodes without steps, and counts that are not as stated"""
    layout_notes: Notes
    """what changes no transition: values laid out otherwise, infos, seeds that are no number"""

    @property
    def column_info(self) -> dict[str, Column]:
        """As the manifest of a dataset that idaq wrote states columns."""
        columns = self.columns.items()
        return {name: layout.column_of(name, c.flat.dtype, c.shape, c.extra_row, About()) for name, c in columns}

    @property
    def leaves(self) -> dict[str, Leaf]:
        """The space of each column of observations and actions, by name."""
        from minari.serialization import serialize_space

        spaces = {"observation_space": self.observation_space, "action_space": self.action_space}
        stated = {name: serialize_space(space) for name, space in spaces.items()}
        return parse_leaves(stated, self.dataset_id)

    @property
    def action_low(self) -> NDArray[np.float32]:
        """(A,) lowest value of each number of an action."""
        return _float32(self.leaves[ACTIONS].low)

    @property
    def action_high(self) -> NDArray[np.float32]:
        """(A,) highest value of each number of an action."""
        return _float32(self.leaves[ACTIONS].high)


def read_plain_minari(path: Path) -> PlainMinariDataset:
    """Read a whole dataset, of any space that Minari stores: a Tuple as a Dict, text as its bytes, all of it noted.

    What is left out or laid out otherwise is noted. Raises DatasetError for actions that are no one array and for NaN
    or infinity, naming the episode; CorruptDatasetError if Minari cannot read it.
    """
    left_out, layout_notes = Notes(), Notes()
    raw = _read_episodes(path, left_out, layout_notes)
    name = raw.dataset.id
    left_out.add(name, "episodes without steps are left out", len(raw.attributes) - len(raw.episodes))
    if not raw.episodes:
        raise DatasetError(f"{path} has no episodes with steps")
    for number, columns in raw.episodes.items():
        length = len(columns[REWARDS])
        _check_steps(length, raw.attributes[number], raw.dataset, left_out, f"{path}, episode {number}")
    stated = leaf_spaces(raw.observations.space) | {ACTIONS: raw.actions.space}
    settled = casting.settled([(name, columns) for columns in raw.episodes.values()], stated, layout_notes)
    kept = [raw.attributes[number] for number in raw.episodes]
    said = "episodes state a seed that is no whole number from 0 to 2^64 - 1: it is unknown"
    seeds = [_seed(attributes.get("seed")) for attributes in kept]
    unknown = sum(attributes.get("seed") is not None for attributes in kept)
    layout_notes.add(name, said, seeds.count(None) - (len(kept) - unknown))
    return PlainMinariDataset(
        dataset_id=name,
        task=Task(task_id="task-0", task_index=0, params={}, split="train", success=None),
        episodes=_table([Episode.from_columns(columns) for columns in settled], seeds),
        columns=_columns(settled),
        observation_space=raw.observations.space,
        action_space=raw.actions.space,
        attributes=tuple(kept),
        left_out=left_out,
        layout_notes=layout_notes,
    )


def _float32(bound: Array) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return bound.ravel().astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """What Minari reads."""

    dataset: "MinariDataset"
    observations: Converted
    actions: Converted
    episodes: dict[int, dict[str, Array]]
    """columns of those with steps, by number"""
    attributes: list[dict[str, Any]]
    """of all"""


def _read_episodes(path: Path, left_out: Notes, notes: Notes) -> _Raw:
    check_members(path, links_out=True)
    try:
        dataset = open_minari(layout.data_folder(path))
        name = str(dataset.id)
        observations = converted(dataset.observation_space, "observations", notes, name)
        actions = converted(dataset.action_space, ACTIONS, notes, name)
        if dataset.storage.jpeg_encoding and observations.has_images:
            notes.add(name, "images that are stored as JPEG are read decoded: what JPEG lost is lost")
        numbers, episodes = range(_stored_episodes(dataset, path, left_out)), dict[int, dict[str, Array]]()
        for number, raw in zip(numbers, dataset.iterate_episodes(numbers), strict=True):
            if len(raw.rewards):
                episodes[number] = _episode(raw, observations, actions, notes, f"{path}, episode {number}", name)
        attributes = _attributes(dataset, numbers, path)
    except (DatasetError, MissingExtraError):
        raise
    except Exception as error:  # a broken dataset leads Minari and h5py to errors of any kind
        raise CorruptDatasetError(f"Minari cannot read {path}: {error}") from error
    return _Raw(dataset=dataset, observations=observations, actions=actions, episodes=episodes, attributes=attributes)


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


def _check_steps(length: int, attributes: dict[str, Any], dataset: "MinariDataset", notes: Notes, where: str) -> None:
    """The number of steps that an episode states. Minari cuts long episodes of an Arrow storage into pieces."""
    stated = attributes.get("total_steps")
    if stated is None or stated == length:
        return
    if dataset.storage.FORMAT != "hdf5":
        raise CorruptDatasetError(f"{where} states {stated} steps and Minari reads {length}")
    notes.add(dataset.id, "episodes state another number of steps than they have: those stored are read", 1)


def _episode(
    raw: Any, observations: Converted, actions: Converted, notes: Notes, where: str, name: str
) -> dict[str, Array]:
    """All columns. Raises CorruptDatasetError for rows that do not fit, DatasetError for NaN and infinity."""
    length = len(raw.rewards)
    columns = observations.leaves(raw.observations, length + 1, where)
    columns |= {ACTIONS: actions.leaves(raw.actions, length, where)[ACTIONS]}
    columns |= {REWARDS: as_column(REWARDS, _rows(REWARDS, raw.rewards, length, where), where)}
    for column, array in columns.items():
        check_finite(column, array, where)
    check_returns(columns[REWARDS], where)
    for flag in (TERMINATIONS, TRUNCATIONS):
        columns[flag] = as_flags(flag, _rows(flag, getattr(raw, flag), length, where), where)
    return columns | _infos(raw.infos or {}, length, notes, name)


def _rows(name: str, value: Any, rows: int, where: str) -> Array:
    array = as_numbers(value)
    if array is None or array.shape[:1] != (rows,):
        shape = None if array is None else array.shape
        raise CorruptDatasetError(f"{where}: {name} of shape {shape} do not have {rows} rows of numbers")
    return array


def _infos(infos: Mapping[str, Any], length: int, notes: Notes, where: str) -> dict[str, Array]:
    """Infos of a row a step, or of one more for the reset."""
    found: dict[str, Array] = {}
    for name, value in flat(infos, layout.INFOS).items():
        array = as_numbers(value)
        if array is None or not array.ndim or len(array) not in (length, length + 1):
            notes.add(where, f"{name[:100]} is left out: it is not one number, or row of them, a step", 1)
        else:
            found[name] = array
    return extra_columns(found, notes, where)


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


def _columns(episodes: Sequence[Mapping[str, Array]]) -> Columns:
    columns = {}
    for name, first in episodes[0].items():
        parts = [episode[name] for episode in episodes]
        offsets = np.concatenate([[0], np.cumsum([part.size for part in parts])[:-1]]).astype(np.int64)
        columns[name] = FlatColumn(
            flat=np.concatenate([part.ravel() for part in parts]),
            offsets=offsets,
            shape=first.shape[1:],
            extra_row=is_observation(name) or len(first) > len(episodes[0][REWARDS]),
        )
    return columns
