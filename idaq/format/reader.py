"""Reads a dataset's documents once, into typed objects; checks what is cheap: version, sizes, small files."""

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from idaq.core.config import from_mapping
from idaq.core.digest import value_digest
from idaq.core.disk import explain
from idaq.core.errors import ConfigError, CorruptDatasetError, DatasetError, DatasetNotFoundError, FormatVersionError
from idaq.core.files import inside, parse_json, read_json, sha256_file
from idaq.core.reading import LARGEST_TABLE, check_members, read_document
from idaq.core.types import Array
from idaq.format import FORMAT_VERSION, layout
from idaq.format.bounded_parquet import DIGEST_BYTES, read_table
from idaq.format.documents import Column, Manifest, MetadataIdaq, TaskRecord

T = TypeVar("T")
Chosen = NDArray[np.bool_] | NDArray[np.int64] | slice
"""episodes: a mask (M,), their numbers, or a slice"""
Identity = tuple[int, int, int, int]
_CHUNK_ROW_BYTES = 2
"""that a row of chunks.parquet takes at least: offsets differ"""


@dataclass(frozen=True, kw_only=True)
class EpisodeTable:
    """One entry an episode, in file order. M episodes."""

    task_index: NDArray[np.int64]
    behaviour: NDArray[np.str_]
    history: NDArray[np.int64]
    """which learning history of its task and behaviour the episode belongs to; -1 where to none"""
    policy_step: NDArray[np.int64]
    """environment steps that the behaviour policy had learned from before the episode; -1 where that is not known"""
    seed: NDArray[np.uint64]
    """0 where it is not known"""
    seed_known: NDArray[np.bool_]
    length: NDArray[np.int64]
    total_reward: NDArray[np.float64]
    """NaN where the rewards are not known"""
    success: NDArray[np.bool_]
    """False where it is not known"""
    success_known: NDArray[np.bool_]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    offsets: Mapping[str, NDArray[np.int64]]
    """byte offset of each contiguous column in the HDF5, by name; empty for datasets that idaq did not write"""
    digest: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.length)

    def seed_of(self, number: int) -> int | None:
        """The seed of an episode; None where it is unknown."""
        return int(self.seed[number]) if self.seed_known[number] else None

    def return_of(self, number: int) -> float | None:
        """The return of an episode; None where its rewards are not known."""
        found = float(self.total_reward[number])
        return None if np.isnan(found) else found

    def history_of(self, number: int) -> int | None:
        """The learning history of an episode; None where it belongs to none."""
        return int(self.history[number]) if self.history[number] >= 0 else None

    def policy_step_of(self, number: int) -> int | None:
        """The steps that the behaviour policy had learned from; None where that is not known."""
        return int(self.policy_step[number]) if self.policy_step[number] >= 0 else None

    def solved(self, number: int) -> bool | None:
        """Whether an episode solved its task; None where it is unknown."""
        return bool(self.success[number]) if self.success_known[number] else None

    def success_rate(self, chosen: Chosen = slice(None)) -> float | None:
        """Share of solved episodes among the `chosen` of which it is known; None where it is known of none."""
        known = self.success_known[chosen]
        return float(self.success[chosen][known].mean()) if known.any() else None

    def success_text(self, chosen: Chosen = slice(None)) -> str:
        """`success_rate` for people: `80%`, `unknown`, or `80% (unknown of 3)` where it is known of some only."""
        rate, unknown = self.success_rate(chosen), int(np.sum(~self.success_known[chosen]))
        return "unknown" if rate is None else f"{rate:.0%}" + (f" (unknown of {unknown})" if unknown else "")


