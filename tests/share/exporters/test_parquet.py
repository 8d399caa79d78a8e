"""A Parquet row is a transition, with all that is known of it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from idaq.core.errors import DatasetExistsError
from idaq.format.reader import open_stored
from idaq.format.writer import write_dataset
from idaq.share.exporters.parquet import export_parquet
from tests.format.made import PLANS
from tests.share.everything import source_of, transitions_of
from tests.share.tagged import COLUMNS, assert_tagged


@pytest.fixture(scope="module")
def table(made: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    target = tmp_path_factory.mktemp("parquet") / "all.parquet"
    export_parquet(open_stored(made), target)
    return pq.read_table(target)


def test_every_transition_is_in_its_place(table: pa.Table) -> None:
    found = {name: table[name].to_pylist() for name in table.schema.names}
    assert_tagged(found, (*COLUMNS, "task_id", "behaviour", "success"))
    assert found["seed"] == [2**64 - 1 - number for number in found["episode"]]
    assert found["split"] == [("train", "test")[task % 2] for task in found["task_index"]]


def test_numbers_keep_their_types(table: pa.Table) -> None:
    schema = table.schema
    assert schema.field("observation").type == schema.field("next_observation").type == pa.list_(pa.float32())
    assert schema.field("action").type == pa.list_(pa.float64())
    assert (schema.field("reward").type, schema.field("seed").type) == (pa.float64(), pa.uint64())


def test_the_file_says_where_it_came_from(made: Path, table: pa.Table) -> None:
    stored, about = open_stored(made), json.loads((table.schema.metadata or {})[b"idaq"])
    assert about["content_digest"] == stored.manifest.content_digest
    assert [task["params"]["goal"] for task in about["tasks"]] == [[2.0, 0.5], [5.0, 0.5], [9.0, 0.5]]


def test_row_groups_hold_whole_episodes_and_no_more_than_asked(made: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    notes = export_parquet(open_stored(made), tmp_path / "all.parquet", rows_per_group=20, progress=seen.append)
    file = pq.ParquetFile(tmp_path / "all.parquet")
    groups = [file.read_row_group(n)["episode"].to_pylist() for n in range(file.num_row_groups)]
    assert [sorted(set(group)) for group in groups] == [[0, 1], [2, 3], [4], [5], [6, 7]]
    assert [len(group) for group in groups] == [8, 19, 2, 33, 13]
    assert_tagged({"step": file.read()["step"].to_pylist()}, ("step",))
    assert not len(notes)
    assert seen == [1] * len(PLANS)


def test_nothing_is_overwritten(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.parquet"
    target.write_bytes(b"mine")
    with pytest.raises(DatasetExistsError, match=r"mine\.parquet exists already"):
        export_parquet(open_stored(made), target)
    assert target.read_bytes() == b"mine"


def test_a_stopped_export_leaves_nothing(made: Path, tmp_path: Path) -> None:
    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_parquet(open_stored(made), tmp_path / "new" / "all.parquet", progress=stop)
    assert list((tmp_path / "new").iterdir()) == []


def test_observations_of_any_shape_become_flat_lists() -> None:
    from idaq.share.exporters.parquet import vectors

    matrix = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert vectors(matrix).to_pylist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


def test_every_column_is_there_and_a_name_that_is_taken_is_told(tmp_path: Path) -> None:
    stored = open_stored(write_dataset(source_of("dict"), tmp_path, "# everything\n"))
    notes = list(export_parquet(stored, tmp_path / "all.parquet"))
    table, expected = pq.read_table(tmp_path / "all.parquet"), transitions_of("dict")
    assert notes == [
        f"{n}: the column is written as {n}_: {n} means something else there" for n in ("step", "task_index")
    ]
    for name, rows in expected.items():
        here = name.replace("next/", "next_").replace("observations", "observation")
        here = {"actions": "action", "rewards": "reward", "terminations": "terminated"}.get(here, here)
        here = "truncated" if here == "truncations" else here
        here = f"{here}_" if here.removeprefix("next_") in ("step", "task_index") else here
        found = np.array(table[here].to_pylist()).reshape(rows.shape)
        np.testing.assert_array_equal(found.astype(rows.dtype), rows, err_msg=name)
    assert table["history"].to_pylist()[-1] is None
    assert table["policy_step"].to_pylist()[0] == 0
