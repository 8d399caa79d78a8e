"""Adaptation against the bare environment steps it contains."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from idaq.adapt.adapt import adapt
from idaq.adapt.strategy import adaptation_plan
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.loop import agent_spec
from idaq.learn.prior import infer_prior
from idaq.loader import Dataset
from idaq.tasks import get_family
from tests.bench.conftest import seconds


@pytest.mark.parametrize("name", ["offline-context", "best-of-prior", "idaq"])
def test_adaptation_against_bare_steps(say: Callable[[str], None], dataset: Dataset, name: str) -> None:
    """20 tasks x 4 seeds x 25 episodes of 20 steps. A bare step of this family is a handful of additions."""
    torch.set_num_threads(2)
    family, plan = get_family("point-robot"), adaptation_plan([name])
    config = plan.config
    algorithm = FocalTd3BcConfig().create(agent_spec(dataset, dataset.transitions().statistics()), "cpu")
    agent = algorithm.agent(infer_prior(algorithm.agent(None), dataset.select(split="train")))
    problems = 20 * config.seeds
    episodes = config.episodes + len(config.report_at)
    tasks, actions = np.repeat(np.arange(20), config.seeds), np.zeros((problems, 2), np.float32)
    single = family.make().unwrapped

    def lockstep() -> None:
        env = family.lockstep()
        for _ in range(episodes):
            env.reset(tasks, np.zeros(problems, np.uint64))
            for _ in range(family.horizon):
                env.step(actions)

    def one_by_one() -> None:
        for _ in range(episodes):
            single.reset()
            for _ in range(family.horizon):
                single.step(actions[0])

    ours, together, alone = seconds(lambda: adapt(agent, dataset, plan), lockstep, one_by_one, repeats=3)
    steps = problems * episodes * family.horizon
    say(
        f"{name}: {ours:.2f} s for {steps:,} steps ({steps / ours:,.0f}/s); bare lock-step {together:.3f} s "
        f"({ours / together:.0f}x), bare single environments {alone * problems:.2f} s "
        f"({ours / (alone * problems):.2f}x)"
    )
    assert ours < 5 * alone * problems
