"""focal-td3bc: FOCAL's context encoder, a TD3+BC conditioned on its belief z, and IDAQ's ensemble of predictors.

FOCAL: Li, Yang and Luo, ICLR 2021. TD3+BC: Fujimoto and Gu, NeurIPS 2021. The ensemble: IDAQ, section 4.2.

Shapes: N tasks in a meta-batch, B transitions and K context transitions a task, R = N * B rows, M latents, Z latent,
D observation, A action, X = [s, z], Q = 1 + D predicted numbers (reward and change of observation), E members.
Everything is in normalised units (`Units`), actions in [-1, 1].
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from idaq.core.policy import Policy
from idaq.core.types import Floats
from idaq.learn.algorithm import BeliefPolicy, Prior, Respond
from idaq.learn.algorithms.focal_td3bc_config import EnsembleConfig, FocalConfig, FocalTd3BcConfig, Td3BcConfig
from idaq.learn.config import AgentSpec
from idaq.learn.dense import DenseLayer, DensePolicy
from idaq.learn.networks import EnsembleMLP, mlp, weights_drawn_from
from idaq.learn.state import load_modules, load_optimiser, module_state, optimiser_state
from idaq.learn.units import Units
from idaq.loader.sampling import MetaBatch
from idaq.loader.transitions import Transitions

Metrics = dict[str, Tensor]


# -- losses ------------------------------------------------------------------------------------------------------


def focal_loss(
    z_MZ: Float[Tensor, "M Z"], task_M: Int[Tensor, "M"], *, eps: float = 1e-3, floor: float = 0.1
) -> tuple[Float[Tensor, ""], Metrics]:
    """Pull latents of the same task together, push others apart (FOCAL eq. 13; constants of the IDAQ reference code).

    With d = mean over Z of (z_i - z_j)^2, over all pairs i < j of the M latents:
    `mean over same-task pairs of sqrt(d + eps)` + `mean over other pairs of 1 / (d + floor)`.
    `task_M`: integer label of each latent. A kind of pair that does not occur contributes 0.
    """
    i, j = torch.triu_indices(len(z_MZ), len(z_MZ), offset=1)
    gram = z_MZ @ z_MZ.T
    squares = gram.diagonal()
    distance = ((squares[i] + squares[j] - 2 * gram[i, j]) / z_MZ.shape[1]).clamp_min(0)
    same = (task_M[i] == task_M[j]).to(z_MZ.dtype)
    pull = ((distance + eps).sqrt() * same).sum() / same.sum().clamp_min(1)
    push = ((1 - same) / (distance + floor)).sum() / (1 - same).sum().clamp_min(1)
    return pull + push, {"focal_pull": pull.detach(), "focal_push": push.detach()}


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


def prediction_loss(
    predicted_ERQ: Float[Tensor, "E R Q"], target_ERQ: Float[Tensor, "E R Q"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """Sum over members of mean squared error: the gradient of one member does not depend on the others."""
    per_member = (predicted_ERQ - target_ERQ).square().mean(dim=(1, 2))
    return per_member.sum(), {"prediction_loss": per_member.detach().mean()}


# -- networks ----------------------------------------------------------------------------------------------------


class ContextEncoder(nn.Module):
    """z = mean over context transitions of embed(transition); a set function, so order does not matter."""

    def __init__(self, config: FocalConfig, transition_size: int) -> None:
        super().__init__()
        self.net = mlp(transition_size, config.hidden, config.layers, config.latent)

    def embed(self, transitions: Float[Tensor, "*lead I"]) -> Float[Tensor, "*lead Z"]:
        """tanh(MLP(transition)): (..., I) -> (..., Z)"""
        return self.net(transitions).tanh()

    def forward(self, context: Float[Tensor, "*lead K I"]) -> Float[Tensor, "*lead Z"]:
        """The belief of each context of K transitions."""
        return self.embed(context).mean(dim=-2)


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

    @torch.no_grad()
    def update_targets(self) -> None:
        """Move the targets by tau towards their networks."""
        for target, online in ((self.target_actor, self.actor), (self.target_critic, self.critic)):
            for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                slow.lerp_(fast, self.config.tau)


class PredictorEnsemble(nn.Module):
    """E predictors of normalised (r, s' - s) given (s, z, a).

    Each trains on its own share of the batch, so members differ in data as well as in initial weights.
    """

    def __init__(self, config: EnsembleConfig, input_size: int, observation_size: int) -> None:
        super().__init__()
        self.members = config.members
        self.net = EnsembleMLP(config.members, input_size, config.hidden, config.layers, 1 + observation_size)

    def forward(self, x_RI: Float[Tensor, "R I"]) -> Float[Tensor, "E R Q"]:
        """The same rows to every member."""
        return self.net(x_RI.expand(self.members, -1, -1))

    def split(self, rows: Shaped[Tensor, "R *rest"]) -> Shaped[Tensor, "E S *rest"]:
        """Deal rows out to the members like cards: (R, ...) -> (E, R // E, ...)"""
        share = len(rows) // self.members
        return torch.unflatten(rows[: share * self.members], 0, (share, self.members)).transpose(0, 1)

    def loss(self, x_RI: Float[Tensor, "R I"], target_RQ: Float[Tensor, "R Q"]) -> tuple[Float[Tensor, ""], Metrics]:
        """Every member's loss on its own share of the rows."""
        return prediction_loss(self.net(self.split(x_RI)), self.split(target_RQ))


class Networks(nn.Module):
    """All that is learned."""

    def __init__(self, config: FocalTd3BcConfig, spec: AgentSpec) -> None:
        super().__init__()
        size, action, latent = spec.observation_size, spec.action_size, config.encoder.latent
        outcome = 1 + (size if config.encoder.next_observation else 0)
        self.encoder = ContextEncoder(config.encoder, size + action + outcome)
        self.policy = ActorCritic(config.learner, size + latent, action)
        self.ensemble = PredictorEnsemble(config.ensemble, size + latent + action, size)
        self._outcome = outcome

    def context_rows(self, columns: dict[str, Tensor]) -> Tensor:
        """What the encoder reads of each transition: s, a, r and, if configured, s' - s. -> (..., I)"""
        return torch.cat([columns["obs"], columns["action"], columns["outcome"][..., : self._outcome]], -1)


# -- the algorithm -----------------------------------------------------------------------------------------------


class FocalTd3Bc:
    """Networks, targets and optimisers, and the one step that updates them."""

    def __init__(self, config: FocalTd3BcConfig, spec: AgentSpec, device: str) -> None:
        self.config, self.spec = config, spec
        with weights_drawn_from(config.seed):
            self.networks = Networks(config, spec).to(device)
        self.units = Units(spec).to(device)
        groups = [
            {"params": list(self.networks.encoder.parameters()), "lr": config.encoder.lr},
            {"params": list(self.networks.policy.critic.parameters()), "lr": config.learner.lr},
            {"params": list(self.networks.ensemble.parameters()), "lr": config.ensemble.lr},
        ]
        self.main: Optimizer = torch.optim.Adam(groups, fused=True)
        self.actor: Optimizer = torch.optim.Adam(
            self.networks.policy.actor.parameters(), lr=config.learner.lr, fused=True
        )
        self._optimisers = {"main": self.main, "actor": self.actor}
        self._rates = {name: [group["lr"] for group in o.param_groups] for name, o in self._optimisers.items()}

    def update(self, step: int, batch: MetaBatch, rng: np.random.Generator) -> Metrics:
        """One update from transitions (N, B) and contexts (N, K).

        The context is encoded in two halves: each task then has a same-task pair in every batch, which the pull term of
        FOCAL needs. The policy and the predictors see the mean of both, detached.
        """
        networks, policy = self.networks, self.networks.policy
        noise = self.units.tensor(
            rng.standard_normal((batch.transitions.rewards.size, self.spec.action_size), np.float32)
        )
        self._set_rates(step)
        halves = torch.unflatten(networks.context_rows(self.units.columns(batch.context)), 1, (2, -1))
        z_halves = networks.encoder(halves)
        labels = torch.as_tensor(batch.tasks).repeat_interleave(2).to(z_halves.device)
        loss_focal, info = focal_loss(z_halves.flatten(0, 1), labels)

        data = {name: column.flatten(0, 1) for name, column in self.units.columns(batch.transitions).items()}
        z = z_halves.detach().mean(1, keepdim=True).expand(-1, batch.transitions.rewards.shape[1], -1).flatten(0, 1)
        x, next_x = torch.cat([data["obs"], z], -1), torch.cat([data["next_obs"], z], -1)
        target = policy.target(data["reward"], data["terminated"], next_x, noise)
        loss_critic, info_critic = critic_loss(policy.q(policy.critic, x, data["action"]), target)
        loss_predict, info_predict = networks.ensemble.loss(torch.cat([x, data["action"]], -1), data["outcome"])
        self.main.zero_grad()
        torch.autograd.backward(loss_focal + loss_critic + loss_predict)
        self.main.step()
        info |= info_critic | info_predict

        if step % policy.config.policy_delay == 0:
            info |= self._actor_step(x, data["action"])
            policy.update_targets()
        return info

    def _actor_step(self, x: Tensor, data_action: Tensor) -> Metrics:
        policy = self.networks.policy
        parameters, action = list(policy.actor.parameters()), policy.act(x)
        q_R = policy.q(policy.critic, x, action, critics=1)[0]
        loss, info = actor_loss(q_R, action, data_action, policy.config.alpha)
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self.actor.step()
        return info

    def _set_rates(self, step: int) -> None:
        """The learning rates of a step: a pure function of it."""
        share = max(1 - step / self.config.steps, self.config.lr_end)
        for name, optimiser in self._optimisers.items():
            for group, rate in zip(optimiser.param_groups, self._rates[name], strict=True):
                group["lr"] = rate * share

    def state(self) -> dict[str, Tensor]:
        """Weights, targets, normalisation and optimisers."""
        state = module_state("agent.", self.units, self.networks)
        for name, optimiser in self._optimisers.items():
            state |= optimiser_state(f"optimiser.{name}.", optimiser)
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        load_modules(state, "agent.", self.units, self.networks)
        for name, optimiser in self._optimisers.items():
            load_optimiser(state, f"optimiser.{name}.", optimiser)

    def agent(self, prior: Prior | None) -> "FocalAgent":
        """The agent as it is now, on its own copy of the weights."""
        return FocalAgent(self.config, self.spec, copy.deepcopy(self.networks).eval(), copy.deepcopy(self.units), prior)


# -- the agent ---------------------------------------------------------------------------------------------------


class FocalAgent:
    """Beliefs of contexts, a deterministic policy for a belief, and the ensemble's predictions. NumPy in, NumPy out."""

    def __init__(
        self, config: FocalTd3BcConfig, spec: AgentSpec, networks: Networks, units: Units, prior: Prior | None
    ) -> None:
        self.config, self.spec, self.prior = config, spec, prior
        self._networks, self._units = networks, units
        self._respond = _response(networks.policy.actor, units)

    @torch.no_grad()
    def embed(self, transitions: Transitions) -> Float32[np.ndarray, "*lead Z"]:
        """What each transition says of z; the belief of a context is the mean over it. (...) -> (..., Z)"""
        rows = self._networks.context_rows(self._units.columns(transitions))
        return self._networks.encoder.embed(rows).cpu().numpy()

    def infer(self, context: Transitions) -> Float32[np.ndarray, "P Z"]:
        """Belief z of each context: transitions (P, K) -> (P, Z)."""
        return self.embed(context).mean(-2)

    def policy(self, beliefs: Float32[np.ndarray, "P Z"]) -> Policy:
        """The policy under a belief of each problem, deterministic."""
        return BeliefPolicy(respond=self._respond, beliefs=beliefs)

    def export_policy(self, belief: Float32[np.ndarray, "Z"]) -> DensePolicy:
        """The actor under one belief, as dense layers."""
        *hidden, last = _layers(self._networks.policy.actor)
        layers = [DenseLayer(weight=weight, bias=bias, activation="relu") for weight, bias in hidden]
        layers.append(DenseLayer(weight=last[0], bias=last[1], activation="tanh"))
        return DensePolicy.of(self.spec, [layers[0].given(belief), *layers[1:]])

    @torch.no_grad()
    def predict(
        self, data: Transitions, beliefs: Float32[np.ndarray, "R Z"]
    ) -> tuple[Float32[np.ndarray, "E R Q"], Float32[np.ndarray, "R Q"]]:
        """Predicted and true outcomes of transitions (R) in normalised units: (E, R, 1 + D), (R, 1 + D)."""
        columns = self._units.columns(data)
        x = torch.cat([columns["obs"], self._units.tensor(beliefs), columns["action"]], -1)
        return self._networks.ensemble(x).cpu().numpy(), columns["outcome"].cpu().numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Weights, targets and normalisation."""
        return module_state("", self._units, self._networks)


def _layers(actor: nn.Sequential) -> list[tuple[Floats, Floats]]:
    """Weights (I, O) and biases (O,) of each layer, copied."""
    return [
        (layer.weight.detach().cpu().numpy().T.copy(), layer.bias.detach().cpu().numpy().copy())
        for layer in actor
        if isinstance(layer, nn.Linear)
    ]


def _response(actor: nn.Sequential, units: Units) -> Respond:
    """The actor in NumPy, its weights copied: for the few rows of an adaptation torch takes three times as long."""
    layers = _layers(actor)
    mean, std = units.observation_mean.cpu().numpy(), units.observation_std.cpu().numpy()
    centre, scale = units.action_centre.cpu().numpy(), units.action_scale.cpu().numpy()

    def respond(observations_PD: NDArray[np.generic], z_PZ: Floats) -> Floats:
        x = np.concatenate([(observations_PD.astype(np.float32) - mean) / std, z_PZ], -1)
        for weight, bias in layers[:-1]:
            x = x @ weight
            x += bias
            np.maximum(x, 0, out=x)
        return np.tanh(x @ layers[-1][0] + layers[-1][1]) * scale + centre

    return respond
