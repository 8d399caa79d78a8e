"""Never trust a dataset: checks everything that is stated against everything that is there.

The chain of hashes runs metadata.json -> manifest -> files -> episodes. The manifest digests metadata.json in turn, so
one altered byte anywhere in `data/` is found, unless it changes no value (white space in metadata.json). Where the HDF5
is damaged, the byte offsets in episodes.parquet tell which episodes, without asking the damaged file. The HDF5 library
itself, which hostile structure can hang, is asked last, and only of a file whose sha256 is the manifest's.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from idaq.core.config import to_mapping
from idaq.core.digest import COLUMNS, dataset_digest, episode_digest, value_digest
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.files import inside, sha256_file
from idaq.core.types import Advance, Episode, ignore_progress
from idaq.format import layout
from idaq.format.columns import Columns, get_episode, map_columns
from idaq.format.documents import TaskRecord
from idaq.format.reader import StoredDataset, open_stored, read_manifest, read_metadata


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong: where (file, task, episode) and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def verify(path: Path, progress: Advance = ignore_progress, limit: int = 20) -> list[Problem]:
    """Check a dataset completely; returns up to `limit` problems, none if it is sound. Never raises for bad data.

    `progress` counts each episode twice: its values, then its place in the HDF5.
    """
    with np.errstate(all="ignore"):  # damaged values overflow
        return list(itertools.islice(_all_problems(path, progress), limit))


def check_sound(path: Path, otherwise: str, progress: Advance = ignore_progress) -> None:
    """Raise CorruptDatasetError, `otherwise` and the first problem, unless `verify` finds none."""
    problems = verify(path, progress, limit=1)
    if problems:
        raise CorruptDatasetError(f"{otherwise}: {str(problems[0]).removeprefix(f'{path}/')}")


def _all_problems(path: Path, progress: Advance) -> Iterator[Problem]:
    try:
        stored = open_stored(path)
    except DatasetError as error:
        yield Problem(where=str(path), what=error.message)
        yield from _files_that_differ(path)
        return
    yield from _check_documents(stored)
    try:
        columns = map_columns(stored)
    except DatasetError as error:
        yield Problem(where=str(path), what=error.message)
        return
    whole = sha256_file(stored.hdf5) == _stated_hash(stored)
    damaged = False
    tasks = {task.task_index: task for task in stored.tasks}
    for number in range(len(stored.episodes)):
        for what in _check_episode(stored, columns, number):
            damaged = True
            yield Problem(where=_place(stored, tasks, number), what=what)
        progress(1)
    if not whole:
        rest = "" if damaged else "; every episode's values are intact, so HDF5's own structure is damaged"
        yield Problem(where=str(stored.hdf5), what=f"has another sha256 than the manifest says{rest}")
        return
    yield from _check_hdf5(stored, tasks, progress)


def _files_that_differ(path: Path) -> Iterator[Problem]:
    """Which files disagree with the manifest, as far as the manifest can be trusted."""
    try:
        manifest = read_manifest(path, read_metadata(path))
    except DatasetError:
        return
    data = layout.data_folder(path)
    for record in manifest.files:
        try:
            if sha256_file(inside(data, record.path)) != record.sha256:
                yield Problem(where=str(data / record.path), what="has another sha256 than the manifest says")
        except (OSError, DatasetError) as error:
            yield Problem(where=str(data / record.path), what=str(error))


def _check_documents(stored: StoredDataset) -> Iterator[Problem]:
    """Counts, splits, digests and order, document against document."""
    place = str(layout.data_folder(stored.path) / layout.MANIFEST)
    for name, (stated, found) in {**_identity(stored), **_counts(stored), **_membership(stored)}.items():
        if stated != found:
            yield Problem(where=place, what=f"{name}: stated {_short(stated)}, found {_short(found)}")
    for task in stored.tasks:
        yield from _check_reference(stored, task)


StatedAndFound = dict[str, tuple[object, object]]


def _identity(stored: StoredDataset) -> StatedAndFound:
    """Names and digests."""
    manifest, metadata = stored.manifest, stored.metadata
    folder = Path(os.path.abspath(stored.path)).parts  # so that "." has a name too
    return {
        "dataset id (folder)": (manifest.dataset_id, "/".join(folder[-manifest.dataset_id.count("/") - 1 :])),
        "dataset id (metadata.json)": (manifest.dataset_id, metadata.get("dataset_id")),
        "dataset id (recipe)": (manifest.dataset_id, manifest.recipe.id),
        "family": (manifest.family, manifest.recipe.family),
        "recipe digest": (manifest.recipe_digest, value_digest(to_mapping(manifest.recipe))),
        "content digest": (manifest.content_digest, dataset_digest(stored.episodes.digest.tolist())),
        "observation space": (manifest.observation_space_sha256, value_digest(metadata.get("observation_space"))),
        "action space": (manifest.action_space_sha256, value_digest(metadata.get("action_space"))),
    }


def _counts(stored: StoredDataset) -> StatedAndFound:
    counts, metadata = stored.manifest.counts, stored.metadata
    return {
        "number of tasks": (counts.tasks, len(stored.tasks)),
        "number of episodes": (counts.episodes, len(stored.episodes)),
        "number of steps": (counts.steps, int(stored.episodes.length.sum())),
        "Minari's total_episodes": (counts.episodes, metadata.get("total_episodes")),
        "Minari's total_steps": (counts.steps, metadata.get("total_steps")),
    }


def _membership(stored: StoredDataset) -> StatedAndFound:
    """Which tasks, splits and behaviours there are, and that every episode belongs to one; order."""
    tasks, splits = stored.tasks, stored.manifest.splits
    behaviours = {behaviour.name for behaviour in stored.manifest.recipe.behaviours}
    indices, used = [task.task_index for task in tasks], stored.episodes.task_index.tolist()
    return {
        "order of episodes": (sorted(used), used),
        "tasks of episodes": (set(), set(used) - set(indices)),
        "behaviours of episodes": (set(), set(stored.episodes.behaviour.tolist()) - behaviours),
        "splits": (splits, {name: [t.task_index for t in tasks if t.split == name] for name in splits}),
        "task ids": (len(tasks), len({task.task_id for task in tasks})),
        "task indices": (sorted(set(indices)), indices),
        "splits of tasks": (set(), {task.split for task in tasks} - set(splits)),
    }


def _check_reference(stored: StoredDataset, task: TaskRecord) -> Iterator[Problem]:
    returns = stored.episodes.total_reward[stored.episodes.task_index == task.task_index]
    stated = task.reference.behaviour
    where = f"{layout.data_folder(stored.path) / layout.TASKS}, task {task.task_id}"
    if len(returns) == 0:
        yield Problem(where=where, what="has no episodes")
    elif stated.n != len(returns) or not np.allclose([stated.mean, stated.std], [returns.mean(), returns.std()]):
        found = f"found {returns.mean()} ± {returns.std()} over {len(returns)}"
        yield Problem(where=where, what=f"behaviour return {stated.mean} ± {stated.std} over {stated.n}, {found}")


def _check_episode(stored: StoredDataset, columns: Columns, number: int) -> Iterator[str]:
    """One episode's values against its row in episodes.parquet."""
    table = stored.episodes
    episode = get_episode(columns, number, int(table.length[number]))
    digest = episode_digest(episode, task_index=int(table.task_index[number]), seed=int(table.seed[number]))
    if digest != table.digest[number]:
        yield f"values do not match their digest (stated {table.digest[number][:12]}…, found {digest[:12]}…)"
    for name in ("terminated", "truncated"):
        if (getattr(episode, name).view(np.uint8) > 1).any():
            yield f"{name} holds bytes other than 0 and 1"
    for name in COLUMNS:
        if not np.isfinite(getattr(episode, name)).all():
            yield f"{name} holds NaN or infinity"
    if not np.isclose(episode.total_reward, table.total_reward[number]):
        yield f"return is {episode.total_reward}, stated {table.total_reward[number]}"
    yield from _check_ends(episode, bool(table.terminated[number]), bool(table.truncated[number]))


