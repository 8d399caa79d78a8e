"""The strategies that ship: IDAQ and its rivals, each named for what it does.

`idaq` is the paper's rule, under one of three uncertainties. `idaq-mixture` and `nearest-training-task` are our own
variants of it: the first mixes the best episodes, the second infers no belief at all. The others are rivals and
controls; `offline-context` is a reference, not a bound: other beliefs may serve the policy better.

All work on P problems (test task x seed) at once. Shapes: P problems, n episodes so far, T steps, M training tasks,
Z belief, C candidates, K context transitions.
"""

from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from idaq.adapt.config import Role
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import Policy, RandomPolicy
from idaq.adapt.strategy import Strategy
from idaq.core.config import config
from idaq.core.errors import DatasetError, RunError
from idaq.core.types import AtLeastOne, Floats
from idaq.learn.algorithm import EmbeddingAgent, EpisodicAgent, PredictingAgent, SamplingAgent
from idaq.loader.transitions import Transitions

Context = Annotated[int, Field(ge=2)]
Share = Annotated[float, Field(ge=0, le=1)]


# -- beliefs -----------------------------------------------------------------------------------------------------


def farthest(
    candidates_PCZ: Float[np.ndarray, "P C Z"], played: list[Float[np.ndarray, "P Z"]]
) -> Float[np.ndarray, "P Z"]:
    """Of each problem's candidates, the one whose nearest played one is farthest (max-min distance). -> (P, Z)"""
    rows = np.arange(len(candidates_PCZ))
    if not played:
        return candidates_PCZ[:, 0]
    played_PnZ = np.stack(played, 1)
    squares = ((candidates_PCZ[:, :, None] - played_PnZ[:, None]) ** 2).sum(-1)
    return candidates_PCZ[rows, squares.min(-1).argmax(-1)]


def from_prior(history: AdaptationHistory, candidates: int) -> Float[np.ndarray, "P Z"]:
    """The farthest of `candidates` draws from the prior: beliefs of random training tasks."""
    prior = history.prior.beliefs
    draws = history.rng.integers(len(prior), size=(history.problems, candidates))
    return farthest(prior[draws], history.beliefs)


def pooled(
    history: AdaptationHistory, accepted_nP: Bool[np.ndarray, "n P"], draws: int, context: int
) -> Float[np.ndarray, "P {draws} Z"]:
    """`draws` beliefs of each problem, each from `context` transitions of its accepted episodes, drawn uniformly.

    Inference is deterministic, so two beliefs differ only in the transitions that were drawn. -> (P, draws, Z)
    """
    lengths_nP = np.stack([batch.valid.sum(1) for batch in history.episodes])
    weights_P1n = (accepted_nP * lengths_nP.astype(np.float64)).T[:, None]
    return _infer(history, weights_P1n.repeat(draws, 1), context)


def mixture(
    history: AdaptationHistory, accepted_nP: Bool[np.ndarray, "n P"], draws: int, context: int
) -> Float[np.ndarray, "P {draws} Z"]:
    """`draws` beliefs of each problem, each from a Bayesian bootstrap of its accepted episodes. -> (P, draws, Z)

    Each draw weighs the accepted episodes by a flat Dirichlet sample and takes `context` of their transitions. The
    draws thus spread between the beliefs of the single episodes.
    """
    shape = (history.problems, draws, len(accepted_nP))
    return _infer(history, history.rng.exponential(size=shape) * accepted_nP.T[:, None], context)


def _infer(history: AdaptationHistory, weights: Float[np.ndarray, "P C n"], context: int) -> Float[np.ndarray, "P C Z"]:
    """Beliefs from `context` transitions of episodes drawn by weight. -> (P, C, Z)"""
    problems, draws, _ = weights.shape
    if isinstance(history.agent, EpisodicAgent):
        return _infer_episodes(history, history.agent, weights)
    edges = (weights / weights.sum(-1, keepdims=True)).cumsum(-1)
    episode = (history.rng.random((problems, draws, context, 1)) > edges[:, :, None, :-1]).sum(-1)
    p = np.arange(len(weights))[:, None, None]
    lengths_nP = np.stack([batch.valid.sum(1) for batch in history.episodes])
    step = (history.rng.random((problems, draws, context)) * lengths_nP[episode, p]).astype(np.int64)
    if isinstance(history.agent, EmbeddingAgent):
        return np.stack(history.embeddings)[episode, p, step].mean(2)
    seen = Transitions.stack([batch.transitions for batch in history.episodes])[episode, p, step]
    return history.agent.infer(seen.reshape(problems * draws, context)).reshape(problems, draws, -1)


