"""Transitions (s, a, r, s') as aligned columns with any leading shape `...`."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idaq.core.types import Array, Episode, Floats
from idaq.loader.flat import FlatView


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
        return map_columns(lambda column: column[key], self)

    def __len__(self) -> int:
        return len(self.rewards)

    @classmethod
    def stack(cls, parts: "list[Transitions]") -> "Transitions":
        """Parts of one shape, side by side along a new first dimension."""
        return cls(**{name: np.stack([getattr(part, name) for part in parts]) for name in _NAMES})

    def reshape(self, *shape: int) -> "Transitions":
        """Reshape the leading dimensions."""
        lead = self.rewards.ndim
        if shape == self.rewards.shape:
            return self
        return map_columns(lambda column: column.reshape((*shape, *column.shape[lead:])), self)


_NAMES = tuple(field.name for field in fields(Transitions))


def from_episode(episode: Episode, view: FlatView | None = None) -> Transitions:
    """The T transitions of one episode: next observation = next row. Without a view, arrays of numbers as they are."""
    seen: Array = episode.observations if view is None else view.encode_observations(episode.observations)
    acted = episode.actions if view is None else view.encode_actions(episode.actions)
    return Transitions(
        observations=seen[:-1].astype(np.float32),
        actions=acted.astype(np.float32),
        rewards=episode.rewards.astype(np.float32),
        next_observations=seen[1:].astype(np.float32),
        terminated=episode.terminated,
    )


def map_columns(function: Callable[[Array], Array], transitions: Transitions) -> Transitions:
    """The transitions whose every column is what `function` makes of it."""
    return Transitions(**{name: function(getattr(transitions, name)) for name in _NAMES})


def concatenate(parts: list[Transitions]) -> Transitions:
    """Join along the first dimension."""
    return Transitions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _NAMES})
