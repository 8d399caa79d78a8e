"""An uncertainty: an episode is the more in-distribution, the more its second half earned."""

import numpy as np

import idaq


def late_return(agent: idaq.Agent, episodes: idaq.EpisodeBatch, policy: idaq.Policy) -> np.ndarray:
    """(P,) minus the rewards of the steps after the middle of each problem's episode."""
    valid, rewards = episodes.valid, episodes.transitions.rewards
    late = np.arange(valid.shape[1]) >= valid.sum(1, keepdims=True) / 2
    return -np.where(valid & late, rewards, 0).sum(1, dtype=np.float64)
