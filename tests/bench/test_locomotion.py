"""Stepping of running bodies against the bare Gymnasium environments that they are built on."""

from collections.abc import Callable

import numpy as np
import pytest

from idaq.core.types import Array
from idaq.tasks.bodies import Simulation
from idaq.tasks.locomotion import VARIANTS, LocomotionLockstep, load_tasks
from tests.bench.conftest import seconds

BODIES, STEPS = 9, 50


@pytest.mark.parametrize("name", VARIANTS)
def test_stepping_against_the_bare_environment(name: str, say: Callable[[str], None]) -> None:
    """As many bodies as a collection steps together, against one of Gymnasium's own, without wrappers, in the same
    model with the same actions. Nothing is skipped: fallen bodies go on."""
    lockstep, bare = LocomotionLockstep(name), Simulation(VARIANTS[name].body)
    bare.scale(load_tasks(name).factors[0])
    space, rng = bare.env.action_space, np.random.default_rng(0)
    actions: Array = (0.3 * rng.uniform(space.low, space.high, (STEPS, BODIES, *space.shape))).astype(np.float32)

    def ours() -> None:
        lockstep.reset(np.zeros(BODIES, np.int64), np.arange(BODIES, dtype=np.uint64))
        for action in actions:
            lockstep._alive[:] = True
            lockstep.step(action)

    def theirs() -> None:
        for body in range(BODIES):
            bare.env.reset(seed=body)
            for action in actions[:, body]:
                bare.env.step(action)

    mine, stock = (STEPS * BODIES / spent for spent in seconds(ours, theirs, repeats=9))
    say(f"{name}: {mine:,.0f} steps/s on one core, Gymnasium alone {stock:,.0f} ({mine / stock:.2f}x)")
    assert mine > 0.9 * stock
