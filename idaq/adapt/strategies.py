"""Adaptation strategies: which latent z to try next, and which to deploy. Each is named for what it does.

`idaq` is the paper's rule, under one of three uncertainties. `idaq-mixture` and `nearest-training-task` are our own
variants of it: the first mixes the best episodes, the second infers no belief at all. The others are rivals and
controls; `offline-context` is a reference, not a bound: other latents may serve the policy better.

All work on P problems (test task x seed) at once. Shapes: P problems, n episodes so far, T steps, Z latent,
C candidates.
A strategy is two functions of the trial so far; it holds no state of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from idaq.adapt.config import AdaptConfig, UncertaintyName
from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.uncertainty import Scores
from idaq.learn.agent import Agent
from idaq.loader.transitions import Floats


@dataclass(kw_only=True)
class Trial:
    """What P problems have been through under one strategy."""

    agent: Agent
    config: AdaptConfig
    prior: Floats
    """(M, Z) beliefs of training tasks"""
    offline: Floats
    """(P, Z) beliefs from each test task's own offline data; only `offline-context` may look"""
    rng: np.random.Generator
    loosest: float = np.inf
    """delta when no episode has been seen: scores above it are out of distribution, however good among their like"""
    tried: list[Floats] = field(default_factory=list)
    """n x (P, Z)"""
    episodes: list[EpisodeBatch] = field(default_factory=list)
    """n x P episodes"""
    embeddings: list[Floats] = field(default_factory=list)
    """n x (P, T, Z): every transition passes the encoder once, however many beliefs are drawn from it"""
    scores: list[Scores] = field(default_factory=list)
    """n x (P,) uncertainty of each episode, lower is better"""

    @property
    def problems(self) -> int:
        return len(self.offline)


Explore = Callable[[Trial], Floats | None]
"""latents (P, Z) of the next episode; None = act at random"""
Deploy = Callable[[Trial], Floats]
"""latents (P, Z) to be used from now on"""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How to explore and what to deploy; `uncertainty` scores its episodes."""

    explore: Explore
    deploy: Deploy
    uncertainty: UncertaintyName = "return"
    has_reference_stage: bool = False
    """whether it draws from the prior alone for the first `config.reference` episodes"""


def farthest(
    candidates_PCZ: Float[np.ndarray, "P C Z"], tried: list[Float[np.ndarray, "P Z"]]
) -> Float[np.ndarray, "P Z"]:
    """Of each problem's candidates, the one whose nearest tried latent is farthest (max-min distance). -> (P, Z)"""
    rows = np.arange(len(candidates_PCZ))
    if not tried:
        return candidates_PCZ[:, 0]
    tried_PnZ = np.stack(tried, 1)
    squares = ((candidates_PCZ[:, :, None] - tried_PnZ[:, None]) ** 2).sum(-1)
    return candidates_PCZ[rows, squares.min(-1).argmax(-1)]


def from_prior(trial: Trial) -> Floats:
    """The farthest of n_c draws from the prior: beliefs of random training tasks."""
    draws = trial.rng.integers(len(trial.prior), size=(trial.problems, trial.config.candidates))
    return farthest(trial.prior[draws], trial.tried)


def pooled(trial: Trial, accepted_nP: Bool[np.ndarray, "n P"], draws: int) -> Float[np.ndarray, "P {draws} Z"]:
    """`draws` beliefs of each problem, each of `config.context` transitions of its accepted episodes, all alike.

    The encoder is deterministic, so a belief varies through the transitions that are drawn alone. -> (P, draws, Z)
    """
    lengths_nP = np.stack([batch.valid.sum(1) for batch in trial.episodes])
    weights_P1n = (accepted_nP * lengths_nP.astype(np.float64)).T[:, None]
    return _belief(trial, weights_P1n.repeat(draws, 1))


def mixture(trial: Trial, accepted_nP: Bool[np.ndarray, "n P"], draws: int) -> Float[np.ndarray, "P {draws} Z"]:
    """`draws` beliefs of each problem, each from a Bayesian bootstrap of its accepted episodes. -> (P, draws, Z)

    Each draw weighs the accepted episodes by a flat Dirichlet sample and takes `config.context` of their transitions.
    Draws thus spread between the latents that the accepted episodes point to.
    """
    shape = (trial.problems, draws, len(accepted_nP))
    return _belief(trial, trial.rng.exponential(size=shape) * accepted_nP.T[:, None])


def _belief(trial: Trial, weights: Float[np.ndarray, "P C n"]) -> Float[np.ndarray, "P C Z"]:
    """Mean embedding of `config.context` transitions of episodes drawn by weight. -> (P, C, Z)"""
    problems, draws, _ = weights.shape
    edges = (weights / weights.sum(-1, keepdims=True)).cumsum(-1)
    episode = (trial.rng.random((problems, draws, trial.config.context, 1)) > edges[:, :, None, :-1]).sum(-1)
    p = np.arange(problems)[:, None, None]
    lengths_nP = np.stack([batch.valid.sum(1) for batch in trial.episodes])
    step = (trial.rng.random(episode.shape) * lengths_nP[episode, p]).astype(np.int64)
    return np.stack(trial.embeddings)[episode, p, step].mean(2)


def accepted_by_idaq(scores_nP: Float[np.ndarray, "n P"], reference: int) -> Bool[np.ndarray, "n P"]:
    """Which episodes are in the context: the best of the reference stage, and every later one that beat all before it.

    The reference stage calibrates the threshold delta: the lowest Q so far. An episode enters the context only with a
    Q strictly below it, which is then the new delta. Rejection changes nothing. (IDAQ, section 4.3; the strict
    comparison with the best score so far is the reference code's.)
    """
    accepted = np.zeros(scores_nP.shape, bool)
    accepted[scores_nP[:reference].argmin(0), np.arange(scores_nP.shape[1])] = True
    delta_nP = np.minimum.accumulate(scores_nP, 0)
    accepted[reference:] = scores_nP[reference:] < delta_nP[reference - 1 : -1]
    return accepted


