"""How in-distribution an episode is: Q, lower = more in-distribution (IDAQ, section 4.2). One value a problem.

Shapes: P problems, T steps, E ensemble members, 1 + D predicted numbers (normalised reward and change).
"""

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.policy import Policy
from idaq.core.errors import RunError
from idaq.core.registry import Registry
from idaq.core.types import Doubles, Floats
from idaq.learn.algorithm import Agent, BelievingPolicy, PredictingAgent

Uncertainty = Callable[[Agent, EpisodeBatch, Policy], Doubles]
"""the agent, one episode of each of P problems, the policy that made them -> (P,)"""


def negative_return(_agent: Agent, episodes: EpisodeBatch, _policy: Policy) -> Doubles:
    """Q = - sum of rewards."""
    return -episodes.returns


def prediction_error(agent: Agent, episodes: EpisodeBatch, policy: Policy) -> Doubles:
    """Q = mean over members and steps of (r_e - r)^2 + mean over dimensions of (s'_e - s')^2, normalised units."""
    predicted, actual = _predict(agent, episodes, policy)
    square = (predicted - actual) ** 2
    return _mean_over_steps((square[..., 0] + square[..., 1:].mean(-1)).mean(0), episodes.valid)


def prediction_variance(agent: Agent, episodes: EpisodeBatch, policy: Policy) -> Doubles:
    """Q = mean over steps of std over members of r_e + mean over dimensions of std over members of s'_e."""
    spread = _predict(agent, episodes, policy)[0].std(0)
    return _mean_over_steps(spread[..., 0] + spread[..., 1:].mean(-1), episodes.valid)


def _accept(_name: str, thing: object) -> Uncertainty:
    if not callable(thing):
        raise TypeError(f"{thing!r} is not a function of an agent, episodes and their policy")
    return cast(Uncertainty, thing)


UNCERTAINTIES: Registry[Uncertainty] = Registry(
    "uncertainty",
    "idaq.uncertainties",
    {
        "return": negative_return,
        "prediction-error": prediction_error,
        "prediction-variance": prediction_variance,
    },
    _accept,
)


def _predict(agent: Agent, episodes: EpisodeBatch, policy: Policy) -> tuple[Floats, Floats]:
    if not (isinstance(agent, PredictingAgent) and isinstance(policy, BelievingPolicy)):
        raise RunError(
            f"an agent of {agent.config.algorithm} predicts no outcomes: its episodes cannot be scored by predictions",
            hint="--set uncertainty=return, or strategies that score by returns",
        )
    problems, steps = episodes.valid.shape
    rows = episodes.transitions.reshape(problems * steps)
    predicted, actual = agent.predict(rows, policy.beliefs.repeat(steps, 0))
    return predicted.reshape(-1, problems, steps, predicted.shape[-1]), actual.reshape(problems, steps, -1)


def _mean_over_steps(values_PT: Floats, valid_PT: NDArray[np.bool_]) -> Doubles:
    return np.where(valid_PT, values_PT, 0).sum(1, dtype=np.float64) / valid_PT.sum(1)
