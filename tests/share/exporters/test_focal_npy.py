"""The FOCAL lineage's folders, read as its two kinds of loaders read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.core.errors import DatasetError, DatasetExistsError
from idaq.format.importing import dataset_source
from idaq.format.reader import open_stored
from idaq.format.writer import write_dataset
from idaq.loader import open_dataset
from idaq.share.exporters.focal_npy import export_focal_npy
from idaq.share.sources import read_sources
from tests.format.made import PLANS
from tests.share.tagged import assert_tagged
from tests.share.test_sources import archive

VALUES = ("observation", "action", "reward", "next_observation")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def columns_of(rows: Iterator[list[Any]]) -> dict[str, Any]:
    return dict(zip(VALUES, (np.concatenate(parts) for parts in zip(*rows, strict=True)), strict=True))


def test_flat_rows_split_into_every_transition(made: Path, tmp_path: Path) -> None:
    notes = export_focal_npy(open_stored(made), tmp_path / "npy")
    about = json.loads((tmp_path / "npy/dataset.json").read_text())
    d, a = about["observation_numbers"], about["action_numbers"]

    def read(path: Path) -> list[Any]:
        s, actions, r, following = np.split(np.load(path, allow_pickle=False), [d, d + a, d + a + 1], axis=1)
        return [s, actions, r[:, 0], following]

    assert_tagged(columns_of(read(tmp_path / "npy" / line["path"]) for line in lines(tmp_path / "npy")), VALUES)
    assert not len(notes)
    assert (d, a, about["rows"], about["steps"]) == (3, 2, "flat", {"0": "expert", "1": "medium", "2": "random"})


def test_object_rows_give_every_transition_to_the_published_loaders(made: Path, tmp_path: Path) -> None:
    """As FOCAL's `init_buffer` does it: columns 0 to 3 of the pickled rows; and as row by row."""
    export_focal_npy(open_stored(made), tmp_path / "npy", rows="objects")
    paths = [tmp_path / "npy" / line["path"] for line in lines(tmp_path / "npy")]
    episodes = [np.load(path, allow_pickle=True) for path in paths]
    assert all(episode.shape == (plan.length, 4) for episode, plan in zip(episodes, PLANS, strict=True))
    assert_tagged(columns_of([list(episode[:, place]) for place in range(4)] for episode in episodes), VALUES)
    unpacked = [(s, a, r, after) for episode in episodes for s, a, r, after in episode]
    assert_tagged(dict(zip(VALUES, zip(*unpacked, strict=True), strict=True)), VALUES)
    assert unpacked[0][0].dtype == np.float32
    assert unpacked[0][1].dtype == np.float64
    with pytest.raises(ValueError, match="allow_pickle=False"):
        np.load(paths[0], allow_pickle=False)


def test_columns_of_equal_width_stay_apart(collected: Collected, tmp_path: Path) -> None:
    """point-robot: two observation and two action numbers, which `np.array` of such rows might merge."""
    export_focal_npy(open_stored(collected.path), tmp_path / "npy", rows="objects")
    episode = np.load(tmp_path / "npy" / lines(tmp_path / "npy")[0]["path"], allow_pickle=True)
    expected = open_dataset(collected.path).episode(0)
    np.testing.assert_array_equal(np.stack(list(episode[:, 3])), expected.observations[1:])
    np.testing.assert_array_equal(np.stack(list(episode[:, 1])), expected.actions)


def test_folders_are_tasks_and_names_count_episodes_of_a_behaviour(made: Path, tmp_path: Path) -> None:
    export_focal_npy(open_stored(made), tmp_path / "npy")
    assert [line["path"] for line in lines(tmp_path / "npy")] == [
        "goal_idx2/trj_evalsample0_step0.npy",
        "goal_idx2/trj_evalsample0_step2.npy",
        "goal_idx2/trj_evalsample1_step0.npy",
        "goal_idx5/trj_evalsample0_step2.npy",
        "goal_idx9/trj_evalsample0_step0.npy",
        "goal_idx9/trj_evalsample0_step2.npy",
        "goal_idx9/trj_evalsample1_step0.npy",
        "goal_idx9/trj_evalsample1_step2.npy",
    ]
    assert {str(path.relative_to(tmp_path / "npy")) for path in tmp_path.rglob("*.npy")} == {
        line["path"] for line in lines(tmp_path / "npy")
    }


def test_how_an_episode_ended_stands_beside_it(made: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    export_focal_npy(open_stored(made), tmp_path / "npy", progress=seen.append)
    for number, (line, plan) in enumerate(zip(lines(tmp_path / "npy"), PLANS, strict=True)):
        assert (line["episode"], line["task_index"], line["task_id"]) == (number, plan.task, f"task-{plan.task}")
        assert (line["length"], line["seed"]) == (plan.length, 2**64 - 1 - number)
        assert line["terminated"] == (plan.ends in ("terminated", "both"))
        assert line["truncated"] == (plan.ends in ("truncated", "both"))
        assert line["success"] == (plan.ends == "terminated")
    assert seen == [1] * len(PLANS)


def test_nothing_is_overwritten_and_a_stopped_export_leaves_nothing(made: Path, tmp_path: Path) -> None:
    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    stored = open_stored(made)
    with pytest.raises(KeyboardInterrupt):
        export_focal_npy(stored, tmp_path / "npy", progress=stop)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "npy").mkdir()
    with pytest.raises(DatasetExistsError, match="npy exists already"):
        export_focal_npy(stored, tmp_path / "npy")
    assert list((tmp_path / "npy").iterdir()) == []


@pytest.mark.parametrize("number", [2**53, 2**53 + 1])
def test_integers_that_flat_rows_cannot_hold_are_refused(number: int, tmp_path: Path) -> None:
    s = np.arange(5)[:, None] + number - 4
    source = archive(tmp_path / "a.npz", observations=s[:-1], next_observations=s[1:])
    path = write_dataset(dataset_source(read_sources([source]), "me/whole/a-v0", "imported", "Whole."), tmp_path, "")
    if number == 2**53:
        export_focal_npy(open_stored(path), tmp_path / "npy")
        rows = np.load(tmp_path / "npy/goal_idx0/trj_evalsample0_step0.npy")
        assert rows[:, -1].astype(np.int64).tolist() == s[1:, 0].tolist()
        return
    with pytest.raises(DatasetError, match="float64 does not hold all numbers of int64"):
        export_focal_npy(open_stored(path), tmp_path / "npy")
    assert not (tmp_path / "npy").exists()
