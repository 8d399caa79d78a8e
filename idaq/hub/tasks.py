"""Pull some tasks of a dataset: their byte range of main_data.hdf5 alone, written as a dataset of its own.

Episodes lie in the file by task and their columns are contiguous, at offsets that episodes.parquet states, or in chunks
at those of chunks.parquet. So the columns wanted are a few long ranges, fetched into a sparse file in their own places,
where `map_columns` finds them.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from idaq.core.digest import dataset_digest, episode_digest, value_digest
from idaq.core.errors import CorruptDatasetError, UsageError
from idaq.core.ids import dataset_path, datasets_root, parse_id
from idaq.core.types import Episode, ShowProgress, show_nothing
from idaq.format import layout
from idaq.format.columns import StoredColumns, check_columns, get_episode, map_columns
from idaq.format.edit import subset
from idaq.format.reader import StoredDataset, read_documents
from idaq.format.selection import parse_tasks, task_range
from idaq.format.writer import DatasetSource, EpisodeEntry, entry_of, write_dataset
from idaq.hub.fetch import fetch_extents
from idaq.hub.lookup import RemoteDataset
from idaq.hub.pull import Pulled, check_pulled, fetch_file, is_pulled, partial_folder

_JOIN_WITHIN = 1 << 16
"""bytes between two columns that are fetched with them, which is faster than another request"""


def subset_id(dataset_id: str, tasks: str) -> str:
    """The default id of a part: `a/b-v0` and tasks 0:10,12 give `a/b-tasks-0-10_12-v0`.

    Raises UsageError if that is too long for an id.
    """
    parsed = parse_id(dataset_id)
    try:
        return str(parse_id(str(replace(parsed, name=f"{parsed.name}-tasks-{_label(tasks)}"))))
    except UsageError as error:
        raise UsageError(error.message, hint="--id NAMESPACE/NAME-v0 names the part") from None


def _label(tasks: str) -> str:
    """A list of tasks as a part of a name: a range as first and stop."""
    parts = list[str]()
    for text in tasks.split(","):
        part = text.strip()
        asked = task_range(part)
        if asked is not None:
            part = f"{asked.start}-{'end' if asked.stop == sys.maxsize else asked.stop}"
        parts.append(part)
    return re.sub("[^A-Za-z0-9_-]", "-", "_".join(parts))


def pull_tasks(
    found: RemoteDataset,
    tasks: range | str,
    root: str | Path | None = None,
    new_id: str | None = None,
    show: ShowProgress = show_nothing,
) -> Pulled:
    """Fetch some tasks as dataset `new_id`; indices, seeds and digests of episodes stay.

    `tasks` is a range of indices, or a list such as `3,17,40,50:60,task-031`. Raises UsageError or UnknownNameError if
    there are no such tasks, and all that `pull` raises.
    """
    tasks = f"{tasks.start}:{tasks.stop}" if isinstance(tasks, range) else tasks
    name = str(parse_id(new_id)) if new_id is not None else subset_id(found.dataset_id, tasks)
    target = dataset_path(name, root)
    with partial_folder(found, name, value_digest(tasks)[:16], root) as folder:
        documents = [record for record in found.manifest.files if record.path != layout.HDF5]
        size = sum(record.size for record in documents)
        with show(f"reading documents of {found.dataset_id}", size, "bytes") as advance:
            for record in documents:
                fetch_file(found, record, folder, advance)
        stored = read_documents(folder, found.metadata, found.manifest)
        _check_digest(stored)
        numbers = _episodes_of(stored, tasks)
        digest = dataset_digest(stored.episodes.digest[numbers].tolist())
        existed = is_pulled(target, digest)
        if not existed:
            _fetch_columns(found, stored, numbers, show)
            source = _part(stored, numbers, name, tasks)
            check: Callable[[Path], None] = lambda made: check_pulled(made, found.remote.url)  # noqa: E731
            write_dataset(source, datasets_root(root), check=check)
    return Pulled(dataset_id=name, path=target, content_digest=digest, existed=existed)


def _check_digest(stored: StoredDataset) -> None:
    """The episodes are those of the content digest. Raises CorruptDatasetError."""
    whole = stored.manifest.content_digest
    if dataset_digest(stored.episodes.digest.tolist()) != whole:
        raise CorruptDatasetError(
            f"{stored.manifest.dataset_id}: the digests of its episodes do not make its content digest, {whole}",
            hint="tell whoever pushed it",
        )


def _episodes_of(stored: StoredDataset, tasks: str) -> list[int]:
    """Numbers of the tasks' episodes. Raises UsageError or UnknownNameError if there are none."""
    numbers = np.flatnonzero(np.isin(stored.episodes.task_index, parse_tasks(tasks, stored.tasks))).tolist()
    if not numbers:
        known = sorted(set(stored.episodes.task_index.tolist()))
        raise UsageError(
            f"{stored.manifest.dataset_id} has no episodes of tasks {tasks}",
            hint=f"those with episodes have indices from {known[0]} to {known[-1]}" if known else "it has none at all",
        )
    return numbers


