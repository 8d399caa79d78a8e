"""ad: Algorithm Distillation, which predicts the next action of a learning history that goes on across episodes.

Laskin, Wang, Oh, Parisotto, Spencer, Steigerwald, Strouse, Hansen, Filos, Brooks, Gazeau, Sahni, Singh and Mnih, ICLR
2023 (section 3, algorithm 1). Their code is not public; corl-team/ad-eps was read for facts. Where this differs:
- One token a step, of (s_t, a_t-1, r_t-1, whether t begins an episode), instead of three of s, a and r: the same
  history is conditioned on, in a third of the tokens. Episodes' ends are told, as in the paper's own domains they
  are by the step back to the start.
- No dropout; `every` keeps each n-th episode of a history, as the paper does to learn faster than the source (section
  5, "data efficiency").

It acts while it learns: within an episode each step joins the context, nothing is updated at test time.

Shapes: B histories, L steps, P problems, C steps in the cache, D observation, A action, H numbers of a token, O outputs
of the head, I = D + A + 2 inputs of a token, Z = K (2 D + A + 3) numbers of a belief of K steps (`recent.pack`).
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from idaq.core.policy import Policy
from idaq.core.types import Array, Floats
from idaq.learn.action_head import ActionHead
from idaq.learn.algorithm import Prior
from idaq.learn.algorithms.ad_config import AdConfig
from idaq.learn.config import AgentSpec
from idaq.learn.networks import weights_drawn_from
from idaq.learn.recent import pack, unpack
from idaq.learn.state import load_modules, module_state
from idaq.learn.transformer import Cache, Descent, Transformer
from idaq.learn.units import Units
from idaq.loader.contexts import Experience, as_episode
from idaq.loader.segments import SegmentBatch
from idaq.loader.transitions import Transitions

Metrics = dict[str, Tensor]


# -- loss --------------------------------------------------------------------------------------------------------


def distillation_loss(
    surprise_BL: Float[Tensor, "B L"], valid_BL: Bool[Tensor, "B L"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """Mean of -log p(a_t | history before t, s_t) over the steps that there are (Laskin et al., section 3.2, eq. 4)."""
    loss = torch.where(valid_BL, surprise_BL, 0).sum() / valid_BL.sum().clamp_min(1)
    return loss, {"loss": loss.detach()}


# -- network -----------------------------------------------------------------------------------------------------


class AdNetwork(nn.Module):
    """Tokens of steps with learned positions, the Transformer, and the head."""

    def __init__(self, config: AdConfig, spec: AgentSpec) -> None:
        super().__init__()
        width = config.network.width
        self.step = nn.Linear(spec.observation_size + spec.action_size + 2, width)
        self.positions = nn.Embedding(config.length, width)
        self.transformer = Transformer(config.network)
        self.head = ActionHead(width, spec)

    def forward(
        self,
        inputs_BLI: Float[Tensor, "B L I"],
        position_BL: Int[Tensor, "#B L"],
        seen_BLS: Bool[Tensor, "#B L S"],
        cache: Cache | None = None,
    ) -> tuple[Float[Tensor, "B L O"], Cache]:
        """What the head says of each step's action, and the cache with these steps added."""
        tokens = self.step(inputs_BLI) + self.positions(position_BL)
        x, grown = self.transformer(tokens, seen_BLS, cache)
        return self.head(x), grown