def _infer_episodes(
    history: AdaptationHistory, agent: EpisodicAgent, weights: Float[np.ndarray, "P C n"]
) -> Float[np.ndarray, "P C Z"]:
    """Beliefs from whole episodes, in order: those that so many draws by weight have hit. -> (P, C, Z)"""
    edges = (weights / weights.sum(-1, keepdims=True)).cumsum(-1)
    drawn = (history.rng.random((*weights.shape, 1)) > edges[:, :, None, :-1]).sum(-1)
    hit = np.zeros(weights.shape, bool)
    np.put_along_axis(hit, drawn, True, axis=2)
    beliefs = [agent.infer_episodes(history.experience(hit[:, draw].T)) for draw in range(weights.shape[1])]
    return np.stack(beliefs, 1)


# -- episodes ----------------------------------------------------------------------------------------------------


def accepted_by_idaq(scores_nP: Float[np.ndarray, "n P"], reference: int) -> Bool[np.ndarray, "n P"]:
    """Whether each episode is in the context: the reference stage's best, and each later one better than all before.

    The threshold delta is the lowest Q so far, from the reference stage on. A later episode enters the context only if
    its Q is strictly below delta, and its Q is the new delta; otherwise nothing changes. (IDAQ, section 4.3. The
    reference code compares strictly, with the best score so far.)
    """
    accepted = np.zeros(scores_nP.shape, bool)
    accepted[scores_nP[:reference].argmin(0), np.arange(scores_nP.shape[1])] = True
    delta_nP = np.minimum.accumulate(scores_nP, 0)
    accepted[reference:] = scores_nP[reference:] < delta_nP[reference - 1 : -1]
    return accepted


def best_episodes(
    scores_nP: Float[np.ndarray, "n P"], played_nPZ: Float[np.ndarray, "n P Z"], count: int
) -> Bool[np.ndarray, "n P"]:
    """The `count` episodes with the lowest Q.

    Equal scores (a sparse reward not met) are ranked by the distance of their latents to the best episode's.
    """
    problem = np.arange(len(scores_nP.T))
    to_best = ((played_nPZ - played_nPZ[scores_nP.argmin(0), problem]) ** 2).sum(-1)
    order = np.lexsort((to_best, scores_nP), axis=0)
    accepted = np.zeros(scores_nP.shape, bool)
    np.put_along_axis(accepted, order[:count], True, axis=0)
    return accepted


def best_belief(history: AdaptationHistory, uncertainty: str) -> Float[np.ndarray, "P Z"]:
    """The belief of each problem's most in-distribution episode."""
    best = history.scores(uncertainty).argmin(0)
    return np.stack(history.beliefs)[best, np.arange(history.problems)]


def belief_of_all(history: AdaptationHistory, context: int) -> Float[np.ndarray, "P Z"]:
    """One belief from all episodes so far, in-distribution or not: FOCAL online, but for a draw of episode weights."""
    if isinstance(history.agent, EpisodicAgent):
        return history.agent.infer_episodes(history.experience())
    return mixture(history, np.ones((len(history.episodes), history.problems), bool), 1, context)[:, 0]


def belief_of_experience(history: AdaptationHistory) -> Float[np.ndarray, "P Z"]:
    """The belief of whole episodes: all so far, none at the beginning."""
    agent = history.agent
    assert isinstance(agent, EpisodicAgent)  # what in-context requires
    return agent.infer_episodes(history.experience())


def in_distribution_return(history: AdaptationHistory, share: float) -> float:
    """The return `share` of the way from random actions to what the training tasks' offline episodes earn.

    -infinity for a share of 0. Raises DatasetError where random actions were not measured.
    """
    if share == 0:
        return -np.inf
    prior = history.prior
    if prior.random_return is None:
        raise DatasetError(
            "not every training task has a random reference, which offline_share asks for",
            hint="--set offline_share=0, or collect one with idaq",
        )
    return prior.random_return + share * (prior.offline_return - prior.random_return)


