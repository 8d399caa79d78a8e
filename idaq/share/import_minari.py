"""Minari datasets of any maker as the tasks of one dataset."""

import json
from collections.abc import Sequence
from pathlib import Path

import gymnasium as gym

from idaq.core.errors import DatasetError
from idaq.core.types import Episode
from idaq.format import layout
from idaq.format.columns import get_episode
from idaq.format.documents import EnvReference
from idaq.format.foreign import Foreign, read_foreign
from idaq.format.guarded import require_readable
from idaq.format.reader import read_metadata
from idaq.share.importing import Import, ImportedEpisode, ImportedTask, Rows, cut_episodes


def read_minari(paths: Sequence[Path]) -> Import:
    """One task a dataset, in the order given; Dict observations are flattened as Gymnasium flattens them.

    An episode that goes on after a termination is cut there. Raises DatasetError where spaces differ.
    """
    result = Import(tasks=[], origin="")
    names, specs = [], []
    for index, path in enumerate(paths):
        hdf5 = layout.data_folder(path) / layout.HDF5
        if hdf5.exists():  # Minari has other forms too
            require_readable(hdf5)
        foreign, metadata = read_foreign(path), read_metadata(path)
        _same_sizes(foreign, result, path)
        episodes = [
            ImportedEpisode(episode=episode, seed=int(foreign.episodes.seed[number]))
            for number in range(len(foreign.episodes))
            for episode in _episodes(foreign, number, result.notes)
        ]
        task = ImportedTask(name=_slug(foreign.dataset_id, index), index=index, episodes=episodes)
        spec = metadata.get("env_spec")
        if isinstance(spec, str):
            task.env = _reference(spec, path)
        names.append(foreign.dataset_id)
        specs.append(spec)
        result.tasks.append(task)
    result.origin = "minari: " + ", ".join(names)
    if len(set(specs)) == 1 and isinstance(specs[0], str):
        result.env_spec_json = specs[0]
    else:
        result.notes.append("the environments differ: minari's recover_environment() has none; each task names its own")
    return result


def _episodes(foreign: Foreign, number: int, notes: list[str]) -> list[Episode]:
    episode = get_episode(foreign.columns, number, int(foreign.episodes.length[number]))
    if not (episode.terminated[:-1] | episode.truncated[:-1]).any():
        return [episode]
    rows = Rows(
        observations=episode.observations[:-1],
        actions=episode.actions,
        rewards=episode.rewards,
        next_observations=episode.observations[1:],
        terminated=episode.terminated,
        truncated=episode.truncated,
    )
    parts = cut_episodes(rows, notes, f"{foreign.dataset_id}, episode {number}")
    notes.append(f"{foreign.dataset_id}, episode {number}: goes on after its end; cut into {len(parts)} episodes")
    return parts


def _same_sizes(foreign: Foreign, result: Import, path: Path) -> None:
    kind = foreign.columns["actions"].flat.dtype.type
    space = gym.spaces.Box(foreign.action_low.astype(kind), foreign.action_high.astype(kind), dtype=kind)
    if result.action_space is not None and result.action_space.shape != space.shape:
        raise DatasetError(f"{path}: actions of shape {space.shape}, the first dataset's {result.action_space.shape}")
    if result.tasks:
        first, width = result.tasks[0].episodes[0].episode.observations, foreign.columns["observations"].width
        if first.shape[1] != width:
            raise DatasetError(f"{path}: observations of {width} numbers, the first dataset's {first.shape[1]}")
    result.action_space = result.action_space or space


def _reference(spec: str, path: Path) -> EnvReference:
    try:
        stated = json.loads(spec)
        return EnvReference(
            id=stated["id"],
            entry_point=str(stated.get("entry_point") or ""),
            kwargs=stated.get("kwargs") or {},
            max_episode_steps=stated.get("max_episode_steps"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path}: its env_spec is not Gymnasium's: {error}") from None


def _slug(dataset_id: str, index: int) -> str:
    """A task id that is unique and tells the dataset: `0-d4rl.hammer.human-v2`."""
    text = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "." for c in dataset_id.lower())
    return f"{index}-{text}"[:64].rstrip("._-")
