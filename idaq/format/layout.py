"""Names and shapes on disk, in one place."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import ConfigError, DatasetError
from idaq.core.types import FIXED_COLUMNS, MIXED_FAMILIES, OBSERVATIONS, Episode, in_file_order, is_observation
from idaq.format.documents import SEGMENT, About, Column, TaskRecord

METADATA = "metadata.json"
HDF5 = "main_data.hdf5"
MANIFEST = "idaq/manifest.json"
TASKS = "idaq/tasks.jsonl"
EPISODES = "idaq/episodes.parquet"
CHUNKS = "idaq/chunks.parquet"
"""of datasets with compressed columns alone"""
CARD = "README.md"
NAMESPACE = "namespace_metadata.json"
NO_NAMESPACE = b"{}\n"
"""what Minari wants in the folder of every namespace; people may write a description there"""

ALIGNMENT = 64
CHUNK_BYTES = 2**17
"""of rows that a chunk of a compressed column holds, about: few enough to read some rows, enough to pack well"""
LARGEST_COMPRESSED = 2**31
"""bytes that a compressed column of one episode may unpack to"""
MINARI_VERSIONS = ("0.5.0", "0.5.2")
"""the oldest release whose reader passes, and the oldest that knows MultiDiscrete and MultiBinary; a newer stamp would
be refused by older readers"""

MOST_COLUMNS = 200
"""of an episode: more are refused"""
INFOS = "infos"
"""Minari's own group of them in an episode"""
_LONGEST_NAME = 200
_SEGMENT = re.compile(SEGMENT)


CHUNK_SCHEMA = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in ("offset", "size")])
"""the columns of chunks.parquet"""


def episode_schema(columns: Mapping[str, Column]) -> pa.Schema:
    """The columns of episodes.parquet, in a dataset whose episodes have `columns`."""
    return pa.schema(
        [
            pa.field("episode", pa.int64(), nullable=False),
            pa.field("task_index", pa.int64(), nullable=False),
            pa.field("behaviour", pa.string(), nullable=False),
            pa.field("history", pa.int64(), nullable=True),
            pa.field("policy_step", pa.int64(), nullable=True),
            pa.field("seed", pa.uint64(), nullable=True),
            pa.field("length", pa.int64(), nullable=False),
            pa.field("return", pa.float64(), nullable=True),
            pa.field("success", pa.bool_(), nullable=True),
            pa.field("terminated", pa.bool_(), nullable=False),
            pa.field("truncated", pa.bool_(), nullable=False),
            *(pa.field(f"offset_{name}", pa.int64(), nullable=False) for name in contiguous(columns)),
            pa.field("digest", pa.string(), nullable=False),
        ]
    )


def contiguous(columns: Mapping[str, Column]) -> list[str]:
    """Names of the columns that lie in one piece, mapped."""
    return [name for name, column in columns.items() if column.chunk_rows is None]


def compressed(columns: Mapping[str, Column]) -> dict[str, int]:
    """Rows of a chunk of each compressed column, by name."""
    return {name: column.chunk_rows for name, column in columns.items() if column.chunk_rows is not None}


def hashed_files(columns: Mapping[str, Column]) -> tuple[str, ...]:
    """The files that the manifest of a dataset of these columns states."""
    return (HDF5, TASKS, EPISODES, *([CHUNKS] if compressed(columns) else []))


def data_folder(dataset: Path) -> Path:
    """Where everything but the card is."""
    return dataset / "data"


def columns_of(
    episode: Episode, about: Mapping[str, About] | None = None, compress: Collection[str] = ()
) -> dict[str, Column]:
    """The column table of a dataset, read off one of its episodes, what is said `about` its columns, and which of them
    to `compress`.

    Raises DatasetError for what has no column, and for a name that is said of none.
    """
    columns, about = episode.columns, about or {}
    if strange := sorted((about.keys() | set(compress)) - columns.keys()):
        raise DatasetError(f"there is no column {strange[0]}: the episodes have {', '.join(columns)}")
    found = dict[str, Column]()
    for name, array in columns.items():
        longer = is_observation(name) or (is_extra(name) and len(array) == len(episode) + 1)
        column = column_of(name, array.dtype, array.shape[1:], longer, about.get(name, About()))
        rows = max(1, CHUNK_BYTES // row_bytes(column)) if name in compress else None
        found[name] = replace(column, chunk_rows=rows)
    return found


def folders_of(names: Iterable[str]) -> set[str]:
    """Names of the groups that columns lie in, inner ones too."""
    return {name[: place.start()] for name in names for place in re.finditer("/", name)}


def column_of(name: str, dtype: np.dtype[Any], shape: Sequence[int], extra_row: bool, about: About) -> Column:
    """A contiguous column of numbers `dtype`, of rows of `shape`. Raises DatasetError for what has no column."""
    numbers = {"dtype": dtype.newbyteorder("<").str, "shape": list(shape), "rows": "T+1" if extra_row else "T"}
    column = numbers | {"chunk_rows": None} | to_mapping(about)
    try:
        return from_mapping(Column, column, where=f"column {name}")
    except ConfigError as error:
        raise DatasetError(error.message) from None


def names_fault(names: Collection[str]) -> str | None:
    """Why columns cannot be called so; None if they can."""
    missing = [name for name in FIXED_COLUMNS if name not in names]
    if missing or not any(map(is_observation, names)):
        return f"its columns lack {', '.join(missing) or OBSERVATIONS}"
    if len(names) > MOST_COLUMNS:
        return f"it has {len(names)} columns; {MOST_COLUMNS} at most"
    folders = folders_of(names)
    for name in names:
        if not all(map(is_segment, name.split("/"))) or len(name) > _LONGEST_NAME:
            return f"{name[:100]!r} is no name of a column: letters, digits, '_', '.', '-', in segments between '/'"
        if name in folders or name == INFOS:
            return f"the name {name!r} is that of a group"
    return None


def is_segment(text: object) -> bool:
    """Whether it can stand in the name of a column, between slashes."""
    return isinstance(text, str) and _SEGMENT.fullmatch(text) is not None


def is_extra(name: str) -> bool:
    """Whether a column is one that not every dataset has."""
    return name not in FIXED_COLUMNS and not is_observation(name)


def file_order(names: Iterable[str]) -> list[str]:
    """Names of columns in the order of a file: observations, the four of every episode, extra columns."""
    every = in_file_order(names)
    extras = [name for name in every if is_extra(name)]
    return [name for name in every if is_observation(name)] + list(FIXED_COLUMNS) + extras


def row_bytes(column: Column) -> int:
    """Bytes of one row."""
    return np.dtype(column.dtype).itemsize * row_width(column)


def row_width(column: Column) -> int:
    """Numbers in one row."""
    return math.prod(column.shape)


def common_family(tasks: Sequence[TaskRecord]) -> str:
    """The family that a dataset of these tasks states."""
    families = {task.family for task in tasks}
    return families.pop() if len(families) == 1 else MIXED_FAMILIES


def task_option(task: TaskRecord) -> int:
    """The attribute `options/task` of the task's episodes: what its environment's `reset` takes as `task`, an index of
    its family; the index here, where that is not known."""
    option = task.reset_options.get("task")
    return option if type(option) is int and abs(option) < 2**63 else task.task_index


def rows_of(column: Column, length: int) -> int:
    """Rows of an episode of `length` steps."""
    return length + (column.rows == "T+1")
