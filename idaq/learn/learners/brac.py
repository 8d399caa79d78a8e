"""SAC with a state value, the learner of PEARL and of the IDAQ reference code, and BRAC's penalty for leaving the data.

SAC: Haarnoja et al., ICML 2018, algorithm 1; its temperature is 1, and the scale of the rewards stands for it. PEARL:
Rakelly et al., ICML 2019, algorithm 1. BRAC: Wu, Tucker and Nachum, 2019, sections 3 and 4: policy regularisation by
the KL divergence in its dual form. Constants are those of the IDAQ reference code. That code departs from BRAC's in
three places, where BRAC's is taken:

- the gradient penalty is of dc/da; the reference has lost the derivative and penalises c itself
- D in the policy's loss is by the dual critic c as it is then; the reference takes D before c's steps, dD/da after them
- alpha stays within [0, alpha_max]; the reference clips it only where it is used, so that beyond it runs away

The steps of c within one update take the same transitions, with new actions; both codes draw new transitions.

Shapes: R rows, D observation, Z latent, X = [s, z], A action. Actions in [-1, 1].
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from idaq.learn.learners.config import BracConfig
from idaq.learn.learners.iql import q_loss
from idaq.learn.learners.learner import Columns, Learner, Metrics, move_target, step_on
from idaq.learn.learners.sac import tanh_gaussian
from idaq.learn.networks import EnsembleMLP, mlp

_EPS = 1e-8
"""keeps logarithm and root differentiable, as in BRAC's code"""


# -- losses ------------------------------------------------------------------------------------------------------