def _check_ends(episode: Episode, terminated: bool, truncated: bool) -> Iterator[str]:
    if (episode.terminated[:-1] | episode.truncated[:-1]).any():
        yield "goes on after it terminated or was truncated"
    if (bool(episode.terminated[-1]), bool(episode.truncated[-1])) != (terminated, truncated):
        yield "ends otherwise than stated (terminated, truncated)"


def _check_hdf5(stored: StoredDataset, tasks: dict[int, TaskRecord], progress: Advance) -> Iterator[Problem]:
    """What plain HDF5 readers will see: groups, attributes, layout, offsets."""
    try:
        yield from _check_groups(stored, tasks, progress)
    except Exception as error:  # a damaged file makes h5py raise errors of any kind
        yield Problem(where=str(stored.hdf5), what=f"HDF5 cannot read it: {error}")


def _check_groups(stored: StoredDataset, tasks: dict[int, TaskRecord], progress: Advance) -> Iterator[Problem]:
    table = stored.episodes
    with h5py.File(stored.hdf5, "r") as file:
        expected = {f"episode_{number}" for number in range(len(table))}
        if set(file.keys()) != expected:
            strange = sorted(set(file.keys()) ^ expected)[:5]
            yield Problem(where=str(stored.hdf5), what=f"root holds other than its episodes: {strange}")
            return
        for number in range(len(table)):
            group = _own_member(file, f"episode_{number}")
            is_group = isinstance(group, h5py.Group)
            for what in _check_group(stored, group, tasks, number) if is_group else ["is no group"]:
                yield Problem(where=_place(stored, tasks, number), what=what)
            progress(1)


