"""What plain Minari sees of our datasets, with none of our code asked."""

import json
import subprocess
import sys
from pathlib import Path

import minari
import numpy as np
import pytest
from minari.namespace import list_local_namespaces

from idaq.collect.collect import Collected
from idaq.format.reader import open_stored
from idaq.tasks import get_family
from tests.format.made import PLANS


@pytest.fixture
def shared_root(datasets_root: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(datasets_root))
    return datasets_root


def test_minari_lists_the_dataset_under_its_id(shared_root: Path) -> None:
    listed = minari.list_local_datasets(prefix="idaq/point-robot")
    assert list(listed) == ["idaq/point-robot/expert-v0"]
    assert listed["idaq/point-robot/expert-v0"]["total_episodes"] == 24
    assert set(minari.list_local_datasets(compatible_minari_version=True)) >= set(listed)
    assert {"idaq", "idaq/point-robot"} <= set(list_local_namespaces())


def test_minari_recovers_the_environment_of_the_family(shared_root: Path) -> None:
    dataset = minari.load_dataset("idaq/point-robot/expert-v0")
    env, family = dataset.recover_environment(), get_family("point-robot").make()
    assert env.spec
    assert env.spec.id == "idaq/point-robot-v0"
    assert env.observation_space == family.observation_space == dataset.observation_space
    assert env.action_space == family.action_space == dataset.action_space
    env.close()
    family.close()


def test_each_episode_replays_in_the_recovered_environment_from_its_own_metadata(shared_root: Path) -> None:
    dataset = minari.load_dataset("idaq/point-robot/expert-v0")
    env = dataset.recover_environment()
    metadata = dataset.storage.get_episode_metadata(range(dataset.total_episodes))
    for raw, facts in zip(dataset.iterate_episodes(), metadata, strict=True):
        seed = int(facts["seed"]) % 2**31  # Gymnasium takes no seed above that
        observations = [env.reset(seed=seed, options={"task": int(facts["options"]["task"])})[0]]
        rewards = []
        for action in raw.actions:
            observation, reward, terminated, truncated, _ = env.step(action)
            observations.append(observation)
            rewards.append(reward)
        np.testing.assert_array_equal(observations, raw.observations)
        np.testing.assert_array_equal(rewards, raw.rewards)
        assert (terminated, truncated) == (raw.terminations[-1], raw.truncations[-1])
    env.close()


def test_each_episode_carries_task_and_seed_as_metadata(made_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(made_root))
    dataset = minari.load_dataset("idaq/made/tagged-v0")
    for number, facts in enumerate(dataset.storage.get_episode_metadata(range(len(PLANS)))):
        assert {key: facts[key] for key in ("id", "task_id", "task_index", "total_steps")} == {
            "id": number,
            "task_id": f"task-{PLANS[number].task}",
            "task_index": PLANS[number].task,
            "total_steps": PLANS[number].length,
        }
        assert facts["options"] == {"task": PLANS[number].task}
        assert int(facts["seed"]) == 2**64 - 1 - number


def test_minari_filters_and_samples_our_episodes(shared_root: Path) -> None:
    dataset = minari.load_dataset("idaq/point-robot/expert-v0")
    returns = open_stored(shared_root / "idaq/point-robot/expert-v0").episodes.total_reward
    best = dataset.filter_episodes(lambda episode: episode.rewards.sum(dtype=np.float64) > np.median(returns))
    assert len(best) == 12
    assert len(list(dataset.sample_episodes(5))) == 5


def test_minari_normalises_returns_between_random_actions_and_the_data(collected: Collected, shared_root: Path) -> None:
    """Means over the tasks of what each task's line says."""
    assert shared_root.is_dir()
    tasks = open_stored(collected.path).tasks
    random, data = (np.mean([getattr(task.reference, what).mean for task in tasks]) for what in ("random", "behaviour"))
    dataset = minari.load_dataset("idaq/point-robot/expert-v0")
    np.testing.assert_allclose(minari.get_normalized_score(dataset, np.array([random, data])), [0, 1], atol=1e-12)


def test_metadata_holds_minaris_keys_and_a_small_object_of_ours(collected: Collected) -> None:
    metadata = json.loads((collected.path / "data" / "metadata.json").read_text())
    ours = metadata.pop("idaq")
    assert set(ours) == {"format_version", "manifest_sha256", "counts"}
    assert ours["counts"] == {"tasks": 8, "episodes": 24, "steps": 480}
    assert (metadata["total_episodes"], metadata["total_steps"]) == (24, 480)
    assert metadata["dataset_id"] == "idaq/point-robot/expert-v0"
    assert metadata["minari_version"] == "0.5.0"
    assert (metadata["data_format"], metadata["jpeg_encoding"]) == ("hdf5", False)


def test_minari_reads_the_data_where_idaq_cannot_be_imported(shared_root: Path) -> None:
    code = (
        "import sys; sys.modules['idaq'] = None\n"
        "import minari\n"
        "dataset = minari.load_dataset('idaq/point-robot/expert-v0')\n"
        "print(dataset.total_steps, sum(len(episode.rewards) for episode in dataset))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.stdout, run.returncode) == ("480 480\n", 0), run.stderr