def count_histories(table: EpisodeTable) -> int:
    """How many learning histories there are: each is of one task and one behaviour."""
    within = table.history >= 0
    behaviour = np.unique(table.behaviour[within], return_inverse=True)[1]
    return len(np.unique(np.stack([table.task_index[within], behaviour, table.history[within]]), axis=1).T)


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """Where the chunks of a compressed column lie. M episodes, C chunks, by episode and then by row."""

    first: NDArray[np.int64]
    """(M + 1,) number of each episode's first chunk, and C"""
    offset: NDArray[np.int64]
    """(C,) first byte in the HDF5"""
    size: NDArray[np.int64]
    """(C,) bytes"""

    def of(self, episode: int) -> list[tuple[int, int]]:
        """Offset and size of an episode's chunks."""
        mine = slice(self.first[episode], self.first[episode + 1])
        return list(zip(self.offset[mine].tolist(), self.size[mine].tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class StoredDataset:
    """A format-1 dataset on disk, its documents parsed."""

    path: Path
    metadata: dict[str, Any]
    manifest: Manifest
    tasks: tuple[TaskRecord, ...]
    episodes: EpisodeTable
    chunks: Mapping[str, Chunks]
    """of each compressed column, by name"""
    identity: Identity | None = None
    """of the HDF5 file that the documents describe"""

    @property
    def hdf5(self) -> Path:
        """Path of the HDF5 file."""
        return layout.data_folder(self.path) / layout.HDF5


def read_space(metadata: Mapping[str, Any], name: str, where: str) -> Any:
    """The Gymnasium space that metadata.json holds under `name`. Raises CorruptDatasetError."""
    from minari.serialization import deserialize_space  # half a second, which `idaq dataset show` need not wait for

    try:
        return deserialize_space(metadata[name])
    except Exception as error:  # what is no space leads Minari and Gymnasium to errors of any kind
        raise CorruptDatasetError(f"{where}: its {name} is not one that Minari can read: {error}") from None


def is_idaq_dataset(path: Path) -> bool:
    """Whether a dataset folder was written by idaq (any version) rather than by another maker of Minari datasets."""
    return "idaq" in read_metadata(path)


def read_metadata(path: Path) -> dict[str, Any]:
    """metadata.json. Raises DatasetNotFoundError or CorruptDatasetError."""
    data = layout.data_folder(path)
    value = _of_one(path, lambda: _metadata(data, path))
    if not isinstance(value, dict):
        raise CorruptDatasetError(f"{data / layout.METADATA} is not a JSON object")
    return value


def _metadata(data: Path, path: Path) -> Any:
    if not data.is_dir():
        raise DatasetNotFoundError(f"there is no dataset at {path}", hint="idaq dataset list shows what is here")
    return read_json(data / layout.METADATA)


def open_stored(path: Path) -> StoredDataset:
    """Open a dataset folder. Raises DatasetNotFoundError, FormatVersionError or CorruptDatasetError."""
    try:
        return _of_one(path, lambda: _open_stored(path))
    except RecursionError as error:
        raise CorruptDatasetError(f"{path} cannot be read: {error}", hint=_fix(path)) from None
    except OSError as error:
        raise CorruptDatasetError(f"{path} cannot be read: {error}", hint=explain(error).hint) from None


def _of_one(path: Path, read: Callable[[], T]) -> T:
    """`read()`, repeated if the dataset was deleted or replaced meanwhile, so that two versions are never mixed."""
    hdf5 = layout.data_folder(path) / layout.HDF5
    while True:
        before = identity_of(hdf5)
        try:
            found = read()
        except (DatasetError, OSError):
            if identity_of(hdf5) == before:
                raise
        else:
            if identity_of(hdf5) == before:
                return found


def identity_of(file: Path | int) -> Identity | None:
    """Device, inode, size and time of a file, which change when it is written again; None if there is no file."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _open_stored(path: Path) -> StoredDataset:
    data = layout.data_folder(path)
    identity = identity_of(data / layout.HDF5)
    metadata = read_metadata(path)
    check_members(path)
    manifest = read_manifest(path, metadata)
    files = [record.path for record in manifest.files]
    expected = layout.hashed_files(manifest.columns)
    if sorted(files) != sorted(expected):
        raise CorruptDatasetError(f"{data / layout.MANIFEST}: its files are {files}, not {list(expected)}")
    for record in manifest.files:
        file = inside(data, record.path)
        size = file.stat().st_size if file.is_file() else None
        if size != record.size:
            found = "is missing" if size is None else f"has {size} bytes, the manifest says {record.size}"
            raise CorruptDatasetError(f"{file} {found}", hint=_fix(path))
        if record.path != layout.HDF5 and sha256_file(file) != record.sha256:
            raise CorruptDatasetError(f"{file} has another sha256 than the manifest says", hint=_fix(path))
    return read_documents(path, metadata, manifest, identity)


def read_documents(
    path: Path, metadata: dict[str, Any], manifest: Manifest, identity: Identity | None = None
) -> StoredDataset:
    """The dataset of a manifest, its tables read. Raises CorruptDatasetError."""
    data = layout.data_folder(path)
    episodes = read_episodes(data / layout.EPISODES, manifest.counts.episodes, manifest.columns)
    return StoredDataset(
        path=path,
        metadata=metadata,
        manifest=manifest,
        tasks=read_tasks(data / layout.TASKS, manifest.counts.tasks),
        episodes=episodes,
        chunks=read_chunks(data / layout.CHUNKS, manifest.columns, episodes.length),
        identity=identity,
    )


def read_manifest(path: Path, metadata: dict[str, Any]) -> Manifest:
    """The manifest, after checking version and hash against metadata.json.

    Raises FormatVersionError for another version, CorruptDatasetError where the two documents disagree.
    """
    data = layout.data_folder(path)
    stated = metadata.get("idaq")
    version = stated.get("format_version") if isinstance(stated, dict) else None
    if type(version) is not int or version != FORMAT_VERSION:
        raise FormatVersionError(
            f"{path} is written in format {version!r}; this idaq reads format {FORMAT_VERSION}",
            hint="pip install --upgrade idaq" if type(version) is int else "it may not be an idaq dataset",
        )
    file = data / layout.MANIFEST
    if not file.is_file():
        raise CorruptDatasetError(f"{file} is missing", hint=_fix(path))
    idaq_object = document(MetadataIdaq, stated, str(data / layout.METADATA))
    if sha256_file(file) != idaq_object.manifest_sha256:
        raise CorruptDatasetError(f"{file} has another sha256 than {layout.METADATA} says", hint=_fix(path))
    manifest = document(Manifest, read_json(file), str(file))
    rest = {key: value for key, value in metadata.items() if key != "idaq"}
    if value_digest(rest) != manifest.metadata_digest or idaq_object.counts != manifest.counts:
        raise CorruptDatasetError(f"{data / layout.METADATA} disagrees with the manifest", hint=_fix(path))
    return manifest


def _fix(path: Path) -> str:
    return f"idaq dataset verify {path} lists all problems; then collect or fetch the dataset again"


def document(cls: type[T], value: object, where: str) -> T:
    """A document from its JSON value. Raises CorruptDatasetError naming `where`."""
    try:
        return from_mapping(cls, value, where=where, strict=True)
    except ConfigError as error:
        raise CorruptDatasetError(error.message, hint=error.hint) from None


def read_tasks(path: Path, count: int) -> tuple[TaskRecord, ...]:
    """tasks.jsonl, `count` lines by the manifest. Raises CorruptDatasetError with the line."""
    try:
        text = read_document(path, LARGEST_TABLE).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptDatasetError(f"{path} is not UTF-8: {error}") from None
    if (found := text.removesuffix("\n").count("\n") + 1) != count:
        raise CorruptDatasetError(f"{path} has {found} lines; the manifest counts {count} tasks")
    lines = enumerate(io.StringIO(text, newline="\n"), start=1)  # one at a time; splitlines would split at U+2028 too
    values = ((parse_json(line, f"{path} line {number}"), number) for number, line in lines)
    return tuple(document(TaskRecord, value, f"{path} line {number}") for value, number in values)


def read_episodes(path: Path, count: int, columns: Mapping[str, Column]) -> EpisodeTable:
    """episodes.parquet, `count` rows by the manifest, which names the `columns`. Raises CorruptDatasetError."""
    if fault := layout.names_fault(columns):
        raise CorruptDatasetError(f"{path.parent / 'manifest.json'}: {fault}")
    table = read_table(path, layout.episode_schema(columns), count, "episodes", DIGEST_BYTES)
    known = {name: table[name].is_valid().to_numpy() for name in ("seed", "success")}
    absent = {"seed": 0, "success": False, "history": -1, "policy_step": -1, "return": np.nan}
    whole = {name: table[name].fill_null(value) for name, value in absent.items()}
    column: dict[str, Array] = {name: whole.get(name, table[name]).to_numpy() for name in table.schema.names}
    if not np.array_equal(column["episode"], np.arange(len(table))):
        raise CorruptDatasetError(f"{path} does not list the episodes 0 to {len(table) - 1} in order")
    return EpisodeTable(
        task_index=column["task_index"],
        behaviour=column["behaviour"].astype(str),
        history=column["history"],
        policy_step=column["policy_step"],
        seed=column["seed"],
        seed_known=known["seed"],
        length=column["length"],
        total_reward=column["return"],
        success=column["success"],
        success_known=known["success"],
        terminated=column["terminated"],
        truncated=column["truncated"],
        offsets={name: column[f"offset_{name}"] for name in layout.contiguous(columns)},
        digest=column["digest"].astype(np.dtypes.StringDType()),
    )


def read_chunks(path: Path, columns: Mapping[str, Column], lengths: NDArray[np.int64]) -> dict[str, Chunks]:
    """chunks.parquet: those of each compressed column, of episodes of so many steps. Raises CorruptDatasetError."""
    counts = {name: _chunk_counts(path, name, columns[name], lengths) for name in layout.compressed(columns)}
    if not counts:
        return {}
    total = sum(int(count.sum()) for count in counts.values())
    table = read_table(path, layout.CHUNK_SCHEMA, total, "chunks", _CHUNK_ROW_BYTES)
    places, found, start = [table[name].to_numpy() for name in layout.CHUNK_SCHEMA.names], dict[str, Chunks](), 0
    for name, count in counts.items():
        first = np.concatenate([[0], count.cumsum()])
        offset, size = (column[start : start + first[-1]] for column in places)
        found[name] = Chunks(first=first, offset=offset, size=size)
        start += int(first[-1])
    return found


def _chunk_counts(path: Path, name: str, column: Column, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(M,) chunks of each episode."""
    later, most = column.rows == "T+1", layout.LARGEST_COMPRESSED // layout.row_bytes(column)
    bad = np.flatnonzero((lengths < 1) | (lengths > most - later))
    if len(bad):
        raise CorruptDatasetError(
            f"{path}: episode {bad[0]}, column {name}: {lengths[bad[0]]} steps unpack to none or more than "
            f"{layout.LARGEST_COMPRESSED} bytes"
        )
    return -(-(lengths + later) // (column.chunk_rows or 1))
