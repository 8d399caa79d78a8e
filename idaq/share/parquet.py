"""All transitions as one Parquet file, a row each: for pandas, Polars, DuckDB and all else that reads tables.

Columns: `episode`, `step`, `task_index` int64; `task_id`, `split`, `behaviour` string; `seed` uint64; `observation`,
`action`, `next_observation` lists; `reward` number; `terminated`, `truncated` and `success` (of the episode) bool.
`seed` and `success` are null where they are unknown.
Numbers keep the dataset's dtypes; rows of more than one dimension are flattened in C order. Rows keep the dataset's
order, so an episode's rows are contiguous and a task's row groups are few. The file's key-value metadata holds, under
`idaq`, the dataset's id, content digest and tasks as JSON.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from idaq.core.config import to_mapping
from idaq.core.types import Advance, Array, ignore_progress
from idaq.format.documents import Counts
from idaq.format.reader import StoredDataset
from idaq.share.exporting import ExportedEpisode, count, each_episode, new_file

ROWS_PER_GROUP = 1 << 16


def export_parquet(
    stored: StoredDataset, target: Path, *, rows_per_group: int = ROWS_PER_GROUP, progress: Advance = ignore_progress
) -> Counts:
    """Write the file atomically; `progress` counts episodes. Whole episodes fill a row group up to `rows_per_group`.

    Memory holds one row group. Raises DatasetExistsError if `target` exists.
    """
    schema = _schema(stored)
    facts = []
    with new_file(target) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in batches(each_episode(stored, progress), rows_per_group):
            table = pa.concat_tables(_table(entry, schema) for entry in batch)
            writer.write_table(table, row_group_size=len(table))
            facts += [entry.facts for entry in batch]
    return count(facts)


def batches(entries: Iterator[ExportedEpisode], rows: int) -> Iterator[list[ExportedEpisode]]:
    """Consecutive episodes of at most `rows` transitions together; a longer episode stands alone."""
    batch: list[ExportedEpisode] = []
    size = 0
    for entry in entries:
        if batch and size + len(entry.episode) > rows:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.episode)
    if batch:
        yield batch


def vectors(matrix: Array) -> pa.ListArray:
    """(T, ...) numbers as T lists of equal length."""
    rows = matrix.reshape(len(matrix), -1)
    return pa.ListArray.from_arrays(pa.array(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]), rows.ravel())


def number_type(stored: StoredDataset, column: str) -> pa.DataType:
    """The Arrow type of a column's numbers; `column` by its name in the HDF5."""
    return pa.from_numpy_dtype(np.dtype(stored.manifest.columns[column].dtype))


def _schema(stored: StoredDataset) -> pa.Schema:
    observation, action = (pa.list_(number_type(stored, name)) for name in ("observations", "actions"))
    about = {
        "dataset_id": stored.manifest.dataset_id,
        "content_digest": stored.manifest.content_digest,
        "tasks": [to_mapping(task) for task in stored.tasks],
    }
    types = {
        "episode": pa.int64(),
        "step": pa.int64(),
        "task_index": pa.int64(),
        "task_id": pa.string(),
        "split": pa.string(),
        "behaviour": pa.string(),
        "seed": pa.uint64(),
        "observation": observation,
        "action": action,
        "reward": number_type(stored, "rewards"),
        "next_observation": observation,
        "terminated": pa.bool_(),
        "truncated": pa.bool_(),
        "success": pa.bool_(),
    }
    fields = [pa.field(name, kind, nullable=name in ("seed", "success")) for name, kind in types.items()]
    return pa.schema(fields, metadata={"idaq": json.dumps(about, allow_nan=False)})


def _table(entry: ExportedEpisode, schema: pa.Schema) -> pa.Table:
    episode, length = entry.episode, len(entry.episode)
    constants = {
        "episode": entry.number,
        "task_index": entry.task.task_index,
        "task_id": entry.task.task_id,
        "split": entry.task.split,
        "behaviour": entry.behaviour,
        "seed": entry.seed,
        "success": entry.success,
    }
    columns = {
        "step": np.arange(length),
        "observation": vectors(episode.observations[:-1]),
        "action": vectors(episode.actions),
        "reward": episode.rewards,
        "next_observation": vectors(episode.observations[1:]),
        "terminated": episode.terminated,
        "truncated": episode.truncated,
    }
    for name, value in constants.items():
        columns[name] = pa.repeat(pa.scalar(value, schema.field(name).type), length)
    return pa.table(columns, schema=schema)
