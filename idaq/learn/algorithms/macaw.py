"""macaw: MAML over advantage-weighted regression. A belief is the weights of a policy that has adapted to a context.

MACAW: Mitchell, Rafailov, Peng, Levine and Finn, "Offline Meta-Reinforcement Learning with Advantage Weighting", ICML
2021, sections 4.1 (inner loop), 4.2 (outer loop), 4.3 (weight transformation); AWR: Peng et al., 2019.

    inner loop, on a task's support set    phi' = phi - alpha_V grad L_V(phi)
                                           theta' = theta - alpha_pi grad (L_AWR + lambda L_ADV)(theta, phi')
    outer loop, on its query set           L_V(phi') teaches phi, alpha_V; L_AWR(theta', phi') theta, alpha_pi, lambda

Where paper and code (eric-mitchell/macaw and macaw-min) differ:
- Advantages are normalised over each set of transitions, and their weights clamped from above, as in the code.
- A layer's weights are made from its code by an affine map, as in the code; the paper's has no offset. The offset
  starts as a plain layer's weights; the code's starts as that of a layer of 100 inputs, whatever the layer has.
- Code, transformation and offset adapt, each with a learned rate a layer, as in the code.
- Returns are sums of rewards, as in the paper and macaw-min. The larger code adds the value where an episode was cut in
  the outer loop and in the policy's losses; here an episode that a time limit cut pays nothing after its end.
- The head that predicts advantages sees actions as they are; the code's passes them through its ReLU, which hides all
  that are negative.
- Each of several inner steps sees the whole support set; the code deals it out to them. The set is drawn transition by
  transition from half of a task's episodes; the code's is a stretch of its buffer, and may overlap the query set.
- Online it adapts from the meta-parameters to all of its episodes anew; the code fine-tunes by Adam what it has adapted
  before. Both explore by the policy's Gaussian.

Shapes: N tasks or contexts side by side, B transitions of each (support, query, or context), L context steps, D
observation, A action, H hidden units, Z all weights of the policy, which are the belief. Observations and actions are
in normalised units; a return is a sum of rewards over the standard deviation of a reward.
"""

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from idaq.core.policy import Policy
from idaq.core.types import Array, Floats
from idaq.learn.adaptive import AdaptiveNetwork, Weights, dense, matrices, mlp
from idaq.learn.algorithm import BeliefPolicy, Prior
from idaq.learn.algorithms.macaw_config import AdaptedNetworkConfig, MacawConfig
from idaq.learn.config import AgentSpec
from idaq.learn.dense import DenseLayer, DensePolicy
from idaq.learn.networks import weights_drawn_from
from idaq.learn.state import load_modules, load_optimiser, module_state, optimiser_state
from idaq.learn.units import Units
from idaq.loader.contexts import Experience, as_episode
from idaq.loader.sampling import SupportQueryBatch
from idaq.loader.transitions import Transitions

Metrics = dict[str, Tensor]
_CONTEXTS, _TRANSITIONS = 64, 2**16
"""that adapt at once, so that memory does not grow with their number"""


# -- losses, each of every task ----------------------------------------------------------------------------------


def masked_mean(x_NB: Float[Tensor, "N B"], valid_NB: Float[Tensor, "N B"]) -> Float[Tensor, "N"]:
    """Mean over the valid transitions of each task; 0 where there are none."""
    return (x_NB * valid_NB).sum(-1) / valid_NB.sum(-1).clamp_min(1)


def value_loss(
    value_NB: Float[Tensor, "N B"], return_NB: Float[Tensor, "N B"], valid_NB: Float[Tensor, "N B"]
) -> tuple[Float[Tensor, "N"], Metrics]:
    """L_V = mean (V(s) - R(s, a))^2 of each task, R the return from s on (section 4.1)."""
    loss = masked_mean((value_NB - return_NB).square(), valid_NB)
    return loss, {"value_loss": loss.detach().mean()}


def advantage_weights(
    advantage_NB: Float[Tensor, "N B"], valid_NB: Float[Tensor, "N B"], temperature: float, max_weight: float
) -> Float[Tensor, "N B"]:
    """min(exp((A - mean A) / (T std A)), max_weight), mean and std over a task's valid transitions.

    The paper's exp(A / T) in units that do not depend on the rewards'. All weigh 1 where advantages do not differ.
    """
    centred = advantage_NB - masked_mean(advantage_NB, valid_NB)[:, None]
    freedom = (valid_NB.sum(-1) - 1).clamp_min(1)
    std = ((centred.square() * valid_NB).sum(-1) / freedom).sqrt().clamp_min(1e-6)
    return (centred / (temperature * std[:, None])).clamp_max(math.log(max_weight)).exp()


