"""Meta-World ML10 and ML45: Meta-World's own environments, order, variations and stepping; test environments apart."""

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import metaworld
import numpy as np
import pytest
from metaworld.env_dict import ML10_V3, ML45_V3

from idaq.catalogue.entries import catalogue_recipe
from idaq.collect.plan import assign_splits
from idaq.collect.rollout import rollout
from idaq.core.types import Array
from idaq.format.recipe import Behaviour
from idaq.tasks import get_family, ml1, ml10

BENCHMARKS = {"ml10": ML10_V3, "ml45": ML45_V3}
EXPERT = Behaviour(name="expert", kind="scripted", quality="expert", episodes=1, noise=0.1)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_environments_and_their_order_are_meta_worlds_own(name: str) -> None:
    assert [f"{env}-v3" for env in ml10.TRAINING[name]] == list(BENCHMARKS[name]["train"])
    assert [f"{env}-v3" for env in ml10.TESTING[name]] == list(BENCHMARKS[name]["test"])


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_variations_are_those_that_meta_world_draws(name: str) -> None:
    """It draws one environment after the other from one stream: the first two to train on, and the first to test on."""
    training, (testing, *_) = ml10.TRAINING[name][:2], ml10.TESTING[name]
    drawn = metaworld.CustomML([f"{env}-v3" for env in training], [f"{testing}-v3"], seed=1337)
    for env, tasks in (
        (training[0], drawn.train_tasks[:50]),
        (training[1], drawn.train_tasks[50:]),
        (testing, drawn.test_tasks),
    ):
        made, vectors = metaworld.ALL_V3_ENVIRONMENTS[f"{env}-v3"](), []
        for task in tasks:
            made.set_task(task)
            vectors.append(made._last_rand_vec)
        np.testing.assert_array_equal(ml10.rand_vecs(name)[env], vectors)
        made.close()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_tasks_are_numbered_training_environments_first(name: str) -> None:
    tasks, names = get_family(name).tasks, ml10.environments(name)
    assert len(tasks) == 50 * len(names)
    for number, env in enumerate(names):
        mine = tasks[50 * number : 50 * number + 50]
        assert [task.task_id for task in mine] == [f"{env}-v3-task-{variation:03d}" for variation in range(50)]
        assert {task.params["environment"] for task in mine} == {number}
        assert [task.params["rand_vec"] for task in mine] == ml10.rand_vecs(name)[env].tolist()
        assert {task.split for task in mine} == {"train" if env in ml10.TRAINING[name] else "test"}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_catalogue_trains_on_no_test_environment_and_takes_as_many_variations_of_each(name: str) -> None:
    family, recipe = get_family(name), catalogue_recipe(name, "expert")
    splits = assign_splits(recipe, family)
    names = {index: ml10.environments(name)[index // 50] for index in splits}
    assert {names[index] for index in splits if splits[index] == "test"} == set(ml10.TESTING[name])
    assert {names[index] for index in splits if splits[index] == "train"} == set(ml10.TRAINING[name])
    assert len(set(Counter(names.values()).values())) == 1


def test_validation_tasks_are_other_variations_of_training_environments() -> None:
    recipe = catalogue_recipe("ml10", "expert")
    splits = assign_splits(recipe, get_family("ml10"))
    envs = Counter(ml10.environments("ml10")[index // 50] for index in splits if splits[index] == "val")
    assert envs == dict.fromkeys(ml10.TRAINING["ml10"], 2)


def stock(name: str, task: int, actions: Array) -> list[Any]:
    """What Meta-World's own environment shows for these actions on a variation that we state."""
    env_name, drawn = ml10.setting(name, task)
    env = metaworld.ALL_V3_ENVIRONMENTS[f"{env_name}-v3"]()
    env.set_task(drawn)
    seen = [env.reset()[0]]
    steps = [env.step(action) for action in actions]
    env.close()
    return [np.array(seen + [step[0] for step in steps]), [(step[1], bool(step[4]["success"])) for step in steps]]


@pytest.mark.parametrize("environment", [4, 5, 8, 9, 10, 11, 12, 13])  # those that test_sawyer.py leaves out
def test_stepping_is_stock_to_the_bit(environment: int) -> None:
    task = 50 * environment + 17
    arm, rng = ml1.Arm(partial(ml10.setting, "ml10")), np.random.default_rng(0)
    seen, paid, actions = [arm.reset(task)], [], []
    for _ in range(80):
        noisy = ml10.controller("ml10", seen[-1][None], np.array([task]))[0] + 0.1 * rng.standard_normal(4)
        actions.append(np.clip(noisy, -1, 1).astype(np.float32))
        observation, reward, success = arm.step(actions[-1])
        seen.append(observation)
        paid.append((reward, success))
    arm.close()
    theirs, payments = stock("ml10", task, np.array(actions))
    assert np.array(seen).tobytes() == theirs.tobytes()
    assert paid == payments


def test_one_batch_steps_several_environments_each_with_its_own_script() -> None:
    """The goal is hidden from the data and seen by the policies."""
    tasks = np.array([3, 50 * 12 + 3, 50 * 4 + 3])  # reach, shelf-place, drawer-close
    family = replace(get_family("ml10"), horizon=150)
    together = rollout(family, EXPERT, tasks, np.arange(3, dtype=np.uint64)).episodes
    for number, episode in enumerate(together):
        assert not episode.observations[:, -3:].any()
        (alone,) = rollout(family, EXPERT, tasks[number : number + 1], np.array([number], np.uint64)).episodes
        assert alone.observations.tobytes() == episode.observations.tobytes()
    assert together[0].rewards.sum() > 500, "reach's script reaches"
    env = family.lockstep()
    env.reset(tasks, np.zeros(3, np.uint64))
    assert np.abs(env.controller_view()[:, -3:]).max(1).min() > 0.01
