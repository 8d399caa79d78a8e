"""Search among beliefs by a Gaussian process whose only observation is an episode's return.

It is told no more than `best-of-prior`: the training tasks' beliefs and its own returns. But it takes beliefs that are
near each other to earn alike, so that one episode says something of all.

Shapes: P problems, n episodes so far, M training tasks, Z belief, C candidates.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from pydantic import Field

from idaq.adapt.between import distances, distinct, principal_axes, with_half_way
from idaq.adapt.config import Role
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import Policy
from idaq.adapt.strategy import Strategy
from idaq.core.config import config
from idaq.core.errors import RunError
from idaq.core.types import AtLeastOne, Doubles

LENGTHS = (0.2, 0.4, 0.8)
"""length scales of the kernel, as shares of the candidates' median distance"""
NOISES = (0.0, 0.01, 0.1)
"""variances of a return when a belief is played again, as shares of the variance between beliefs"""
CLEARLY = 0.9
"""how likely noise must be before any is put in: what is rough between beliefs looks like noise too"""
DEGREES = 4.0
"""how many episodes the prior scale of returns counts as"""
_JITTER = 1e-6

Returns = Float64[np.ndarray, "P n"]
Played = Int64[np.ndarray, "P n"]


@config
class GaussianProcess(Strategy):
    """Plays the candidate of the highest acquisition, and deploys the played one of the highest expected return.

    The first episode is under the prior's medoid. A candidate is played again only where the returns are taken to be
    noisy, or none is left. Gaussian-process bandits: Srinivas et al., ICML 2010 (ucb); expected improvement: Jones,
    Schonlau and Welch, Journal of Global Optimization 1998; a draw from the posterior: Thompson, Biometrika 1933.
    """

    acquisition: Literal["ucb", "thompson", "ei"] = "ucb"
    """ucb: mean + beta standard deviations; thompson: a draw from the posterior; ei: expected improvement"""
    beta: Annotated[float, Field(ge=0)] = 3.0
    """standard deviations above the mean, for ucb"""
    features: Literal["latents", "principal-components"] = "principal-components"
    """where beliefs are near each other: as they are, or in the prior's first principal components; there, points
    half-way between neighbours are candidates too"""
    components: AtLeastOne = 3
    """how many principal components"""

    @property
    def role(self) -> Role:
        """It searches among beliefs as the method does, by another rule."""
        return "variant"

    @property
    def anytime(self) -> bool:
        """It does the same to the end."""
        return True

    def explore(self, history: AdaptationHistory) -> Policy:
        """The medoid of the prior first; then the candidate of the highest acquisition."""
        candidates = self._candidates(history)
        if not history.episodes:
            return history.agent.policy(candidates.beliefs[np.full(history.problems, candidates.medoid)])
        seen = _seen(history, candidates)
        values_PC = self._acquired(history, seen)
        again_P = seen.noisy | seen.was_played.all(1)
        chosen = np.where(seen.was_played & ~again_P[:, None], -np.inf, values_PC).argmax(1)
        return history.agent.policy(candidates.beliefs[chosen])

    def deploy(self, history: AdaptationHistory) -> Policy:
        """Of the candidates played, the one of the highest expected return: the best return where nothing is noisy."""
        candidates = self._candidates(history)
        seen = _seen(history, candidates)
        best = np.where(seen.was_played, seen.mean, -np.inf).argmax(1)
        return history.agent.policy(candidates.beliefs[best])

    def _candidates(self, history: AdaptationHistory) -> "Candidates":
        if self.features == "latents":
            return Candidates.of_latents(history.prior.beliefs)
        return Candidates.of_components(history.prior.beliefs, self.components)

    def _acquired(self, history: AdaptationHistory, seen: "Seen") -> Float64[np.ndarray, "P C"]:
        if self.acquisition == "thompson":
            return seen.drawn(history.rng)
        if self.acquisition == "ei":
            best = np.where(seen.was_played, seen.mean, -np.inf).max(1, keepdims=True)
            return expected_improvement(seen.mean, seen.deviation, best)
        return seen.mean + self.beta * seen.deviation


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What may be played."""

    beliefs: Float32[np.ndarray, "C Z"]
    """no two alike, those of training tasks first"""
    distances: Float64[np.ndarray, "C C"]
    """between their features"""

    @classmethod
    def of_latents(cls, prior_MZ: Float32[np.ndarray, "M Z"]) -> "Candidates":
        """The prior's beliefs."""
        beliefs = distinct(prior_MZ)
        return cls(beliefs=beliefs, distances=distances(beliefs))

    @classmethod
    def of_components(cls, prior_MZ: Float32[np.ndarray, "M Z"], count: int) -> "Candidates":
        """Those half-way between neighbours too, in the space of the first `count` principal components."""
        axes = principal_axes(prior_MZ, count)
        beliefs = with_half_way(distinct(prior_MZ), axes)
        return cls(beliefs=beliefs, distances=distances(beliefs @ axes))

    @property
    def medoid(self) -> int:
        """The one that is nearest to all others, in the mean."""
        return int(self.distances.mean(1).argmin())

    def index(self, played_PZ: Float32[np.ndarray, "P Z"]) -> Int64[np.ndarray, " P"]:
        """Which ones were played. Raises RunError for what is none."""
        places = {belief.tobytes(): place for place, belief in enumerate(self.beliefs)}
        try:
            return np.array([places[belief.tobytes()] for belief in played_PZ])
        except KeyError:
            raise RunError(
                "gaussian-process: an episode's policy does not say under which belief it was played",
                hint="give the agent's policies their `beliefs`, or choose another strategy",
            ) from None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The posterior under one length scale and one noise."""

    kernel: Float64[np.ndarray, "C C"]
    noise: float
    mean: Float64[np.ndarray, "P C"]
    explained: Float64[np.ndarray, "P n C"]
    """L^-1 k: its square is the variance that the episodes have taken away, in units of `scale`"""
    scale: Float64[np.ndarray, " P"]
    """variance between beliefs"""
    log_likelihood: Float64[np.ndarray, " P"]
    """of the returns, up to what is the same under all"""

    @property
    def variance(self) -> Float64[np.ndarray, "P C"]:
        """Of what a candidate earns, without an episode's noise."""
        left = np.diag(self.kernel) - (self.explained**2).sum(1)
        return self.scale[:, None] * np.maximum(left, 0)

    def drawn(self, problem: int, normal_C: Doubles) -> Doubles:
        """One problem's returns of all candidates, drawn from the posterior. (C,)"""
        explained = self.explained[problem]
        left = self.kernel - explained.T @ explained + _JITTER * np.eye(len(self.kernel))
        root: Doubles = np.asarray(np.linalg.cholesky(left), np.float64)
        return self.mean[problem] + np.sqrt(self.scale[problem]) * (root @ normal_C)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the episodes so far say of each candidate: a mixture of fits, weighed by their marginal likelihoods."""

    fits: tuple[Fit, ...]
    weights: Float64[np.ndarray, "G P"]
    noisy: Bool[np.ndarray, " P"]
    """where returns are taken to be noisy"""
    was_played: Bool[np.ndarray, "P C"]

    @property
    def mean(self) -> Float64[np.ndarray, "P C"]:
        """Expected returns, in `units`."""
        return self._mixed(np.stack([one.mean for one in self.fits]))

    @property
    def deviation(self) -> Float64[np.ndarray, "P C"]:
        """Their standard deviations: within the fits and between them."""
        second = self._mixed(np.stack([one.variance + one.mean**2 for one in self.fits]))
        return np.sqrt(np.maximum(second - self.mean**2, 0))

    def drawn(self, rng: np.random.Generator) -> Float64[np.ndarray, "P C"]:
        """One draw of each problem from the mixture."""
        edges: Doubles = np.cumsum(self.weights[:-1], 0)
        which_P = (rng.random(len(self.was_played)) > edges).sum(0)
        normal_PC = rng.standard_normal(self.was_played.shape)
        draws = enumerate(zip(which_P, normal_PC, strict=True))
        return np.stack([self.fits[int(which)].drawn(problem, normal_C) for problem, (which, normal_C) in draws])

    def _mixed(self, values_GPC: Float64[np.ndarray, "G P C"]) -> Float64[np.ndarray, "P C"]:
        return (self.weights[..., None] * values_GPC).sum(0)


def fit(kernel: Float64[np.ndarray, "C C"], noise: float, played: Played, returns: Returns) -> Fit:
    """The posterior of what each candidate earns; `returns` have mean 0 and a scale of 1 before any is seen.

    f ~ N(0, s K), y = f + e, e ~ N(0, s noise), and an inverse gamma prior of `DEGREES` degrees on the variance s: a
    Student-t process (Shah, Wilson and Ghahramani, AISTATS 2014; the algebra as in Rasmussen and Williams, Gaussian
    Processes for Machine Learning, 2006, algorithm 2.1).

        mean = k' A^-1 y,  variance = s (K - k' A^-1 k),  A = K + noise I,  s = (DEGREES + y' A^-1 y) / (DEGREES + n)
        log p(y) = -1/2 log |A| - (DEGREES + n)/2 log(1 + y' A^-1 y / DEGREES) + constant
    """
    count = returns.shape[1]
    covariance = kernel[played[:, :, None], played[:, None]] + (noise + _JITTER) * np.eye(count)
    lower = np.linalg.cholesky(covariance)
    solved = np.linalg.solve(lower, np.concatenate([kernel[played], returns[..., None]], -1))
    explained, residual = solved[..., :-1], solved[..., -1]
    misfit = (residual**2).sum(1)
    log_determinant = 2 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(1)
    return Fit(
        kernel=kernel,
        noise=noise,
        mean=(residual[:, None] @ explained)[:, 0],
        explained=explained,
        scale=(DEGREES + misfit) / (DEGREES + count),
        log_likelihood=-log_determinant / 2 - (DEGREES + count) / 2 * np.log1p(misfit / DEGREES),
    )


def posterior(distances: Float64[np.ndarray, "C C"], played: Played, returns: Returns) -> Seen:
    """The fits under every length scale, and under every noise where noise is clearly likelier than none."""
    fits = tuple(fit(kernel, noise, played, returns) for kernel in _kernels(distances) for noise in NOISES)
    log_likelihoods = np.stack([one.log_likelihood for one in fits])
    has_noise = np.array([one.noise > 0 for one in fits])[:, None]
    noisy = (_shares(log_likelihoods) * has_noise).sum(0) > CLEARLY
    noisy &= ~exactly_repeated(played, returns)
    weights = _shares(np.where(has_noise & ~noisy, -np.inf, log_likelihoods))
    was_played = (played[..., None] == np.arange(len(distances))).any(1)
    return Seen(fits=fits, weights=weights, noisy=noisy, was_played=was_played)


def _shares(log_likelihoods: Float64[np.ndarray, "G P"]) -> Float64[np.ndarray, "G P"]:
    likelihoods = np.exp(log_likelihoods - log_likelihoods.max(0))
    return likelihoods / likelihoods.sum(0)


def exactly_repeated(played: Played, returns: Returns) -> Bool[np.ndarray, " P"]:
    """Whether some candidate was played twice and earned the same: then nothing is noise."""
    same = (played[:, :, None] == played[:, None]) & (returns[:, :, None] == returns[:, None])
    return same.sum((1, 2)) > played.shape[1]


def expected_improvement(
    mean: Float64[np.ndarray, "L C"], deviation: Float64[np.ndarray, "#L C"], best: Float64[np.ndarray, "#L 1"] | float
) -> Float64[np.ndarray, "L C"]:
    """E max(0, f - best) of a normal f. (Jones et al. 1998)"""
    gain = mean - best
    u = gain / np.maximum(deviation, 1e-12)
    below = np.fromiter(map(math.erf, (u / math.sqrt(2)).flat), float, u.size).reshape(u.shape) / 2 + 0.5
    return gain * below + deviation * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)


def units(history: AdaptationHistory) -> Returns:
    """Returns with 0 for random actions, and 1 half the way from there to the training tasks' offline episodes.

    Where random actions were not measured, or earn as much, each problem's own returns have mean 0 and deviation 1.
    """
    returns, prior = -history.scores("return").T, history.prior
    if prior.random_return is None or prior.random_return == prior.offline_return:
        spread = returns.std(1, keepdims=True)
        return (returns - returns.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)
    return (returns - prior.random_return) / (abs(prior.offline_return - prior.random_return) / 2)


def _seen(history: AdaptationHistory, candidates: Candidates) -> Seen:
    played = np.stack([candidates.index(beliefs) for beliefs in history.beliefs], 1)
    return posterior(candidates.distances, played, units(history))


def _kernels(distances: Float64[np.ndarray, "C C"]) -> Iterator[Float64[np.ndarray, "C C"]]:
    """exp(-d^2 / 2 l^2) for every length scale l."""
    apart = distances[distances > 0]
    median = float(np.median(apart)) if apart.size else 1.0
    for share in LENGTHS:
        yield np.exp(-((distances / (share * median)) ** 2) / 2)
