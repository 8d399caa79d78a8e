"""A strategy that models the return over beliefs by a Gaussian process, and tries where it hopes for the most.

Shapes: P problems, n episodes, M training tasks, Z belief.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

import idaq


@idaq.config
class GaussianProcess(idaq.Strategy):
    """Upper confidence bound (Srinivas et al., ICML 2010) over the training tasks' beliefs."""

    width: Annotated[float, Field(gt=0)] = 0.5
    """of the kernel, in units of the prior's spread"""
    noise: Annotated[float, Field(gt=0)] = 0.1
    """standard deviation of a return, in units of the returns' spread"""
    optimism: Annotated[float, Field(ge=0)] = 2.0
    uncertainty: str = "return"
    """what an episode is judged by"""

    def explore(self, history: idaq.AdaptationHistory) -> idaq.Policy:
        prior = history.prior.beliefs
        if not history.episodes:
            return history.agent.policy(prior[history.rng.integers(len(prior), size=history.problems)])
        mean, std = self._posterior(history)
        return history.agent.policy(prior[(mean + self.optimism * std).argmax(1)])

    def deploy(self, history: idaq.AdaptationHistory) -> idaq.Policy:
        mean, _ = self._posterior(history)
        return history.agent.policy(history.prior.beliefs[mean.argmax(1)])

    def _posterior(self, history: idaq.AdaptationHistory) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (P, M) of what each training task's belief would earn."""
        prior, tried = history.prior.beliefs, np.stack(history.beliefs, 1)
        spread = max(float(prior.std()), 1e-6) * self.width
        scores = -history.scores(self.uncertainty).T
        earned = (scores - scores.mean(1, keepdims=True)) / (scores.std(1, keepdims=True) + 1e-6)
        mean, variance = [], []
        for seen, returns in zip(tried, earned, strict=True):
            there, between = _kernel(seen, seen, spread), _kernel(prior, seen, spread)
            gain = np.linalg.solve(there + self.noise**2 * np.eye(len(seen)), between.T)
            mean.append(returns @ gain)
            variance.append(np.maximum(1 - (between * gain.T).sum(1), 0))
        return np.stack(mean), np.sqrt(variance)


def _kernel(left: np.ndarray, right: np.ndarray, spread: float) -> np.ndarray:
    return np.exp(-((left[:, None] - right[None]) ** 2).mean(-1) / (2 * spread**2))
