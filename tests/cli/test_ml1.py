"""Meta-World from recipe to film, on two test tasks, as a user types it."""

import ctypes.util
import json
from pathlib import Path

import minari
import numpy as np
import pytest

from idaq.core.errors import DatasetError
from idaq.format.reader import open_stored
from idaq.loader import open_dataset
from idaq.tasks import ml1
from tests.cli.conftest import BRIEF, QUICK, SMALL, Idaq, settings

ID = "idaq/ml1-reach/expert-v0"
pytestmark = pytest.mark.usefixtures("in_world")


def test_collect_makes_a_verified_dataset_with_the_goal_hidden(idaq: Idaq, world: Path) -> None:
    done = idaq("collect", "ml1/reach", "--workers", "1", *SMALL, "--set", "episodes=2", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["id"] == ID
    assert idaq("dataset", "verify", ID).code == 0
    stored = open_stored(world / "datasets" / ID)
    assert stored.manifest.family == "ml1/reach"
    assert set(stored.manifest.provenance.simulators) == {"metaworld", "mujoco"}
    assert {len(task.params["rand_vec"]) for task in stored.tasks} == {6}  # type: ignore[arg-type]
    assert stored.episodes.success.mean() > 0.9
    for episode in minari.load_dataset(ID).iterate_episodes():
        assert episode.observations.shape == (501, 39)
        assert not episode.observations[:, -3:].any()


def test_the_environment_is_recovered_with_the_task_of_an_episode(world: Path) -> None:
    dataset = minari.load_dataset(ID)
    env, episode = dataset.recover_environment(), dataset[5]
    metadata = next(iter(dataset.storage.get_episode_metadata([5])))
    observation, _ = env.reset(options={"task": int(metadata["options"]["task"])})
    np.testing.assert_array_equal(observation, episode.observations[0])
    for step in range(40):
        observation, reward, *_ = env.step(episode.actions[step])
        np.testing.assert_array_equal(observation, episode.observations[step + 1])
        assert reward == episode.rewards[step]
    env.close()


def test_train_adapt_and_report(idaq: Idaq, world: Path) -> None:
    assert idaq("train", "--dataset", ID, "--out", "run", *settings(QUICK)).code == 0
    draws = any(map(ctypes.util.find_library, ("EGL", "OSMesa")))
    done = idaq("adapt", "run", *settings(BRIEF), "--set", "seeds=1", *(["--video"] if draws else []))
    assert done.code == 0, done.err
    assert idaq("report", "run").code == 0
    page = (world / "run/report.html").read_text()
    assert "Return task by task" in page
    assert ("data:image/png;base64," in page) == draws == (world / "run/video.gif").exists()


def test_a_meta_world_with_other_tasks_is_refused_with_both_shown(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from idaq.adapt.adapt import make_problems
    from idaq.adapt.config import AdaptConfig
    from idaq.learn.checkpoint import load_agent

    there = ml1.rand_vecs("reach").copy()
    moved = there + 0.25
    ml1.ml1.cache_clear()
    monkeypatch.setattr(ml1, "rand_vecs", lambda name: moved)
    try:
        with pytest.raises(
            DatasetError, match=r"task task-0\d\d of the dataset has .*; the installed family"
        ) as caught:
            make_problems(load_agent(world / "run"), open_dataset(ID), AdaptConfig())
    finally:
        ml1.ml1.cache_clear()
    task = next(task for task in open_dataset(ID).select(split="test").tasks)
    assert str(task.params) in caught.value.message
    assert str([float(x) for x in moved[task.task_index]]) in caught.value.message
    assert "metaworld 3" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["collect", "ml1/reech"], "did you mean 'ml1/reach'"),
        (["collect", "ml1"], "unknown dataset family 'ml1'"),
        (["collect", "ml1/reach", "--quality", "exprt"], "did you mean 'expert'"),
        (["collect", "ml1/reach", "--set", "splits.sizes.train=60"], "ask for 78 tasks; ml1/reach has 50"),
        (["reproduce", "ml1/reech/expert"], "did you mean 'ml1/reach'"),
        (["reproduce", "ml1/*/exprt"], "unknown"),
    ],
)
def test_mistakes_are_told(idaq: Idaq, arguments: list[str], said: str) -> None:
    done = idaq(*arguments)
    assert done.code == 2
    assert said in done.err


def test_reproduce_writes_a_suites_documents(idaq: Idaq, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study on a catalogue of one small suite, with the real command; stopped and gone on with."""
    from idaq.catalogue import entries as catalogue

    text = (catalogue.find_entry("ml1/reach", "expert").folder / "recipe.toml").read_text()
    folder = world / "catalogue" / "ml1" / "expert"
    folder.mkdir(parents=True)
    text = text.replace("train = 32, val = 8, test = 10", "train = 2, val = 1, test = 1").replace(
        "episodes = 45", "episodes = 1"
    )
    text = text.replace("episodes = 10", "episodes = 2").replace("[1, 2, 5, 10]", "[2]")
    quick = "[train]\nsteps = 10\nbatch = 8\nmeta_batch = 4\ncontext = 10\nlog_every = 10\n"
    (folder / "recipe.toml").write_text(text.replace("[train]\n", quick))
    monkeypatch.setattr(catalogue, "resource_root", lambda kind: world / "catalogue")
    options = ("--catalogue", world / "catalogue", "--out", "runs", "--root", "study", "--jobs", "1")
    done = idaq("reproduce", "ml1/reach/expert", "--seeds", "0", *options)
    assert done.code == 0, done.err
    assert "| reach | 4 |" in (folder / "card.md").read_text()
    assert not (folder / "baselines.json").exists()
    done = idaq("reproduce", "ml1/rea*h/expert", "--seeds", "1", *options)
    assert done.code == 0, done.err
    assert "| reach | 1 |" in (folder / "card.md").read_text()
    assert list(json.loads((folder / "baselines.json").read_text())["sets"]) == ["reach"]
