"""One Minari dataset a task, as plain Minari sees it."""

import json
from dataclasses import replace
from pathlib import Path

import minari
import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.core.errors import DatasetError, DatasetExistsError
from idaq.format.reader import open_stored
from idaq.loader import open_dataset
from idaq.share.exporters.minari_per_task import export_minari_per_task, task_dataset_ids
from tests.format.made import PLANS, entries_of

IDS = {task: f"idaq/made/tagged/task-{task}-v0" for task in (2, 5, 9)}


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    export_minari_per_task(open_stored(made), tmp_path / "root")
    return tmp_path / "root"


@pytest.mark.usefixtures("root")
def test_each_task_is_a_dataset_with_its_episodes_in_place() -> None:
    assert set(minari.list_local_datasets()) == set(IDS.values())
    entries = entries_of()
    for task, dataset_id in IDS.items():
        dataset = minari.load_dataset(dataset_id)
        numbers = [number for number, plan in enumerate(PLANS) if plan.task == task]
        assert dataset.total_episodes == len(numbers)
        assert dataset.total_steps == sum(PLANS[number].length for number in numbers)
        facts = dataset.storage.get_episode_metadata(range(len(numbers)))
        for place, (number, raw, fact) in enumerate(zip(numbers, dataset.iterate_episodes(), facts, strict=True)):
            expected = entries[number]
            for name in ("observations", "actions", "rewards"):
                values = getattr(expected.episode, name)
                np.testing.assert_array_equal(getattr(raw, name), values)
                assert getattr(raw, name).dtype == values.dtype
            np.testing.assert_array_equal(raw.terminations, expected.episode.terminated)
            np.testing.assert_array_equal(raw.truncations, expected.episode.truncated)
            assert (raw.id, fact["id"], fact["task_index"], fact["task_id"]) == (place, place, task, f"task-{task}")
            assert (fact["behaviour"], fact["seed"], fact["source_episode"]) == (
                expected.behaviour,
                expected.seed,
                number,
            )
            assert fact["options"] == {"task": task}


def test_progress_counts_episodes(made: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    notes = export_minari_per_task(open_stored(made), tmp_path, progress=seen.append)
    assert not len(notes)
    assert seen == [1] * len(PLANS)


@pytest.mark.usefixtures("root")
def test_returns_are_normalised_between_random_and_behaviour() -> None:
    dataset = minari.load_dataset(IDS[2])
    behaviour = np.mean([entry.episode.total_reward for entry in entries_of() if entry.task_index == 2])
    scores = minari.get_normalized_score(dataset, np.array([-1.0, behaviour]))
    np.testing.assert_allclose(scores, [0, 1])


def test_recover_environment_starts_on_the_task(
    collected: Collected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaying an episode with no reset option gives its rewards, which depend on the goal."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    export_minari_per_task(open_stored(collected.path), tmp_path)
    source = open_dataset(collected.path)
    for task in source.tasks[:3]:
        dataset = minari.load_dataset(f"idaq/point-robot/expert/{task.task_id}-v0")
        env = dataset.recover_environment()
        raw = next(iter(dataset.iterate_episodes()))
        assert env.reset(seed=0)[1]["task_index"] == task.task_index
        np.testing.assert_array_equal([env.step(action)[1] for action in raw.actions], raw.rewards)
        env.close()


def test_the_metadata_says_which_task_and_where_from(root: Path, made: Path) -> None:
    metadata = json.loads((root / IDS[5] / "data/metadata.json").read_text())
    assert "idaq" not in metadata
    assert metadata["idaq_task"]["params"] == {"goal": [5.0, 0.5], "speed": 2.0}
    assert metadata["idaq_source"] == {
        "dataset_id": "idaq/made/tagged-v0",
        "content_digest": open_stored(made).manifest.content_digest,
        "episodes": [3],
    }
    assert metadata["minari_version"] == "0.5.0"


def test_the_loader_takes_one_for_an_ordinary_minari_dataset(root: Path) -> None:
    dataset = open_dataset(IDS[9], root)
    assert (len(dataset), dataset.manifest) == (4, None)


def test_nothing_is_overwritten_and_a_stopped_export_leaves_nothing(made: Path, tmp_path: Path) -> None:
    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    stored = open_stored(made)
    with pytest.raises(KeyboardInterrupt):
        export_minari_per_task(stored, tmp_path, progress=stop)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(".")] == []
    export_minari_per_task(stored, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetExistsError, match="tagged exists already"):
        export_minari_per_task(stored, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_task_ids_that_would_share_a_name_are_refused(made: Path) -> None:
    stored = open_stored(made)
    one, two, three = stored.tasks
    same = replace(stored, tasks=(replace(one, task_id="a.b"), replace(two, task_id="a_b"), three))
    with pytest.raises(DatasetError, match="alone"):
        task_dataset_ids(same)