def _check_group(stored: StoredDataset, group: h5py.Group, tasks: dict[int, TaskRecord], number: int) -> Iterator[str]:
    table, task_index = stored.episodes, int(stored.episodes.task_index[number])
    attributes = {
        "id": number,
        "seed": int(table.seed[number]),
        "total_steps": int(table.length[number]),
        "task_index": task_index,
        "task_id": tasks[task_index].task_id if task_index in tasks else None,
        "options/task": task_index,
    }
    for name, value in attributes.items():
        found = _attribute(group, name)
        if not np.array_equal(found, value):
            yield f"attribute {name} is {found!r}, not {value!r}"
    for name, column in stored.manifest.columns.items():
        dataset = _own_member(group, name)
        shape = (layout.rows_of(column, int(table.length[number])), *column.shape)
        if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape or dataset.dtype != np.dtype(column.dtype):
            yield f"column {name} is {dataset!r}, not {shape} of {column.dtype}"
        elif dataset.chunks is not None or dataset.id.get_offset() != table.offsets[name][number]:
            yield f"column {name} is not contiguous at byte {table.offsets[name][number]}"


def _attribute(group: h5py.Group, name: str) -> Any:
    """A plain scalar attribute; None for anything else, since HDF5 hangs or crashes on reading what is no real type."""
    if name not in group.attrs:
        return None
    attribute = group.attrs.get_id(name)
    kind = attribute.get_type()
    plain = isinstance(kind, h5py.h5t.TypeStringID) or kind in (h5py.h5t.STD_I64LE, h5py.h5t.STD_U64LE)
    return group.attrs[name] if attribute.shape == () and plain else None


def _own_member(group: h5py.Group, name: str) -> object:
    """A member that lies in this file; None for links, which may lead anywhere."""
    return group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None


def _place(stored: StoredDataset, tasks: dict[int, TaskRecord], number: int) -> str:
    index = int(stored.episodes.task_index[number])
    task = tasks[index].task_id if index in tasks else f"unknown task {index}"
    return f"{stored.hdf5}, task {task}, episode {number}"


def _stated_hash(stored: StoredDataset) -> str | None:
    return next((record.sha256 for record in stored.manifest.files if record.path == layout.HDF5), None)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else text[:97] + "..."
