"""Policy reuse: a new task is one more row of the table of cross returns, of which each episode reveals one entry.

Bayesian Policy Reuse (Rosman, Hawasly, Ramamoorthy, Machine Learning 104, 2016) keeps a library of policies, what each
earns on the tasks known so far, and a belief over tasks that a return updates. Here the library is the prior: the
policies under the training tasks' beliefs. The belief over the new task's returns is a kernel density estimate around
the rows of the training tasks, shrunk to their mean so that its mean and covariance are the rows' (Liu and West, in
Sequential Monte Carlo Methods in Practice, 2001), plus independent noise: a mixture of Gaussians, in closed form.

Shapes: H training tasks (rows), M beliefs of the prior (arms), n episodes so far, P problems, O outcomes, C arms to
choose from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from jaxtyping import Float32, Float64, Int64
from pydantic import Field

from idaq.adapt.beliefs import best_belief
from idaq.adapt.between import Between, points_between
from idaq.adapt.config import Role
from idaq.adapt.gaussian_process import expected_improvement
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import Policy
from idaq.adapt.strategy import Strategy
from idaq.core.config import config
from idaq.core.errors import RunError
from idaq.core.seeds import generator
from idaq.learn.cross_returns import CrossReturns

Arms = Int64[np.ndarray, "n"]
Returns = Float64[np.ndarray, "n"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
SPREADS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""tried where none is given"""
_SEEN = (1, 2, 4)
"""arms seen, where spreads are compared"""
_AGAIN = 1e-3
"""noise at least, in deviations: two arms may be the same, or one be played again"""
_NODES, _NODE_WEIGHTS = np.array([-np.sqrt(3), 0, np.sqrt(3)]), np.array([1, 4, 1]) / 6
"""three points of a standard normal distribution, exact to the fifth power (Gauss-Hermite)"""
_NEGLIGIBLE = 1e-3
"""rows below this share of the likeliest row's weight are left out where what an episode would tell is asked for"""


@dataclass(frozen=True, kw_only=True)
class ReturnModel:
    """The distribution of a new task's returns before an episode is seen: a mixture of Gaussians of one covariance."""

    centres: Float64[np.ndarray, "H M"]
    covariance: Float64[np.ndarray, "M M"]
    noise: Float64[np.ndarray, "M"]
    """variance of an episode's return around its mean"""


@lru_cache(maxsize=8)
def return_model(cross: CrossReturns, bandwidth: float, spread: float | None) -> ReturnModel:
    """centres = mean + sqrt(1 - h^2) (row - mean); covariance = h^2 cov(rows) + (s * std of all returns)^2 I.

    For a spread of None, s is the one under which each training task is likeliest by the others.
    """
    if spread is None:
        cases = _left_out(cross)
        spread = max(SPREADS, key=lambda s: sum(_log_likelihood(cross, bandwidth, s, *case) for case in cases))
    return _model(cross.means, bandwidth, spread * (float(cross.means.std()) or 1.0), cross.noise)


def _model(rows_HM: Float64[np.ndarray, "H M"], bandwidth: float, deviation: float, noise_M: Returns) -> ReturnModel:
    mean, arms = rows_HM.mean(0), rows_HM.shape[1]
    return ReturnModel(
        centres=mean + np.sqrt(1 - bandwidth**2) * (rows_HM - mean),
        covariance=bandwidth**2 * np.cov(rows_HM.T, bias=True).reshape(arms, arms) + deviation**2 * np.eye(arms),
        noise=noise_M**2 + (_AGAIN * deviation) ** 2,
    )


def _left_out(cross: CrossReturns) -> list[tuple[int, Arms]]:
    """Cases to judge a spread by: a training task, and a few arms that were seen of it."""
    rows, arms = cross.means.shape
    rng = generator(0)
    return [(row, rng.permutation(arms)[:count]) for row in range(rows) for count in _SEEN if rows > 1 and count < arms]


def _log_likelihood(cross: CrossReturns, bandwidth: float, spread: float, row: int, arms: Arms) -> float:
    """Mean log density of the returns of all other arms on a task, by the other tasks and what its `arms` earned."""
    truth, rows = cross.means[row], np.delete(cross.means, row, 0)
    model = _model(rows, bandwidth, spread * (float(cross.means.std()) or 1.0), cross.noise)
    weights_OH, means_OHM = expected_returns(model, arms, truth[arms][None])
    unseen = np.setdiff1d(np.arange(len(truth)), arms)
    variance = (remaining_variance(model, arms) + model.noise)[unseen]
    log_HU = -0.5 * ((truth - means_OHM[0])[:, unseen] ** 2 / variance + np.log(2 * np.pi * variance))
    with np.errstate(divide="ignore"):  # a component of no weight
        return float(np.logaddexp.reduce(np.log(weights_OH[0])[:, None] + log_HU, 0).mean())


