"""The LeRobot layout, by plain Parquet and JSON; tests/interop opens it with LeRobot itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from idaq.core.errors import DatasetExistsError
from idaq.format.reader import open_stored
from idaq.share.exporters.lerobot import export_lerobot
from tests.format.made import PLANS
from tests.share.tagged import TRANSITIONS, assert_tagged, tagged_rows

NAMES = {
    "observation.state": "observation",
    "action": "action",
    "next.reward": "reward",
    "next.observation.state": "next_observation",
    "next.terminated": "terminated",
    "next.truncated": "truncated",
    "next.success": "success",
    "idaq_task_index": "task_index",
    "episode_index": "episode",
    "frame_index": "step",
}


@pytest.fixture(scope="module")
def folder(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("lerobot") / "tagged"
    export_lerobot(open_stored(made), target, fps=10)
    return target


def frames(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("data/*/*.parquet")))


def test_every_transition_is_in_its_place(folder: Path) -> None:
    table = frames(folder)
    found = {ours: table[theirs].to_pylist() for theirs, ours in NAMES.items()}
    assert_tagged(found, tuple(NAMES.values()))
    done = np.array(found["terminated"]) | np.array(found["truncated"])
    assert table["next.done"].to_pylist() == done.tolist()
    assert table["index"].to_pylist() == list(range(TRANSITIONS))
    np.testing.assert_allclose(table["timestamp"], tagged_rows()["step"] / 10, rtol=1e-6)


def test_task_index_is_the_place_in_the_table_of_tasks(folder: Path) -> None:
    tasks = pq.read_table(folder / "meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": place, "task": f"task-{task}"} for place, task in enumerate((2, 5, 9))]
    assert json.loads((tasks.schema.metadata or {})[b"pandas"])["index_columns"] == ["task"]
    names = [tasks["task"][place].as_py() for place in frames(folder)["task_index"].to_pylist()]
    np.testing.assert_array_equal(names, tagged_rows()["task_id"])


def test_the_table_of_episodes_bounds_each(folder: Path) -> None:
    rows: list[dict[str, Any]] = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    ends = np.cumsum([plan.length for plan in PLANS]).tolist()
    assert [row["dataset_to_index"] for row in rows] == ends
    assert [row["dataset_from_index"] for row in rows] == [0, *ends[:-1]]
    assert [row["tasks"] for row in rows] == [[f"task-{plan.task}"] for plan in PLANS]
    assert [row["seed"] for row in rows] == [2**64 - 1 - number for number in range(len(PLANS))]
    assert [row["terminated"] for row in rows] == [plan.ends in ("terminated", "both") for plan in PLANS]
    assert [row["truncated"] for row in rows] == [plan.ends in ("truncated", "both") for plan in PLANS]


def test_features_and_statistics_are_those_of_the_columns(folder: Path) -> None:
    info, stats = (json.loads((folder / "meta" / name).read_text()) for name in ("info.json", "stats.json"))
    table = frames(folder)
    assert set(info["features"]) == set(stats) == set(table.schema.names)
    assert info["features"]["observation.state"] == {"dtype": "float32", "shape": [3], "names": None}
    assert info["features"]["action"] == {"dtype": "float64", "shape": [2], "names": None}
    assert info["features"]["next.terminated"] == {"dtype": "bool", "shape": [1], "names": None}
    for name in ("observation.state", "action", "next.reward", "next.truncated"):
        values = np.array(table[name].to_pylist(), np.float64).reshape(TRANSITIONS, -1)
        for key, expected in (
            ("mean", values.mean(0)),
            ("std", values.std(0)),
            ("min", values.min(0)),
            ("max", values.max(0)),
        ):
            np.testing.assert_allclose(stats[name][key], expected, rtol=1e-12, err_msg=f"{name} {key}")
        assert stats[name]["count"] == [TRANSITIONS]
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 10, TRANSITIONS)


def test_large_data_is_cut_into_files_between_episodes(made: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    notes = export_lerobot(open_stored(made), tmp_path / "cut", file_megabytes=0.002, progress=seen.append)
    paths = sorted(path.name for path in (tmp_path / "cut/data/chunk-000").iterdir())
    assert paths == [f"file-{number:03d}.parquet" for number in range(len(paths))]
    assert len(paths) > 2
    rows = pq.read_table(tmp_path / "cut/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for row in rows:
        path = tmp_path / "cut/data/chunk-{data/chunk_index:03d}/file-{data/file_index:03d}.parquet".format(**row)
        assert pq.read_table(path)["episode_index"].to_pylist().count(row["episode_index"]) == row["length"]
    assert_tagged({"episode": frames(tmp_path / "cut")["episode_index"].to_pylist()}, ("episode",))
    assert not len(notes)
    assert seen == [1] * len(PLANS)


def test_nothing_is_overwritten_and_a_stopped_export_leaves_nothing(made: Path, tmp_path: Path) -> None:
    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    stored = open_stored(made)
    with pytest.raises(KeyboardInterrupt):
        export_lerobot(stored, tmp_path / "robot", progress=stop)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "robot").write_text("mine")
    with pytest.raises(DatasetExistsError, match="robot exists already"):
        export_lerobot(stored, tmp_path / "robot")
    assert (tmp_path / "robot").read_text() == "mine"
