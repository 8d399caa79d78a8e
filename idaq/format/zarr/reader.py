"""Reads the Zarr form: documents once, then episodes by range requests, every one checked against its digest.

Chunks are fetched and decoded here rather than by zarr, as the mapped file is read without HDF5: one concurrent request
for all columns of an episode, the shard index asked for once, and nothing allocated or filled in on the word of a
document. A chunk that is missing, or a frame that claims to unpack to more than its chunk, is an error.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import google_crc32c
import numpy as np
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from numcodecs import Zstd
from numpy.typing import NDArray
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import MemoryStore

from idaq.core.digest import dataset_digest, episode_digest, value_digest
from idaq.core.errors import CorruptDatasetError, DatasetNotFoundError, FormatVersionError
from idaq.core.extras import naming_extras
from idaq.core.files import parse_json
from idaq.core.reading import LARGEST_TABLE, check_members
from idaq.core.types import Array, Episode
from idaq.format import layout
from idaq.format.columns import Columns, FlatColumn, check_columns
from idaq.format.documents import Manifest, TaskRecord
from idaq.format.reader import EpisodeTable, document
from idaq.format.zarr.layout import (
    ATTRIBUTE,
    CHECKSUM,
    GROUP,
    INDEX_ENTRY,
    LARGEST_EPISODE,
    UNFINISHED,
    Attributes,
    EpisodeColumns,
    Grid,
    attributes_digest,
    create_array,
    grids,
    largest_episode,
    shard_index_bytes,
)

Requests = list[tuple[str, int | None, int | None]]
"""key, first byte (negative: from the end), one past the last"""

_PAUSES = (0.1, 1.0)
"""seconds before a failed request is made again: networks fail"""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A place that an fsspec filesystem reaches: local, memory, http, s3, ..."""

    url: str
    files: AbstractFileSystem
    path: str

    def place(self, key: str) -> str:
        """The filesystem's path of a key."""
        return f"{self.path}/{key}"

    def read(self, requests: Requests) -> list[bytes]:
        """The bytes of each request. What fails is asked for again twice, then raises CorruptDatasetError."""
        found = self._fetch(requests)
        for pause in _PAUSES:
            if not any(isinstance(content, Exception) and not _is_missing(content) for content in found):
                break
            time.sleep(pause)
            found = self._fetch(requests)
        for (key, _, _), content in zip(requests, found, strict=True):
            if isinstance(content, Exception):
                problem = "is missing" if _is_missing(content) else f"cannot be read: {content!r}"
                raise CorruptDatasetError(f"{self.url}/{key} {problem}") from content
        return found

    def _fetch(self, requests: Requests) -> list[Any]:
        """Bytes or an exception for each request, side by side where the filesystem can."""
        keys, starts, ends = map(list, zip(*requests, strict=True))
        return self.files.cat_ranges([self.place(key) for key in keys], starts, ends, on_error="return")


def _is_missing(content: object) -> bool:
    return isinstance(content, FileNotFoundError)


def open_folder(url: str) -> Folder:
    """Reach a local path or any URL that fsspec knows; options come from fsspec's own configuration."""
    with naming_extras():
        files, path = fsspec.url_to_fs(url)
    return Folder(url=url.rstrip("/"), files=files, path=str(path).rstrip("/"))