def best_episodes(
    scores_nP: Float[np.ndarray, "n P"], tried_nPZ: Float[np.ndarray, "n P Z"], count: int
) -> Bool[np.ndarray, "n P"]:
    """The `count` episodes with the lowest Q.

    Equal scores (a sparse reward not met) are ranked by the distance of their latents to the best episode's.
    """
    problem = np.arange(scores_nP.shape[1])
    to_best = ((tried_nPZ - tried_nPZ[scores_nP.argmin(0), problem]) ** 2).sum(-1)
    order = np.lexsort((to_best, scores_nP), axis=0)
    accepted = np.zeros(scores_nP.shape, bool)
    np.put_along_axis(accepted, order[:count], True, axis=0)
    return accepted


def idaq_explore(trial: Trial) -> Floats:
    """The paper's rule. Reference stage: spread over the prior. Iterative stage: spread over the belief of the context
    that the threshold has let in."""
    if len(trial.episodes) < trial.config.reference:
        return from_prior(trial)
    accepted = accepted_by_idaq(np.stack(trial.scores), trial.config.reference)
    return farthest(pooled(trial, accepted, trial.config.candidates), trial.tried)


def mixture_explore(trial: Trial) -> Floats:
    """After the reference stage: spread over mixtures of the `num_accepted` best episodes."""
    prior = from_prior(trial)
    if len(trial.episodes) < trial.config.reference:
        return prior
    accepted = best_episodes(np.stack(trial.scores), np.stack(trial.tried), trial.config.num_accepted)
    return _where_calibrated(trial, farthest(mixture(trial, accepted, trial.config.candidates), trial.tried), prior)


def nearest_explore(trial: Trial) -> Floats:
    """After the reference stage: of the training tasks' latents not tried yet, the nearest to the best episode's.

    No belief is inferred: what the online transitions say of the task is not asked, their returns alone are. The policy
    has been trained under these latents, and never under those between them.
    """
    prior = from_prior(trial)
    if len(trial.episodes) < trial.config.reference:
        return prior
    best_PZ, tried_nPZ = best_episode(trial), np.stack(trial.tried)
    distances_PM = ((trial.prior - best_PZ[:, None]) ** 2).sum(-1)
    was_tried_PM = (trial.prior == tried_nPZ[:, :, None]).all(-1).any(0)
    return _where_calibrated(trial, trial.prior[np.where(was_tried_PM, np.inf, distances_PM).argmin(-1)], prior)


def _where_calibrated(trial: Trial, latents_PZ: Floats, prior_PZ: Floats) -> Floats:
    """`latents_PZ` where the scores single out an episode below the loosest threshold; the prior's draw elsewhere.

    Where the best score is the median, nothing stands out; where even the best lies above the loosest threshold,
    nothing is in-distribution yet: the reference stage goes on.
    """
    scores = np.stack(trial.scores)
    best = scores.min(0)
    uncalibrated = (best == np.median(scores, 0)) | (best > trial.loosest)
    return np.where(uncalibrated[:, None], prior_PZ, latents_PZ)


def best_episode(trial: Trial) -> Floats:
    """The latent of the most in-distribution episode."""
    best = np.stack(trial.scores).argmin(0)
    return np.stack(trial.tried)[best, np.arange(trial.problems)]


def everything(trial: Trial) -> Floats:
    """A belief of all episodes seen, none of them judged: FOCAL online, but for the Bayesian bootstrap's one draw."""
    return mixture(trial, np.ones((len(trial.episodes), trial.problems), bool), 1)[:, 0]


def posterior_explore(trial: Trial) -> Floats:
    """A draw from the prior first, then the belief given everything.

    As FOCAL online, whose published code begins with z = 0 instead, never seen in training.
    """
    return everything(trial) if trial.episodes else from_prior(trial)


def random_explore(trial: Trial) -> Floats | None:
    """Uniform random actions for half the budget, once at least, then the belief given everything (CSRO online)."""
    return None if len(trial.episodes) < max(1, trial.config.episodes // 2) else everything(trial)


def offline_context(trial: Trial) -> Floats:
    """The belief from the test task's own offline data, as the literature's offline protocol hands it over."""
    return trial.offline


def _searching(explore: Explore, uncertainty: UncertaintyName = "return") -> Strategy:
    return Strategy(explore=explore, deploy=best_episode, uncertainty=uncertainty, has_reference_stage=True)


STRATEGIES: dict[str, Strategy] = {
    "idaq": _searching(idaq_explore),
    "idaq-prediction-error": _searching(idaq_explore, "prediction-error"),
    "idaq-prediction-variance": _searching(idaq_explore, "prediction-variance"),
    "idaq-mixture": _searching(mixture_explore),
    "nearest-training-task": _searching(nearest_explore),
    "nearest-training-task-prediction-error": _searching(nearest_explore, "prediction-error"),
    "nearest-training-task-prediction-variance": _searching(nearest_explore, "prediction-variance"),
    "best-of-prior": Strategy(explore=from_prior, deploy=best_episode),
    "posterior": Strategy(explore=posterior_explore, deploy=everything),
    "random-first": Strategy(explore=random_explore, deploy=everything),
    "offline-context": Strategy(explore=offline_context, deploy=offline_context),
}
