"""Names and shapes on disk, in one place."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from idaq.core.types import Episode
from idaq.format.documents import Column

METADATA = "metadata.json"
HDF5 = "main_data.hdf5"
MANIFEST = "idaq/manifest.json"
TASKS = "idaq/tasks.jsonl"
EPISODES = "idaq/episodes.parquet"
CARD = "README.md"
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
        pa.field("seed", pa.uint64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("return", pa.float64(), nullable=False),
        pa.field("success", pa.bool_(), nullable=False),
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
    """The column table of a dataset, read off one of its episodes."""
    return {
        name: Column(
            dtype=np.dtype(array.dtype).newbyteorder("<").str,
            shape=list(array.shape[1:]),
            rows="T+1" if name == "observations" else "T",
        )
        for name, array in ((name, getattr(episode, field)) for name, field in COLUMNS.items())
    }


def row_bytes(column: Column) -> int:
    """Bytes of one row."""
    return np.dtype(column.dtype).itemsize * row_width(column)


def row_width(column: Column) -> int:
    """Numbers in one row."""
    return int(np.prod(column.shape, dtype=np.int64))


def rows_of(column: Column, length: int) -> int:
    """Rows of an episode of `length` steps."""
    return length + (column.rows == "T+1")
