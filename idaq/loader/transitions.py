"""Transitions (s, a, r, s') as aligned columns with any leading shape `...`."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idaq.core.types import Episode, Floats


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """Aligned columns; row i of every column belongs to the same transition."""

    observations: Floats
    """(..., D)"""
    actions: Floats
    """(..., A)"""
    rewards: Floats
    """(...)"""
    next_observations: Floats
    """(..., D)"""
    terminated: NDArray[np.bool_]
    """(...) true only where the task itself ended: a time limit bootstraps"""

    def __getitem__(self, key: Any) -> "Transitions":
        """Index the leading dimensions of every column alike."""
        return Transitions(**{f.name: getattr(self, f.name)[key] for f in fields(self)})

    def __len__(self) -> int:
        return len(self.rewards)

    @classmethod
    def stack(cls, parts: "list[Transitions]") -> "Transitions":
        """Parts of one shape, side by side along a new first dimension."""
        return cls(**{f.name: np.stack([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def reshape(self, *shape: int) -> "Transitions":
        """Reshape the leading dimensions."""
        lead = self.rewards.ndim
        if shape == self.rewards.shape:
            return self
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return Transitions(**{name: c.reshape((*shape, *c.shape[lead:])) for name, c in columns.items()})


def from_episode(episode: Episode) -> Transitions:
    """The T transitions of one episode: next observation = next row."""
    return Transitions(
        observations=episode.observations[:-1].astype(np.float32),
        actions=episode.actions.astype(np.float32),
        rewards=episode.rewards.astype(np.float32),
        next_observations=episode.observations[1:].astype(np.float32),
        terminated=episode.terminated,
    )


def concatenate(parts: list[Transitions]) -> Transitions:
    """Join along the first dimension."""
    names = [f.name for f in fields(Transitions)]
    return Transitions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
