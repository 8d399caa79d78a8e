"""Behaviour cloning conditioned on the latent: no values at all, so that what rewards add can be told apart.

Shapes: R rows, X = [s, z], A action. Everything is in normalised units, actions in [-1, 1].
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from idaq.learn.learners.config import BcConfig
from idaq.learn.learners.learner import Columns, Learner, Metrics, step_on
from idaq.learn.networks import mlp


def cloning_loss(
    action_RA: Float[Tensor, "R A"], data_action_RA: Float[Tensor, "R A"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """mean (pi - a)^2: cloning under a Gaussian of fixed width (Pomerleau, 1991)."""
    loss = F.mse_loss(action_RA, data_action_RA)
    return loss, {"cloning": loss.detach()}


class Actor(nn.Module):
    """A policy alone."""

    def __init__(self, config: BcConfig, input_size: int, action_size: int) -> None:
        super().__init__()
        self.actor = mlp(input_size, config.hidden, config.layers, action_size)


class Bc(Learner[Actor]):
    """The learner: there is no critic."""

    def __init__(self, config: BcConfig, input_size: int, action_size: int) -> None:
        self.networks = Actor(config, input_size, action_size)
        self.actor = torch.optim.Adam(self.networks.parameters(), lr=config.lr, fused=True)
        self.optimisers = {"actor": self.actor}

    def shared(self) -> Iterator[nn.Parameter]:
        """Nothing."""
        return iter(())

    def critic_loss(
        self, x_RX: Float[Tensor, "R X"], next_x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator
    ) -> tuple[Float[Tensor, ""], Metrics]:
        """0: nothing is valued."""
        return x_RX.new_zeros(()), {}

    def improve(self, step: int, x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator) -> Metrics:
        """Clone the data's actions."""
        loss, info = cloning_loss(self.networks.actor(x_RX).tanh(), data["action"])
        step_on(loss, self.networks.actor, self.actor)
        return info
