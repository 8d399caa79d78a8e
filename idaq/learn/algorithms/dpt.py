"""dpt: the Decision-Pretrained Transformer, which predicts the expert's action at a state from a set of transitions.

Lee, Xie, Pacchiano, Chandak, Finn, Nachum and Brunskill, NeurIPS 2023 (section 3, algorithm 1, appendix on
implementation); their code: jon--lee/decision-pretrained-transformer. Where this differs:
- Their GPT reads the query first, then the shuffled context causally, with positions; theirs are thus invariant to the
  context's order in training only. Here the context is a set: its tokens see each other and have no positions, and
  each query sees the context and itself. So one context serves many queries, and is encoded once an episode.
- Their loss is over all prefixes of a context but the empty one, which a test begins with; here each context's size is
  drawn uniformly from 0 on.
- Expert actions of a box are Gaussian; theirs are all discrete.

Online (their section 3): actions are sampled, each finished episode joins the context, the newest `context` transitions
are kept. Deployed: the likeliest action.

Shapes: B sequences, K context transitions, Q queries, P problems, D observation, A action, H numbers of a token, O
outputs of the head, Z = K (2 D + A + 3) numbers of a belief (`recent.pack`).
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray
from torch import Tensor, nn

from idaq.core.policy import Policy
from idaq.core.types import Array, Floats
from idaq.learn.action_head import ActionHead
from idaq.learn.algorithm import Prior
from idaq.learn.algorithms.dpt_config import OWN_ACTIONS, DptConfig
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


def prediction_loss(
    surprise_BQ: Float[Tensor, "B Q"], labelled_BQ: Bool[Tensor, "B Q"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """Mean of -log p(a* | s, context) over the queries with a label (Lee et al., section 3, eq. 2)."""
    count = labelled_BQ.sum().clamp_min(1)
    loss = torch.where(labelled_BQ, surprise_BQ, 0).sum() / count
    return loss, {"loss": loss.detach()}


# -- network -----------------------------------------------------------------------------------------------------


class DptNetwork(nn.Module):
    """Tokens of context transitions and of queries, the Transformer, and the head."""

    def __init__(self, config: DptConfig, spec: AgentSpec) -> None:
        super().__init__()
        size, width = spec.observation_size, config.network.width
        self.transition = nn.Linear(2 * size + spec.action_size + 1, width)
        self.query = nn.Linear(size, width)
        self.transformer = Transformer(config.network)
        self.head = ActionHead(width, spec)

    def remember(self, columns: Mapping[str, Tensor], valid_BK: Bool[Tensor, "B K"]) -> Cache:
        """A context as queries see it. Its tokens see all valid ones and themselves; they have no order."""
        rows = [columns["obs"], columns["action"], columns["outcome"]]
        alone = torch.eye(valid_BK.shape[1], dtype=torch.bool, device=valid_BK.device)
        return self.transformer(self.transition(torch.cat(rows, -1)), valid_BK[:, None] | alone)[1]

    def answer(
        self, obs_BQD: Float[Tensor, "B Q D"], memory: Cache, valid_BK: Bool[Tensor, "B K"]
    ) -> Float[Tensor, "B Q O"]:
        """What the head says at each query: it sees the context and itself, no other query."""
        batch, queries = obs_BQD.shape[:2]
        alone = torch.eye(queries, dtype=torch.bool, device=valid_BK.device).expand(batch, -1, -1)
        mask = torch.cat([valid_BK[:, None].expand(-1, queries, -1), alone], -1)
        return self.head(self.transformer(self.query(obs_BQD), mask, memory)[0])


# -- the algorithm -----------------------------------------------------------------------------------------------


class Dpt:
    """The network, its optimiser, and the one step that updates it."""

    def __init__(self, config: DptConfig, spec: AgentSpec, device: str) -> None:
        self.config, self.spec, self._device = config, spec, device
        with weights_drawn_from(config.seed):
            self.network = DptNetwork(config, spec).to(device)
        self.units = Units(spec).to(device)
        self._descent = Descent(config.network, self.network, config.steps)

    def update(self, step: int, batch: SegmentBatch, rng: np.random.Generator) -> Metrics:
        """One update from segments (B, Q + K): queries, then the context, which is cut to a drawn size.

        A set has no order, so the context may follow: what is short of a whole segment then lacks context, no query.
        """
        network, first, context = self.network, self.config.queries, self.config.context
        sizes = rng.integers(context + 1, size=(len(batch.valid), 1))
        valid = torch.as_tensor(batch.valid[:, first:] & (np.arange(context) < sizes), device=self._device)
        memory = network.remember(self.units.columns(batch.segments[:, first:]), valid)
        obs = self.units.observations(self.units.tensor(batch.segments.observations[:, :first]))
        labels, labelled = self._labels(batch)
        surprise = network.head.negative_log_likelihood(network.answer(obs, memory, valid), labels)
        loss, info = prediction_loss(surprise, labelled & torch.as_tensor(batch.valid[:, :first], device=self._device))
        self._descent.step(step, loss)
        return info

    def _labels(self, batch: SegmentBatch) -> tuple[Float[Tensor, "B Q A"], Bool[Tensor, "B Q"]]:
        """Expert actions of the queries in normalised units, and which there are: NaN is none."""
        label, view = self.config.label, self.spec.view
        if label == OWN_ACTIONS:
            actions: Array = batch.segments.actions
        else:
            actions = batch.columns[label] if view is None else view.encode_actions(batch.columns[label])
        actions = actions[:, : self.config.queries]
        known = np.asarray(np.isfinite(actions).all(-1))
        return (
            self.units.actions(np.where(known[..., None], actions, 0)),
            torch.as_tensor(known, device=self._device),
        )

    def state(self) -> dict[str, Tensor]:
        """Weights, normalisation and the optimiser."""
        return module_state("agent.", self.units, self.network) | self._descent.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        load_modules(state, "agent.", self.units, self.network)
        self._descent.load_state(state)

    def agent(self, prior: Prior | None) -> "DptAgent":
        """The agent as it is now, on its own copy of the weights."""
        return DptAgent(self.config, self.spec, copy.deepcopy(self.network).eval(), copy.deepcopy(self.units), prior)


# -- the agent ---------------------------------------------------------------------------------------------------


class DptAgent:
    """Beliefs are the newest context transitions themselves; the policy reads them as a set. NumPy in, NumPy out."""

    def __init__(
        self, config: DptConfig, spec: AgentSpec, network: DptNetwork, units: Units, prior: Prior | None
    ) -> None:
        self.config, self.spec, self.prior = config, spec, prior
        self._network, self._units = network, units

    def infer(self, context: Transitions) -> Float32[np.ndarray, "P Z"]:
        """The last `config.context` of each problem's transitions (P, L), and which there are."""
        return self.infer_episodes(as_episode(context))

    def infer_episodes(self, experience: Experience) -> Float32[np.ndarray, "P Z"]:
        """The same of whole episodes."""
        return pack(experience, self.config.context)

    def policy(self, beliefs: Float32[np.ndarray, "P Z"]) -> Policy:
        """The likeliest action at each state, given each problem's context."""
        return DptPolicy(self._network, self._units, unpack(beliefs, self.spec), beliefs, None)

    def sampled_policy(self, beliefs: Float32[np.ndarray, "P Z"], rng: np.random.Generator) -> Policy:
        """Actions drawn from what is predicted: how it explores."""
        return DptPolicy(self._network, self._units, unpack(beliefs, self.spec), beliefs, rng)

    def tensors(self) -> dict[str, Tensor]:
        """Weights and normalisation."""
        return module_state("", self._units, self._network)


class DptPolicy:
    """Acts under a context that stays as it is; the likeliest action, or with `rng` a drawn one."""

    @torch.no_grad()
    def __init__(
        self, network: DptNetwork, units: Units, context: Experience, beliefs: Floats, rng: np.random.Generator | None
    ) -> None:
        self.beliefs = beliefs
        self._network, self._units, self._rng = network, units, rng
        self._valid = torch.as_tensor(context.valid, device=units.observation_mean.device)
        self._memory = network.remember(units.columns(context.transitions), self._valid)

    def reset(self) -> None:
        """Nothing to forget."""

    @torch.no_grad()
    def act(self, observations: NDArray[np.generic]) -> Floats:
        """Actions (P, A) for observations (P, D)."""
        obs, head = self._units.observations(self._units.tensor(observations)), self._network.head
        outputs = self._network.answer(obs[:, None], self._memory, self._valid)[:, 0]
        return self._units.in_environment(head.mode(outputs) if self._rng is None else head.sample(outputs, self._rng))

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        """The episode joins the context when it is over, by a new belief."""
