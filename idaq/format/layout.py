"""Names and shapes on disk, in one place."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa

from idaq.core.config import from_mapping
from idaq.core.errors import ConfigError, DatasetError
from idaq.core.types import Array, Episode
from idaq.format.documents import Column

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

# Minari's column names in the HDF5, and the Episode fields they hold.
COLUMNS = {
    "observations": "observations",
    "actions": "actions",
    "rewards": "rewards",
    "terminations": "terminated",
    "truncations": "truncated",
}
ALIGNMENT = 64
MINARI_VERSION = "0.5.0"  # the oldest release whose reader passes; a newer stamp would be refused by older readers

EPISODE_SCHEMA = pa.schema(
    [
        pa.field("episode", pa.int64(), nullable=False),
        pa.field("task_index", pa.int64(), nullable=False),
        pa.field("behaviour", pa.string(), nullable=False),
        pa.field("seed", pa.uint64(), nullable=True),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("return", pa.float64(), nullable=False),
        pa.field("success", pa.bool_(), nullable=True),
        pa.field("terminated", pa.bool_(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        *(pa.field(f"offset_{name}", pa.int64(), nullable=False) for name in COLUMNS),
        pa.field("digest", pa.string(), nullable=False),
    ]
)


def data_folder(dataset: Path) -> Path:
    """Where everything but the card is."""
    return dataset / "data"


def columns_of(episode: Episode) -> dict[str, Column]:
    """The column table of a dataset, read off one of its episodes. Raises DatasetError for what has no column."""
    return {name: _column_of(name, getattr(episode, field)) for name, field in COLUMNS.items()}


def _column_of(name: str, array: Array) -> Column:
    column = {
        "dtype": array.dtype.newbyteorder("<").str,
        "shape": list(array.shape[1:]),
        "rows": "T+1" if name == "observations" else "T",
    }
    try:
        return from_mapping(Column, column, where=f"column {name}")
    except ConfigError as error:
        raise DatasetError(error.message) from None


def row_bytes(column: Column) -> int:
    """Bytes of one row."""
    return np.dtype(column.dtype).itemsize * row_width(column)


def row_width(column: Column) -> int:
    """Numbers in one row."""
    return math.prod(column.shape)


def rows_of(column: Column, length: int) -> int:
    """Rows of an episode of `length` steps."""
    return length + (column.rows == "T+1")
