"""The seam of learners: what learns a policy conditioned on the latent, whatever the encoder learns from.

Shapes: R rows, X = [s, z], A action.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

Metrics = dict[str, Tensor]
Columns = Mapping[str, Tensor]
"""columns (R, ...) of transitions in normalised units: obs, next_obs, action, reward, outcome, terminated"""


NetworksT = TypeVar("NetworksT", bound=nn.Module)


class Learner(ABC, Generic[NetworksT]):
    """Networks and optimisers of a policy. One step is `critic_loss`, a backward pass over all losses, and `improve`.

    `networks` has an `actor`, an MLP whose first A outputs through tanh are the action that the agent takes.
    """

    networks: NetworksT
    optimisers: Mapping[str, Optimizer]
    """of what is not trained in the backward pass with the encoder, by name"""

    @abstractmethod
    def shared(self) -> Iterator[nn.Parameter]:
        """What `critic_loss` trains, at the learning rate of the learner's settings."""

    @abstractmethod
    def critic_loss(
        self,
        x_RX: Float[Tensor, "R X"],
        next_x_RX: Float[Tensor, "R X"],
        data: Columns,
        rng: np.random.Generator,
    ) -> tuple[Float[Tensor, ""], Metrics]:
        """What is minimised in one backward pass with the losses of encoder and ensemble."""

    @abstractmethod
    def improve(self, step: int, x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator) -> Metrics:
        """Step the policy and the targets, after the critics. `x_RX` carries no gradient."""


def step_on(loss: Float[Tensor, ""], network: nn.Module, optimiser: Optimizer) -> None:
    """One step of a network on a loss, which moves no other network."""
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimiser.step()


@torch.no_grad()
def move_target(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Move a target network by tau towards its network."""
    for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
        slow.lerp_(fast, tau)