@dataclass(frozen=True, kw_only=True)
class ZarrDataset:
    """A dataset in Zarr form. An EpisodeStore; safe to read from several threads."""

    folder: Folder
    attributes: Attributes
    episodes: EpisodeTable
    grids: dict[str, Grid]
    _indices: dict[str, NDArray[np.uint64]] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        """The dataset's manifest."""
        return self.attributes.manifest

    @property
    def tasks(self) -> tuple[TaskRecord, ...]:
        """All tasks, by rising index."""
        return tuple(self.attributes.tasks)

    @property
    def metadata(self) -> dict[str, Any]:
        """metadata.json without its "idaq" object."""
        return self.attributes.metadata

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one row of each column, by name."""
        return {name: tuple(grid.column.shape) for name, grid in self.grids.items()}

    def episode(self, number: int) -> Episode:
        """Fetch one episode. Raises CorruptDatasetError if its values are not what its digest says, or not finite."""
        length = int(self.episodes.length[number])
        try:
            parts = self._chunks(number, length)
        except CorruptDatasetError as error:
            raise CorruptDatasetError(f"{self._where(number)}: {error.message}") from error
        values = {name: self._rows(self.grids[name], number, parts[name]) for name in self.grids}
        episode = Episode.from_columns(values)
        found = episode_digest(episode, task_index=self._task(number), seed=self.episodes.seed_of(number))
        if found != self.episodes.digest[number]:
            raise CorruptDatasetError(f"{self._where(number)}: the values do not match their digest")
        if not all(np.isfinite(value).all() for name, value in values.items() if not layout.is_extra(name)):
            raise CorruptDatasetError(f"{self._where(number)}: NaN or infinity among the values")
        return episode

    def columns(self, numbers: NDArray[np.int64]) -> Columns:
        """Fetch `numbers` into RAM, an episode at a time. Offsets of other episodes are -1."""
        lengths = self.episodes.length[numbers]
        columns = {}
        for name, grid in self.grids.items():
            counts = (lengths + (grid.column.rows == "T+1")) * int(np.prod(grid.column.shape, dtype=np.int64))
            offsets = np.full(len(self.episodes), -1, np.int64)
            offsets[numbers] = counts.cumsum() - counts
            columns[name] = FlatColumn(
                flat=np.empty(int(counts.sum()), grid.column.dtype),
                offsets=offsets,
                shape=tuple(grid.column.shape),
                extra_row=grid.column.rows == "T+1",
            )
        for number, length in zip(numbers.tolist(), lengths.tolist(), strict=True):
            episode = self.episode(number)
            for name, values in episode.columns.items():
                columns[name].rows(number, length)[:] = values
        return columns

    def _chunks(self, number: int, length: int) -> dict[str, list[Array]]:
        """The decoded chunks of each column that hold rows of an episode."""
        spans: list[tuple[Grid, int, int]] = []
        requests: Requests = []
        indices = self._shard_indices(number)
        for name, grid in self.grids.items():
            for chunk in grid.chunks_of(number, length):
                start, size = map(int, indices[name][chunk])
                if size > 2 * grid.chunk_bytes + 1024 or start > 2**62:
                    raise CorruptDatasetError(f"column {name}: chunk {chunk} is not stored, or too large to be one")
                spans.append((grid, chunk, size))
                requests.append((grid.key(int(grid.shard[number])), start, start + size))
        parts: dict[str, list[Array]] = {name: [] for name in self.grids}
        for (grid, chunk, size), content in zip(spans, self.folder.read(requests), strict=True):
            where = f"column {grid.name}, chunk {chunk}"
            parts[grid.name].append(_decode(content, size, grid.chunk_bytes, where).view(grid.column.dtype))
        return parts

    def _shard_indices(self, number: int) -> dict[str, NDArray[np.uint64]]:
        """Byte and size of each chunk in the episode's shards, by column: (chunks, 2). Fetched once, then kept."""
        keys = {name: grid.key(int(grid.shard[number])) for name, grid in self.grids.items()}
        absent = {name: key for name, key in keys.items() if key not in self._indices}
        requests: Requests = [(key, -shard_index_bytes(self.grids[name]), None) for name, key in absent.items()]
        for (name, key), content in zip(absent.items(), self.folder.read(requests) if requests else [], strict=True):
            stored = _checked(content, shard_index_bytes(self.grids[name]), f"column {name}, index of the shard")
            self._indices[key] = np.frombuffer(stored, "<u8").reshape(-1, INDEX_ENTRY // 8)
        return {name: self._indices[key] for name, key in keys.items()}

    def _rows(self, grid: Grid, number: int, parts: list[Array]) -> Array:
        """An episode's rows out of the chunks that hold them: (T or T + 1, *shape)."""
        length = int(self.episodes.length[number])
        start = int(grid.first[number]) - grid.chunks_of(number, length).start * grid.chunk_rows
        rows = np.concatenate(parts).reshape(-1, *grid.column.shape)
        return rows[start : start + layout.rows_of(grid.column, length)]

    def _task(self, number: int) -> int:
        return int(self.episodes.task_index[number])

    def _where(self, number: int) -> str:
        return f"{self.folder.url}, task {self._task(number)}, episode {number}"


def _checked(content: bytes, size: int, where: str) -> memoryview:
    """`content` without its crc32c, if it is `size` bytes and the sum is right."""
    rest = memoryview(content)[:-CHECKSUM]
    if len(content) != size or size < CHECKSUM:
        raise CorruptDatasetError(f"{where}: {len(content)} bytes where {size} belong (does the server serve ranges?)")
    if google_crc32c.value(bytes(rest)) != int.from_bytes(content[-CHECKSUM:], "little"):
        raise CorruptDatasetError(f"{where}: the checksum is wrong")
    return rest


def _decode(content: bytes, size: int, unpacked: int, where: str) -> Array:
    """The `unpacked` bytes of a chunk. Never more, whatever its frame claims; what a short one leaves is zero."""
    chunk = np.zeros(unpacked, np.uint8)
    try:
        Zstd().decode(_checked(content, size, where), chunk)
    except (ValueError, RuntimeError) as error:
        raise CorruptDatasetError(f"{where}: {error}") from None
    return chunk


def open_zarr(url: str) -> ZarrDataset:
    """Open the Zarr form of a dataset and check its documents against each other; reads no rows.

    Raises DatasetNotFoundError, FormatVersionError or, for an unfinished export too, CorruptDatasetError.
    """
    folder = open_folder(url)
    if isinstance(folder.files, LocalFileSystem) and Path(folder.path).is_dir():
        check_members(Path(folder.path), links_out=True)
    attributes = _read_attributes(folder)
    place = f"{folder.url}/{GROUP}"
    episodes = _table(attributes.episodes, place)
    check_columns(attributes.manifest.columns, place, LARGEST_EPISODE)
    _check_documents(attributes, episodes, place)
    if largest_episode(attributes.manifest.columns, episodes) > LARGEST_EPISODE:
        raise CorruptDatasetError(f"{place}: an episode of more than {LARGEST_EPISODE} bytes a column is refused")
    found = grids(attributes.manifest.columns, episodes)
    _check_arrays(folder, found)
    return ZarrDataset(folder=folder, attributes=attributes, episodes=episodes, grids=found)


def _read_attributes(folder: Folder) -> Attributes:
    place = f"{folder.url}/{GROUP}"
    group = read_group(folder)
    if group is None:
        raise DatasetNotFoundError(f"there is no Zarr group at {folder.url}")
    attributes = group.get("attributes")
    stated = attributes.get(ATTRIBUTE) if isinstance(attributes, dict) else None
    if not isinstance(stated, dict) or (group.get("zarr_format"), group.get("node_type")) != (3, "group"):
        raise CorruptDatasetError(f"{place} is not a dataset: a Zarr 3 group with the attribute {ATTRIBUTE!r}")
    if UNFINISHED in stated:
        raise CorruptDatasetError(f"{folder.url} is an unfinished export", hint="export the same dataset there again")
    version = stated.get("zarr_version")
    if type(version) is not int or version != 1:
        raise FormatVersionError(
            f"{folder.url} is written in Zarr form {version!r}; this idaq reads 1", hint="pip install --upgrade idaq"
        )
    attributes = document(Attributes, stated, place)
    if attributes_digest(stated) != attributes.sha256:
        raise CorruptDatasetError(f"{place}: the attributes have another sha256 than they say")
    return attributes


def read_group(folder: Folder) -> dict[str, Any] | None:
    """The group's document, None if there is none. Raises CorruptDatasetError if it cannot be read or is too large."""
    place = f"{folder.url}/{GROUP}"
    # Stores refuse a range of an empty object, so only files are bounded.
    most = LARGEST_TABLE + 1 if isinstance(folder.files, LocalFileSystem) else None
    try:
        content: Any = folder.files.cat_file(folder.place(GROUP), end=most)
        if most is not None and len(content) == most:
            raise ValueError(f"it has more than {LARGEST_TABLE} bytes")
        text = content.decode()
    except FileNotFoundError:
        return None
    except Exception as error:  # filesystems raise errors of their own
        raise CorruptDatasetError(f"{place} cannot be read: {error!r}") from error
    value = parse_json(text, place)
    if not isinstance(value, dict):
        raise CorruptDatasetError(f"{place} is not a JSON object")
    return value


def _table(columns: EpisodeColumns, place: str) -> EpisodeTable:
    arrays = {name: np.array(values) for name, values in vars(columns).items() if not name.startswith("_")}
    if len({len(array) for array in arrays.values()}) != 1 or not len(columns.length):
        raise CorruptDatasetError(f"{place}: the columns of the table of episodes are of unlike lengths, or empty")
    arrays["success"] = np.array(columns.success, np.bool_)  # None is False
    arrays["success_known"] = np.array([solved is not None for solved in columns.success], np.bool_)
    arrays["seed"] = np.array([seed or 0 for seed in columns.seed], np.uint64)
    arrays["seed_known"] = np.array([seed is not None for seed in columns.seed], np.bool_)
    arrays["total_reward"] = np.array(columns.total_reward, np.float64)  # None is NaN
    for name in ("history", "policy_step"):
        arrays[name] = np.array([-1 if value is None else value for value in getattr(columns, name)], np.int64)
    return EpisodeTable(**arrays, offsets={})


def _check_documents(attributes: Attributes, episodes: EpisodeTable, place: str) -> None:
    """Manifest, tasks, episodes and metadata agree, as far as reading rows relies on it."""
    manifest, tasks = attributes.manifest, attributes.tasks
    indices, used = [task.task_index for task in tasks], episodes.task_index.tolist()
    steps = int(episodes.length.sum())
    agree = {
        "content digest": manifest.content_digest == dataset_digest(episodes.digest.tolist()),
        "digest of metadata": manifest.metadata_digest == value_digest(attributes.metadata),
        "number of episodes": manifest.counts.episodes == len(episodes),
        "number of steps": manifest.counts.steps == steps,
        "number of tasks": manifest.counts.tasks == len(tasks) == len(set(indices)),
        "order of episodes": used == sorted(used),
        "tasks of episodes": set(used) <= set(indices),
        "splits of tasks": {task.split for task in tasks} <= set(manifest.splits) & set(manifest.recipe.splits.sizes),
        "id": manifest.dataset_id == manifest.recipe.id == attributes.metadata.get("dataset_id"),
    }
    for name, agrees in agree.items():
        if not agrees:
            raise CorruptDatasetError(f"{place}: the documents disagree about the {name}")


def _check_arrays(folder: Folder, expected: dict[str, Grid]) -> None:
    """Each array's document describes the array that the manifest and the episodes call for."""
    names = list(expected)
    for name, content in zip(names, folder.read([(f"{name}/{GROUP}", None, None) for name in names]), strict=True):
        place = f"{folder.url}/{name}/{GROUP}"
        try:
            found = ArrayV3Metadata.from_dict(parse_json(content.decode(), place))
        except Exception as error:  # zarr raises errors of any kind for what it does not know
            raise CorruptDatasetError(f"{place} does not describe an array: {error}") from None
        if found != create_array(MemoryStore(), expected[name]).metadata:
            raise CorruptDatasetError(f"{place} describes another array than the manifest and the episodes call for")