def expected_returns(
    model: ReturnModel, arms: Arms, returns_On: Float64[np.ndarray, "O n"]
) -> tuple[Float64[np.ndarray, "O H"], Float64[np.ndarray, "O H M"]]:
    """Weight of each component, and its mean of every arm, given that the `arms` earned `returns`; O cases at once.

    w_h ~ N(y; centre_h[arms], S), S = covariance[arms, arms] + diag(noise[arms]);
    mean_h = centre_h + covariance[:, arms] S^-1 (y - centre_h[arms]).
    """
    weights_OH, off_OHn, gain_nM = _updated(model, arms, returns_On)
    return weights_OH, model.centres + off_OHn @ gain_nM


def mean_returns(model: ReturnModel, arms: Arms, returns_On: Float64[np.ndarray, "O n"]) -> Float64[np.ndarray, "O M"]:
    """Of every arm, given that the `arms` earned `returns`: the components' means in the mean, without each of them."""
    weights_OH, off_OHn, gain_nM = _updated(model, arms, returns_On)
    return weights_OH @ model.centres + np.einsum("oh,ohn->on", weights_OH, off_OHn) @ gain_nM


def _updated(
    model: ReturnModel, arms: Arms, returns_On: Float64[np.ndarray, "O n"]
) -> tuple[Float64[np.ndarray, "O H"], Float64[np.ndarray, "O H n"], Float64[np.ndarray, "n M"]]:
    """Weights of the components, how far the returns are off each, and what an arm's mean makes of that: S^-1 cov."""
    off_OHn = returns_On[:, None] - model.centres[:, arms]
    seen = model.covariance[np.ix_(arms, arms)] + np.diag(model.noise[arms])
    whitened = np.linalg.solve(np.linalg.cholesky(seen), np.eye(len(arms)))
    log_OH = -0.5 * ((off_OHn @ whitened.T) ** 2).sum(-1)
    weights_OH = np.exp(log_OH - log_OH.max(1, keepdims=True))
    return weights_OH / weights_OH.sum(1, keepdims=True), off_OHn, whitened.T @ (whitened @ model.covariance[arms])


def remaining_variance(model: ReturnModel, arms: Arms) -> Float64[np.ndarray, "M"]:
    """Of each arm's mean return within a component, once the `arms` were seen."""
    if not len(arms):
        return np.diag(model.covariance)
    seen = model.covariance[np.ix_(arms, arms)] + np.diag(model.noise[arms])
    explained = np.einsum("nm,nm->m", model.covariance[arms], np.linalg.solve(seen, model.covariance[arms]))
    return np.maximum(np.diag(model.covariance) - explained, 0)


def value_of_information(model: ReturnModel, arms: Arms, returns_n: Returns, arm: int) -> float:
    """The return that can be expected of the best arm once `arm` has been played too (knowledge gradient: Frazier et
    al., SIAM J. Control Optim. 2008). What it may earn: three points of each likely component."""
    weights_OH, means_OHM = expected_returns(model, arms, returns_n[None])
    likely = np.flatnonzero(weights_OH[0] >= _NEGLIGIBLE * weights_OH[0].max())
    deviation = np.sqrt(remaining_variance(model, arms)[arm] + model.noise[arm])
    outcomes = (means_OHM[0, likely, arm, None] + deviation * _NODES).ravel()
    weights = (weights_OH[0, likely, None] * _NODE_WEIGHTS).ravel()
    after = np.column_stack([np.tile(returns_n, (len(outcomes), 1)), outcomes])
    among = replace(model, centres=model.centres[likely])
    return float(weights @ mean_returns(among, np.append(arms, arm), after).max(1) / weights.sum())


@dataclass(frozen=True, kw_only=True)
class Library:
    """What may be played, and what it may earn."""

    beliefs: Float32[np.ndarray, "M Z"]
    model: ReturnModel


def library(beliefs: Float32[np.ndarray, "M Z"], model: ReturnModel, between: Between | None) -> Library:
    """The prior's beliefs, and the points between them: r = weights @ the beliefs' r + what is unknown."""
    if between is None:
        return Library(beliefs=beliefs, model=model)
    told = between.weights @ model.covariance
    return Library(
        beliefs=np.concatenate([beliefs, between.beliefs]),
        model=ReturnModel(
            centres=np.hstack([model.centres, model.centres @ between.weights.T]),
            covariance=np.block([[model.covariance, told.T], [told, told @ between.weights.T + between.covariance]]),
            noise=np.append(model.noise, np.maximum(between.weights @ model.noise, model.noise.min())),
        ),
    )


@lru_cache(maxsize=2)
def _points_between(cross: CrossReturns, content: bytes, size: int) -> Between:
    """`points_between` beliefs of so much content; asked for in every episode."""
    return points_between(np.frombuffer(content, np.float32).reshape(-1, size), cross.means)