def where_calibrated(
    history: AdaptationHistory, uncertainty: str, floor: float, beliefs_PZ: Floats, prior_PZ: Floats
) -> Floats:
    """`beliefs_PZ` where the scores single out an in-distribution episode; the prior's draw elsewhere. -> (P, Z)

    Where the best score is the median, nothing stands out; where even the best episode earned less than `floor`, a
    return, nothing is in-distribution yet: the reference stage goes on.
    """
    scores = history.scores(uncertainty)
    best = scores.min(0)
    uncalibrated = (best == np.median(scores, 0)) | (best > (-floor if uncertainty == "return" else np.inf))
    return np.where(uncalibrated[:, None], prior_PZ, beliefs_PZ)


# -- strategies --------------------------------------------------------------------------------------------------


@config
class SearchingStrategy(Strategy):
    """Draws from the prior for a reference stage, and deploys the belief of the most in-distribution episode."""

    reference: AtLeastOne = 10
    """n_r: episodes of the reference stage"""
    candidates: AtLeastOne = 20
    """n_c: beliefs drawn for each choice of the farthest"""
    uncertainty: str = "return"
    """what scores an episode: return, prediction-error, prediction-variance, or one of yours"""

    @property
    def requires(self) -> type:
        """An agent that predicts outcomes, where predictions score the episodes."""
        return PredictingAgent if self.uncertainty in ("prediction-error", "prediction-variance") else object

    @property
    def reference_stage(self) -> int:
        """n_r"""
        return self.reference

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The most in-distribution episode's belief."""
        return history.agent.policy(best_belief(history, self.uncertainty))


@config
class Idaq(SearchingStrategy):
    """The paper's rule (IDAQ, algorithm 1): calibrate a threshold on the prior, then explore from what it accepts."""

    context: Context = 100
    """transitions drawn from the accepted episodes for each belief"""

    @property
    def role(self) -> Role:
        """The method itself under the uncertainty that the paper reports; a variant under others."""
        return "method" if self.uncertainty == "return" else "variant"

    def explore(self, history: AdaptationHistory) -> Policy:
        """Reference stage: spread over the prior. Iterative stage: spread over beliefs of the accepted episodes."""
        if len(history.episodes) < self.reference:
            return history.agent.policy(from_prior(history, self.candidates))
        accepted = accepted_by_idaq(history.scores(self.uncertainty), self.reference)
        drawn = pooled(history, accepted, self.candidates, self.context)
        return history.agent.policy(farthest(drawn, history.beliefs))


@config
class IdaqMixture(SearchingStrategy):
    """Our variant of idaq: after the reference stage, mixtures of the `num_accepted` best episodes."""

    context: Context = 100
    """transitions drawn from the best episodes for each belief"""
    num_accepted: AtLeastOne = 3
    """how many of the best episodes are mixed"""
    offline_share: Share = 0.0
    """an episode counts as in-distribution only with a return of at least this share of the way from random actions to
    what the training tasks' offline episodes earn; until one does, the reference stage goes on. 0: no such floor"""

    @property
    def role(self) -> Role:
        """A variant of the method."""
        return "variant"

    def explore(self, history: AdaptationHistory) -> Policy:
        """Reference stage: spread over the prior. Then: spread over mixtures of the best episodes."""
        prior, floor = from_prior(history, self.candidates), in_distribution_return(history, self.offline_share)
        if len(history.episodes) < self.reference:
            return history.agent.policy(prior)
        accepted = best_episodes(history.scores(self.uncertainty), np.stack(history.beliefs), self.num_accepted)
        drawn = farthest(mixture(history, accepted, self.candidates, self.context), history.beliefs)
        return history.agent.policy(where_calibrated(history, self.uncertainty, floor, drawn, prior))


@config
class NearestTrainingTask(SearchingStrategy):
    """After the reference stage: of the training tasks' beliefs not played yet, the nearest to the best episode's.

    No belief is inferred: of the online data only the scores are used, not the transitions. The policy has been trained
    under these beliefs, and never under those between them.
    """

    offline_share: Share = 0.0
    """as for idaq-mixture"""

    def explore(self, history: AdaptationHistory) -> Policy:
        """Reference stage: spread over the prior. Then: the nearest training task's belief."""
        prior, floor = from_prior(history, self.candidates), in_distribution_return(history, self.offline_share)
        if len(history.episodes) < self.reference:
            return history.agent.policy(prior)
        best_PZ, played_nPZ = best_belief(history, self.uncertainty), np.stack(history.beliefs)
        known_MZ = history.prior.beliefs
        distances_PM = ((known_MZ - best_PZ[:, None]) ** 2).sum(-1)
        was_played_PM = (known_MZ == played_nPZ[:, :, None]).all(-1).any(0)
        nearest = known_MZ[np.where(was_played_PM, np.inf, distances_PM).argmin(-1)]
        return history.agent.policy(where_calibrated(history, self.uncertainty, floor, nearest, prior))