def policy_loss(
    mean_NBA: Float[Tensor, "N B A"],
    action_NBA: Float[Tensor, "N B A"],
    weight_NB: Float[Tensor, "N B"],
    valid_NB: Float[Tensor, "N B"],
    action_std: float,
) -> tuple[Float[Tensor, "N"], Metrics]:
    """L_AWR = - mean w log pi(a | s) of each task, pi a Gaussian of fixed width (section 4.1)."""
    log_prob = torch.distributions.Normal(mean_NBA, action_std, validate_args=False).log_prob(action_NBA).sum(-1)
    loss = masked_mean(-weight_NB * log_prob, valid_NB)
    return loss, {"policy_loss": loss.detach().mean()}


def advantage_loss(
    predicted_NB: Float[Tensor, "N B"], advantage_NB: Float[Tensor, "N B"], valid_NB: Float[Tensor, "N B"]
) -> tuple[Float[Tensor, "N"], Metrics]:
    """L_ADV = mean (A_theta(s, a) - (R - V(s)))^2 of each task: what makes the update richer (section 4.1)."""
    loss = masked_mean((predicted_NB - advantage_NB).square(), valid_NB)
    return loss, {"advantage_loss": loss.detach().mean()}


def returns_to_go(
    rewards_NL: Float[np.ndarray, "N L"], starts_NL: Bool[np.ndarray, "N L"], discount: float
) -> Float32[np.ndarray, "N L"]:
    """The sum of rewards from each step to its episode's end, discounted; what is not valid pays 0."""
    going, returns = np.zeros(len(rewards_NL)), np.zeros(rewards_NL.shape, np.float32)
    for step in range(rewards_NL.shape[1] - 1, -1, -1):
        going = rewards_NL[:, step] + discount * going
        returns[:, step] = going
        going = np.where(starts_NL[:, step], 0, going)
    return returns


# -- networks ----------------------------------------------------------------------------------------------------


def act(policy: Weights, obs_NBD: Float[Tensor, "N B D"]) -> tuple[Float[Tensor, "N B H"], Float[Tensor, "N B A"]]:
    """The policy's last hidden layer, and its mean actions in (-1, 1)."""
    *hidden, last = policy
    features_NBH = mlp(hidden, obs_NBD).relu()
    return features_NBH, dense(last, features_NBH).tanh()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Transitions of N tasks as the networks see them."""

    obs_NBD: Float[Tensor, "N B D"]
    action_NBA: Float[Tensor, "N B A"]
    return_NB: Float[Tensor, "N B"]
    valid_NB: Float[Tensor, "N B"]


class Networks(nn.Module):
    """All that is meta-learned: where value function and policy begin, and how they adapt."""

    def __init__(self, config: MacawConfig, spec: AgentSpec) -> None:
        super().__init__()
        size, action, value, policy = spec.observation_size, spec.action_size, config.value, config.policy
        self.config = config
        self.value = AdaptiveNetwork(_sizes(size, value, 1), value.code, value.inner_lr)
        head = [(policy.hidden + action, policy.head), (policy.head, 1)]
        self.policy = AdaptiveNetwork([*_sizes(size, policy, action), *head], policy.code, policy.inner_lr)
        self.raw_advantage_coef = nn.Parameter(torch.tensor(math.log(policy.advantage_coef)))

    @property
    def advantage_coef(self) -> Float[Tensor, ""]:
        """lambda"""
        return F.softplus(self.raw_advantage_coef)

    def adapt(self, support: Rows, *, through: bool) -> tuple[Weights, Weights]:
        """The weights of value function and policy of each task, adapted to its support set; the head has served."""
        tasks, steps = len(support.obs_NBD), self.config.inner_steps
        value = self.value.adapt(tasks, steps, lambda weights: self.value_loss(weights, support)[0], through=through)
        advantage_NB = self.advantages(value, support)
        *policy, _, _ = self.policy.adapt(
            tasks, steps, lambda weights: self.richer_loss(weights, advantage_NB, support), through=through
        )
        return value, policy

    def value_loss(self, value: Weights, rows: Rows) -> tuple[Float[Tensor, "N"], Metrics]:
        """Of each task, of either loop."""
        return value_loss(mlp(value, rows.obs_NBD).squeeze(-1), rows.return_NB, rows.valid_NB)

    @torch.no_grad()
    def advantages(self, value: Weights, rows: Rows) -> Float[Tensor, "N B"]:
        """R(s, a) - V(s): held constant, so that the policy's losses do not move the value function."""
        return rows.return_NB - mlp(value, rows.obs_NBD).squeeze(-1)

    def policy_loss(
        self, mean_NBA: Float[Tensor, "N B A"], advantage_NB: Float[Tensor, "N B"], rows: Rows
    ) -> tuple[Float[Tensor, "N"], Metrics]:
        """Of each task, of the outer loop: L_AWR."""
        config = self.config.policy
        weight_NB = advantage_weights(advantage_NB, rows.valid_NB, config.temperature, config.max_weight)
        return policy_loss(mean_NBA, rows.action_NBA, weight_NB, rows.valid_NB, config.action_std)

    def richer_loss(self, weights: Weights, advantage_NB: Float[Tensor, "N B"], rows: Rows) -> Float[Tensor, "N"]:
        """Of each task, of the inner loop: L_AWR + lambda L_ADV, with the weights of the policy and of its head."""
        *policy, head, last = weights
        features_NBH, mean_NBA = act(policy, rows.obs_NBD)
        predicted_NB = mlp([head, last], torch.cat([features_NBH, rows.action_NBA], -1)).squeeze(-1)
        loss_advantage, _ = advantage_loss(predicted_NB, advantage_NB, rows.valid_NB)
        return self.policy_loss(mean_NBA, advantage_NB, rows)[0] + self.advantage_coef * loss_advantage


