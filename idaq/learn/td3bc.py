"""TD3+BC conditioned on a latent task belief z (Fujimoto & Gu, NeurIPS 2021; z as in FOCAL, detached).

Shapes: R rows of a flattened meta-batch, X = [s, z], A action in [-1, 1]. Losses are pure functions.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from idaq.learn.config import Td3BcConfig
from idaq.learn.networks import EnsembleMLP, mlp


def td_target(
    reward_R: Float[Tensor, "R"], terminated_R: Float[Tensor, "R"], next_q_2R: Float[Tensor, "2 R"], gamma: float
) -> Float[Tensor, "R"]:
    """y = r + gamma (1 - terminated) min over critics of Q'(s', a') (TD3 eq. 10). Truncation bootstraps. -> (R,)"""
    return reward_R + gamma * (1 - terminated_R) * next_q_2R.amin(dim=0)


def critic_loss(
    q_2R: Float[Tensor, "2 R"], target_R: Float[Tensor, "R"]
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Sum over both critics of mean (Q - y)^2 (TD3, algorithm 1)."""
    loss = F.mse_loss(q_2R, target_R.expand_as(q_2R)) * q_2R.shape[0]
    return loss, {"critic_loss": loss.detach(), "q": q_2R.detach().mean()}


def actor_loss(
    q_R: Float[Tensor, "R"], action_RA: Float[Tensor, "R A"], data_action_RA: Float[Tensor, "R A"], alpha: float
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """-lambda mean Q(s, pi) + mean (pi - a)^2 with lambda = alpha / mean |Q| held constant (TD3+BC eq. 3-5)."""
    scale = alpha / q_R.detach().abs().mean().clamp_min(1e-6)
    cloning = F.mse_loss(action_RA, data_action_RA)
    loss = cloning - scale * q_R.mean()
    return loss, {"actor_loss": loss.detach(), "cloning": cloning.detach()}


class Td3Bc(nn.Module):
    """Actor, twin critics as one batched product, and their targets."""

    def __init__(self, config: Td3BcConfig, input_size: int, action_size: int) -> None:
        super().__init__()
        self.config = config
        self.actor = mlp(input_size, config.hidden, config.layers, action_size)
        self.critic = EnsembleMLP(2, input_size + action_size, config.hidden, config.layers, 1)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)

    def act(self, x_RX: Float[Tensor, "R X"]) -> Float[Tensor, "R A"]:
        """Actions (R, A) in (-1, 1)."""
        return self.actor(x_RX).tanh()

    def q(
        self, critic: EnsembleMLP, x_RX: Float[Tensor, "R X"], action_RA: Float[Tensor, "R A"], critics: int = 2
    ) -> Float[Tensor, "{critics} R"]:
        """Values by the first `critics` of the twin critics, (critics, R)."""
        return critic(torch.cat([x_RX, action_RA], -1).expand(critics, -1, -1)).squeeze(-1)

    @torch.no_grad()
    def target(
        self,
        reward_R: Float[Tensor, "R"],
        terminated_R: Float[Tensor, "R"],
        next_x_RX: Float[Tensor, "R X"],
        noise_RA: Float[Tensor, "R A"],
    ) -> Float[Tensor, "R"]:
        """TD target with target-policy smoothing; `noise_RA` is standard normal."""
        noise_RA = (noise_RA * self.config.policy_noise).clamp(-self.config.noise_clip, self.config.noise_clip)
        action_RA = (self.target_actor(next_x_RX).tanh() + noise_RA).clamp(-1, 1)
        return td_target(reward_R, terminated_R, self.q(self.target_critic, next_x_RX, action_RA), self.config.gamma)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the targets by tau towards their networks."""
        for target, source in ((self.target_actor, self.actor), (self.target_critic, self.critic)):
            for follower, leader in zip(target.parameters(), source.parameters(), strict=True):
                follower.lerp_(leader, self.config.tau)
