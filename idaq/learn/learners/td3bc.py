"""TD3+BC (Fujimoto and Gu, NeurIPS 2021), conditioned on the latent: TD3 (Fujimoto et al., ICML 2018) with cloning.

Shapes: R rows, X = [s, z], A action. Everything is in normalised units, actions in [-1, 1].
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from idaq.learn.learners.config import Td3BcConfig
from idaq.learn.learners.learner import Columns, Learner, Metrics, move_target, step_on
from idaq.learn.networks import EnsembleMLP, mlp


def td_target(
    reward_R: Float[Tensor, "R"], terminated_R: Float[Tensor, "R"], next_q_2R: Float[Tensor, "2 R"], gamma: float
) -> Float[Tensor, "R"]:
    """y = r + gamma (1 - terminated) min over critics of Q'(s', a') (TD3 eq. 10). Truncation bootstraps. -> (R,)"""
    return reward_R + gamma * (1 - terminated_R) * next_q_2R.amin(dim=0)


def critic_loss(q_2R: Float[Tensor, "2 R"], target_R: Float[Tensor, "R"]) -> tuple[Float[Tensor, ""], Metrics]:
    """Sum over both critics of mean (Q - y)^2 (TD3, algorithm 1)."""
    loss = F.mse_loss(q_2R, target_R.expand_as(q_2R)) * q_2R.shape[0]
    return loss, {"critic_loss": loss.detach(), "q": q_2R.detach().mean()}


def actor_loss(
    q_R: Float[Tensor, "R"], action_RA: Float[Tensor, "R A"], data_action_RA: Float[Tensor, "R A"], alpha: float
) -> tuple[Float[Tensor, ""], Metrics]:
    """-lambda mean Q(s, pi) + mean (pi - a)^2 with lambda = alpha / mean |Q| held constant (TD3+BC eq. 3-5)."""
    scale = alpha / q_R.detach().abs().mean().clamp_min(1e-6)
    cloning = F.mse_loss(action_RA, data_action_RA)
    loss = cloning - scale * q_R.mean()
    return loss, {"actor_loss": loss.detach(), "cloning": cloning.detach()}


class ActorCritic(nn.Module):
    """Actor, twin critics as one batched product, and the targets of both."""

    def __init__(self, config: Td3BcConfig, input_size: int, action_size: int) -> None:
        super().__init__()
        self.config = config
        self.actor = mlp(input_size, config.hidden, config.layers, action_size)
        self.critic = EnsembleMLP(2, input_size + action_size, config.hidden, config.layers, 1)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)

    def act(self, x_RX: Float[Tensor, "R X"]) -> Float[Tensor, "R A"]:
        """Actions in (-1, 1)."""
        return self.actor(x_RX).tanh()

    def q(
        self, critic: EnsembleMLP, x_RX: Float[Tensor, "R X"], action_RA: Float[Tensor, "R A"], critics: int = 2
    ) -> Float[Tensor, "{critics} R"]:
        """Values by the first `critics` of the twin critics."""
        return critic(torch.cat([x_RX, action_RA], -1).expand(critics, -1, -1)).squeeze(-1)

    @torch.no_grad()
    def target(
        self,
        reward_R: Float[Tensor, "R"],
        terminated_R: Float[Tensor, "R"],
        next_x_RX: Float[Tensor, "R X"],
        noise_RA: Float[Tensor, "R A"],
    ) -> Float[Tensor, "R"]:
        """The TD target with target-policy smoothing; `noise_RA` is standard normal."""
        noise_RA = (noise_RA * self.config.policy_noise).clamp(-self.config.noise_clip, self.config.noise_clip)
        action_RA = (self.target_actor(next_x_RX).tanh() + noise_RA).clamp(-1, 1)
        return td_target(reward_R, terminated_R, self.q(self.target_critic, next_x_RX, action_RA), self.config.gamma)

    def update_targets(self) -> None:
        """Move the targets by tau towards their networks."""
        move_target(self.target_actor, self.actor, self.config.tau)
        move_target(self.target_critic, self.critic, self.config.tau)


class Td3Bc(Learner[ActorCritic]):
    """The learner. Its critics learn beside the encoder, its policy at every `policy_delay`-th step."""

    def __init__(self, config: Td3BcConfig, input_size: int, action_size: int) -> None:
        self.config = config
        self.networks = ActorCritic(config, input_size, action_size)
        self.actor = torch.optim.Adam(self.networks.actor.parameters(), lr=config.lr, fused=True)
        self.optimisers = {"actor": self.actor}

    def shared(self) -> Iterator[nn.Parameter]:
        """The critics."""
        return self.networks.critic.parameters()

    def critic_loss(
        self, x_RX: Float[Tensor, "R X"], next_x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator
    ) -> tuple[Float[Tensor, ""], Metrics]:
        """Of both critics, against the target networks."""
        policy, action_RA = self.networks, data["action"]
        noise_RA = torch.as_tensor(rng.standard_normal(action_RA.shape, np.float32), device=x_RX.device)
        target_R = policy.target(data["reward"], data["terminated"], next_x_RX, noise_RA)
        return critic_loss(policy.q(policy.critic, x_RX, action_RA), target_R)

    def improve(self, step: int, x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator) -> Metrics:
        """The policy and all targets, at every `policy_delay`-th step."""
        if step % self.config.policy_delay:
            return {}
        policy, action_RA = self.networks, self.networks.act(x_RX)
        q_R = policy.q(policy.critic, x_RX, action_RA, critics=1)[0]
        loss, info = actor_loss(q_R, action_RA, data["action"], self.config.alpha)
        step_on(loss, policy.actor, self.actor)
        policy.update_targets()
        return info
