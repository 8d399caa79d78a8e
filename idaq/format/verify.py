"""Never trust a dataset: checks everything that is stated against everything that is there.

The chain of hashes runs metadata.json -> manifest -> files -> episodes. The manifest digests metadata.json in turn, so
one altered byte anywhere in `data/` is found, unless it changes no value (white space in metadata.json). Where the HDF5
is damaged, the byte offsets in episodes.parquet say which episodes, without the HDF5 library. The HDF5 library
itself, which hostile structure can hang, is asked last, and only of a file whose sha256 is the manifest's.
"""

import itertools
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from idaq.core.digest import dataset_digest, value_digest
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.files import inside, read_json, sha256_file
from idaq.core.types import REWARDS, Advance, ignore_progress
from idaq.format import layout
from idaq.format.columns import map_columns
from idaq.format.documents import TaskRecord
from idaq.format.guarded import call_guarded
from idaq.format.hdf5_structure import ExpectedColumn, ExpectedEpisode, Structure, Unrecognised
from idaq.format.hdf5_walk import to_plain
from idaq.format.plain_minari import minari_refusal, unknown_entry_points
from idaq.format.reader import StoredDataset, open_stored, read_manifest, read_metadata
from idaq.format.spaces import read_leaves
from idaq.format.values import Checked, are_intact, batches, check_episode

_SECONDS_AN_EPISODE, _MEGABYTES, _MOST_FINDINGS = 0.02, 300, 1000
"""what HDF5 may take of processor time (it takes milliseconds an episode) and of memory; the findings that matter"""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong: where (file, task, episode) and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def verify(path: Path, progress: Advance = ignore_progress, limit: int = 20) -> list[Problem]:
    """Check a dataset completely; returns up to `limit` problems, none if it is valid. Never raises for bad data.

    `progress` counts each episode twice: its values, then its place in the HDF5.
    """
    with np.errstate(all="ignore"):  # damaged values overflow
        return list(itertools.islice(_guarded(_all_problems(path, progress), path), limit))


def warnings_of(path: Path) -> list[Problem]:
    """Warnings about a valid dataset: code of unknown origin that its documents name. Raises DatasetError."""
    return [Problem(where=str(path), what=what) for what in unknown_entry_points(open_stored(path))]


def _guarded(problems: Iterator[Problem], path: Path) -> Iterator[Problem]:
    """Turn any exception of a check into a problem: no dataset makes `verify` raise."""
    try:
        yield from problems
    except Exception as error:
        yield Problem(
            where=str(path), what=f"cannot be checked: {type(error).__name__}: {ascii(str(error))[1:-1][:300]}"
        )


def check_valid(path: Path, otherwise: str, progress: Advance = ignore_progress) -> None:
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
    yield from _check_files(stored)
    yield from _check_documents(stored)
    data = layout.data_folder(path)
    try:
        columns = map_columns(stored)  # before the spaces, which are held against the columns
        leaves = read_leaves(stored.metadata, stored.manifest.columns, str(data / layout.METADATA))
        yield from _check_minari(stored)
    except DatasetError as error:
        yield Problem(where=str(path), what=error.message)
        return
    tasks = {task.task_index: task for task in stored.tasks}
    with ThreadPoolExecutor(1) as threads:
        whole = threads.submit(sha256_file, stored.hdf5)  # beside the values' own digests: hashing leaves Python free
        damaged = False
        for problem in _check_values(stored, Checked(columns, leaves), tasks, progress):
            damaged = True
            yield problem
    if whole.result() != _stated_hash(stored):
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


def _check_files(stored: StoredDataset) -> Iterator[Problem]:
    """Nothing lies in data/ but the files of the format, and those lie there themselves: no links."""
    data = layout.data_folder(stored.path)
    names = {*layout.hashed_files(stored.manifest.columns), layout.MANIFEST, layout.METADATA}
    known = {data / name for name in names} | {(data / name).parent for name in names}
    for folder in sorted({path.parent for path in known} & known):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if Path(entry.path) not in known:
                yield Problem(where=str(data), what=f"holds what is no part of the format: {entry.name!r}")
            elif entry.is_symlink():
                yield Problem(where=entry.path, what="is a link")


def _check_minari(stored: StoredDataset) -> Iterator[Problem]:
    """Whether plain Minari opens the dataset."""
    if what := minari_refusal(stored):
        yield Problem(where=str(layout.data_folder(stored.path) / layout.METADATA), what=what)


