"""All transitions as one Parquet file, a row each: for pandas, Polars, DuckDB and all else that reads tables.

Columns: `episode`, `step`, `task_index` int64; `task_id`, `split`, `behaviour` string; `seed` uint64; `observation`,
`action`, `next_observation` lists, or numbers where a row is one; `reward` number; `terminated`, `truncated` and
`success` (of the episode) bool; `history`, `policy_step` (of the episode) int64. `seed`, `success`, `history` and
`policy_step` are null where they are unknown or there is none. Of a Dict its leaves, `observation/a` and
`next_observation/a`; extra columns by their names, those of T + 1 rows with a second one before whose name stands
`next_`. Numbers keep the dataset's dtypes; rows of more than one dimension are flattened in C order. Rows keep the
dataset's order, so an episode's rows are contiguous and a task's row groups are few. The file's key-value metadata
holds, under `idaq`, the dataset's manifest, metadata and tasks, and how each column is called here, as JSON.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Advance, Array, ignore_progress
from idaq.format.documents import Column
from idaq.format.reader import StoredDataset
from idaq.share.exporting import (
    ExportedEpisode,
    Names,
    document_of,
    each_episode,
    has_last_rows,
    new_file,
    transition_names,
    transition_rows,
)

ROWS_PER_GROUP = 1 << 16
_BYTES_PER_GROUP = 1 << 27
"""of an export's row groups, before they are compressed"""
_MOST_NUMBERS = 2**31
"""in a column of one episode: Arrow's lists count in int32"""
PLAIN = {
    OBSERVATIONS: "observation",
    ACTIONS: "action",
    REWARDS: "reward",
    TERMINATIONS: "terminated",
    TRUNCATIONS: "truncated",
}
"""columns that are called otherwise here"""
_FACTS = {
    "episode": pa.int64(),
    "step": pa.int64(),
    "task_index": pa.int64(),
    "task_id": pa.string(),
    "split": pa.string(),
    "behaviour": pa.string(),
    "history": pa.int64(),
    "policy_step": pa.int64(),
    "seed": pa.uint64(),
    "success": pa.bool_(),
}
_NULLABLE = ("history", "policy_step", "seed", "success")


def export_parquet(
    stored: StoredDataset, target: Path, *, rows_per_group: int = ROWS_PER_GROUP, progress: Advance = ignore_progress
) -> Notes:
    """Write the file atomically; `progress` counts episodes. Whole episodes fill a row group up to `rows_per_group`.

    Memory holds one row group, of 128 MiB or one episode. Raises DatasetExistsError if `target` exists, DatasetError
    for an episode with 2^31 numbers in a column.
    """
    notes = Notes()
    names = transition_names(has_last_rows(stored.manifest.columns), PLAIN, tuple(_FACTS), notes)
    schema = _schema(stored, names)
    with new_file(target) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in batches(each_episode(stored, progress), rows_per_group):
            table = pa.concat_tables(_table(entry, schema, names) for entry in batch)
            writer.write_table(table, row_group_size=len(table))
    return notes


def batches(entries: Iterator[ExportedEpisode], rows: int) -> Iterator[list[ExportedEpisode]]:
    """Consecutive episodes of at most `rows` transitions and 128 MiB together; a longer episode stands alone."""
    batch: list[ExportedEpisode] = []
    size = weight = 0
    for entry in entries:
        bytes_of_it = sum(column.nbytes for column in entry.episode.columns.values())
        if batch and (size + len(entry.episode) > rows or weight + bytes_of_it > _BYTES_PER_GROUP):
            yield batch
            batch, size, weight = [], 0, 0
        batch.append(entry)
        size, weight = size + len(entry.episode), weight + bytes_of_it
    if batch:
        yield batch


def vectors(matrix: Array) -> pa.ListArray:
    """(T, ...) numbers as T lists of equal length. Raises DatasetError for 2^31 numbers."""
    rows = np.ascontiguousarray(matrix.reshape(len(matrix), -1))
    if rows.size >= _MOST_NUMBERS:
        raise DatasetError(f"a column of an episode has {rows.size} numbers; Parquet's lists hold {_MOST_NUMBERS - 1}")
    return pa.ListArray.from_arrays(pa.array(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]), rows.ravel())


def _schema(stored: StoredDataset, names: Names) -> pa.Schema:
    types = {here: _type(stored.manifest.columns[name]) for name, every in names.items() for here in every}
    fields = [pa.field(name, kind, nullable=name in _NULLABLE) for name, kind in (_FACTS | types).items()]
    about = json.dumps(document_of(stored, "parquet", names), allow_nan=False)
    return pa.schema(fields, metadata={"idaq": about})


def _type(column: Column) -> pa.DataType:
    number = pa.from_numpy_dtype(np.dtype(column.dtype))
    return pa.list_(number) if column.shape else number


def _table(entry: ExportedEpisode, schema: pa.Schema, names: Names) -> pa.Table:
    length = len(entry.episode)
    facts = entry.facts | {"split": entry.task.split}
    columns: dict[str, object] = {"step": np.arange(length)}
    for name, rows in transition_rows(entry.episode.columns, names).items():
        columns[name] = vectors(rows) if rows.ndim > 1 else rows
    for name in _FACTS.keys() - columns.keys():
        columns[name] = pa.repeat(pa.scalar(facts[name], schema.field(name).type), length)
    return pa.table(columns, schema=schema)
