"""The context encoder, and what an algorithm's objective gets to see of one step.

Shapes: N tasks in a meta-batch, K context transitions and B policy transitions a task, I numbers of a transition,
D observation, A action, Z latent, Q = 1 + D predicted numbers (reward and change of observation).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from idaq.learn.latent.config import EncoderConfig
from idaq.learn.networks import mlp

Metrics = dict[str, Tensor]


class ContextEncoder(nn.Module):
    """z = mean over context transitions of embed(transition); a set function, so order does not matter."""

    def __init__(self, config: EncoderConfig, transition_size: int) -> None:
        super().__init__()
        self.net = mlp(transition_size, config.hidden, config.layers, config.latent)

    def embed(self, transitions: Float[Tensor, "*lead I"]) -> Float[Tensor, "*lead Z"]:
        """tanh(MLP(transition)): (..., I) -> (..., Z)"""
        return self.net(transitions).tanh()

    def forward(self, context: Float[Tensor, "*lead K I"]) -> Float[Tensor, "*lead Z"]:
        """The belief of each context of K transitions."""
        return self.embed(context).mean(dim=-2)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One step's contexts, encoded, and the transitions that the policy learns from. Gradients reach the encoder."""

    tasks: Int[Tensor, "N"]
    """task indices"""
    context: Mapping[str, Tensor]
    """columns (N, K, ...) in normalised units, as `Units.columns` gives them: obs, action, reward, outcome, ..."""
    embeddings: Float[Tensor, "N K Z"]
    """what each context transition says of z"""
    halves: Float[Tensor, "N 2 Z"]
    """the belief of either half of the context: each task has a same-task pair in every batch"""
    data: Mapping[str, Tensor]
    """columns (N, B, ...) of transitions that are independent of the context"""

    @property
    def z(self) -> Float[Tensor, "N Z"]:
        """The belief of the whole context."""
        return self.halves.mean(1)


class Objective(nn.Module, ABC):
    """What an encoder learns from, with the networks that it takes: they learn in the same backward pass."""

    @abstractmethod
    def loss(self, encoded: Encoded, step: int, rng: np.random.Generator) -> tuple[Float[Tensor, ""], Metrics]:
        """What encoder and own networks minimise at a step; `rng` is the only source of random numbers."""
