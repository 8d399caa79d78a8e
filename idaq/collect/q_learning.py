"""Tabular Q-learning as a behaviour policy: learning histories, which Algorithm Distillation is trained on.

Q(s, a) += learning_rate (r + discount max_a' Q(s', a') - Q(s, a)), after Watkins (1989). Shapes: H histories side by
side, S states, A actions, T steps of an episode.
"""

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from idaq.core.config import config, from_mapping
from idaq.core.errors import CollectError
from idaq.core.policy import Policy
from idaq.core.seeds import generator
from idaq.core.types import Array
from idaq.tasks.family import Family

_MOST_STATES = 1_000_000
Share = Annotated[float, Field(ge=0, le=1)]


@config
class QLearningConfig:
    """The `options` of the behaviour policy `q-learning`."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    discount: Annotated[float, Field(ge=0, lt=1)] = 0.9
    exploration: Share = 1.0
    """chance of a random action in the first episode"""
    exploration_end: Share = 0.0
    """the same in episode number `exploration_episodes` and all later ones; linear in between"""
    exploration_episodes: Annotated[int, Field(ge=1)] = 50
    initial: float = 0.0
    """of every state and action; above what can be earned, the learner tries everything once"""


class QLearning(Policy):
    """H learners, each with a table of its own. What follows an episode's end is bootstrapped, as after a time limit.

    The table is kept from one episode to the next; all chance comes from each history's own seed.
    """

    def __init__(
        self, family: Family, tasks: NDArray[np.int64], seeds: NDArray[np.uint64], options: dict[str, Any]
    ) -> None:
        """Raises CollectError for spaces without a table, ConfigError for options that are none."""
        self._config = from_mapping(QLearningConfig, options, where="the options of q-learning")
        spaces = family.spaces()
        self._first, self._counts = _counted(family, spaces.observations)
        if not isinstance(spaces.actions, gym.spaces.Discrete):
            raise CollectError(f"q-learning needs Discrete actions; {family.name} has {spaces.actions}")
        self._first_action, self._horizon = int(spaces.actions.start), family.horizon
        shape = (len(tasks), int(np.prod(self._counts)), int(spaces.actions.n))
        self.table = np.full(shape, self._config.initial)
        """Q (H, S, A)"""
        self._rows = np.arange(len(tasks))
        self._rngs = [generator(int(seed), 1) for seed in seeds]
        self._episode = -1

    def reset(self) -> None:
        self._episode += 1
        self._step, self._ended = -1, np.zeros(len(self._rows), bool)
        self._chance = np.stack([rng.random((self._horizon, 3)) for rng in self._rngs], 1)  # (T, H, 3)

    def act(self, observations: Array) -> Array:
        self._step += 1
        self._state = self._states(observations)
        explores, choice, tie = self._chance[self._step].T
        values = self.table[self._rows, self._state]
        best = values == values.max(1, keepdims=True)
        wanted = (tie * best.sum(1)).astype(int) + 1  # of the best actions, this one
        greedy = (best.cumsum(1) == wanted[:, None]).argmax(1)
        self._action = np.where(explores < self._exploration(), (choice * values.shape[1]).astype(int), greedy)
        return self._action + self._first_action

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        alive = np.flatnonzero(~self._ended)
        state, action = self._state[alive], (actions - self._first_action)[alive]
        ahead = self.table[alive, self._states(next_observations)[alive]].max(1)
        error = rewards[alive] + self._config.discount * ahead - self.table[alive, state, action]
        self.table[alive, state, action] += self._config.learning_rate * error
        self._ended = ended

    def _exploration(self) -> float:
        c = self._config
        done = min(1.0, self._episode / c.exploration_episodes)
        return c.exploration + done * (c.exploration_end - c.exploration)

    def _states(self, views: Array) -> NDArray[np.int64]:
        """(H,) the row of the table."""
        numbers = views.reshape(len(views), -1) - self._first
        return np.array(np.ravel_multi_index(tuple(numbers.T), self._counts))


def _counted(family: Family, space: gym.Space[Any]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """The lowest value of each number of a state, and how many it can have. Raises CollectError."""
    if isinstance(space, gym.spaces.Discrete):
        first, counts = np.array([space.start]), (int(space.n),)
    elif isinstance(space, gym.spaces.MultiDiscrete):
        first, counts = space.start.ravel(), tuple(space.nvec.ravel().tolist())
    else:
        raise CollectError(f"q-learning needs Discrete or MultiDiscrete observations; {family.name} has {space}"[:500])
    if np.prod(counts, dtype=float) > _MOST_STATES:
        raise CollectError(f"q-learning keeps a table of at most {_MOST_STATES} states; {family.name} has {space}")
    return first, counts
