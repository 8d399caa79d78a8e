"""How in-distribution an episode is: Q, lower = more in-distribution (IDAQ, section 4.2). One value a problem.

Shapes: P problems, T steps, E ensemble members, 1 + D predicted numbers (normalised reward and change).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from idaq.adapt.lockstep import EpisodeBatch
from idaq.learn.agent import Agent
from idaq.loader.transitions import Floats

Scores = NDArray[np.float64]
Uncertainty = Callable[[Agent, EpisodeBatch, Floats], Scores]


def negative_return(agent: Agent, episodes: EpisodeBatch, z_PZ: Floats) -> Scores:
    """Q = - sum of rewards."""
    return -episodes.returns


def prediction_error(agent: Agent, episodes: EpisodeBatch, z_PZ: Floats) -> Scores:
    """Q = mean over members and steps of (r_e - r)^2 + mean over dimensions of (s'_e - s')^2, normalised units."""
    predicted, actual = _predict(agent, episodes, z_PZ)
    square = (predicted - actual) ** 2
    return _mean_over_steps((square[..., 0] + square[..., 1:].mean(-1)).mean(0), episodes.valid)


def prediction_variance(agent: Agent, episodes: EpisodeBatch, z_PZ: Floats) -> Scores:
    """Q = mean over steps of std over members of r_e + mean over dimensions of std over members of s'_e."""
    spread = _predict(agent, episodes, z_PZ)[0].std(0)
    return _mean_over_steps(spread[..., 0] + spread[..., 1:].mean(-1), episodes.valid)


UNCERTAINTIES: dict[str, Uncertainty] = {
    "return": negative_return,
    "prediction-error": prediction_error,
    "prediction-variance": prediction_variance,
}


def _predict(agent: Agent, episodes: EpisodeBatch, z_PZ: Floats) -> tuple[Floats, Floats]:
    problems, steps = episodes.valid.shape
    rows = episodes.transitions.reshape(problems * steps)
    predicted, actual = agent.predict(rows, z_PZ.repeat(steps, 0))
    return predicted.reshape(-1, problems, steps, predicted.shape[-1]), actual.reshape(problems, steps, -1)


def _mean_over_steps(values_PT: Floats, valid_PT: NDArray[np.bool_]) -> Scores:
    return np.where(valid_PT, values_PT, 0).sum(1, dtype=np.float64) / valid_PT.sum(1)