def _check_documents(stored: StoredDataset) -> Iterator[Problem]:
    """Counts, splits, digests and order, document against document."""
    place = str(layout.data_folder(stored.path) / layout.MANIFEST)
    for name, (stated, found) in {**_identity(stored), **_counts(stored), **_membership(stored)}.items():
        if stated != found:
            yield Problem(where=place, what=f"{name}: stated {_short(stated)}, found {_short(found)}")
    if not len(stored.episodes):
        yield Problem(where=place, what="the dataset holds no episodes")
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
        "families of tasks": (manifest.family, layout.common_family(stored.tasks)),
        "compressed columns": (sorted(set(manifest.recipe.compress)), sorted(layout.compressed(manifest.columns))),
        "recipe digest": (manifest.recipe_digest, value_digest(_recipe_as_it_stands(stored))),
        "content digest": (manifest.content_digest, dataset_digest(stored.episodes.digest.tolist())),
        "observation space": (manifest.observation_space_sha256, value_digest(metadata.get("observation_space"))),
        "action space": (manifest.action_space_sha256, value_digest(metadata.get("action_space"))),
    }


def _recipe_as_it_stands(stored: StoredDataset) -> object:
    """Without the defaults of fields that an earlier idaq did not write."""
    return read_json(layout.data_folder(stored.path) / layout.MANIFEST)["recipe"]


def _counts(stored: StoredDataset) -> StatedAndFound:
    counts, metadata = stored.manifest.counts, stored.metadata
    return {
        "number of tasks": (counts.tasks, len(stored.tasks)),
        "number of episodes": (counts.episodes, len(stored.episodes)),
        "number of steps": (counts.steps, int(stored.episodes.length.sum())),
        "Minari's total_episodes": (counts.episodes, _whole(metadata.get("total_episodes"))),
        "Minari's total_steps": (counts.steps, _whole(metadata.get("total_steps"))),
        "Minari's data_format": ("hdf5", metadata.get("data_format")),
    }


def _whole(value: object) -> object:
    """True is 1 and 8.0 is 8 to Python, and neither is to Minari."""
    return value if type(value) is int else repr(value)


def _membership(stored: StoredDataset) -> StatedAndFound:
    """Which tasks, splits and behaviours there are, and that every episode belongs to one; order."""
    tasks, splits = stored.tasks, stored.manifest.splits
    behaviours = {behaviour.name for behaviour in stored.manifest.recipe.behaviours}
    indices, used = [task.task_index for task in tasks], stored.episodes.task_index.tolist()
    return {
        "order of episodes": (sorted(used), used),
        "tasks of episodes": (set(), set(used) - set(indices)),
        "behaviours of episodes": (set(), set(np.unique(stored.episodes.behaviour).tolist()) - behaviours),
        "splits": (splits, {name: [t.task_index for t in tasks if t.split == name] for name in splits}),
        "task ids": (len(tasks), len({task.task_id for task in tasks})),
        "task indices": (sorted(set(indices)), indices),
        "splits of tasks": (set(), {task.split for task in tasks} - set(splits)),
        "episodes whose policy had learned less than in the one before it of its history": ([], _fallen(stored)),
    }


def _fallen(stored: StoredDataset) -> list[int]:
    """Numbers of episodes at which `policy_step` falls within a learning history."""
    table = stored.episodes
    known = np.flatnonzero((table.history >= 0) & (table.policy_step >= 0))
    behaviour = np.unique(table.behaviour[known], return_inverse=True)[1]
    keys = np.stack([table.task_index[known], behaviour, table.history[known]])
    order = np.lexsort(keys[::-1])  # stable: in the order of the file within a history
    same = (keys[:, order][:, 1:] == keys[:, order][:, :-1]).all(0)
    falls = np.diff(table.policy_step[known][order]) < 0
    return np.sort(known[order][1:][same & falls]).tolist()


def _check_reference(stored: StoredDataset, task: TaskRecord) -> Iterator[Problem]:
    returns = stored.episodes.total_reward[stored.episodes.task_index == task.task_index]
    stated, known = task.reference.behaviour, stored.manifest.columns[REWARDS].known
    where = f"{layout.data_folder(stored.path) / layout.TASKS}, task {task.task_id}"
    if len(returns) == 0:
        yield Problem(where=where, what="has no episodes")
    elif stated is None or not known:
        if (stated is None) == known:
            what = "is null, and its episodes' are known" if known else "is stated, and rewards are not known"
            yield Problem(where=where, what=f"behaviour return {what}")
    elif stated.n != len(returns) or not np.allclose([stated.mean, stated.std], [returns.mean(), returns.std()]):
        found = f"found {returns.mean()} ± {returns.std()} over {len(returns)}"
        yield Problem(where=where, what=f"behaviour return {stated.mean} ± {stated.std} over {stated.n}, {found}")


