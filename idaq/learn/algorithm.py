"""The seam of learning: what an algorithm is to the loop, and what the agent it gives is to adaptation.

Shapes: P contexts or problems side by side, K context transitions, M training tasks, Z numbers of a belief, D
observation, A action.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from idaq.core.errors import PluginError
from idaq.core.outside import raised_as
from idaq.core.policy import Policy
from idaq.core.registry import check_members
from idaq.core.types import Floats
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.learn.cross_returns import CrossReturns
from idaq.learn.dense import DensePolicy
from idaq.loader import Dataset
from idaq.loader.contexts import Experience, task_contexts, task_experience
from idaq.loader.transitions import Transitions

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The training tasks as an agent remembers them, so that it adapts without its dataset."""

    beliefs: Floats
    """(M, Z) of each training task, from its offline data"""
    task_indices: NDArray[np.int64]
    """(M,)"""
    offline_return: float
    """mean return of the training tasks' offline episodes"""
    random_return: float | None
    """mean return of random actions on the training tasks; None where it was not measured"""
    cross_returns: CrossReturns | None = None
    """what the policy under each belief earns on training tasks; None where it was not measured"""


@runtime_checkable
class Agent(Protocol):
    """What adapting needs: a belief of a context, the training tasks' beliefs, and a policy for a belief.

    A belief is whatever the algorithm conditions its policy on, as Z numbers: a latent, or the weights that a gradient
    learner has adapted. Z = 0 for a policy that infers the task by itself, from what it observes.
    """

    @property
    def config(self) -> TrainConfig:
        """What it was trained with."""
        ...

    @property
    def spec(self) -> AgentSpec:
        """Sizes and units of its data."""
        ...

    @property
    def prior(self) -> Prior | None:
        """The training tasks; None before the loop has asked for their beliefs."""
        ...

    def infer(self, context: Transitions) -> Float32[np.ndarray, "P Z"]:
        """The belief of each context of transitions (P, K)."""
        ...

    def policy(self, beliefs: Float32[np.ndarray, "P Z"]) -> Policy:
        """A policy that acts in P problems, each under its own belief; it keeps them (`BelievingPolicy`)."""
        ...

    def tensors(self) -> Mapping[str, "Tensor"]:
        """All that it has learned, by name: what its digest is taken of."""
        ...


@runtime_checkable
class EmbeddingAgent(Protocol):
    """An agent whose belief of a context is the mean of what each transition says."""

    def embed(self, transitions: Transitions) -> Float32[np.ndarray, "*lead Z"]:
        """What each transition (...) says of the belief: (..., Z)."""
        ...


@runtime_checkable
class EpisodicAgent(Protocol):
    """An agent that infers from whole episodes in order: a sequence model, or what learns from returns-to-go.

    Its belief may be anything as Z numbers, of the same Z however long the episodes are: a recurrent state, adapted
    weights, the last transitions of a context. Its `infer` takes a bag of transitions as one episode in that order.
    """

    def infer_episodes(self, experience: Experience) -> Float32[np.ndarray, "P Z"]:
        """The belief of each problem's episodes (P, L); of L = 0, what it believes before it has seen anything."""
        ...


@runtime_checkable
class SamplingAgent(Protocol):
    """An agent that explores by chance: its policy is the likeliest action, and what it is drawn from."""

    def sampled_policy(self, beliefs: Float32[np.ndarray, "P Z"], rng: np.random.Generator) -> Policy:
        """As `policy`, but that each action is drawn, with random numbers from `rng` alone."""
        ...


@runtime_checkable
class PredictingAgent(Protocol):
    """An agent with an ensemble that predicts rewards and next observations."""

    def predict(
        self, data: Transitions, beliefs: Float32[np.ndarray, "R Z"]
    ) -> tuple[Float32[np.ndarray, "E R Q"], Float32[np.ndarray, "R Q"]]:
        """Predicted and true (r, s' - s) in normalised units of transitions (R): (E, R, 1 + D), (R, 1 + D)."""
        ...


