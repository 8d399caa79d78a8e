"""tasks.jsonl as Parquet: every field in a column of its own, and what is unknown is null."""

import io
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from idaq.core.config import to_mapping
from idaq.format.documents import TaskRecord
from idaq.format.tasks_table import FIELDS, PARAMS, tasks_parquet, tasks_table
from tests.format.made import entries_of, task_record


@pytest.fixture
def tasks() -> list[TaskRecord]:
    return [task_record(task, entries_of(), "train") for task in (2, 5)]


def test_every_field_of_a_task_has_its_column(tasks: list[TaskRecord]) -> None:
    found = tasks_table(tasks).to_pylist()[0]
    assert found["task_id"] == "task-2"
    assert found["success/threshold"] == 0.5
    assert found["env/kwargs"] == '{"variant":"point-robot"}'
    assert found["reset_options"] == '{"task":2}'
    assert found["reference/random/mean"] == -1.0
    assert found["reference/behaviour/n"] == 3
    assert (found["params/goal"], found["params/speed"]) == ([2.0, 0.5], 2.0)

    def paths(value: dict[str, object], above: str = "") -> set[str]:
        return {
            path
            for key, inner in value.items()
            for path in (paths(inner, f"{above}{key}/") if isinstance(inner, dict) and inner else {f"{above}{key}"})
        }

    told = paths({**to_mapping(tasks[0]), "params": {}, "reset_options": 0}) - {"params"}
    assert {path.replace("env/kwargs/variant", "env/kwargs") for path in told} <= set(FIELDS)


def test_what_a_task_does_not_have_is_null(tasks: list[TaskRecord]) -> None:
    bare = replace(tasks[1], success=None, params={}, reference=replace(tasks[1].reference, random=None))
    found = tasks_table([tasks[0], bare]).to_pylist()[1]
    names = ("success/metric", "success/threshold", "reference/random/mean", "reference/random/how", "params/goal")
    assert [found[name] for name in names] == [None] * 5


def test_columns_keep_their_types_where_all_is_null(tasks: list[TaskRecord]) -> None:
    bare = [replace(task, success=None) for task in tasks]
    assert tasks_table(bare).schema.field("success/threshold").type == FIELDS["success/threshold"][0]


def test_a_parameter_is_a_list_for_all_tasks_where_it_is_one_for_any(tasks: list[TaskRecord]) -> None:
    mixed = [replace(tasks[0], params={"a b": 1.0}), replace(tasks[1], params={"a b": [1.0, 2.0]})]
    assert tasks_table(mixed)[f"{PARAMS}a b"].to_pylist() == [[1.0], [1.0, 2.0]]


def test_the_file_is_the_same_for_the_same_tasks(tasks: list[TaskRecord]) -> None:
    content = tasks_parquet(tasks)
    assert content == tasks_parquet(tasks)
    assert pq.read_table(io.BytesIO(content)) == tasks_table(tasks)
