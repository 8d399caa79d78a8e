"""A researcher brings a behaviour policy: named in the recipe, fed what it sees, its actions checked."""

import dataclasses
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.collect.collect import collect
from idaq.collect.rollout import rollout
from idaq.core.config import from_mapping
from idaq.core.errors import CollectError, ConfigError, IdaqError, PluginError, PolicyError
from idaq.core.seeds import episode_seed
from idaq.format.reader import open_stored
from idaq.format.recipe import Behaviour, Recipe
from idaq.format.verify import verify
from idaq.loader import open_dataset
from idaq.tasks import get_family
from tests.recipes import small_recipe

MODULE = """
import numpy as np

SEEN, CALLS = [], []


class Learner:
    "Steps back from where it came, more and more; a seed decides where it begins."

    weights_sha256 = "WEIGHTS"

    def __init__(self, family, tasks, seeds, options):
        CALLS.append((family.name, tasks.tolist(), seeds.tolist(), options))
        self.scale = options.get("scale", 1.0)
        self.first = np.stack([np.random.default_rng([seed, 1]).uniform(-0.1, 0.1, 2) for seed in seeds])

    def reset(self):
        self.steps = []

    def act(self, observations):
        self.last = observations
        return self.scale * (self.first - 0.3 * sum(self.steps)).clip(-0.1, 0.1)

    def observe(self, actions, rewards, next_observations, ended):
        self.steps.append(next_observations - self.last)
        SEEN.append((self.last, actions, rewards, next_observations, ended))


def broken(what):
    def factory(family, tasks, seeds, options):
        policy = Learner(family, tasks, seeds, options)
        policy.act = lambda seen: setattr(policy, "last", seen) or what(len(tasks), len(policy.steps))
        return policy
    return factory


def three(count, step): return np.zeros((count, 3))
def words(count, step): return np.full((count, 2), "left")
def nan(count, step): return np.full((count, 2), np.nan if step == 3 else 0.0)
def crash(count, step): raise KeyError("ball")


narrow, talking, unsound, crashing = map(broken, (three, words, nan, crash))


class Deaf:
    def __init__(self, *_): pass
    def reset(self): pass
    def act(self, observations): return observations


number = 3
"""
WEIGHTS = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_policies.py").write_text(MODULE.replace("WEIGHTS", WEIGHTS))
    yield
    sys.modules.pop("my_policies", None)


def brought(name: str = "Learner", **changes: Any) -> Behaviour:
    plain = {"name": "mine", "kind": "policy", "quality": "unknown", "episodes": 3, "policy": f"my_policies:{name}"}
    return from_mapping(Behaviour, {**plain, **changes}, where="recipe")


def recipe(behaviour: Behaviour) -> Recipe:
    return dataclasses.replace(small_recipe(), behaviours=[behaviour])


POINT, SEEDS, TASKS = get_family("point-robot"), np.arange(4, dtype=np.uint64) + 7, np.array([3, 50, 3, 99])


def test_its_episodes_are_the_same_with_two_workers(tmp_path: Path) -> None:
    one = collect(recipe(brought()), tmp_path / "one")
    two = collect(recipe(brought()), tmp_path / "two", workers=2)
    assert one.content_digest == two.content_digest
    assert verify(two.path) == []
    assert open_stored(one.path).manifest.recipe.behaviours == [brought()]
    assert [note for note in one.notes if "clipped" in note] == []


def test_it_sees_every_step_that_the_dataset_holds() -> None:
    done = rollout(POINT, brought(), TASKS, SEEDS)
    seen = sys.modules["my_policies"].SEEN
    assert len(seen) == POINT.horizon
    for t, (observations, actions, rewards, following, ended) in enumerate(seen):
        for b, episode in enumerate(done.episodes):
            np.testing.assert_array_equal(observations[b], episode.observations[t])
            np.testing.assert_array_equal(following[b], episode.observations[t + 1])
            np.testing.assert_array_equal(actions[b], episode.actions[t])
            assert rewards[b] == episode.rewards[t]
            assert ended[b] == (t == POINT.horizon - 1)


