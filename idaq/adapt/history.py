"""What P problems (test tasks x seeds) have been through under one strategy: all that a strategy may look at.

Shapes: P problems, n episodes so far, T steps, M training tasks, Z belief.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64

from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.policy import Policy
from idaq.adapt.uncertainty import UNCERTAINTIES
from idaq.core.errors import PluginError, RunError
from idaq.core.types import Doubles, Floats
from idaq.learn.algorithm import Agent, BelievingPolicy, EmbeddingAgent, Prior
from idaq.learn.cross_returns import CrossReturns
from idaq.loader.contexts import Experience
from idaq.loader.transitions import Transitions, map_columns

NOT_MEASURED = "nobody has measured what the policies of the training tasks earn on the training tasks"
HOW_TO_MEASURE = "idaq adapt RUN measures it where the training tasks can be simulated; gaussian-process needs no such"


def known_prior(agent: Agent) -> Prior:
    """An agent's prior. Raises RunError for one without."""
    if agent.prior is None:
        raise RunError(
            "the agent has no prior: its training was not finished", hint="let the same idaq train command finish"
        )
    return agent.prior


@dataclass(kw_only=True)
class AdaptationHistory:
    """The episodes so far of every problem, and the policies that made them."""

    agent: Agent
    problems: int
    """P"""
    budget: int
    """adaptation episodes in all, which a strategy may plan for"""
    rng: np.random.Generator
    """the only source of random numbers of a strategy"""
    offline: Callable[[int], Floats] | None = None
    """(P, Z) beliefs, each from so many transitions of the test task's own offline data; only for strategies that say
    that they use it"""
    measured: CrossReturns | None = None
    """cross returns measured for this adaptation; without, those that the agent's prior keeps"""
    policies: list[Policy] = field(default_factory=list)
    """n, of each episode"""
    episodes: list[EpisodeBatch] = field(default_factory=list)
    """n x P episodes, all of them of the T of the longest"""
    _embeddings: list[Floats] = field(default_factory=list)
    _scores: dict[str, list[Doubles]] = field(default_factory=dict)

    def add(self, policy: Policy, episodes: EpisodeBatch) -> None:
        """One more episode of every problem; where it is longer than those before, they are filled up to its T."""
        steps = max(batch.valid.shape[1] for batch in [episodes, *self.episodes])
        self.policies.append(policy)
        self.episodes[:] = [batch.of_length(steps) for batch in [*self.episodes, episodes]]

    @property
    def prior(self) -> Prior:
        """Beliefs of the training tasks. Raises RunError for an agent without them."""
        return known_prior(self.agent)

    @property
    def cross_returns(self) -> CrossReturns:
        """What the policies of the training tasks earn on training tasks. Raises RunError where none was measured."""
        known = self.measured or self.prior.cross_returns
        if known is None:
            raise RunError(NOT_MEASURED, hint=HOW_TO_MEASURE)
        return known

    @property
    def beliefs(self) -> list[Float32[np.ndarray, "P Z"]]:
        """n, that each episode was played under; NaN for a policy without a belief."""
        size = self.prior.beliefs.shape[1]
        nothing = np.full((self.problems, size), np.nan, np.float32)
        return [policy.beliefs if isinstance(policy, BelievingPolicy) else nothing for policy in self.policies]

    @property
    def embeddings(self) -> list[Float32[np.ndarray, "P T Z"]]:
        """n, of every transition: each passes the encoder once, however many beliefs are drawn from it.

        Raises RunError for an agent whose beliefs are not means of embeddings.
        """
        if not isinstance(self.agent, EmbeddingAgent):
            raise RunError(f"an agent of {self.agent.config.algorithm} does not embed transitions")
        missing = self.episodes[len(self._embeddings) :]
        self._embeddings += [self.agent.embed(batch.trimmed.transitions) for batch in missing]
        steps = self.episodes[0].valid.shape[1] if self.episodes else 0
        return [np.pad(z_PTZ, ((0, 0), (0, steps - z_PTZ.shape[1]), (0, 0))) for z_PTZ in self._embeddings]

    def experience(self, accepted_nP: Bool[np.ndarray, "n P"] | None = None) -> Experience:
        """The episodes of every problem in order, those accepted alone: what an `EpisodicAgent` infers from."""
        if not self.episodes:
            return _nothing_seen(self.agent, self.problems)
        valid_nPT = np.stack([batch.valid for batch in self.episodes])
        kept = valid_nPT if accepted_nP is None else valid_nPT & accepted_nP[..., None]
        played = Transitions.stack([batch.transitions for batch in self.episodes])
        return Experience.of_episodes(map_columns(lambda c: c.swapaxes(0, 1), played), kept.swapaxes(0, 1))

    def scores(self, uncertainty: str) -> Float64[np.ndarray, "n P"]:
        """How in-distribution each episode was by an uncertainty that the strategy names; lower is better."""
        score, known = UNCERTAINTIES.get(uncertainty), self._scores.setdefault(uncertainty, [])
        for policy, episodes in list(zip(self.policies, self.episodes, strict=True))[len(known) :]:
            known.append(self._checked(uncertainty, score(self.agent, episodes.trimmed, policy)))
        return np.stack(known)

    def _checked(self, uncertainty: str, scores: object) -> Doubles:
        """(P,) as numbers that can be compared. Raises PluginError."""
        given = np.asarray(scores)
        if given.shape != (self.problems,) or given.dtype.kind not in "fiu":
            raise PluginError(
                f"uncertainty {uncertainty} gave {given.dtype} {given.shape}; numbers ({self.problems},) were expected"
            )
        if np.isnan(given).any():
            raise PluginError(
                f"uncertainty {uncertainty} gave NaN for {np.isnan(given).sum()} of {self.problems} problems",
                hint="leave out the steps after an episode's end (episodes.valid); inf is the worst score",
            )
        return given.astype(np.float64)


def _nothing_seen(agent: Agent, problems: int) -> Experience:
    """No episode of any problem."""
    observations = np.zeros((problems, 1, 1, agent.spec.observation_size), np.float32)
    numbers = np.zeros((problems, 1, 1), np.float32)
    nothing = Transitions(
        observations=observations,
        actions=np.zeros((problems, 1, 1, agent.spec.action_size), np.float32),
        rewards=numbers,
        next_observations=observations,
        terminated=numbers != 0,
    )
    return Experience.of_episodes(nothing, numbers != 0)
