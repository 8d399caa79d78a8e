"""The context encoder, and what an algorithm's objective gets to see of one step.

Shapes: N tasks in a meta-batch, K context transitions and B policy transitions a task, I numbers of a transition,
D observation, A action, Z latent, W numbers that a transition says of it, Q = 1 + D predicted numbers (reward and
change of observation).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from idaq.learn.latent.config import EncoderConfig
from idaq.learn.networks import mlp

Metrics = dict[str, Tensor]
Columns = Mapping[str, Tensor]


class Encoder(nn.Module, ABC):
    """What each context transition says of z, in W numbers, and what all of them say together."""

    @abstractmethod
    def embed(self, transitions: Float[Tensor, "*lead I"]) -> Float[Tensor, "*lead W"]:
        """What each transition says."""

    @abstractmethod
    def belief(self, embeddings: Float[Tensor, "*lead K W"]) -> Float[Tensor, "*lead Z"]:
        """The belief of each context; the order of its transitions does not matter."""

    @abstractmethod
    def draw(self, halves: Float[Tensor, "N 2 L W"], rng: np.random.Generator) -> Float[Tensor, "N Z"]:
        """The z that the policy learns under, from both halves of a context: its belief, or a draw from that."""

    def forward(self, context: Float[Tensor, "*lead K I"]) -> Float[Tensor, "*lead Z"]:
        """The belief of each context of K transitions."""
        return self.belief(self.embed(context))


class ContextEncoder(Encoder):
    """z = mean over context transitions of embed(transition)."""

    def __init__(self, config: EncoderConfig, transition_size: int) -> None:
        super().__init__()
        self.net = mlp(transition_size, config.hidden, config.layers, config.latent)

    def embed(self, transitions: Float[Tensor, "*lead I"]) -> Float[Tensor, "*lead Z"]:
        """tanh(MLP(transition)): (..., I) -> (..., Z)"""
        return self.net(transitions).tanh()

    def belief(self, embeddings: Float[Tensor, "*lead K Z"]) -> Float[Tensor, "*lead Z"]:
        """Their mean."""
        return embeddings.mean(dim=-2)

    def draw(self, halves: Float[Tensor, "N 2 L Z"], rng: np.random.Generator) -> Float[Tensor, "N Z"]:
        """The belief itself."""
        return self.belief(halves).mean(1)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One step's contexts, encoded, and the transitions that the policy learns from. Gradients reach the encoder."""

    tasks: Int[Tensor, "N"]
    """task indices"""
    context: Columns
    """columns (N, K, ...) in normalised units, as `Units.columns` gives them: obs, action, reward, outcome, ..."""
    embeddings: Float[Tensor, "N K W"]
    """what each context transition says of z"""
    halves: Float[Tensor, "N 2 Z"]
    """the belief of either half of the context: each task has a same-task pair in every batch"""
    z: Float[Tensor, "N Z"]
    """what the policy learns under: the belief of the whole context, or a draw from it"""
    data: Columns
    """columns (N, B, ...) of transitions that are independent of the context"""


class Objective(nn.Module, ABC):
    """What an encoder learns from, with the networks that it takes: they learn in the same backward pass."""

    @abstractmethod
    def loss(self, encoded: Encoded, step: int, rng: np.random.Generator) -> tuple[Float[Tensor, ""], Metrics]:
        """What encoder and own networks minimise at a step; `rng` is the only source of random numbers."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One step's contexts, before they are encoded."""

    tasks: Int[Tensor, "N"]
    """task indices"""
    context: Columns
    """columns (N, K, ...) in normalised units"""
    act: Callable[[], Float[Tensor, "N K A"]]
    """what the policy does in each of these states, under the belief of their context; without gradient"""


@runtime_checkable
class ContextMaker(Protocol):
    """An objective that makes up some of the transitions that the encoder learns from."""

    def contexts(self, drawn: Drawn, step: int, rng: np.random.Generator) -> Columns:
        """The contexts to encode at a step: obs, action and outcome (N, K, ...)."""
        ...
