"""The Zarr form of a dataset: where every row lies, and what the group's attributes say. Specified in FORMAT.md.

One array a column, one shard a task. A shard holds the rows of one task's episodes one after the other; every shard has
room for the largest task, so that the grid is regular and opening takes one array document a column instead of one a
column and task. Room that is not used costs 16 bytes of shard index a chunk, nothing else: chunks without rows are not
stored. A chunk has as many rows as the mean episode. Where episodes are of equal length each is exactly one chunk;
elsewhere an episode of T steps lies in at most T / mean + 2 chunks, and no single long episode swells them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import zarr
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from pydantic import Field
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import MemoryStore

from idaq.core.config import config
from idaq.core.digest import value_digest
from idaq.core.types import PlainData, Sha256, Slug, VersionOne
from idaq.format import layout
from idaq.format.documents import Column, Manifest, NonNegative, TaskRecord
from idaq.format.reader import EpisodeTable

GROUP = "zarr.json"
"""the key of a group's or an array's document, in Zarr 3"""
ATTRIBUTE = "idaq"
"""the one attribute of the group"""
UNFINISHED = "unfinished"
"""the only key of the attribute while an export is unfinished"""
INDEX_ENTRY = 16
"""bytes of a shard index for each chunk: where it begins and how long it is, as uint64"""
CHECKSUM = 4
"""bytes of a crc32c"""
LARGEST_EPISODE = 2**31
"""bytes of one column of an episode; what claims more is refused"""
_LEVEL = 3
COMPRESSION = Zstd(level=_LEVEL, checksum=False)
"""of every chunk"""


@config
class EpisodeColumns:
    """episodes.parquet without the byte offsets, which belong to the HDF5. One entry an episode, in order."""

    task_index: list[NonNegative]
    behaviour: list[Slug]
    history: list[NonNegative | None]
    policy_step: list[NonNegative | None]
    seed: list[Annotated[int, Field(ge=0, lt=2**64)] | None]
    length: list[Annotated[int, Field(ge=1, lt=2**40)]]
    total_reward: list[float | None]
    success: list[bool | None]
    terminated: list[bool]
    truncated: list[bool]
    digest: list[Sha256]


@config
class Attributes:
    """The group's attribute "idaq": all documents of the dataset. Written last, in one piece."""

    zarr_version: VersionOne
    """of this form"""
    sha256: Sha256
    """of the other fields, in canonical JSON"""
    card: str
    metadata: PlainData
    """metadata.json without its "idaq" object"""
    manifest: Manifest
    tasks: list[TaskRecord]
    episodes: EpisodeColumns


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where one column's rows lie. M episodes."""

    name: str
    column: Column
    shards: int
    """tasks that have episodes; shard n is that of the n-th"""
    chunks: int
    """in a shard"""
    chunk_rows: int
    shard: NDArray[np.int64]
    """(M,) of each episode"""
    first: NDArray[np.int64]
    """(M,) row of each episode's first within its shard"""

    @property
    def shard_rows(self) -> int:
        """Rows that a shard has room for."""
        return self.chunks * self.chunk_rows

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk before it is compressed."""
        return self.chunk_rows * layout.row_bytes(self.column)

    def key(self, shard: int) -> str:
        """Of a shard, below the group."""
        return "/".join([self.name, "c", str(shard), *("0" for _ in self.column.shape)])

    def chunks_of(self, episode: int, length: int) -> range:
        """The chunks of the episode's shard that hold rows of it."""
        first = int(self.first[episode])
        return range(first // self.chunk_rows, -(-(first + layout.rows_of(self.column, length)) // self.chunk_rows))


def grids(columns: dict[str, Column], episodes: EpisodeTable) -> dict[str, Grid]:
    """The grid of each column, by its name. Episodes are sorted by task."""
    tasks, starts, shard = np.unique(episodes.task_index, return_index=True, return_inverse=True)
    found = {}
    for name, column in columns.items():
        rows = episodes.length + (column.rows == "T+1")
        ends = rows.cumsum()
        before = ends - rows
        of_task = np.diff(np.append(before[starts], ends[-1]))
        chunk_rows = -(-int(ends[-1]) // len(rows))
        found[name] = Grid(
            name=name,
            column=column,
            shards=len(tasks),
            chunks=-(-int(of_task.max()) // chunk_rows),
            chunk_rows=chunk_rows,
            shard=shard.astype(np.int64),
            first=before - before[starts][shard],
        )
    return found


def largest_episode(columns: dict[str, Column], episodes: EpisodeTable) -> int:
    """Bytes of the largest column of the longest episode."""
    longest = int(episodes.length.max()) + 1
    return max(longest * layout.row_bytes(column) for column in columns.values())


def create_array(store: MemoryStore, grid: Grid) -> "zarr.Array[ArrayV3Metadata]":
    """The array of a column, empty. Everything is stated, so that another version of zarr writes the same."""
    shape = tuple(grid.column.shape)
    return zarr.create_array(
        store,
        name=grid.name,
        shape=(grid.shards * grid.shard_rows, *shape),
        dtype=grid.column.dtype,
        chunks=(grid.chunk_rows, *shape),
        shards=(grid.shard_rows, *shape),
        filters=None,
        serializer=BytesCodec(endian="little"),
        compressors=[ZstdCodec(level=_LEVEL, checksum=False), Crc32cCodec()],
        fill_value=0,
        dimension_names=_dimension_names(grid),
        attributes={},
        chunk_key_encoding={"name": "default", "separator": "/"},
        config={"write_empty_chunks": True},  # a chunk of zeros must not look like a missing one
    )


def _dimension_names(grid: Grid) -> list[str]:
    """One name for one length, which xarray asks for, and none that a column can have: `:` stands in no such name."""
    return [f"rows:{grid.column.rows}", *(f"{grid.name}:{axis}" for axis in range(len(grid.column.shape)))]


def attributes_digest(stated: Mapping[str, Any]) -> str:
    """The sha256 of an attribute without its own `sha256`, as it was written: no default of a later idaq is added."""
    return value_digest({name: value for name, value in stated.items() if name != "sha256"})


def shard_index_bytes(grid: Grid) -> int:
    """Size of the index at the end of a shard."""
    return grid.chunks * INDEX_ENTRY + CHECKSUM
