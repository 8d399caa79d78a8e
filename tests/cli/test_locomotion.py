"""Running bodies from a trained behaviour policy to a report, as a user types it."""

import json
import sys
from pathlib import Path

import minari
import numpy as np
import pytest

from idaq.collect.policy_record import read_record
from idaq.format.reader import open_stored
from idaq.tasks.locomotion import VARIANTS
from tests.cli.conftest import BRIEF, QUICK, SMALL, Idaq, settings
from tests.marks import DRAWS

ID = "idaq/cheetah-vel/medium-v0"
TINY = settings(("steps=600", "evaluate_every=300", "warmup=200", "hidden=16", "batch=32", "envs=2"))
pytestmark = pytest.mark.usefixtures("in_world")


def test_a_policy_of_ones_own_is_trained_shown_and_collected_with(
    idaq: Idaq, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = world / "behaviors" / "hopper-rand-params"
    done = idaq("behavior", "train", "hopper-rand-params", "--out", folder, *TINY)
    assert done.code == 0, done.err
    assert "steps/s" in done.err
    shown = idaq("behavior", "show", "hopper-rand-params", "--folder", folder)
    for text in ("medium", "late", "expert", "idaq behavior train hopper-rand-params --set=steps=600", "600"):
        assert text in shown.out
    told = json.loads(idaq("behavior", "show", "hopper-rand-params", "--folder", folder, "--json").out)
    recipe = f"""
id = "me/hopper/own-v0"
family = "hopper-rand-params"
description = "my own"
seed = 1
splits = {{ seed = 0, sizes = {{ train = 2, test = 1 }} }}
[[behaviours]]
name = "mine"
kind = "trained"
quality = "medium"
episodes = 2
policy = "expert"
weights = "{told["snapshots"]["expert"]["sha256"]}"
"""
    (world / "my.toml").write_text(recipe)
    refused = idaq("collect", "--recipe", "my.toml", "--workers", "1")
    assert (refused.code, "was written for other weights" in refused.err) == (1, True), refused.err
    monkeypatch.setenv("IDAQ_BEHAVIORS", str(world / "behaviors"))
    assert idaq("collect", "--recipe", "my.toml", "--workers", "1").code == 0
    assert idaq("dataset", "verify", "me/hopper/own-v0").code == 0


def test_one_policy_a_task_is_trained_shown_and_collected_with(
    idaq: Idaq, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = world / "behaviors" / "point-robot" / "per-task"
    few = settings(("tasks=[4, 9]", "steps=60", "evaluate_every=20", "warmup=20", "hidden=8", "batch=8"))
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)  # not needed
    done = idaq("behavior", "train", "point-robot", "--per-task", "--out", folder, *few)
    assert done.code == 0, done.err
    assert "one SAC a task" in done.out
    told = json.loads(idaq("behavior", "show", "point-robot", "--folder", folder, "--json").out)
    assert told["command"].startswith("idaq behavior train point-robot --per-task ")
    recipe = f"""
id = "me/points/own-v0"
family = "point-robot-sparse"
description = "policies of the dense reward, on every task that has one"
seed = 1
splits = {{ seed = 0, sizes = {{ train = 1 }} }}
[[behaviours]]
name = "mine"
kind = "trained"
quality = "medium"
episodes = 2
policy = "per-task/final"
trained_on = "point-robot"
weights = "{told["snapshots"]["final"]["sha256"]}"
"""
    (world / "points.toml").write_text(recipe)
    refused = idaq("collect", "--recipe", "points.toml", "--workers", "1")
    assert (refused.code, "was written for other weights of point-robot 'per-task/final'" in refused.err) == (1, True)
    assert "idaq behavior train point-robot --per-task" in refused.err
    monkeypatch.setenv("IDAQ_BEHAVIORS", str(world / "behaviors"))
    lacking = idaq("collect", "--recipe", "points.toml", "--workers", "1", "--set", "splits.sizes.train=100")
    assert (lacking.code, "there are no policies of point-robot for the tasks [0" in lacking.err) == (1, True)
    every = settings(("steps=20", "evaluate_every=20", "warmup=20", "hidden=8"))
    other = world / "behaviors" / "point-robot" / "all"
    assert idaq("behavior", "train", "point-robot", "--per-task", "--out", other, *every).code == 0
    sha256 = json.loads(idaq("behavior", "show", "point-robot", "--folder", other, "--json").out)["snapshots"]["final"]
    named = settings(("behaviours.mine.policy=all/final", f'behaviours.mine.weights="{sha256["sha256"]}"'))
    assert idaq("collect", "--recipe", "points.toml", "--workers", "1", *named).code == 0
    assert idaq("dataset", "verify", "me/points/own-v0").code == 0


@pytest.mark.parametrize(("family", "quality"), [("point-robot", "paper"), ("point-robot-sparse", "paper")])
def test_the_papers_behaviours_are_shipped(idaq: Idaq, world: Path, family: str, quality: str) -> None:
    cut = ["--set", "splits.sizes={train = 2, test = 1}", "--set", "episodes=2", "--set", "reference.random_episodes=2"]
    done = idaq("collect", family, "--quality", quality, "--workers", "1", *cut, "--json")
    assert done.code == 0, done.err
    assert open_stored(Path(json.loads(done.out)["path"])).manifest.counts.episodes == 6
    shown = idaq("behavior", "show", "point-robot", "--per-task")
    assert "idaq behavior train point-robot --per-task" in shown.out


def test_a_policy_of_one_task_is_compared_with_the_one_that_is_told_it(idaq: Idaq, world: Path) -> None:
    for task in (3, 8):
        train = ("behavior", "train", "cheetah-vel", "--out", world / f"single{task}", "--set", f"tasks=[{task}]")
        assert idaq(*train, *TINY).code == 0
    shown = idaq("behavior", "compare", "cheetah-vel", "single3", "single8", "--json")
    told = json.loads(shown.out)
    assert [row["task"] for row in told["tasks"]] == [3, 8]
    assert "--set=tasks=[8]" in told["commands"][1].replace("'", "")
    for measured in (row[who] for row in told["tasks"] for who in ("conditioned", "single")):
        assert measured["mean"] < 0
        assert 0 < measured["spread"] < 1
        assert 0 <= measured["saturated"] <= 1
    assert "mean |a|" in idaq("behavior", "compare", "cheetah-vel", "single3").out
    refused = idaq("behavior", "compare", "cheetah-vel", world / "behaviors" / "hopper-rand-params")
    assert (refused.code, "is a training of hopper-rand-params on tasks all" in refused.err) == (1, True)


def test_one_snapshot_is_chosen_otherwise_or_all_are(idaq: Idaq, world: Path) -> None:
    folder = world / "behaviors" / "hopper-rand-params"
    for setting, names in (
        ("snapshots.medium=0.9", ["medium", "late", "expert"]),
        ("snapshots={best = 1.0}", ["best"]),
    ):
        done = idaq("behavior", "train", "hopper-rand-params", "--out", folder, *TINY, "--set", setting, "--json")
        assert list(json.loads(done.out)["snapshots"]) == names


def test_bad_requests_for_policies_are_told_what_to_do(
    idaq: Idaq, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, code, text in (
        (("train", "cheeta-vel", "--out", "x"), 2, "did you mean 'cheetah-vel'"),
        (("train", "point-robot", "--out", "x"), 1, "has no task_features, which a trained policy is conditioned on"),
        (("train", "cheetah-vel", "--out", "x", "--set", "step=3"), 2, "did you mean 'steps'"),
        (("show", "point-robot"), 1, "no trained behaviour policies"),
    ):
        done = idaq("behavior", *arguments)
        assert (done.code, text in done.err) == (code, True), done.err
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.delitem(sys.modules, "idaq.collect.sac", raising=False)
    done = idaq("behavior", "train", "cheetah-vel", "--out", "x")
    assert (done.code, "pip install 'idaq[behaviors]'" in done.err) == (2, True), done.err


@pytest.mark.parametrize("family", VARIANTS)
def test_a_family_collects_with_the_weights_of_the_catalogue(idaq: Idaq, world: Path, family: str) -> None:
    """Each snapshot is what its record says, the better ones earn more; Minari recovers the environment."""
    record = json.loads(idaq("behavior", "show", family, "--json").out)
    assert list(record["snapshots"]) == ["medium", "late", "expert"]
    means = [snapshot["mean"] for snapshot in record["snapshots"].values()]
    assert means == sorted(means)
    cut = ["--set", "splits.sizes={train = 2}", "--set", "episodes=1", "--set", "reference.random_episodes=2"]
    done = idaq("collect", family, "--quality", "mixed", "--workers", "1", *cut, "--json")
    assert done.code == 0, done.err
    stored = open_stored(Path(json.loads(done.out)["path"]))
    assert stored.manifest.counts.episodes == 6
    assert stored.manifest.provenance.unstable == 0
    assert set(stored.manifest.provenance.simulators) == {"gymnasium", "mujoco"}
    assert_replays(f"idaq/{family}/mixed-v0", world, 4)


def test_minari_recovers_the_environment_in_which_an_episode_was_collected(idaq: Idaq, world: Path) -> None:
    done = idaq("collect", "cheetah-vel", "--quality", "medium", "--workers", "1", *SMALL, "--json")
    assert done.code == 0, done.err
    assert idaq("dataset", "verify", ID).code == 0
    assert_replays(ID, world, 5)


def assert_replays(dataset_id: str, world: Path, row: int) -> None:
    """The actions of an episode lead through the same states to the same rewards, bit for bit."""
    dataset, episodes = minari.load_dataset(dataset_id), open_stored(world / "datasets" / dataset_id).episodes
    env, episode = dataset.recover_environment(), dataset[row]
    seen, _ = env.reset(seed=int(episodes.seed[row]), options={"task": int(episodes.task_index[row])})
    np.testing.assert_array_equal(seen, episode.observations[0])
    for action, after, paid in zip(episode.actions, episode.observations[1:], episode.rewards, strict=True):
        seen, reward, *_ = env.step(action)
        np.testing.assert_array_equal(seen, after)
        assert reward == paid
    env.close()


def test_train_adapt_and_report_show_velocities(idaq: Idaq, world: Path) -> None:
    assert idaq("train", "--dataset", ID, "--out", "run", *settings(QUICK)).code == 0
    done = idaq("adapt", "run", *settings(BRIEF), "--strategies", "idaq")
    assert done.code == 0, done.err
    assert idaq("report", "run").code == 0
    page = (world / "run" / "report.html").read_text()
    assert "Velocity on one new task" in page
    assert "Episodes on one new task" not in page


@DRAWS
def test_a_film_of_one_adaptation(idaq: Idaq, world: Path) -> None:
    done = idaq("adapt", "run", *settings(BRIEF), "--strategies", "idaq", "--video")
    assert done.code == 0, done.err
    assert (world / "run" / "stills.png").stat().st_size > 10_000


def test_the_shipped_weights_are_small(world: Path) -> None:
    from idaq.collect.policies import policies_folder

    for family in VARIANTS:
        folder = policies_folder(family)
        assert sum(path.stat().st_size for path in folder.iterdir()) < 2_000_000
        assert read_record(folder).family == family