@runtime_checkable
class ExportingAgent(Protocol):
    """An agent whose policy under a belief can leave: as dense layers, which every runtime has."""

    def export_policy(self, belief: Float32[np.ndarray, "Z"]) -> DensePolicy:
        """The policy under a belief, which is folded in: the same actions as `policy` gives, to rounding."""
        ...


@runtime_checkable
class Algorithm(Protocol):
    """One way to learn from a dataset: weights, optimisers, and the step that changes them.

    Its config creates it (`TrainConfig.create`) and names its sampler; the loop, checkpoints and metrics are the same
    for all. Training must follow from config, data and (seed, step) alone: no generator of its own, no global one.
    """

    def update(self, step: int, batch: Any, rng: np.random.Generator) -> Mapping[str, "Tensor"]:
        """One step on what the sampler drew for it; `rng` is seeded by (seed, step). Scalars to log, by name."""
        ...

    def state(self) -> dict[str, "Tensor"]:
        """All that the next step depends on, by name: weights, targets, optimisers."""
        ...

    def load_state(self, state: Mapping[str, "Tensor"]) -> None:
        """Take over what `state` gave. Raises KeyError or ValueError for another algorithm's."""
        ...

    def agent(self, prior: Prior | None) -> Agent:
        """The agent as it is now, on its own copy of the weights."""
        ...


def create_algorithm(config: TrainConfig, spec: AgentSpec, device: str) -> Algorithm:
    """What a config creates. Raises PluginError where that fails, or is no algorithm."""
    with raised_as(PluginError, f"creating {config.algorithm}"):
        made = config.create(spec, device)
    check_members(Algorithm, made, f"create of {config.algorithm}")
    return made


def create_agent(algorithm: Algorithm, config: TrainConfig, prior: Prior | None) -> Agent:
    """The agent of an algorithm. Raises PluginError where that fails, or is no agent."""
    with raised_as(PluginError, f"agent of {config.algorithm}"):
        made = algorithm.agent(prior)
    check_members(Agent, made, f"agent of {config.algorithm}")
    return made


def infer_tasks(agent: Agent, dataset: Dataset, size: int, seed: int) -> tuple[NDArray[np.int64], Any]:
    """Task indices (M,) of a selection, and the agent's belief of each from about `size` of its offline transitions.

    An agent that infers from whole episodes gets whole episodes, any other so many transitions: (M, Z), if it is sound.
    """
    if isinstance(agent, EpisodicAgent):
        indices, experience = task_experience(dataset, size, seed)
        return indices, agent.infer_episodes(experience)
    indices, contexts = task_contexts(dataset, size, seed)
    return indices, agent.infer(contexts)


@runtime_checkable
class BelievingPolicy(Protocol):
    """A policy that began with a belief of each problem, whatever it has learned since: strategies may begin with it
    again.
    """

    @property
    def beliefs(self) -> Floats:
        """(P, Z) as given to `Agent.policy`."""
        ...


@dataclass(frozen=True, kw_only=True)
class BeliefPolicy:
    """Acts on the observation under a fixed belief of each problem, and remembers nothing."""

    respond: "Respond"
    beliefs: Floats
    """(P, Z)"""

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actions (P, A) for observations (P, D)."""
        return self.respond(observations, self.beliefs)

    def observe(
        self, actions: NDArray[Any], rewards: NDArray[Any], next_observations: NDArray[Any], ended: NDArray[np.bool_]
    ) -> None:
        """Nothing to remember."""

    def of_problems(self, problems: NDArray[np.int64]) -> "BeliefPolicy":
        """The policy of some of the problems alone."""
        return BeliefPolicy(respond=self.respond, beliefs=self.beliefs[problems])


@runtime_checkable
class Respond(Protocol):
    """A function of observations and beliefs."""

    def __call__(self, observations: NDArray[Any], beliefs: Floats, /) -> NDArray[Any]:
        """(P, D), (P, Z) -> actions (P, A) in the environment's units."""
        ...
