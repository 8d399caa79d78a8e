"""Collection: lock-step rollouts against a loop over the single environment and Minari's DataCollector."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from minari import DataCollector

from idaq.catalogue.entries import catalogue_recipe
from idaq.collect.collect import Collected, collect
from idaq.collect.rollout import rollout
from idaq.core.seeds import generator
from idaq.format.recipe import Behaviour
from idaq.tasks import Family, get_family
from tests.bench.conftest import seconds

EPISODES = 45
RECIPE = catalogue_recipe("point-robot", "expert")


def plain_loop(family: Family, env: object, episodes: int) -> None:
    """What one writes without idaq: the same controller and noise, one environment, one step at a time."""
    behaviour = RECIPE.behaviours[0]
    for episode in range(episodes):
        rng = generator(episode)
        observation, _ = env.reset(options={"task": 3})  # type: ignore[attr-defined]
        done = False
        while not done:
            pull = family.controller(observation[None], np.array([3]))[0]
            action = np.clip(pull + behaviour.noise * rng.standard_normal(2), -1, 1) * 0.1
            observation, _, terminated, truncated, _ = env.step(action.astype(np.float32))  # type: ignore[attr-defined]
            done = terminated or truncated


@pytest.mark.filterwarnings("ignore")
def test_rollouts_against_a_plain_loop_and_minari(say: Callable[[str], None], tmp_path: Path) -> None:
    family = get_family("point-robot")
    tasks, seeds = np.full(EPISODES, 3), np.arange(EPISODES, dtype=np.uint64)
    single, collector = family.make(), DataCollector(family.make())
    ours, loop, minari = seconds(
        lambda: rollout(family, RECIPE.behaviours[0], tasks, seeds),
        lambda: plain_loop(family, single, EPISODES),
        lambda: plain_loop(family, collector, EPISODES),
        repeats=5,
    )
    collector.close()
    say(
        f"rollouts: {EPISODES / ours:,.0f} episodes/s; a plain loop {EPISODES / loop:,.0f} ({loop / ours:.1f}x), "
        f"Minari's DataCollector {EPISODES / minari:,.0f} ({minari / ours:.1f}x)"
    )
    assert loop / ours > 5
    assert minari / ours > 10


@pytest.mark.parametrize("name", ["dark-room", "dark-room-pixels"])
def test_dark_rooms_against_the_single_environment(say: Callable[[str], None], name: str) -> None:
    """Random actions on every task, with the best action of each state, against Gymnasium's loop without it."""
    family = get_family(name)
    tasks, seeds, env = np.arange(81), np.arange(81, dtype=np.uint64), family.make()
    random = Behaviour(name="random", kind="random", quality="random", episodes=1)

    def loop() -> None:
        for task in tasks.tolist():
            env.reset(options={"task": task})
            for _ in range(family.horizon):
                env.step(env.action_space.sample())

    ours, plain = seconds(lambda: rollout(family, random, tasks, seeds, expert=True), loop)
    rate, theirs = 81 * family.horizon / ours, 81 * family.horizon / plain
    say(f"{name}: {rate:,.0f} steps/s on one core, a loop over one environment {theirs:,.0f} ({rate / theirs:.1f}x)")
    assert rate > theirs


def test_learning_histories(say: Callable[[str], None]) -> None:
    """Tabular Q-learning in lock-step, as many histories as tasks."""
    family, behaviour = get_family("dark-room"), catalogue_recipe("dark-room", "histories").behaviours[0]
    tasks, seeds = np.arange(81), np.arange(81 * 20, dtype=np.uint64).reshape(81, 20)
    (spent,) = seconds(lambda: rollout(family, behaviour, tasks, seeds))
    steps = seeds.size * family.horizon
    say(f"dark-room, 81 histories of q-learning in one batch: {steps / spent:,.0f} steps/s on one core")
    assert steps / spent > 20_000


def test_a_full_size_collection(say: Callable[[str], None], full_size: Collected, tmp_path: Path) -> None:
    """4,500 episodes and 5,000 random reference episodes, to a verified dataset on disk."""
    taken = {}
    for workers in (1, 2):
        start = time.perf_counter()
        done = collect(RECIPE, tmp_path / str(workers), workers=workers)
        taken[workers] = time.perf_counter() - start
        assert done.content_digest == full_size.content_digest
    say(f"collect point-robot expert: {taken[1]:.1f} s with 1 worker, {taken[2]:.1f} s with 2; same digest")
    assert max(taken.values()) < 20