@config
class BestOfPrior(Strategy):
    """Searches without a belief: draws from the prior to the end, and deploys the one that earned the most."""

    candidates: AtLeastOne = 20

    @property
    def role(self) -> Role:
        """What every other strategy's difference is given to."""
        return "control"

    def explore(self, history: AdaptationHistory) -> Policy:
        """Spread over the prior."""
        return history.agent.policy(from_prior(history, self.candidates))

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The belief of the episode with the highest return."""
        return history.agent.policy(best_belief(history, "return"))


@config
class Posterior(Strategy):
    """The belief of everything seen so far, from a first draw from the prior on.

    As FOCAL online, whose published code begins with z = 0 instead, which was never seen in training.
    """

    candidates: AtLeastOne = 20
    context: Context = 100

    def explore(self, history: AdaptationHistory) -> Policy:
        """The prior first, then the belief of everything."""
        drawn = belief_of_all(history, self.context) if history.episodes else from_prior(history, self.candidates)
        return history.agent.policy(drawn)

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The belief of everything."""
        return history.agent.policy(belief_of_all(history, self.context))


@config
class RandomFirst(Strategy):
    """Uniform random actions for half the budget, once at least, then the belief of everything (CSRO online)."""

    context: Context = 100

    def explore(self, history: AdaptationHistory) -> Policy:
        """Random actions, then the belief of everything."""
        if len(history.episodes) < max(1, history.budget // 2):
            return RandomPolicy(history.agent.spec, history.problems, history.rng)
        return history.agent.policy(belief_of_all(history, self.context))

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The belief of everything."""
        return history.agent.policy(belief_of_all(history, self.context))


@config
class InContext(Strategy):
    """The own way of agents that infer from whole episodes: the belief of all own episodes, from none at all on.

    A sequence model acts while it learns, a gradient learner fine-tunes on what it has done. No draw from the prior, no
    random action, no choice among episodes (as DPT, AD, BOReL and MACAW are run online). An agent whose actions can be
    drawn explores by drawing them, and deploys the likeliest.
    """

    own_way_of: ClassVar[type] = EpisodicAgent

    @property
    def requires(self) -> type:
        """An agent that infers from whole episodes."""
        return EpisodicAgent

    def explore(self, history: AdaptationHistory) -> Policy:
        """The policy under the belief of everything so far, its actions drawn where they can be."""
        agent = history.agent
        if isinstance(agent, SamplingAgent):
            return agent.sampled_policy(belief_of_experience(history), history.rng)
        return self.deploy(history)

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The policy under the belief of everything so far."""
        return history.agent.policy(belief_of_experience(history))


@config
class OfflineContext(Strategy):
    """The belief from the test task's own offline data, as the literature's offline protocol gives it: a reference."""

    uses_offline_data: ClassVar[bool] = True
    offline_context: Context = 400
    """offline transitions behind each belief"""

    @property
    def role(self) -> Role:
        """It is told what the others must find out."""
        return "reference"

    def explore(self, history: AdaptationHistory) -> Policy:
        """The belief from offline data."""
        return self.deploy(history)

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The belief from offline data. Raises RunError without such data."""
        if history.offline is None:
            raise RunError("offline-context needs the dataset, for the test tasks' own data", hint="--root FOLDER")
        return history.agent.policy(history.offline(self.offline_context))


IDAQ_PREDICTION_ERROR = Idaq(uncertainty="prediction-error")
IDAQ_PREDICTION_VARIANCE = Idaq(uncertainty="prediction-variance")
NEAREST_PREDICTION_ERROR = NearestTrainingTask(uncertainty="prediction-error")
NEAREST_PREDICTION_VARIANCE = NearestTrainingTask(uncertainty="prediction-variance")
