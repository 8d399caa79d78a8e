"""Meta-World: rollouts against stock stepping, two workers against one, adaptation against bare steps."""

import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from metaworld.policies import ENV_POLICY_MAP

from idaq.adapt.adapt import adapt
from idaq.adapt.strategy import adaptation_plan
from idaq.catalogue.entries import catalogue_recipe
from idaq.collect.collect import collect
from idaq.collect.rollout import rollout
from idaq.core.types import Array
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.loop import agent_spec
from idaq.learn.prior import infer_prior
from idaq.loader import open_dataset
from idaq.tasks import get_family, ml1
from tests.bench.conftest import seconds

STEPS = ml1.HORIZON
CELL = 15  # episodes: a third of a full cell
EXPERT = catalogue_recipe("ml1/reach", "expert").behaviours[0]
TABLE = "| set | stock steps/s | idaq steps/s | ratio | of it MuJoCo |\n| --- | ---: | ---: | ---: | ---: |\n"


class Stock:
    """What one writes with Meta-World alone: set the task, reset, loop over policy and step."""

    def __init__(self, name: str) -> None:
        bench = ml1.benchmark(name)
        self.env = bench.train_classes[f"{name}-v3"]()
        self.env.set_task(bench.train_tasks[3])
        self.policy = ENV_POLICY_MAP[f"{name}-v3"]()

    def episode(self) -> None:
        rng = np.random.default_rng(0)
        observation, _ = self.env.reset()
        for _ in range(STEPS):
            action = np.clip(self.policy.get_action(observation) + 0.1 * rng.standard_normal(4), -1, 1)
            observation, *_ = self.env.step(action.astype(np.float32))


def physics(name: str) -> float:
    """Seconds an episode that MuJoCo's own functions take for the very same steps: what no Python can save."""
    arm, policy = ml1.Arm(partial(ml1.setting, name)), ml1.scripted_policy(name)
    observation, rng, spent = arm.reset(3), np.random.default_rng(0), 0.0
    simulate = arm.env._simulate

    def timed_simulate(model: object, data: object) -> None:
        nonlocal spent
        start = time.perf_counter()
        simulate(model, data)
        spent += time.perf_counter() - start

    arm.env._simulate = timed_simulate
    for _ in range(STEPS):
        action = np.clip(policy.get_action(observation) + 0.1 * rng.standard_normal(4), -1, 1)
        observation, *_ = arm.step(action.astype(np.float32))
    return spent


@pytest.mark.filterwarnings("ignore")
def test_rollouts_of_every_set_against_stock(say: Callable[[str], None]) -> None:
    """Same task, same noise; the trajectories are the same to the bit (tests/tasks/test_sawyer.py).

    Ours as in a collection, a cell of one task; stock takes its turn before and after.
    """
    table, ratios = TABLE, []
    for name in ml1.NAMES:
        stock, family = Stock(name), get_family(f"ml1/{name}")
        stock.episode()
        before = timed(stock.episode)
        mine = timed(lambda family=family: rollout(family, EXPERT, np.full(CELL, 3), np.arange(CELL, dtype=np.uint64)))
        mine, theirs = mine / CELL, (before + timed(stock.episode)) / 2
        ratios.append(theirs / mine)
        rates = f"{STEPS / theirs:,.0f} | {STEPS / mine:,.0f}"
        table += f"| {name} | {rates} | {ratios[-1]:.2f} | {physics(name) / mine:.0%} |\n"
    say(f"ml1 rollouts on one core:\n{table}")
    say(f"ratio: mean {np.mean(ratios):.2f}, median {np.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    assert np.mean(ratios) > 2.2


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def test_two_workers_against_one(say: Callable[[str], None], tmp_path: Path) -> None:
    recipe = catalogue_recipe("ml1/reach", "expert", ["episodes=20", "splits.sizes={train = 20, test = 4}"])
    taken, digests = {}, set()
    for workers in (1, 2):
        collect(catalogue_recipe("ml1/reach", "expert", ["episodes=1", "splits.sizes={train = 2}"]),
                tmp_path / f"warm{workers}", workers=workers)  # fmt: skip
        start = time.perf_counter()
        digests.add(collect(recipe, tmp_path / str(workers), workers=workers).content_digest)
        taken[workers] = time.perf_counter() - start
    say(f"collect ml1/reach, 480 episodes: {taken[1]:.1f} s with 1 worker, {taken[2]:.1f} s with 2"
        f" ({taken[1] / taken[2]:.2f}x); same digest")  # fmt: skip
    assert len(digests) == 1
    assert taken[1] / taken[2] > 1.5


def recorded(adaptation: Callable[[], object]) -> list[tuple[int, list[Array]]]:
    """The task and the actions of every episode that an adaptation runs."""
    episodes: list[tuple[int, list[Array]]] = []
    current: dict[ml1.Arm, list[Array]] = {}
    plain = ml1.Arm.reset, ml1.Arm.step

    def reset(arm: ml1.Arm, task: int) -> Array:
        current[arm] = []
        episodes.append((task, current[arm]))
        return plain[0](arm, task)

    def step(arm: ml1.Arm, action: Array) -> tuple[Array, float, bool]:
        current[arm].append(action.copy())
        return plain[1](arm, action)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ml1.Arm, "reset", reset)
        patch.setattr(ml1.Arm, "step", step)
        adaptation()
    return episodes


def test_adaptation_against_bare_steps(say: Callable[[str], None], tmp_path: Path) -> None:
    """10 tasks x 10 episodes with idaq, against the very same steps taken by one environment, nothing else."""
    torch.set_num_threads(2)
    recipe = catalogue_recipe("ml1/push", "expert", ["episodes=1"])
    dataset = open_dataset(collect(recipe, tmp_path, workers=2).path)
    algorithm = FocalTd3BcConfig().create(agent_spec(dataset, dataset.transitions().statistics()), "cpu")
    agent = algorithm.agent(infer_prior(algorithm.agent(None), dataset.select(split="train")))
    plan = adaptation_plan(["idaq"], {"episodes": 10, "reference": 5, "candidates": 5, "report_at": [10], "seeds": 1})

    def adaptation() -> object:
        return adapt(agent, dataset, plan)

    episodes, arm = recorded(adaptation), ml1.Arm(partial(ml1.setting, "push"))

    def bare() -> None:
        for task, actions in sorted(episodes, key=lambda episode: episode[0]):
            arm.reset(task)
            for action in actions:
                arm.step(action)

    ours, alone = seconds(adaptation, bare, repeats=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = Stock("push")
        (theirs,) = seconds(stock.episode, repeats=1)
    say(f"adapting, {len(episodes)} episodes on 10 tasks: {ours:.1f} s = {ours / alone:.2f}x the same steps bare"
        f" ({alone:.1f} s), {ours / (len(episodes) * theirs):.2f}x stock steps with the scripted policy")  # fmt: skip
    assert ours < 1.4 * alone