def _check_values(
    stored: StoredDataset, checked: Checked, tasks: dict[int, TaskRecord], progress: Advance
) -> Iterator[Problem]:
    """Every episode's values against its row in episodes.parquet: some at once, and one by one where any is wrong."""
    lengths = stored.episodes.length.tolist()
    for numbers in batches(stored, lengths):
        if not are_intact(stored, checked, numbers):
            for number in numbers:
                for what in check_episode(stored, checked, number):
                    yield Problem(where=_place(stored, tasks, number), what=what)
        progress(len(numbers))


def _check_hdf5(stored: StoredDataset, tasks: dict[int, TaskRecord], progress: Advance) -> Iterator[Problem]:
    """What plain HDF5 readers will see: groups, attributes, layout, offsets. The library is asked of doubtful ones."""
    count = len(stored.episodes)
    doubtful = _doubtful(stored, tasks, progress) if count else []
    if count and not doubtful and _opens(stored.hdf5):
        return
    try:
        findings = call_guarded(
            "idaq.format.hdf5_walk:walk_plain",
            str(stored.hdf5),
            count,
            _MOST_FINDINGS,
            [(number, to_plain(_expected(stored, tasks, number))) for number in doubtful],
            seconds=1 + len(doubtful) * _SECONDS_AN_EPISODE,
            megabytes=_MEGABYTES,
            where=str(stored.hdf5),
        )
    except DatasetError as error:
        yield Problem(where=str(stored.hdf5), what=error.message.removeprefix(f"{stored.hdf5}: "))
        return
    for number, what in findings:
        yield Problem(where=str(stored.hdf5) if number is None else _place(stored, tasks, number), what=what)


def _doubtful(stored: StoredDataset, tasks: dict[int, TaskRecord], progress: Advance) -> list[int]:
    """The episodes that are not proven to be as they should; all, where the root is not or they share structure."""
    count = len(stored.episodes)
    with stored.hdf5.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        structure = Structure(content)
        try:
            members = structure.root(count)
        except Unrecognised:
            members = {}
        if len(members) != count or any(f"episode_{number}" not in members for number in range(count)):
            progress(count)
            return list(range(count))
        doubtful = []
        for number in range(count):
            if not structure.is_proven(members[f"episode_{number}"], _expected(stored, tasks, number)):
                doubtful.append(number)
            progress(1)
        return list(range(count)) if structure.is_shared else doubtful


def _opens(path: Path) -> bool:
    """Whether the library opens it: what that reads is proven, but for the superblock's checksum."""
    try:
        h5py.File(path, "r").close()
    except OSError:
        return False
    return True


def _expected(stored: StoredDataset, tasks: dict[int, TaskRecord], number: int) -> ExpectedEpisode:
    table = stored.episodes
    task_index, length, seed = int(table.task_index[number]), int(table.length[number]), table.seed_of(number)
    return ExpectedEpisode(
        attributes={
            "id": number,
            **({} if seed is None else {"seed": seed}),
            "total_steps": length,
            "task_index": task_index,
            "task_id": tasks[task_index].task_id if task_index in tasks else None,
            "options/task": layout.task_option(tasks[task_index]) if task_index in tasks else None,
        },
        columns={
            name: ExpectedColumn(
                dtype=column.dtype,
                shape=(layout.rows_of(column, length), *column.shape),
                offset=None if column.chunk_rows else int(table.offsets[name][number]),
                chunk_rows=column.chunk_rows,
                chunks=tuple(stored.chunks[name].of(number)) if column.chunk_rows else (),
            )
            for name, column in stored.manifest.columns.items()
        },
    )


def _place(stored: StoredDataset, tasks: dict[int, TaskRecord], number: int) -> str:
    index = int(stored.episodes.task_index[number])
    task = tasks[index].task_id if index in tasks else f"unknown task {index}"
    return f"{stored.hdf5}, task {task}, episode {number}"


def _stated_hash(stored: StoredDataset) -> str | None:
    return next((record.sha256 for record in stored.manifest.files if record.path == layout.HDF5), None)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else text[:97] + "..."