@config
class PolicyReuse(Strategy):
    """Plays the policies of the training tasks, and tells from their returns which of them suits the new task.

    An episode is chosen by its expected improvement on the best so far; the last one by the value of what it tells,
    since the policy deployed may be one that was never played. Deployed is the highest expected return. Nothing is
    drawn: problems with the same returns see the same episodes.
    """

    uses_cross_returns: ClassVar[bool] = True
    bandwidth: Share = 0.25
    """h of the kernel density estimate: 0, the new task is one of the training tasks; 1, one Gaussian of all of them"""
    spread: Positive | None = None
    """s: standard deviation of what no training task foresees, as a share of that of all cross returns; None: the one
    under which each training task is likeliest by the others"""
    between: Share = 0.9
    """points half-way between neighbouring latents may be played too where more than this share of what a policy earns
    (R^2) is foretold by the other policies; 1: none"""

    @property
    def role(self) -> Role:
        """Ours; it is told more than the method: the training tasks' simulator."""
        return "variant"

    def explore(self, history: AdaptationHistory) -> Policy:
        """The arm of the highest expected improvement; in the last episode, of the highest value of information."""
        library, last = self._library(history), len(history.episodes) + 1 >= history.budget
        choose = _most_telling if last else _most_promising
        return _play(history, library, choose)

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The arm of the highest expected return, played or not."""
        return _play(history, self._library(history), _best)

    def _library(self, history: AdaptationHistory) -> Library:
        cross, beliefs = history.cross_returns, history.prior.beliefs
        between = _points_between(cross, beliefs.tobytes(), beliefs.shape[1]) if beliefs.size else None
        smooth = between is not None and between.foretold > self.between
        return library(beliefs, return_model(cross, self.bandwidth, self.spread), between if smooth else None)


@config
class BestAverage(Strategy):
    """The policies of the training tasks, from the one that earns the most on average over training tasks on.

    Deployed is the best so far. The control of policy-reuse: told the same, it infers nothing from what it sees.
    """

    uses_cross_returns: ClassVar[bool] = True

    @property
    def role(self) -> Role:
        """Beside best-of-prior."""
        return "rival"

    @property
    def anytime(self) -> bool:
        """It does the same to the end."""
        return True

    def explore(self, history: AdaptationHistory) -> Policy:
        """The next in the order of the mean over training tasks."""
        order, n = (-history.cross_returns.means.mean(0)).argsort(kind="stable"), len(history.episodes)
        return history.agent.policy(history.prior.beliefs[np.full(history.problems, order[n % len(order)])])

    def deploy(self, history: AdaptationHistory) -> Policy:
        """The belief of the episode with the highest return."""
        return history.agent.policy(best_belief(history, "return"))


def _play(history: AdaptationHistory, library: Library, choose: Callable[[ReturnModel, Arms, Returns], int]) -> Policy:
    """The policy of the arm that is chosen for each problem; problems that have seen the same share the choice."""
    arms_nP, returns_nP = _seen(history, library.beliefs)
    known, chosen = dict[bytes, int](), list[int]()
    for arms, returns in zip(arms_nP.T, returns_nP.T, strict=True):
        key = arms.tobytes() + returns.tobytes()
        if key not in known:
            known[key] = choose(library.model, arms, returns)
        chosen.append(known[key])
    return history.agent.policy(library.beliefs[chosen])


def _seen(
    history: AdaptationHistory, known_MZ: Float32[np.ndarray, "M Z"]
) -> tuple[Int64[np.ndarray, "n P"], Float64[np.ndarray, "n P"]]:
    """Which arm each episode played, and what it earned. Raises RunError where an episode's policy does not say."""
    if not history.episodes:
        return np.zeros((0, history.problems), np.int64), np.zeros((0, history.problems))
    if any(np.isnan(played_PZ).any() for played_PZ in history.beliefs):
        raise RunError(
            "policy-reuse: an episode's policy does not say under which belief it was played",
            hint="give the agent's policies their `beliefs`, or choose another strategy",
        )
    arms = [[((known_MZ - belief) ** 2).sum(1).argmin() for belief in played_PZ] for played_PZ in history.beliefs]
    return np.array(arms, np.int64), -history.scores("return")


def _best(model: ReturnModel, arms: Arms, returns: Returns) -> int:
    """The arm of the highest expected return."""
    return int(mean_returns(model, arms, returns[None]).argmax())


def _most_promising(model: ReturnModel, arms: Arms, returns: Returns) -> int:
    """Of the arms not played, the one of the highest expected improvement; where none improves, of the highest mean."""
    weights_OH, means_OHM = expected_returns(model, arms, returns[None])
    mean = weights_OH[0] @ means_OHM[0]
    best = mean[arms].max() if len(arms) else -np.inf
    deviation = np.sqrt(remaining_variance(model, arms))
    gain = weights_OH[0] @ expected_improvement(means_OHM[0], deviation[None], best) if len(arms) else mean
    return int(max(_open(model, arms), key=lambda arm: (gain[arm], mean[arm])))


def _most_telling(model: ReturnModel, arms: Arms, returns: Returns) -> int:
    """Of the arms not played, the one of the highest value of information."""
    return max(_open(model, arms), key=lambda arm: value_of_information(model, arms, returns, arm))


def _open(model: ReturnModel, arms: Arms) -> list[int]:
    """The arms not played yet; all of them, once all were."""
    everything = range(model.centres.shape[1])
    return [arm for arm in everything if arm not in arms] or [*everything]
