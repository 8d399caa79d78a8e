"""Behaviours that learn: histories of Q-learning, and learners from outside, kept from episode to episode."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.catalogue.entries import catalogue_recipe
from idaq.collect.collect import collect
from idaq.collect.q_learning import QLearning
from idaq.collect.rollout import rollout
from idaq.core.config import from_mapping
from idaq.core.errors import CollectError, ConfigError, IdaqError
from idaq.format.reader import open_stored
from idaq.format.recipe import Behaviour, Recipe
from idaq.format.verify import verify
from idaq.loader import open_dataset
from idaq.tasks import get_family
from idaq.tasks.dark_room import RIGHT, STAY
from idaq.testing import BehaviourContract

ROOM = get_family("dark-room")


def learner(policy: str = "q-learning", **changes: Any) -> Behaviour:
    plain = {
        "name": "learner",
        "kind": "policy",
        "quality": "learning",
        "policy": policy,
        "episodes": 6,
        "histories": 2,
    }
    return from_mapping(Behaviour, {**plain, **changes}, where="recipe")


def recipe(*behaviours: Behaviour, **changes: Any) -> Recipe:
    small = catalogue_recipe("dark-room", "histories", ["splits.sizes={train = 2, test = 1}"])
    reference = dataclasses.replace(small.reference, random_episodes=2)
    return dataclasses.replace(small, behaviours=list(behaviours), reference=reference, **changes)


class TestQLearning(BehaviourContract):
    @pytest.fixture
    def family(self):
        return ROOM

    @pytest.fixture
    def behaviour(self):
        return learner()


@pytest.mark.parametrize(("quality", "best"), [("dark-room", 16.0), ("dark-room-sparse", 0.9)])
def test_the_catalogues_learners_begin_at_random_and_end_near_the_best(quality: str, best: float) -> None:
    family, behaviour = get_family(quality), catalogue_recipe(quality, "histories").behaviours[0]
    assert behaviour.histories is not None
    tasks, length = np.arange(81), behaviour.episodes // behaviour.histories
    seeds = np.arange(81 * length, dtype=np.uint64).reshape(81, length)
    returns = np.array([e.total_reward for e in rollout(family, behaviour, tasks, seeds).episodes]).reshape(81, length)
    assert returns[:, 0].mean() < 0.3 * best
    assert returns[:, -10:].mean() > best


def test_a_step_moves_the_value_by_the_learning_rate_towards_reward_and_best_next_value() -> None:
    options = {"learning_rate": 0.25, "discount": 0.5, "exploration": 0.0, "exploration_end": 0.0}
    policy = QLearning(ROOM, np.array([0, 0]), np.arange(2, dtype=np.uint64), options)
    policy.reset()
    here, there = np.array([[4, 4], [4, 4]]), np.array([[5, 4], [4, 4]])
    policy.table[:, 5 * 9 + 4] = [1, 2, 8, 3, 4]
    policy.table[:, 4 * 9 + 4, RIGHT] = 6
    assert policy.act(here).tolist() == [RIGHT, RIGHT]
    policy.observe(np.array([RIGHT, RIGHT]), np.array([1.0, 0.0]), there, np.array([False, True]))
    assert policy.table[0, 4 * 9 + 4, RIGHT] == 6 + 0.25 * (1 + 0.5 * 8 - 6)
    assert policy.table[1, 4 * 9 + 4, RIGHT] == 6 + 0.25 * (0 + 0.5 * 6 - 6)
    kept = policy.table.copy()
    policy.act(there)
    policy.observe(np.array([STAY, STAY]), np.array([1.0, 1.0]), there, np.array([True, True]))
    assert policy.table[0, 5 * 9 + 4, STAY] != kept[0, 5 * 9 + 4, STAY]
    np.testing.assert_array_equal(policy.table[1], kept[1], "the second had ended, and learns no more")


def test_exploration_falls_from_episode_to_episode_and_ties_are_broken_by_chance() -> None:
    options = {"exploration": 1.0, "exploration_end": 0.0, "exploration_episodes": 4, "learning_rate": 1e-9}
    policy = QLearning(ROOM, np.zeros(4000, np.int64), np.arange(4000, dtype=np.uint64), options)
    policy.table[:, :, :2] = 1.0
    shares = []
    for _ in range(6):
        policy.reset()
        actions = policy.act(np.full((4000, 2), 4))
        shares.append(np.bincount(actions, minlength=5) / 4000)
    for episode, share in enumerate(shares):
        random = max(0.0, 1 - episode / 4)
        np.testing.assert_allclose(share, random / 5 + (1 - random) * np.array([0.5, 0.5, 0, 0, 0]), atol=0.04)


def test_histories_lie_in_the_dataset_in_order_with_what_was_learned_from(tmp_path: Path) -> None:
    done = collect(recipe(learner()), tmp_path)
    assert verify(done.path) == []
    stored, dataset = open_stored(done.path), open_dataset(done.path)
    table = stored.episodes
    assert table.history.tolist() == [0, 0, 0, 1, 1, 1] * 3
    assert table.policy_step.tolist() == [0, 20, 40] * 6
    assert len(set(table.seed.tolist())) == 18
    for episode in dataset:
        places, goal = episode.observations[:-1], np.array(dataset.tasks[0].params["goal"])
        assert episode.extras["expert_action"].shape == (20,)
        assert places.shape == (20, 2)
        assert goal.shape == (2,)
    column = stored.manifest.columns["expert_action"]
    assert (column.dtype, column.shape, column.rows) == ("<i8", [], "T")
    assert column.meaning == "what the controller of dark-room does in this state, without noise"


def test_the_expert_action_is_the_best_in_each_state_of_the_episode(tmp_path: Path) -> None:
    done = collect(recipe(learner()), tmp_path)
    for task in open_dataset(done.path).tasks:
        goal = np.array(task.params["goal"])
        for episode in open_dataset(done.path).select(tasks=[task.task_index]):
            x, y = (goal - episode.observations[:-1]).T
            best = np.where(x > 0, 0, np.where(x < 0, 1, np.where(y > 0, 2, np.where(y < 0, 3, 4))))
            np.testing.assert_array_equal(episode.extras["expert_action"], best)


def test_the_content_is_the_same_with_two_workers_and_after_a_kill_of_any_cell(tmp_path: Path) -> None:
    mine = recipe(learner(), Behaviour(name="random", kind="random", quality="random", episodes=2))
    one, two = collect(mine, tmp_path / "one"), collect(mine, tmp_path / "two", workers=2)
    assert one.content_digest == two.content_digest
    table = open_stored(one.path).episodes
    assert table.history.tolist() == [0, 0, 0, 1, 1, 1, -1, -1] * 3
    assert table.policy_step.tolist() == [0, 20, 40, 0, 20, 40, -1, -1] * 3


MODULE = """
import numpy as np