def test_its_maker_knows_family_tasks_seeds_and_options(tmp_path: Path) -> None:
    wanted = recipe(brought(options={"scale": 0.5}))
    collect(wanted, tmp_path)
    name, tasks, seeds, options = sys.modules["my_policies"].CALLS[0]
    assert (name, len(set(tasks)), options) == ("point-robot", 1, {"scale": 0.5})
    assert seeds == [episode_seed(wanted.seed, tasks[0], 0, e) for e in range(3)]


@pytest.mark.parametrize(
    "changes", [{}, {"noise": 0.3}, {"noise": 0.3, "random_share": 0.5}, {"options": {"scale": 3}}]
)
def test_an_episode_does_not_depend_on_what_it_is_batched_with(changes: dict[str, Any]) -> None:
    together = rollout(POINT, brought(**changes), TASKS, SEEDS).episodes
    for b, episode in enumerate(together):
        (alone,) = rollout(POINT, brought(**changes), TASKS[b : b + 1], SEEDS[b : b + 1]).episodes
        assert alone.actions.tobytes() == episode.actions.tobytes()


def test_actions_outside_the_space_are_clipped_counted_and_told(tmp_path: Path) -> None:
    done = collect(recipe(brought(options={"scale": 2})), tmp_path)
    (note,) = [note for note in done.notes if "clipped" in note]
    actions = np.concatenate([episode.actions for episode in open_dataset(done.path)])
    count = (np.abs(actions) == np.float32(0.1)).any(1).sum()
    assert note == f"behaviour mine: {count} actions of my_policies:Learner clipped to the action space"
    assert np.abs(actions).max() == np.float32(0.1)
    assert note in open_stored(done.path).manifest.provenance.notes
    assert note in collect(recipe(brought(options={"scale": 2})), tmp_path).notes


def test_noise_is_in_units_of_the_largest_action_and_a_share_of_steps_is_random() -> None:
    still = brought(options={"scale": 0}, noise=0.2)
    seeds = np.arange(50, dtype=np.uint64)
    actions = np.concatenate([e.actions for e in rollout(POINT, still, np.zeros(50, np.int64), seeds).episodes])
    assert actions.std() == pytest.approx(0.02, rel=0.1)
    mixed = brought(options={"scale": 0}, random_share=0.25)
    episodes = rollout(POINT, mixed, np.zeros(50, np.int64), seeds).episodes
    assert np.mean([(e.actions != 0).all(1) for e in episodes]) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (brought("narrow"), CollectError, "gave actions of float64 (3, 3) at step 0"),
        (brought("talking"), CollectError, "gave actions of <U4 (3, 2) at step 0"),
        (brought("unsound"), CollectError, "gave NaN or infinity at step 3 on task"),
        (brought("crashing"), CollectError, "KeyError: 'ball'\n  - raised by crash, line"),
        (brought("Deaf"), PluginError, "lacks reset, act or observe"),
        (brought("number"), PluginError, "3 is no function of family, tasks, seeds and options"),
        (brought("Lerner"), PluginError, "did you mean Learner?"),
        (brought(weights="0" * 64), PolicyError, f"for other weights of my_policies:Learner: {'0' * 12}, here are"),
        (brought(policy="nobodys"), IdaqError, "unknown behaviour policy 'nobodys'"),
        (dataclasses.replace(brought(), kind="unknown", policy=None), ConfigError, "cannot be collected"),
    ],
)
def test_what_is_wrong_with_it_is_told(tmp_path: Path, behaviour: Behaviour, kind: type[IdaqError], words: str) -> None:
    with pytest.raises(kind) as caught:
        collect(recipe(behaviour), tmp_path)
    assert words in str(caught.value)


def test_weights_that_the_recipe_names_are_those_that_it_reads(tmp_path: Path) -> None:
    assert verify(collect(recipe(brought(weights=WEIGHTS)), tmp_path).path) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": None},
        {"policy": "../up"},
        {"policy": "a b:c"},
        {"policy": "x:" + "y" * 200},
        {"options": {"x": float("nan")}},
        {"kind": "scripted"},
        {"kind": "random", "policy": None, "options": {"a": 1}},
        {"kind": "trained", "weights": "0" * 64},
    ],
)
def test_a_recipe_says_what_a_policy_is_or_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        brought(**changes)
