"""What acts. Shapes: P problems side by side (tasks x seeds), D observation, A action."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from idaq.core.types import Array


@runtime_checkable
class Policy(Protocol):
    """Acts in P problems at once, one step after the other, and may remember what came of it.

    Every episode begins with `reset`; every `act` is followed by one `observe`. A policy that is conditioned on a fixed
    belief ignores `observe`; one with a memory lives on it, and decides at `reset` what an episode's end wipes out.
    """

    def reset(self) -> None:
        """An episode begins in every problem."""
        ...

    def act(self, observations: Array) -> Array:
        """Actions (P, A) in the environment's units for observations (P, D)."""
        ...

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        """What the step led to: (P, A), (P,), (P, D), and (P,) whether the problem's episode is over, or was before."""
        ...
