"""Meta-World ML1: the published tasks, the goal hidden from all but the scripted policy, episodes that stand alone."""

import dataclasses
import difflib
from typing import Any

import metaworld
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from idaq.collect.rollout import rollout
from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import UnknownNameError, UsageError
from idaq.core.types import Task
from idaq.format.recipe import Behaviour
from idaq.tasks import BUILT_IN, get_family, ml1

EXPERT = Behaviour(name="expert", kind="scripted", quality="expert", episodes=1, noise=0.1)


def test_the_names_are_meta_worlds_own() -> None:
    assert {f"{name}-v3" for name in ml1.NAMES} == set(metaworld.ALL_V3_ENVIRONMENTS)
    assert {name for name in BUILT_IN if name.startswith("ml1/")} == {f"ml1/{name}" for name in ml1.NAMES}


@pytest.mark.parametrize("name", ["reach", "peg-insert-side", "window-open"])
def test_the_tasks_are_the_training_tasks_of_ml1_seed_1337(name: str) -> None:
    published = metaworld.ML1(f"{name}-v3", seed=1337)
    (cls,) = published.train_classes.values()
    env, vectors = cls(), []
    for task in published.train_tasks:
        env.set_task(task)
        vectors.append(env._last_rand_vec.tolist())
    assert [task.params["rand_vec"] for task in get_family(f"ml1/{name}").tasks] == vectors


@pytest.mark.parametrize("name", ml1.NAMES)
def test_an_expert_episode_of_every_set(name: str) -> None:
    """The goal is hidden from the data and seen by the policy, spaces hold, rewards have Meta-World's scale."""
    family = dataclasses.replace(get_family(f"ml1/{name}"), horizon=150)
    assert len(family.tasks) == len({str(task.params) for task in family.tasks}) == 50
    assert from_mapping(Task, to_mapping(family.tasks[49]), where="task", strict=True) == family.tasks[49]
    (expert,) = rollout(family, EXPERT, np.array([9]), np.array([1], np.uint64)).episodes
    observation_space, action_space = ml1.spaces()
    assert all(seen in observation_space for seen in expert.observations)
    assert all(action in action_space for action in expert.actions)
    assert expert.observations.shape == (151, 39)
    assert not expert.observations[:, -3:].any()
    assert (expert.observations[1:, 18:36] == expert.observations[:-1, :18]).all(), "the second frame is the last first"
    assert ((expert.rewards >= 0) & (expert.rewards <= 10)).all()
    env = family.lockstep()
    env.reset(np.array([9]), np.zeros(1, np.uint64))
    assert np.abs(env.controller_view()[0, -3:]).max() > 0.01


@pytest.mark.parametrize(
    ("name", "mean", "success"), [("reach", 4833, True), ("push", 3694, True), ("window-open", 2147, True)]
)
def test_full_episodes_have_the_published_returns(name: str, mean: float, success: bool) -> None:
    done = rollout(get_family(f"ml1/{name}"), EXPERT, np.arange(0, 50, 10), np.arange(5, dtype=np.uint64))
    episodes, solved = done.episodes, done.successes
    assert np.mean([episode.total_reward for episode in episodes]) == pytest.approx(mean, rel=0.15)
    assert solved.all() == success
    assert [(len(e), e.truncated[-1], e.terminated.any()) for e in episodes] == [(500, True, False)] * 5


@pytest.mark.filterwarnings("ignore:.*A Box observation space")  # of the goal's place, and of unbounded positions
def test_the_environment_passes_gymnasiums_checker_and_takes_its_task_from_options() -> None:
    env = get_family("ml1/reach").make(task=3)
    check_env(env.unwrapped, skip_render_check=True)
    first, info = env.reset(options={"task": 7})
    assert info == {"success": False, "task_index": 7}
    again, _ = env.reset()
    np.testing.assert_array_equal(first, again)
    done = False
    while not done:
        *_, done, info = env.step(np.zeros(4, np.float32))
    assert info["task_index"] == 7
    env.close()


@pytest.mark.parametrize("task", [50, -1, True, "3", 1.0])
def test_a_task_that_is_not_there_is_refused(task: Any) -> None:
    with pytest.raises(UsageError, match="there is no task") as caught:
        ml1.ML1Env("reach", task=task)
    assert caught.value.hint == "an integer from 0 to 49"


@pytest.mark.parametrize("wrong", ["reech", "windw-open", "peg-unplug"])
def test_an_unknown_set_is_answered_with_the_nearest(wrong: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        get_family(f"ml1/{wrong}")
    near = difflib.get_close_matches(wrong, ml1.NAMES, n=1)[0]
    assert f"'ml1/{near}'" in str(caught.value.hint)
    with pytest.raises(UnknownNameError, match="unknown ML1 set"):
        ml1.benchmark(wrong)
