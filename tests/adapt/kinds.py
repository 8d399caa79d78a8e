"""Agents of every kind, by hand, for a point on the plane: what all strategies must work with.

Shapes: P problems, K context transitions, L steps of all episodes, H memory, Z belief.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from idaq.adapt.policy import BeliefPolicy, Policy
from idaq.core.seeds import generator
from idaq.core.types import Array, Floats
from idaq.learn.algorithm import Agent, Prior
from idaq.loader.contexts import Experience
from idaq.loader.transitions import Transitions
from idaq.testing.strategies import PointAgent, made_up_cross_returns

MEMORY = 5
_INTO = generator(0).normal(0, 0.4, (2 + 2 + 1, MEMORY)).astype(np.float32)


def remember(memory_PH: Floats, observations: Array, actions: Array, rewards: Array) -> Floats:
    """One step of a recurrent network. -> (P, H)"""
    seen = np.concatenate([observations, actions, rewards[:, None]], -1)
    return np.tanh(0.7 * memory_PH + seen @ _INTO).astype(np.float32)


_MEMORIES = generator(1).uniform(-1, 1, (8, MEMORY)).astype(np.float32)


@dataclass
class RecurrentPolicy:
    """Begins each episode with its belief, and goes on remembering within it."""

    beliefs: Floats
    """(P, H)"""
    memory: Floats = field(init=False)
    seen: Array = field(init=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.memory = self.beliefs.copy()

    def act(self, observations: Array) -> Array:
        self.seen = np.array(observations)
        return np.clip(self.memory[:, :2] - observations, -0.4, 0.4).astype(np.float32)

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: Array) -> None:
        self.memory = remember(self.memory, self.seen, actions, rewards)


class RecurrentAgent:
    """Infers from whole episodes in order; its belief is the memory that they leave."""

    config, spec = PointAgent.config, PointAgent.spec
    prior: Prior | None = Prior(
        beliefs=_MEMORIES,
        task_indices=np.arange(8),
        offline_return=-1.0,
        random_return=-6.0,
        cross_returns=made_up_cross_returns(_MEMORIES),
    )

    def infer(self, context: Transitions) -> Floats:
        every = np.ones(context.rewards.shape, bool)
        return self.infer_episodes(Experience(transitions=context, starts=every & False, valid=every))

    def infer_episodes(self, experience: Experience) -> Floats:
        memory = np.zeros((len(experience.valid), MEMORY), np.float32)
        for step in range(experience.valid.shape[1]):
            row = experience.transitions[:, step]
            after = remember(memory, row.observations, row.actions, row.rewards)
            memory = np.where(experience.valid[:, step, None], after, memory)
        return memory

    def policy(self, beliefs: Floats) -> Policy:
        return RecurrentPolicy(beliefs)

    def tensors(self) -> dict[str, Any]:
        return {}


class InferringAgent:
    """As `PointAgent`, but for embeddings of single transitions and predictions: it has neither."""

    config, spec, prior = PointAgent.config, PointAgent.spec, PointAgent.prior

    def infer(self, context: Transitions) -> Floats:
        return PointAgent().infer(context)

    def policy(self, beliefs: Floats) -> Policy:
        return PointAgent().policy(beliefs)

    def tensors(self) -> dict[str, Any]:
        return {}


class BlindAgent:
    """Infers nothing at all, Z = 0: one policy for every task, as cloning all data gives it."""

    config, spec = PointAgent.config, PointAgent.spec
    prior: Prior | None = Prior(
        beliefs=np.zeros((8, 0), np.float32), task_indices=np.arange(8), offline_return=-1.0, random_return=-6.0,
        cross_returns=made_up_cross_returns(np.zeros((8, 0), np.float32)),
    )  # fmt: skip

    def infer(self, context: Transitions) -> Floats:
        return np.zeros((len(context.rewards), 0), np.float32)

    def policy(self, beliefs: Floats) -> Policy:
        return BeliefPolicy(respond=lambda seen, z: np.clip(0.5 - seen, -0.4, 0.4).astype(np.float32), beliefs=beliefs)

    def tensors(self) -> dict[str, Any]:
        return {}


@dataclass
class MemoryPolicy:
    """Remembers within an episode, and began with no belief: it has not even the attribute."""

    problems: int

    def reset(self) -> None:
        self.paid = np.zeros((self.problems, 1), np.float32)

    def act(self, observations: Array) -> Array:
        return np.clip(self.paid - observations, -0.4, 0.4).astype(np.float32)

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: Array) -> None:
        self.paid = self.paid + rewards[:, None]


class MemoryAgent:
    """Z = 0 too; what it knows of a task is in its policy's memory."""

    config, spec, prior = BlindAgent.config, BlindAgent.spec, BlindAgent.prior

    def infer(self, context: Transitions) -> Floats:
        return BlindAgent().infer(context)

    def policy(self, beliefs: Floats) -> Policy:
        return MemoryPolicy(len(beliefs))

    def tensors(self) -> dict[str, Any]:
        return {}


KINDS: dict[str, type[Agent]] = {
    "embedding": PointAgent,
    "inferring": InferringAgent,
    "recurrent": RecurrentAgent,
    "blind": BlindAgent,
    "memory": MemoryAgent,
}
"""by what they infer from: single transitions, a bag of them, whole episodes, nothing, nothing but within an episode"""
