"""The training step against the floor set by its matrix products."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.loop import agent_spec, training_step
from idaq.loader import Dataset, MetaBatches
from tests.bench.conftest import seconds


@pytest.mark.parametrize("threads", [1, 2])
def test_step_against_its_matrix_products(say: Callable[[str], None], dataset: Dataset, threads: int) -> None:
    """16 tasks x 64 transitions, context 100, 2 x 256 nets: encoder, twin critics, actor, ensemble, targets, Adam.

    The floor: FLOPs of all matrix products of a step, at the rate of a 1024 x 256 x 256 product in this process.
    """
    torch.set_num_threads(threads)
    table = dataset.select(split="train").transitions()
    config = FocalTd3BcConfig()
    algorithm = config.create(agent_spec(dataset, table.statistics()), "cpu")
    batches = MetaBatches(table, meta_batch=16, batch=64, context=100, seed=0)
    counter = FlopCounterMode(display=False)
    with counter:
        for step in range(config.learner.policy_delay):
            training_step(algorithm, batches, config.seed, step)
    flops = counter.get_total_flops() / config.learner.policy_delay
    left, right = torch.randn(1024, 256), torch.randn(256, 256)
    numbers = iter(range(1_000_000))
    ours, product = seconds(
        lambda: training_step(algorithm, batches, config.seed, next(numbers)), lambda: left @ right, repeats=9, calls=20
    )
    rate = 2 * 1024 * 256 * 256 / product
    floor = flops / rate
    say(
        f"{threads} thread(s): step {ours * 1e3:.1f} ms, {flops / 1e9:.2f} GFLOP at {rate / 1e9:.0f} GFLOP/s = "
        f"{floor * 1e3:.1f} ms floor, ratio {ours / floor:.2f}"
    )
    assert ours < 2.5 * floor