def _sizes(inputs: int, config: AdaptedNetworkConfig, outputs: int) -> Collection[tuple[int, int]]:
    """Inputs and outputs of each layer."""
    return list(pairwise([inputs, *[config.hidden] * config.layers, outputs]))


# -- the algorithm -----------------------------------------------------------------------------------------------


class Macaw:
    """The meta-parameters, their optimiser, and the one step of meta-learning."""

    def __init__(self, config: MacawConfig, spec: AgentSpec, device: str) -> None:
        self.config, self.spec = config, spec
        with weights_drawn_from(config.seed):
            self.networks = Networks(config, spec).to(device)
        self.units = Units(spec).to(device)
        named = dict(self.networks.named_parameters())
        rates = [parameter for name, parameter in named.items() if "raw_" in name]
        value, policy = (
            [parameter for name, parameter in named.items() if name.startswith(part) and "raw_" not in name]
            for part in ("value.", "policy.")
        )
        groups = [
            {"params": value, "lr": config.value.lr},
            {"params": policy, "lr": config.policy.lr},
            {"params": rates, "lr": config.lr_rates},
        ]
        self.adam: Optimizer = torch.optim.Adam(groups, fused=True)

    def update(self, step: int, batch: SupportQueryBatch, rng: np.random.Generator) -> Metrics:
        """One meta-update: each task adapts to its support set (N, K), and is judged on its query set (N, Q).

        The policy's loss gives no gradient to the value function, so that one backward pass serves both.
        """
        networks = self.networks
        support = rows_of(self.units, self.config, batch.support, batch.support_returns)
        query = rows_of(self.units, self.config, batch.query, batch.query_returns)
        value, policy = networks.adapt(support, through=self.config.second_order)
        loss_value, info = networks.value_loss(value, query)
        _, mean_NQA = act(policy, query.obs_NBD)
        loss_policy, info_policy = networks.policy_loss(mean_NQA, networks.advantages(value, query), query)
        self.adam.zero_grad()
        torch.autograd.backward(loss_value.mean() + loss_policy.mean())
        self.adam.step()
        return info | info_policy | {"advantage_coef": networks.advantage_coef.detach()}

    def state(self) -> dict[str, Tensor]:
        """Meta-parameters, normalisation and optimiser."""
        return module_state("agent.", self.units, self.networks) | optimiser_state("optimiser.", self.adam)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        load_modules(state, "agent.", self.units, self.networks)
        load_optimiser(state, "optimiser.", self.adam)

    def agent(self, prior: Prior | None) -> "MacawAgent":
        """The agent as it is now, on its own copy of the meta-parameters."""
        return MacawAgent(self.config, self.spec, copy.deepcopy(self.networks).eval(), copy.deepcopy(self.units), prior)


def rows_of(
    units: Units,
    config: MacawConfig,
    data: Transitions,
    returns_NB: Floats,
    valid_NB: Bool[np.ndarray, "N B"] | None = None,
) -> Rows:
    """Transitions (N, B) and their returns in the networks' units; None: all are valid."""
    columns = units.columns(data)
    return Rows(
        obs_NBD=columns["obs"],
        action_NBA=columns["action"],
        return_NB=units.tensor(returns_NB) / units.reward_std,
        valid_NB=units.tensor(np.ones(returns_NB.shape) if valid_NB is None else valid_NB),
    )


# -- the agent ---------------------------------------------------------------------------------------------------


