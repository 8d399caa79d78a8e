"""Policies of online episodes. Shapes: P problems (test tasks x seeds) side by side, D observation, A action."""

import numpy as np

from idaq.core.policy import Policy
from idaq.core.types import Array
from idaq.learn.algorithm import BeliefPolicy
from idaq.learn.config import AgentSpec

__all__ = ["BeliefPolicy", "Policy", "RandomPolicy"]


class RandomPolicy:
    """Uniform random actions within the agent's action bounds."""

    def __init__(self, spec: AgentSpec, problems: int, rng: np.random.Generator) -> None:
        self._centre, self._scale = np.array(spec.action_centre), np.array(spec.action_scale)
        self._shape, self._rng = (problems, spec.action_size), rng

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, observations: Array) -> Array:
        """Actions (P, A), whatever the observations."""
        return (self._centre + self._scale * self._rng.uniform(-1, 1, self._shape)).astype(np.float32)

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: Array) -> None:
        """Nothing to remember."""
