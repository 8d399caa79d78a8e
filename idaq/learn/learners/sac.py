"""SAC with twin critics and a fixed temperature (Haarnoja et al., 2018, its later form without a state value).

As in BOReL's code: nothing keeps the policy near the data. Shapes: R rows, X = [s, belief], A action. Everything is in
normalised units, actions in [-1, 1].
"""

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from idaq.learn.learners.config import SacConfig
from idaq.learn.learners.learner import Columns, Learner, Metrics, move_target, step_on
from idaq.learn.networks import EnsembleMLP, mlp


def tanh_gaussian(
    mean_RA: Float[Tensor, "R A"], log_std_RA: Float[Tensor, "R A"], noise_RA: Float[Tensor, "R A"]
) -> tuple[Float[Tensor, "R A"], Float[Tensor, "R"]]:
    """a = tanh(u), u = mean + std noise, and log pi(a) = sum over A of log N(u) - log(1 - a^2) (SAC, appendix C)."""
    u_RA = mean_RA + log_std_RA.exp() * noise_RA
    log_normal = -0.5 * noise_RA.square() - log_std_RA - 0.5 * math.log(2 * math.pi)
    log_slope = 2 * (math.log(2) - u_RA - F.softplus(-2 * u_RA))  # log(1 - tanh(u)^2), exact where tanh(u) is 1
    return u_RA.tanh(), (log_normal - log_slope).sum(-1)


def soft_target(
    reward_R: Float[Tensor, "R"],
    terminated_R: Float[Tensor, "R"],
    next_q_2R: Float[Tensor, "2 R"],
    next_log_prob_R: Float[Tensor, "R"],
    gamma: float,
    temperature: float,
) -> Float[Tensor, "R"]:
    """y = r + gamma (1 - terminated) (min over critics of Q'(s', a') - temperature log pi(a' | s')) with a' ~ pi."""
    soft_R = next_q_2R.amin(0) - temperature * next_log_prob_R
    return reward_R + gamma * (1 - terminated_R) * soft_R


def critic_loss(q_2R: Float[Tensor, "2 R"], target_R: Float[Tensor, "R"]) -> tuple[Float[Tensor, ""], Metrics]:
    """Sum over both critics of mean (Q - y)^2."""
    loss = (q_2R - target_R).square().mean(1).sum()
    return loss, {"critic_loss": loss.detach(), "q": q_2R.detach().mean()}


def policy_loss(
    q_2R: Float[Tensor, "2 R"], log_prob_R: Float[Tensor, "R"], temperature: float
) -> tuple[Float[Tensor, ""], Metrics]:
    """mean temperature log pi(a | s) - min over critics of Q(s, a), a ~ pi."""
    loss = (temperature * log_prob_R - q_2R.amin(0)).mean()
    return loss, {"actor_loss": loss.detach(), "entropy": -log_prob_R.detach().mean()}


class SoftActorCritic(nn.Module):
    """Policy, twin critics as one batched product, and the critics' targets."""

    def __init__(self, config: SacConfig, input_size: int, action_size: int) -> None:
        super().__init__()
        self.actor = mlp(input_size, config.hidden, config.layers, 2 * action_size)
        self.critic = EnsembleMLP(2, input_size + action_size, config.hidden, config.layers, 1)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)

    def sample(
        self, x_RX: Float[Tensor, "R X"], noise_RA: Float[Tensor, "R A"]
    ) -> tuple[Float[Tensor, "R A"], Float[Tensor, "R"]]:
        """Actions of the policy and their log likelihoods."""
        mean_RA, log_std_RA = self.actor(x_RX).chunk(2, -1)
        return tanh_gaussian(mean_RA, log_std_RA.clamp(-20, 2), noise_RA)

    def q(
        self, critic: EnsembleMLP, x_RX: Float[Tensor, "R X"], action_RA: Float[Tensor, "R A"]
    ) -> Float[Tensor, "2 R"]:
        """Values by both critics."""
        return critic(torch.cat([x_RX, action_RA], -1).expand(2, -1, -1)).squeeze(-1)


class Sac(Learner[SoftActorCritic]):
    """The learner."""

    def __init__(self, config: SacConfig, input_size: int, action_size: int) -> None:
        self.config = config
        self.networks = SoftActorCritic(config, input_size, action_size)
        self.actor = torch.optim.Adam(self.networks.actor.parameters(), lr=config.lr, fused=True)
        self.optimisers = {"actor": self.actor}

    def shared(self) -> Iterator[nn.Parameter]:
        """The critics."""
        return self.networks.critic.parameters()

    def critic_loss(
        self, x_RX: Float[Tensor, "R X"], next_x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator
    ) -> tuple[Float[Tensor, ""], Metrics]:
        """Of both critics, against their targets under the policy as it is."""
        networks, config, action_RA = self.networks, self.config, data["action"]
        with torch.no_grad():
            next_action_RA, log_prob_R = networks.sample(next_x_RX, _noise(action_RA, rng))
            next_q_2R = networks.q(networks.target_critic, next_x_RX, next_action_RA)
            target_R = soft_target(
                data["reward"], data["terminated"], next_q_2R, log_prob_R, config.gamma, config.temperature
            )
        return critic_loss(networks.q(networks.critic, x_RX, action_RA), target_R)

    def improve(self, step: int, x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator) -> Metrics:
        """The policy under the new critics, then the targets."""
        networks, config = self.networks, self.config
        action_RA, log_prob_R = networks.sample(x_RX, _noise(data["action"], rng))
        loss, info = policy_loss(networks.q(networks.critic, x_RX, action_RA), log_prob_R, config.temperature)
        step_on(loss, networks.actor, self.actor)
        move_target(networks.target_critic, networks.critic, config.tau)
        return info


def _noise(like: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.as_tensor(rng.standard_normal(like.shape, np.float32), device=like.device)
