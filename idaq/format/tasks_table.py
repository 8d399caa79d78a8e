"""tasks.jsonl as Parquet, a column a field: what viewers show and libraries of tables read."""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from idaq.core.config import canonical_json, to_mapping
from idaq.format.documents import TaskRecord

TASKS_TABLE = "tasks.parquet"
PARAMS = "params/"
"""what the names of columns begin with that hold one parameter each"""
_RETURNS = {
    "mean": (pa.float64(), "mean return"),
    "std": (pa.float64(), "standard deviation of returns"),
    "n": (pa.int64(), "number of returns"),
    "how": (pa.string(), "how returns were measured"),
}
FIELDS: dict[str, tuple[pa.DataType, str]] = {
    "task_id": (pa.string(), "name of the task, unique in the dataset"),
    "task_index": (pa.int64(), "index of the task in its family"),
    "family": (pa.string(), "family of the task"),
    "split": (pa.string(), "split that the task belongs to"),
    "success/metric": (pa.string(), "what success is judged by; null, as its companions, where it is not defined"),
    "success/op": (pa.string(), "how the metric compares with the threshold"),
    "success/threshold": (pa.float64(), "threshold of success, in success/unit"),
    "success/unit": (pa.string(), "unit of the threshold"),
    "success/when": (pa.string(), "which steps are judged"),
    "env/id": (pa.string(), "id of the Gymnasium environment"),
    "env/entry_point": (pa.string(), "entry point of the environment"),
    "env/kwargs": (pa.string(), "what the environment is made with, as JSON"),
    "env/max_episode_steps": (pa.int64(), "time limit in steps"),
    "reset_options": (pa.string(), "what env.reset takes to start the task, as JSON"),
    **{f"reference/random/{key}": (kind, f"of random actions: {what}") for key, (kind, what) in _RETURNS.items()},
    **{f"reference/behaviour/{key}": (kind, f"of the episodes: {what}") for key, (kind, what) in _RETURNS.items()},
}
"""type and meaning of each column but the parameters', by the path of the field in a line of tasks.jsonl"""


def tasks_table(tasks: Sequence[TaskRecord]) -> pa.Table:
    """One row a task, in order. What one task has and another has not is null there.

    A parameter is a number, or for all tasks a list of numbers where it is one for any.
    """
    records = [to_mapping(task) for task in tasks]
    columns = {name: pa.array([_value(record, name) for record in records], kind) for name, (kind, _) in FIELDS.items()}
    for name in dict.fromkeys(name for record in records for name in record["params"]):
        values = [record["params"].get(name) for record in records]
        if any(isinstance(value, list) for value in values):
            lists = [[value] if isinstance(value, float) else value for value in values]
            columns[PARAMS + name] = pa.array(lists, pa.list_(pa.float64()))
        else:
            columns[PARAMS + name] = pa.array(values, pa.float64())
    return pa.table(columns)


def tasks_parquet(tasks: Sequence[TaskRecord]) -> bytes:
    """The file of that table: the same bytes for the same tasks, under one version of pyarrow."""
    target = io.BytesIO()
    pq.write_table(tasks_table(tasks), target)
    return target.getvalue()


def _value(record: dict[str, Any], path: str) -> Any:
    """The field at a path; None where one above it is null."""
    value: Any = record
    for key in path.split("/"):
        value = None if value is None else value.get(key)
    return canonical_json(value) if isinstance(value, dict) else value
