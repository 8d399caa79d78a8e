"""Adaptation strategies: which latent z to try next, and which to deploy. IDAQ and its rivals, as equals.

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
    oracle: Floats
    """(P, Z) beliefs from each test task's own offline data; only the oracle may look"""
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
        return len(self.oracle)


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


def belief(trial: Trial, accepted_nP: Bool[np.ndarray, "n P"], draws: int) -> Float[np.ndarray, "P {draws} Z"]:
    """`draws` beliefs of each problem, each from a Bayesian bootstrap of its accepted episodes. -> (P, draws, Z)

    The encoder is deterministic, so the belief is a distribution only through its context: each draw weighs the
    accepted episodes by a flat Dirichlet sample and takes `config.context` of their transitions. Draws thus spread
    between the latents that the accepted episodes point to.
    """
    problems, size = trial.problems, trial.config.context
    weights = trial.rng.exponential(size=(problems, draws, len(accepted_nP))) * accepted_nP.T[:, None]
    edges = (weights / weights.sum(-1, keepdims=True)).cumsum(-1)
    episode = (trial.rng.random((problems, draws, size, 1)) > edges[:, :, None, :-1]).sum(-1)
    p = np.arange(problems)[:, None, None]
    lengths_nP = np.stack([batch.valid.sum(1) for batch in trial.episodes])
    step = (trial.rng.random(episode.shape) * lengths_nP[episode, p]).astype(np.int64)
    return np.stack(trial.embeddings)[episode, p, step].mean(2)


def accepted_by_idaq(
    scores_nP: Float[np.ndarray, "n P"], tried_nPZ: Float[np.ndarray, "n P Z"], keep: int
) -> Bool[np.ndarray, "n P"]:
    """Which episodes are in-distribution: the `keep` with the lowest Q, so delta is the keep-th best score so far.

    The reference stage calibrates delta; it tightens as better episodes are accepted. Rejection changes nothing else.
    Equal scores (a sparse reward not met) are ranked by the distance of their latents to the best episode's.
    """
    problem = np.arange(scores_nP.shape[1])
    to_best = ((tried_nPZ - tried_nPZ[scores_nP.argmin(0), problem]) ** 2).sum(-1)
    order = np.lexsort((to_best, scores_nP), axis=0)
    accepted = np.zeros(scores_nP.shape, bool)
    np.put_along_axis(accepted, order[:keep], True, axis=0)
    return accepted


def neighbour(trial: Trial) -> Floats:
    """Of the training tasks' beliefs not tried yet, the nearest to the latent of the most in-distribution episode.

    The policy has been trained under these latents, and never under those between them: where tasks are few and far
    apart, that counts for more than the finer steps of a mixture.
    """
    best_PZ, tried_nPZ = best_episode(trial), np.stack(trial.tried)
    distances_PM = ((trial.prior - best_PZ[:, None]) ** 2).sum(-1)
    was_tried_PM = (trial.prior == tried_nPZ[:, :, None]).all(-1).any(0)
    return trial.prior[np.where(was_tried_PM, np.inf, distances_PM).argmin(-1)]


def idaq_explore(trial: Trial) -> Floats:
    """Reference stage: spread over the prior. Iterative stage: spread over the belief of the accepted episodes.

    Where the scores single nothing out (the best is the median), delta cannot be calibrated, and where even the best
    lies above the loosest delta, nothing is in-distribution yet: the reference stage goes on.
    """
    prior = from_prior(trial)
    if len(trial.episodes) < trial.config.reference:
        return prior
    scores = np.stack(trial.scores)
    if trial.config.iterate == "neighbour":
        posterior = neighbour(trial)
    else:
        accepted = accepted_by_idaq(scores, np.stack(trial.tried), trial.config.keep)
        posterior = farthest(belief(trial, accepted, trial.config.candidates), trial.tried)
    best = scores.min(0)
    uncalibrated = (best == np.median(scores, 0)) | (best > trial.loosest)
    return np.where(uncalibrated[:, None], prior, posterior)


def best_episode(trial: Trial) -> Floats:
    """The latent of the most in-distribution episode."""
    best = np.stack(trial.scores).argmin(0)
    return np.stack(trial.tried)[best, np.arange(trial.problems)]


def everything(trial: Trial) -> Floats:
    """The belief given every transition seen: FOCAL's posterior."""
    return belief(trial, np.ones((len(trial.episodes), trial.problems), bool), 1)[:, 0]


def posterior_explore(trial: Trial) -> Floats:
    """A draw from the prior first, then the belief given everything (FOCAL online, as published)."""
    return everything(trial) if trial.episodes else from_prior(trial)


def random_explore(trial: Trial) -> Floats | None:
    """Uniform random actions for half the budget, then the belief given everything (CSRO online)."""
    return None if len(trial.episodes) < trial.config.episodes // 2 else everything(trial)


def offline_context(trial: Trial) -> Floats:
    """The belief from the test task's own offline data: what an oracle would hand over."""
    return trial.oracle


STRATEGIES: dict[str, Strategy] = {
    "idaq-return": Strategy(explore=idaq_explore, deploy=best_episode),
    "idaq-prediction-error": Strategy(explore=idaq_explore, deploy=best_episode, uncertainty="prediction-error"),
    "idaq-prediction-variance": Strategy(explore=idaq_explore, deploy=best_episode, uncertainty="prediction-variance"),
    "best-of-prior": Strategy(explore=from_prior, deploy=best_episode),
    "posterior": Strategy(explore=posterior_explore, deploy=everything),
    "random-first": Strategy(explore=random_explore, deploy=everything),
    "oracle": Strategy(explore=offline_context, deploy=offline_context),
}