def value_loss(
    value_R: Float[Tensor, "R"], q_2R: Float[Tensor, "2 R"], log_prob_R: Float[Tensor, "R"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """mean (V(s) - (min over critics of Q(s, a) - log pi(a | s)))^2 of a ~ pi. V alone learns from it (SAC eq. 5)."""
    loss = F.mse_loss(value_R, (q_2R.amin(0) - log_prob_R).detach())
    return loss, {"value_loss": loss.detach(), "value": value_R.detach().mean()}


def policy_loss(
    q_2R: Float[Tensor, "2 R"], log_prob_R: Float[Tensor, "R"], penalty_R: Float[Tensor, "R"] | float
) -> tuple[Float[Tensor, ""], Metrics]:
    """mean log pi(a | s) - min over critics of Q(s, a) + penalty of a ~ pi (SAC eq. 12; BRAC eq. 6: alpha D)."""
    loss = (log_prob_R - q_2R.amin(0) + penalty_R).mean()
    return loss, {"policy_loss": loss.detach(), "entropy": -log_prob_R.detach().mean()}


def regulariser(
    mean_RA: Float[Tensor, "R A"],
    log_std_RA: Float[Tensor, "R A"],
    u_RA: Float[Tensor, "R A"],
    weights: tuple[float, float, float],
) -> Float[Tensor, ""]:
    """Of the policy, by weight: mean^2 and (log std)^2, averaged, and u^2, summed over A (PEARL's code)."""
    mean, std, activation = weights
    return mean * mean_RA.square().mean() + std * log_std_RA.square().mean() + activation * u_RA.square().sum(-1).mean()


def dual_kl(policy_R: Float[Tensor, "R"], data_R: Float[Tensor, "R"]) -> Float[Tensor, "R"]:
    """D = 1 + log w(a_pi) - w(a_data) with w = softplus(c): KL(pi | data) in expectation at best (BRAC, section 3).

    Takes c(s, a) of the policy's and of the data's actions. The best w is the ratio pi(a | s) / data(a | s).
    """
    return 1 + (F.softplus(policy_R) + _EPS).log() - F.softplus(data_R)


def dual_critic_loss(
    divergence_R: Float[Tensor, "R"], slope_RA: Float[Tensor, "R A"], weight: float
) -> tuple[Float[Tensor, ""], Metrics]:
    """-mean D + weight * mean max(0, |dc/da| - 1)^2, the slope at an action between the policy's and the data's."""
    steepness = (slope_RA.square().sum(-1) + _EPS).sqrt()
    penalty = (steepness - 1).clamp_min(0).square().mean()
    loss = weight * penalty - divergence_R.mean()
    return loss, {"dual_loss": loss.detach(), "dual_penalty": penalty.detach()}


def adapted(
    alpha: Float[Tensor, ""], divergence_R: Float[Tensor, "R"], target: float, rate: float, highest: float
) -> Float[Tensor, ""]:
    """alpha + rate * (mean D - target) within [0, highest]: heavier while pi is farther from the data than that."""
    return (alpha + rate * (divergence_R.mean() - target)).clamp(0, highest)


# -- networks ----------------------------------------------------------------------------------------------------


class SoftActorCriticValue(nn.Module):
    """Policy, twin critics as one batched product, the state value V with its target, and the dual critic c."""

    alpha: Tensor
    """the weight of D: ()"""

    def __init__(self, config: BracConfig, input_size: int, action_size: int) -> None:
        super().__init__()
        sizes = config.hidden, config.layers
        self.actor = mlp(input_size, *sizes, 2 * action_size)
        self.critic = EnsembleMLP(2, input_size + action_size, *sizes, 1)
        self.value = mlp(input_size, *sizes, 1)
        self.target_value = copy.deepcopy(self.value).requires_grad_(False)
        self.dual = mlp(input_size + action_size, *sizes, 1)
        self.register_buffer("alpha", torch.tensor(config.alpha))

    def gaussian(self, x_RX: Float[Tensor, "R X"]) -> tuple[Float[Tensor, "R A"], Float[Tensor, "R A"]]:
        """Mean and log std of u, where a = tanh(u); std is at most 1."""
        mean_RA, log_std_RA = self.actor(x_RX).chunk(2, -1)
        return mean_RA, log_std_RA.clamp(-20, 0)

    def q(self, x_RX: Float[Tensor, "R X"], action_RA: Float[Tensor, "R A"]) -> Float[Tensor, "2 R"]:
        """Values by either critic."""
        return self.critic(torch.cat([x_RX, action_RA], -1).expand(2, -1, -1)).squeeze(-1)

    def divergence(
        self, x_RX: Float[Tensor, "R X"], policy_RA: Float[Tensor, "R A"], data_RA: Float[Tensor, "R A"]
    ) -> Float[Tensor, "R"]:
        """D of each row, from an action of the policy and one of the data."""
        both = torch.cat([torch.cat([x_RX, action_RA], -1) for action_RA in (policy_RA, data_RA)])
        return dual_kl(*self.dual(both).squeeze(-1).chunk(2))

    def slope(self, x_RX: Float[Tensor, "R X"], action_RA: Float[Tensor, "R A"]) -> Float[Tensor, "R A"]:
        """dc/da, from which c can learn."""
        action_RA = action_RA.detach().requires_grad_()
        c_R1 = self.dual(torch.cat([x_RX, action_RA], -1))
        return torch.autograd.grad(c_R1.sum(), action_RA, create_graph=True)[0]


# -- the learner -------------------------------------------------------------------------------------------------


class Brac(Learner[SoftActorCriticValue]):
    """The learner. The critics learn beside the encoder; then c, then the value and the policy by what both say."""

    def __init__(self, config: BracConfig, input_size: int, action_size: int, reward_std: float) -> None:
        """`reward_std`: what the rewards have been divided by."""
        self.config = config
        self.networks = SoftActorCriticValue(config, input_size, action_size)
        self._reward_scale = config.reward_scale * reward_std
        self._own = nn.ModuleList([self.networks.actor, self.networks.value])
        self._policy = torch.optim.Adam(self._own.parameters(), lr=config.lr, fused=True)
        self._dual = torch.optim.Adam(self.networks.dual.parameters(), lr=config.dual_lr, fused=True)
        self.optimisers = {"policy": self._policy, "dual": self._dual}

    def shared(self) -> Iterator[nn.Parameter]:
        """The critics."""
        return self.networks.critic.parameters()

    def critic_loss(
        self, x_RX: Float[Tensor, "R X"], next_x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator
    ) -> tuple[Float[Tensor, ""], Metrics]:
        """Of both critics against the target's value of s' (SAC eq. 7)."""
        with torch.no_grad():
            next_value_R = self.networks.target_value(next_x_RX).squeeze(-1)
        q_2R, reward_R = self.networks.q(x_RX, data["action"]), data["reward"] * self._reward_scale
        return q_loss(q_2R, reward_R, data["terminated"], next_value_R, self.config.gamma)

    def improve(self, step: int, x_RX: Float[Tensor, "R X"], data: Columns, rng: np.random.Generator) -> Metrics:
        """The steps of c, one of policy and value, then alpha and the target."""
        networks, config, info = self.networks, self.config, dict[str, Tensor]()
        mean_RA, log_std_RA = networks.gaussian(x_RX)
        noise_RA = _normal(mean_RA, rng)
        action_RA, log_prob_R = tanh_gaussian(mean_RA, log_std_RA, noise_RA)
        penalty_R: Tensor | float = 0.0
        if config.brac:
            info = self._step_dual(x_RX, mean_RA.detach(), log_std_RA.detach(), data["action"], rng)
            divergence_R = networks.divergence(x_RX, action_RA, data["action"])
            penalty_R = networks.alpha * divergence_R
            info |= {"divergence": divergence_R.detach().mean(), "alpha": networks.alpha}
            networks.alpha = adapted(
                networks.alpha, divergence_R.detach(), config.target_divergence, config.alpha_lr, config.alpha_max
            )
        q_2R = networks.q(x_RX, action_RA)
        loss_value, info_value = value_loss(networks.value(x_RX).squeeze(-1), q_2R, log_prob_R)
        loss_policy, info_policy = policy_loss(q_2R, log_prob_R, penalty_R)
        weights = config.mean_weight, config.std_weight, config.activation_weight
        regular = regulariser(mean_RA, log_std_RA, mean_RA + log_std_RA.exp() * noise_RA, weights)
        step_on(loss_value + loss_policy + regular, self._own, self._policy)
        move_target(networks.target_value, networks.value, config.tau)
        return info | info_value | info_policy

    def _step_dual(
        self,
        x_RX: Float[Tensor, "R X"],
        mean_RA: Float[Tensor, "R A"],
        log_std_RA: Float[Tensor, "R A"],
        data_RA: Float[Tensor, "R A"],
        rng: np.random.Generator,
    ) -> Metrics:
        networks, info = self.networks, dict[str, Tensor]()
        for _ in range(self.config.dual_steps):
            action_RA, _ = tanh_gaussian(mean_RA, log_std_RA, _normal(mean_RA, rng))
            share_R1 = torch.as_tensor(rng.random((len(x_RX), 1), np.float32), device=x_RX.device)
            slope_RA = networks.slope(x_RX, action_RA.lerp(data_RA, share_R1))
            divergence_R = networks.divergence(x_RX, action_RA, data_RA)
            loss, info = dual_critic_loss(divergence_R, slope_RA, self.config.slope_weight)
            step_on(loss, networks.dual, self._dual)
        return info


def _normal(like: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.as_tensor(rng.standard_normal(like.shape, np.float32), device=like.device)