def step_inputs(columns: Mapping[str, Tensor], starts_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B L I"]:
    """[s_t, a_t-1, r_t-1, whether t begins an episode]; zeros before the first step."""
    before = torch.cat([columns["action"], columns["outcome"][..., :1]], -1)
    before = F.pad(before[:, :-1], (0, 0, 1, 0))
    return torch.cat([columns["obs"], before, starts_BL[..., None].to(before.dtype)], -1)


def causal(steps: int) -> Bool[Tensor, "1 {steps} {steps}"]:
    """Each step sees itself and those before it."""
    return torch.ones(1, steps, steps, dtype=torch.bool).tril()


# -- the algorithm -----------------------------------------------------------------------------------------------


class Ad:
    """The network, its optimiser, and the one step that updates it."""

    def __init__(self, config: AdConfig, spec: AgentSpec, device: str) -> None:
        self.config, self.spec, self._device = config, spec, device
        with weights_drawn_from(config.seed):
            self.network = AdNetwork(config, spec).to(device)
        self.units = Units(spec).to(device)
        self._descent = Descent(config.network, self.network, config.steps)

    def update(self, step: int, batch: SegmentBatch, rng: np.random.Generator) -> Metrics:
        """One update from segments (B, L) of learning histories. No random numbers are needed."""
        columns = self.units.columns(batch.segments)
        starts, valid = (torch.as_tensor(flags, device=self._device) for flags in (batch.starts, batch.valid))
        positions = torch.arange(valid.shape[1], device=self._device)[None]
        inputs = step_inputs(columns, starts)
        outputs, _ = self.network(inputs, positions, causal(valid.shape[1]).to(self._device))
        surprise = self.network.head.negative_log_likelihood(outputs, columns["action"])
        loss, info = distillation_loss(surprise, valid)
        self._descent.step(step, loss)
        return info

    def state(self) -> dict[str, Tensor]:
        """Weights, normalisation and the optimiser."""
        return module_state("agent.", self.units, self.network) | self._descent.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        load_modules(state, "agent.", self.units, self.network)
        self._descent.load_state(state)

    def agent(self, prior: Prior | None) -> "AdAgent":
        """The agent as it is now, on its own copy of the weights."""
        return AdAgent(self.config, self.spec, copy.deepcopy(self.network).eval(), copy.deepcopy(self.units), prior)


# -- the agent ---------------------------------------------------------------------------------------------------


class AdAgent:
    """Beliefs are the newest steps of the history themselves; the policy goes on from them. NumPy in, NumPy out."""

    def __init__(
        self, config: AdConfig, spec: AgentSpec, network: AdNetwork, units: Units, prior: Prior | None
    ) -> None:
        self.config, self.spec, self.prior = config, spec, prior
        self._network, self._units = network, units

    def infer(self, context: Transitions) -> Float32[np.ndarray, "P Z"]:
        """The last `config.context` of each problem's transitions (P, L), as one episode in that order."""
        return self.infer_episodes(as_episode(context))

    def infer_episodes(self, experience: Experience) -> Float32[np.ndarray, "P Z"]:
        """The last `config.context` steps of each problem's episodes (P, L), and which there are."""
        return pack(experience, self.config.context)

    def policy(self, beliefs: Float32[np.ndarray, "P Z"]) -> Policy:
        """The likeliest action after each problem's history."""
        return AdPolicy(self._network, self._units, unpack(beliefs, self.spec), beliefs, self.config, None)

    def sampled_policy(self, beliefs: Float32[np.ndarray, "P Z"], rng: np.random.Generator) -> Policy:
        """Actions drawn from what is predicted: how it explores."""
        return AdPolicy(self._network, self._units, unpack(beliefs, self.spec), beliefs, self.config, rng)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and normalisation."""
        return module_state("", self._units, self._network)


class AdPolicy:
    """Acts after a history to which each step is added; the likeliest action, or with `rng` a drawn one.

    Keys and values of earlier steps are cached. A problem whose episode has ended gets no more steps until the next
    `reset`. When a history is as long as the Transformer sees, all are cut to their last `context` steps and encoded
    again.
    """

    def __init__(
        self,
        network: AdNetwork,
        units: Units,
        history: Experience,
        beliefs: Floats,
        config: AdConfig,
        rng: np.random.Generator | None,
    ) -> None:
        self.beliefs = beliefs
        self._network, self._units, self._config, self._rng = network, units, config, rng
        self._device = units.observation_mean.device
        columns = units.columns(history.transitions)
        starts, self._valid = (torch.as_tensor(flags, device=self._device) for flags in (history.starts, history.valid))
        self._inputs = step_inputs(columns, starts)
        """(P, C, I) of the steps in the cache"""
        self._before = self._last(torch.cat([columns["action"], columns["outcome"][..., :1]], -1))
        """(P, A + 1) action and reward of each problem's last step"""
        self._encode()
        self.reset()

    def reset(self) -> None:
        """An episode begins, in the same history."""
        self._starting, self._ended = True, torch.zeros(len(self._valid), dtype=torch.bool, device=self._device)

    @torch.no_grad()
    def act(self, observations: NDArray[np.generic]) -> Floats:
        """Actions (P, A) for observations (P, D); the step joins the history."""
        if int(self._counts().max()) == self._config.length:
            self._cut()
        obs, head = self._units.observations(self._units.tensor(observations)), self._network.head
        flag = torch.full((len(obs), 1), float(self._starting), device=self._device)
        inputs, alive = torch.cat([obs, self._before, flag], -1)[:, None], ~self._ended[:, None]
        seen = torch.cat([self._valid, torch.ones_like(alive)], 1)[:, None]
        outputs, self._cache = self._network(inputs, self._counts()[:, None], seen, self._cache)
        self._inputs, self._valid = torch.cat([self._inputs, inputs], 1), torch.cat([self._valid, alive], 1)
        self._starting = False
        action = head.mode(outputs[:, 0]) if self._rng is None else head.sample(outputs[:, 0], self._rng)
        return self._units.in_environment(action)

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        """What the step led to stands in the next step's token."""
        reward = self._units.centred(self._units.tensor(rewards))
        before = torch.cat([self._units.actions(actions), reward[:, None]], -1)
        self._before = torch.where(self._ended[:, None], self._before, before)
        self._ended = torch.as_tensor(ended, device=self._device)

    def _counts(self) -> Int[Tensor, "P"]:
        return self._valid.sum(1)

    def _last(self, rows_PCX: Float[Tensor, "P C X"]) -> Float[Tensor, "P X"]:
        """The row of each problem's last step; zeros where there is none. Valid steps come first."""
        last = self._counts().clamp_min(1) - 1
        return rows_PCX[torch.arange(len(last)), last] * (self._counts() > 0)[:, None]

    def _cut(self) -> None:
        """Keep each problem's last `context` steps, in front, and encode them as a history that begins there."""
        kept = min(self._config.context, self._valid.shape[1])
        order = torch.argsort(self._valid.int(), dim=1, stable=True)[:, -kept:]
        valid = self._valid.gather(1, order)
        order = order.gather(1, torch.argsort(~valid, dim=1, stable=True))
        self._inputs = self._inputs.gather(1, order[..., None].expand(-1, -1, self._inputs.shape[-1])).clone()
        self._valid = self._valid.gather(1, order)
        self._inputs[:, 0, -1 - self._before.shape[1] : -1] = 0  # what was before is not known
        self._encode()

    @torch.no_grad()
    def _encode(self) -> None:
        steps = self._valid.shape[1]
        alone = torch.eye(steps, dtype=torch.bool, device=self._device)
        mask = causal(steps).to(self._device) & (self._valid[:, None] | alone)
        _, self._cache = self._network(self._inputs, torch.arange(steps, device=self._device)[None], mask)
