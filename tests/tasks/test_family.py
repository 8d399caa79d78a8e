"""Single environments in lock-step are what the batched form returns; early ends stay ended."""

import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np

from idaq.tasks import SyncEnvs


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