def _fetch_columns(found: RemoteDataset, stored: StoredDataset, numbers: list[int], show: ShowProgress) -> None:
    """The columns of these episodes, in a file otherwise empty, of the length of the whole."""
    record, target = found.record(layout.HDF5), stored.hdf5
    extents = _extents(stored, numbers, record.size)
    path = found.path(f"data/{layout.HDF5}")
    with show(f"pulling {len(numbers)} episodes", sum(stop - start for start, stop in extents), "bytes") as advance:
        fetch_extents(found.remote, path, extents, target, advance)
    with target.open("r+b") as file:
        file.truncate(record.size)


def _extents(stored: StoredDataset, numbers: list[int], size: int) -> list[tuple[int, int]]:
    """Where the columns lie, near ones joined. Raises CorruptDatasetError for what no file of `size` bytes can hold."""
    columns, table = stored.manifest.columns, stored.episodes
    check_columns(columns, stored.manifest.dataset_id, size)
    pieces = []
    for name, column in columns.items():
        width = layout.row_bytes(column)
        for number in numbers:
            if column.chunk_rows is None:
                rows = layout.rows_of(column, int(table.length[number]))
                places = [(int(table.offsets[name][number]), width * rows)]
            else:
                places = stored.chunks[name].of(number)
            for start, length in places:
                if not 0 <= start < start + length <= size:
                    raise CorruptDatasetError(
                        f"{stored.manifest.dataset_id}: column {name} of episode {number} leaves the file: "
                        f"bytes {start} to {start + length} of {size}",
                        hint="tell whoever pushed it",
                    )
                pieces.append((start, start + length))
    return _joined(sorted(pieces))


def _joined(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    extents = [pieces[0]]
    for start, stop in pieces[1:]:
        first, last = extents[-1]
        if start - last <= _JOIN_WITHIN:
            extents[-1] = (first, max(last, stop))
        else:
            extents.append((start, stop))
    return extents


def _part(stored: StoredDataset, numbers: list[int], new_id: str, tasks: str) -> DatasetSource:
    """What the part is written from: a subset whose episodes are checked as they are read."""
    keep = np.zeros(len(stored.episodes), bool)
    keep[numbers] = True
    source = subset(stored, new_id, keep, f"subset: tasks {tasks}, pulled from a hub")
    return replace(source, entries=_entries(stored, numbers))


def _entries(stored: StoredDataset, numbers: list[int]) -> Iterator[EpisodeEntry]:
    """The episodes, each against its digest. Raises CorruptDatasetError, having thrown away what came."""
    columns = map_columns(stored)
    for number in numbers:
        try:
            episode = _checked(stored, columns, number)
        except CorruptDatasetError as error:
            stored.hdf5.unlink()
            raise CorruptDatasetError(
                f"{stored.manifest.dataset_id}: {error.message}; what came was thrown away",
                hint="try again; if that fails too, tell whoever pushed it",
            ) from None
        yield entry_of(stored.episodes, number, episode)


def _checked(stored: StoredDataset, columns: StoredColumns, number: int) -> Episode:
    """An episode that is what its digest says. Raises CorruptDatasetError."""
    table = stored.episodes
    task, seed = int(table.task_index[number]), table.seed_of(number)
    episode = get_episode(columns, number, int(table.length[number]))
    if episode_digest(episode, task_index=task, seed=seed) != table.digest[number]:
        raise CorruptDatasetError(f"episode {number} (task {task}) came with values that do not match its digest")
    return episode