class Counts:
    "Acts by how many steps it has seen, over all episodes: what it does shows what it remembers."

    def __init__(self, family, tasks, seeds, options):
        self.steps, self.episodes = np.zeros(len(tasks), int), 0
        self.first = (seeds % 5).astype(int)
        self.says = options.get("says", "log_prob")

    def reset(self):
        self.episodes += 1

    def act(self, observations):
        return (self.first + self.steps) % 5

    def observe(self, actions, rewards, next_observations, ended):
        self.steps += 1

    def columns(self):
        name = self.says if self.says != "changing" else f"c{self.steps[0]}"
        rows = len(self.steps) if self.says != "short" else 1
        value = np.nan if self.says == "unknown" else -1.5 * self.episodes
        return {name: np.full(rows, value, np.float32), "infos/seen": self.steps}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_learners.py").write_text(MODULE)
    yield
    sys.modules.pop("my_learners", None)


@pytest.mark.usefixtures("module")
def test_a_learner_from_outside_remembers_within_a_history_and_says_more_of_each_step(tmp_path: Path) -> None:
    behaviour = learner("my_learners:Counts")
    done = collect(recipe(behaviour, expert_action=False), tmp_path / "data", workers=2)
    assert verify(done.path) == []
    dataset, table = open_dataset(done.path), open_stored(done.path).episodes
    for number, episode in enumerate(dataset):
        before = int(table.policy_step[number])
        assert episode.extras["infos/seen"].tolist() == list(range(before, before + 20))
        assert set(episode.extras["log_prob"].tolist()) == {-1.5 * (before // 20 + 1)}
        first = int(table.seed[number - before // 20] % 5)
        assert episode.actions.tolist() == [(first + step) % 5 for step in range(before, before + 20)]
    meaning = open_stored(done.path).manifest.columns["log_prob"].meaning
    assert meaning == "as the policy my_learners:Counts gives it"


@pytest.mark.usefixtures("module")
def test_nan_in_what_a_policy_says_costs_no_episode(tmp_path: Path) -> None:
    done = collect(
        recipe(learner("my_learners:Counts", options={"says": "unknown"}), expert_action=False), tmp_path / "data"
    )
    stored = open_stored(done.path)
    assert (stored.manifest.provenance.unstable, verify(done.path)) == (0, [])
    assert all(np.isnan(episode.extras["unknown"]).all() for episode in open_dataset(done.path))


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"says": "changing"}, "gave the columns .*'c1': .* at step 1 of behaviour 'learner'; those of the first step"),
        ({"says": "short"}, "gave the columns .* one row for each of 2 episodes"),
        ({"says": "rewards"}, "of behaviour 'learner' gave the columns .'rewards'., which the episode has"),
    ],
)
def test_what_a_policy_says_must_be_alike_at_every_step(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(CollectError, match=said):
        collect(recipe(learner("my_learners:Counts", options=options), expert_action=False), tmp_path / "data")


@pytest.mark.parametrize(
    ("family", "changes", "kind", "said"),
    [
        ("dark-room", {"options": {"learning_rat": 1.0}}, ConfigError, "learning_rat"),
        ("dark-room", {"options": {"discount": 1.0}}, ConfigError, "discount"),
        ("dark-room", {"noise": 0.1}, CollectError, "has noise, and the actions of dark-room are whole numbers"),
        ("point-robot", {}, CollectError, "q-learning needs Discrete or MultiDiscrete observations; point-robot has"),
    ],
)
def test_what_q_learning_cannot_do_is_said(
    tmp_path: Path, family: str, changes: dict[str, Any], kind: type[IdaqError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        collect(recipe(learner(**changes), family=family, id=f"idaq/{family}/learned-v0"), tmp_path)


def test_pixels_are_learned_by_where_the_controller_sees_the_agent(tmp_path: Path) -> None:
    """A table of pictures is none; q-learning says so."""
    with pytest.raises(CollectError, match="needs Discrete or MultiDiscrete observations; dark-room-pixels has"):
        collect(recipe(learner(), family="dark-room-pixels", id="idaq/dark-room-pixels/learned-v0"), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"episodes": 5}, "5 episodes make no 2 histories of equal length: a multiple of 2 is needed"),
        ({"histories": 0}, "histories: Input should be greater than or equal to 1"),
        ({"kind": "random", "policy": None}, "takes options and histories, and no other does"),
    ],
)
def test_histories_are_of_equal_length_and_of_policies_alone(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        learner(**changes)
