"""Single environments in lock-step are what the batched form returns; early ends stay ended."""

import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from idaq.tasks import BUILT_IN, SyncEnvs, get_family


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name.startswith("point")])
def test_singles_equal_the_batched_form(name: str) -> None:
    family, rng = get_family(name), np.random.default_rng(0)
    tasks, seeds = rng.integers(len(family.tasks), size=5), np.arange(5, dtype=np.uint64)
    batched, singles = family.lockstep(), SyncEnvs(family.make)
    for _ in range(2):  # a second episode in the same environments
        np.testing.assert_array_equal(batched.reset(tasks, seeds), singles.reset(tasks, seeds))
        for _ in range(family.horizon):
            actions = rng.uniform(-0.12, 0.12, (5, 2)).astype(np.float32)
            ours, theirs = batched.step(actions), singles.step(np.clip(actions, -0.1, 0.1).astype(np.float32))
            for field in ("observations", "rewards", "terminated", "truncated", "success"):
                np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field), err_msg=field)


class Countdown(gym.Env[Any, Any]):
    """Terminates after `task` steps."""

    observation_space = gym.spaces.Box(0, 10, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = (options or {})["task"]
        return np.array([self.left], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.left > 0, "stepped after its end"
        self.left -= 1
        return np.array([self.left], np.float32), 1.0, self.left == 0, False, {}


def test_an_ended_environment_is_not_stepped_again() -> None:
    envs = SyncEnvs(Countdown)
    envs.reset(np.array([1, 3]), np.zeros(2, np.uint64))
    ended = [envs.step(np.zeros((2, 1))).terminated.tolist() for _ in range(3)]
    assert ended == [[True, False], [True, False], [True, True]]


def test_listing_the_families_needs_no_simulator() -> None:
    """Other libraries recover a point robot in environments that have neither MuJoCo nor Meta-World."""
    code = "import sys; import idaq.tasks; print(sorted({'mujoco', 'metaworld', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
