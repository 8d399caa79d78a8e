"""What strategies make of a history: beliefs drawn from the prior or from episodes, and which episodes count.

Shapes: P problems, n episodes so far, T steps, M training tasks, Z belief, C candidates, K context transitions.
"""

import copy
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from idaq.adapt.history import AdaptationHistory
from idaq.core.errors import DatasetError
from idaq.core.types import Floats
from idaq.learn.algorithm import EmbeddingAgent, EpisodicAgent
from idaq.loader.transitions import Transitions

# -- beliefs -----------------------------------------------------------------------------------------------------


def farthest(
    candidates_PCZ: Float[np.ndarray, "P C Z"], played: list[Float[np.ndarray, "P Z"]]
) -> Float[np.ndarray, "P Z"]:
    """Of each problem's candidates, the one whose nearest played one is farthest (max-min distance). -> (P, Z)"""
    rows = np.arange(len(candidates_PCZ))
    if not played:
        return candidates_PCZ[:, 0]
    nearest_PC = np.full(candidates_PCZ.shape[:2], np.inf)
    for played_PZ in played:  # one at a time: a belief may be all the weights of a network
        nearest_PC = np.minimum(nearest_PC, ((candidates_PCZ - played_PZ[:, None]) ** 2).sum(-1))
    return candidates_PCZ[rows, nearest_PC.argmax(-1)]


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
    beliefs = history.agent.infer(seen.reshape(problems * draws, context))
    return beliefs.reshape(problems, draws, beliefs.shape[1])  # which may be 0


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


def aside(history: AdaptationHistory) -> AdaptationHistory:
    """The same history with a copy of its random numbers: what is drawn from it changes nothing that is explored."""
    return replace(history, rng=copy.deepcopy(history.rng))


# -- episodes ----------------------------------------------------------------------------------------------------


def accepted_by_idaq(
    scores_nP: Float[np.ndarray, "n P"], reference: int, moving: bool = True
) -> Bool[np.ndarray, "n P"]:
    """Whether each episode is in the context: the reference stage's best, and each later one better than all before.

    The threshold delta is the lowest Q of the reference stage. A later episode enters the context only if its Q is
    strictly below delta; where the threshold is `moving`, its Q is then the new delta. (IDAQ, section 4.3. The
    reference code compares strictly, with the best score so far.)
    """
    accepted = np.zeros(scores_nP.shape, bool)
    accepted[scores_nP[:reference].argmin(0), np.arange(scores_nP.shape[1])] = True
    delta_nP = np.minimum.accumulate(scores_nP, 0)[reference - 1 : -1]
    accepted[reference:] = scores_nP[reference:] < (delta_nP if moving else delta_nP[:1])
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


def belief_of_experience(history: AdaptationHistory) -> Float[np.ndarray, "P Z"]:
    """The belief of whole episodes: all so far, none at the beginning."""
    agent = history.agent
    assert isinstance(agent, EpisodicAgent)  # what in-context requires
    return agent.infer_episodes(history.experience())


def belief_of_all(history: AdaptationHistory, context: int) -> Float[np.ndarray, "P Z"]:
    """One belief from all episodes so far, in-distribution or not: FOCAL online, but for a draw of episode weights."""
    if isinstance(history.agent, EpisodicAgent):
        return history.agent.infer_episodes(history.experience())
    return mixture(history, np.ones((len(history.episodes), history.problems), bool), 1, context)[:, 0]


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
