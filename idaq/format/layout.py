"""Names and shapes on disk, in one place."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
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
CARD = "README.md"
NAMESPACE = "namespace_metadata.json"
NO_NAMESPACE = b"{}\n"
"""what Minari wants in the folder of every namespace; people may write a description there"""
HASHED_FILES = (HDF5, TASKS, EPISODES)

ALIGNMENT = 64
MINARI_VERSION = "0.5.0"  # the oldest release whose reader passes; a newer stamp would be refused by older readers

MOST_COLUMNS = 200
"""of an episode: more are refused"""
INFOS = "infos"
"""Minari's own group of them in an episode"""
_LONGEST_NAME = 200
_SEGMENT = re.compile(SEGMENT)


def episode_schema(columns: Iterable[str]) -> pa.Schema:
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
            *(pa.field(f"offset_{name}", pa.int64(), nullable=False) for name in columns),
            pa.field("digest", pa.string(), nullable=False),
        ]
    )


def data_folder(dataset: Path) -> Path:
    """Where everything but the card is."""
    return dataset / "data"


def columns_of(episode: Episode, about: Mapping[str, About] | None = None) -> dict[str, Column]:
    """The column table of a dataset, read off one of its episodes, and what is said `about` its columns.

    Raises DatasetError for what has no column, and for a name that is said of none.
    """
    columns, about = episode.columns, about or {}
    if strange := sorted(about.keys() - columns.keys()):
        raise DatasetError(f"there is no column {strange[0]}: the episodes have {', '.join(columns)}")
    found = dict[str, Column]()
    for name, array in columns.items():
        longer = is_observation(name) or (is_extra(name) and len(array) == len(episode) + 1)
        found[name] = column_of(name, array.dtype, array.shape[1:], longer, about.get(name, About()))
    return found


def folders_of(names: Iterable[str]) -> set[str]:
    """Names of the groups that columns lie in, inner ones too."""
    return {name[: place.start()] for name in names for place in re.finditer("/", name)}


def column_of(name: str, dtype: np.dtype[Any], shape: Sequence[int], extra_row: bool, about: About) -> Column:
    """A column of numbers `dtype`, of rows of `shape`. Raises DatasetError for what has no column."""
    numbers = {"dtype": dtype.newbyteorder("<").str, "shape": list(shape), "rows": "T+1" if extra_row else "T"}
    column = numbers | to_mapping(about)
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
