"""A Minari dataset of any maker as one task, or as those that its episodes name."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import Episode
from idaq.format import layout
from idaq.format.columns import get_episode
from idaq.format.documents import UNKNOWN_ENV, EnvReference
from idaq.format.guarded import require_readable
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug
from idaq.format.minari_reader import PlainMinariDataset, read_plain_minari
from idaq.format.reader import read_metadata

_READ = {"id", "seed", "total_steps", "task_index"}
"""attributes of an episode that something is made of, or that say nothing new"""


def read_minari(path: Path) -> Import:
    """One task, or one for each `task_index` where every episode has that attribute.

    Columns are those of the leaves of its spaces, and its infos. An episode that continues after its end is split.
    """
    hdf5 = layout.data_folder(path) / layout.HDF5
    if hdf5.exists():  # Minari has other forms too
        require_readable(hdf5)
    foreign, metadata = read_plain_minari(path), read_metadata(path)
    name, notes = foreign.dataset_id, Notes()
    notes.extend(foreign.left_out)
    notes.extend(foreign.layout_notes)
    if "idaq" in metadata:
        notes.add(name, "is an idaq dataset, of which only episodes are read; idaq dataset merge keeps all of it")
    unread = [sorted(set(stated) - _READ) for stated in foreign.attributes]
    said = ", ".join(dict.fromkeys(attribute for stated in unread for attribute in stated))
    notes.add(name, f"episodes state more than is read: {said}"[:500], sum(map(bool, unread)))
    spec = metadata.get("env_spec")
    if not isinstance(spec, str):
        notes.add(name, "no environment is named: minari's recover_environment() has none")
    env = _reference(spec, path, notes, name) if isinstance(spec, str) else UNKNOWN_ENV
    episodes: dict[tuple[int | None, str], list[ImportedEpisode]] = {}  # by index and name of the task
    for number, task in enumerate(_tasks(foreign, notes)):
        seed = foreign.episodes.seed_of(number)
        first, *more = _episodes(foreign, number, notes)
        said = "pieces of episodes of known seed begin without a reset: theirs is unknown"
        notes.add(name, said, 0 if seed is None else len(more))
        cut = [ImportedEpisode(episode=first, seed=seed), *(ImportedEpisode(episode=episode) for episode in more)]
        episodes.setdefault(task, []).extend(cut)
    ordered = sorted(episodes.items(), key=lambda item: item[0])
    return Import(
        tasks=[ImportedTask(name=n, index=k, episodes=found, env=env) for (k, n), found in ordered],
        origin=f"minari: {name}",
        observation_space=foreign.observation_space,
        action_space=foreign.action_space,
        env_spec_json=spec if isinstance(spec, str) else None,
        authors=_authors(metadata.get("author")),
        license=next((_line(metadata[key]) for key in ("license", "licence") if _line(metadata.get(key))), None),
        source=_line(metadata.get("code_permalink")) or None,
        notes=notes,
    )


def _authors(stated: object) -> list[str]:
    named = stated if isinstance(stated, list) else [stated]
    return [line for line in map(_line, named) if line]


def _line(stated: object) -> str:
    """Text of Minari's metadata as one printable line; nothing where it is no text."""
    text = stated if isinstance(stated, str) else ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _tasks(foreign: PlainMinariDataset, notes: Notes) -> list[tuple[int | None, str]]:
    """Index and name of each episode's task."""
    own = slug(foreign.dataset_id.replace("/", "."))
    stated = [attributes.get("task_index") for attributes in foreign.attributes]
    indices = [int(index) for index in stated if isinstance(index, int | np.integer) and 0 <= index <= 2**53]
    if len(indices) < len(stated):
        unused = sum(index is not None for index in stated)
        said = "episodes name a task_index, which is not used, for others name none or no whole number from 0 to 2^53"
        notes.add(foreign.dataset_id, said, unused)
        return [(None, own)] * len(stated)
    return [(index, slug(f"{own[:40]}.{index:03d}")) for index in indices]


def _episodes(foreign: PlainMinariDataset, number: int, notes: Notes) -> list[Episode]:
    episode = get_episode(foreign.columns, number, int(foreign.episodes.length[number]))
    ends = episode.terminated | episode.truncated
    if not ends[:-1].any():
        return [episode]
    ends[-1] = True
    edges, length = [0, *(np.flatnonzero(ends) + 1).tolist()], len(episode)
    notes.add(foreign.dataset_id, "episodes that go on after an end are cut there into several", 1)
    return [
        Episode.from_columns({n: column[first : end + len(column) - length] for n, column in episode.columns.items()})
        for first, end in itertools.pairwise(edges)
    ]


def _reference(spec: str, path: Path, notes: Notes, where: str) -> EnvReference:
    try:
        stated = json.loads(spec)
        kwargs = stated.get("kwargs") or {}
        endless = [name for name, value in kwargs.items() if not _is_plain(value)]
        if endless:
            said = f"kwargs of its env_spec that JSON cannot hold are left to env_spec: {', '.join(endless)}"
            notes.add(where, said, len(endless))
        return EnvReference(
            id=stated["id"],
            entry_point=str(stated.get("entry_point") or ""),
            kwargs={name: value for name, value in kwargs.items() if name not in endless},
            max_episode_steps=stated.get("max_episode_steps"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{path}: its env_spec is not Gymnasium's: {error}") from None


def _is_plain(value: Any) -> bool:
    """Whether no NaN and no infinity is in it."""
    if isinstance(value, dict):
        return all(_is_plain(inner) for inner in value.values())
    if isinstance(value, list):
        return all(_is_plain(inner) for inner in value)
    return not isinstance(value, float) or math.isfinite(value)