class MacawAgent:
    """Adapts its policy to each context by gradient descent, and acts with what it has become. NumPy in, NumPy out."""

    def __init__(
        self, config: MacawConfig, spec: AgentSpec, networks: Networks, units: Units, prior: Prior | None
    ) -> None:
        self.config, self.spec, self.prior = config, spec, prior
        self._networks, self._units = networks, units
        self._sizes = _sizes(spec.observation_size, config.policy, spec.action_size)
        self._mean, self._std = units.observation_mean.cpu().numpy(), units.observation_std.cpu().numpy()
        self._centre, self._scale = units.action_centre.cpu().numpy(), units.action_scale.cpu().numpy()

    def infer(self, context: Transitions) -> Float32[np.ndarray, "P Z"]:
        """Weights adapted to each context of transitions (P, K), which is taken as one episode in the order given."""
        return self.infer_episodes(as_episode(context))

    def infer_episodes(self, experience: Experience) -> Float32[np.ndarray, "P Z"]:
        """Weights adapted to the whole episodes (P, L) of each problem; those of the meta-policy where it has none."""
        seen, valid_PL = experience.transitions, experience.valid
        returns_PL = returns_to_go(seen.rewards, experience.starts, self.config.discount)
        problems, steps = valid_PL.shape
        size = max(1, min(_CONTEXTS, _TRANSITIONS // max(1, steps)))
        parts = [slice(first, first + size) for first in range(0, problems, size)]
        return np.concatenate([self._adapted(seen[part], returns_PL[part], valid_PL[part]) for part in parts])

    @torch.enable_grad()
    def _adapted(self, data: Transitions, returns_PL: Floats, valid_PL: NDArray[np.bool_]) -> Floats:
        rows = rows_of(self._units, self.config, data, returns_PL, valid_PL)
        _, policy = self._networks.adapt(rows, through=False)
        return torch.cat(list(policy), 1).detach().cpu().numpy()

    def policy(self, beliefs: Float32[np.ndarray, "P Z"]) -> Policy:
        """The mean action of each problem's own network."""
        return BeliefPolicy(respond=self._respond, beliefs=beliefs)

    def sampled_policy(self, beliefs: Float32[np.ndarray, "P Z"], rng: np.random.Generator) -> Policy:
        """Actions drawn from the policy's Gaussian, clipped to the action space: how it explores."""
        return GaussianPolicy(
            mean=self.policy(beliefs),
            beliefs=beliefs,
            std_A=self._scale * self.config.policy.action_std,
            bounds_2A=np.stack([self._centre - self._scale, self._centre + self._scale]),
            rng=rng,
        )

    def _layers(self, beliefs_PZ: Floats) -> list[tuple[Floats, Floats]]:
        """Weights (P, I, O) and biases (P, O) of every layer of the policy."""
        edges = np.cumsum([(i + 1) * o for i, o in self._sizes])[:-1]
        parts = np.split(beliefs_PZ, edges, axis=1)
        return [matrices(part_PW, inputs) for part_PW, (inputs, _) in zip(parts, self._sizes, strict=True)]

    def _respond(self, observations_PD: NDArray[np.generic], beliefs_PZ: Floats) -> Floats:
        *hidden, last = self._layers(beliefs_PZ)
        x = ((observations_PD.astype(np.float32) - self._mean) / self._std)[:, None]
        for weight, bias in hidden:
            x = np.maximum(x @ weight + bias[:, None], 0)
        return np.tanh(x @ last[0] + last[1][:, None])[:, 0] * self._scale + self._centre

    def export_policy(self, belief: Float32[np.ndarray, "Z"]) -> DensePolicy:
        """The adapted policy, as dense layers."""
        *hidden, last = self._layers(belief[None])
        layers = [DenseLayer(weight=weight[0], bias=bias[0], activation="relu") for weight, bias in hidden]
        layers.append(DenseLayer(weight=last[0][0], bias=last[1][0], activation="tanh"))
        return DensePolicy.of(self.spec, layers)

    def tensors(self) -> dict[str, Tensor]:
        """Meta-parameters and normalisation."""
        return module_state("", self._units, self._networks)


@dataclass(frozen=True, kw_only=True)
class GaussianPolicy:
    """Adds noise to what a policy without memory does, and stays within bounds."""

    mean: Policy
    beliefs: Floats
    """(P, Z) that it began with"""
    std_A: Float32[np.ndarray, "A"]
    bounds_2A: Float32[np.ndarray, "2 A"]
    rng: np.random.Generator

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, observations: NDArray[np.generic]) -> Floats:
        """Actions (P, A) for observations (P, D)."""
        mean_PA = self.mean.act(observations)
        return np.clip(mean_PA + self.std_A * self.rng.standard_normal(mean_PA.shape, np.float32), *self.bounds_2A)

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        """Nothing to remember."""
