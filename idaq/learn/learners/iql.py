"""IQL (Kostrikov, Nair and Levine, ICLR 2022), conditioned on the latent: no action outside the data is ever valued.

The policy is deterministic, its likelihood a Gaussian of fixed width: advantage-weighted regression with squares.
Shapes: R rows, X = [s, z], A action. Everything is in normalised units, actions in [-1, 1].
"""

import copy
from collections.abc import Iterator
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from idaq.learn.learners.config import IqlConfig
from idaq.learn.learners.learner import Columns, Learner, Metrics, move_target, step_on
from idaq.learn.networks import EnsembleMLP, mlp


def expectile_loss(
    value_R: Float[Tensor, "R"], q_R: Float[Tensor, "R"], expectile: float
) -> tuple[Float[Tensor, ""], Metrics]:
    """mean |expectile - 1(q < v)| (q - v)^2 (IQL eq. 5): v is that expectile of q over the data's actions."""
    difference = q_R - value_R
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    loss = (weight * difference.square()).mean()
    return loss, {"value_loss": loss.detach(), "value": value_R.detach().mean()}


def q_loss(
    q_2R: Float[Tensor, "2 R"],
    reward_R: Float[Tensor, "R"],
    terminated_R: Float[Tensor, "R"],
    next_value_R: Float[Tensor, "R"],
    gamma: float,
) -> tuple[Float[Tensor, ""], Metrics]:
    """Sum over critics of mean (r + gamma (1 - terminated) V(s') - Q)^2 (IQL eq. 6). Truncation bootstraps."""
    target_R = reward_R + gamma * (1 - terminated_R) * next_value_R
    loss = (q_2R - target_R).square().mean(1).sum()
    return loss, {"critic_loss": loss.detach(), "q": q_2R.detach().mean()}


def weighted_cloning_loss(
    action_RA: Float[Tensor, "R A"],
    data_action_RA: Float[Tensor, "R A"],
    advantage_R: Float[Tensor, "R"],
    beta: float,
    largest: float,
) -> tuple[Float[Tensor, ""], Metrics]:
    """mean min(exp(beta A), largest) mean over A of (pi - a)^2 (IQL eq. 7)."""
    weight_R = (beta * advantage_R).exp().clamp_max(largest)
    square_R = (action_RA - data_action_RA).square().mean(1)
    loss = (weight_R * square_R).mean()
    return loss, {"actor_loss": loss.detach(), "cloning": square_R.detach().mean(), "weight": weight_R.mean()}


class ActorCriticValue(nn.Module):
    """Actor, twin critics as one batched product with their targets, and the value of a state."""

    def __init__(self, config: IqlConfig, input_size: int, action_size: int) -> None:
        super().__init__()
        self.actor = mlp(input_size, config.hidden, config.layers, action_size)
        self.critic = EnsembleMLP(2, input_size + action_size, config.hidden, config.layers, 1)
        self.value = mlp(input_size, config.hidden, config.layers, 1)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)

    def q(
        self, critic: EnsembleMLP, x_RX: Float[Tensor, "R X"], action_RA: Float[Tensor, "R A"]
    ) -> Float[Tensor, "2 R"]:
        """Values by both critics."""
        return critic(torch.cat([x_RX, action_RA], -1).expand(2, -1, -1)).squeeze(-1)

    def v(self, x_RX: Float[Tensor, "R X"]) -> Float[Tensor, "R"]:
        """The value of the states."""
        return self.value(x_RX).squeeze(-1)


class Iql(Learner[ActorCriticValue]):
    """The learner. Critics and value learn beside the encoder, then the policy clones by what they say."""

    def __init__(self, config: IqlConfig, input_size: int, action_size: int) -> None:
        self.config = config
        self.networks = ActorCriticValue(config, input_size, action_size)
        self.actor = torch.optim.Adam(self.networks.actor.parameters(), lr=config.lr, fused=True)
        self.optimisers = {"actor": self.actor}

    def shared(self) -> Iterator[nn.Parameter]:
        """The critics and the value."""
        return chain(self.networks.critic.parameters(), self.networks.value.parameters())

    def critic_loss(
        self, x_RX: Float[Tensor, "R X"], next_x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator
    ) -> tuple[Float[Tensor, ""], Metrics]:
        """Of the value against the target critics, and of both critics against the value of s'."""
        networks, config, action_RA = self.networks, self.config, data["action"]
        with torch.no_grad():
            target_q_R = networks.q(networks.target_critic, x_RX, action_RA).amin(0)
            next_value_R = networks.v(next_x_RX)
        loss_v, info_v = expectile_loss(networks.v(x_RX), target_q_R, config.expectile)
        q_2R = networks.q(networks.critic, x_RX, action_RA)
        loss_q, info_q = q_loss(q_2R, data["reward"], data["terminated"], next_value_R, config.gamma)
        return loss_v + loss_q, info_v | info_q

    def improve(self, step: int, x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator) -> Metrics:
        """The policy, then the target critics."""
        networks, config = self.networks, self.config
        with torch.no_grad():
            advantage_R = networks.q(networks.target_critic, x_RX, data["action"]).amin(0) - networks.v(x_RX)
        action_RA = networks.actor(x_RX).tanh()
        loss, info = weighted_cloning_loss(action_RA, data["action"], advantage_R, config.beta, config.largest_weight)
        step_on(loss, networks.actor, self.actor)
        move_target(networks.target_critic, networks.critic, config.tau)
        return info
