"""Small agents whose policies leave, and the observations to try them on."""

from dataclasses import replace
from typing import Any

import numpy as np

from idaq.core.types import Floats
from idaq.learn.algorithm import Agent, Prior
from idaq.learn.config import AgentSpec, training_config

SPEC = AgentSpec(
    observation_mean=[1.0, -1.0, 0.5],
    observation_std=[2.0, 0.5, 1.0],
    change_std=[0.1, 0.2, 0.3],
    reward_mean=-3.0,
    reward_std=2.0,
    action_centre=[0.5, 0.0],
    action_scale=[1.5, 0.25],
)
CONSTANT = replace(SPEC, observation_std=[2.0, 1e-3, 1.0])
"""the second number never changed in training; its standard deviation is what the loader gives then"""
LARGE = replace(SPEC, observation_mean=[1e6, -3e4, 0.0], observation_std=[2e5, 7.0, 1e-3])
SPECS = {"plain": SPEC, "constant": CONSTANT, "large": LARGE}
SIZES: dict[str, Any] = {"encoder": {"hidden": 8, "latent": 4}, "learner": {"hidden": 64}, "ensemble": {"hidden": 8}}


def an_agent(spec: AgentSpec = SPEC, seed: int = 0, tasks: int = 3) -> Agent:
    """focal-td3bc with its first weights, and a prior of training tasks 0, 2, 4, ..."""
    algorithm = training_config({**SIZES, "seed": seed}).create(spec, "cpu")
    beliefs = np.random.default_rng(seed).uniform(-1, 1, (tasks, 4)).astype(np.float32)
    prior = Prior(beliefs=beliefs, task_indices=np.arange(tasks) * 2, offline_return=1.0, random_return=None)
    return algorithm.agent(prior if tasks else None)


def observations(spec: AgentSpec, number: int = 1000, *, constant: bool = False) -> Floats:
    """(N, D) as in training, twice as wide; `constant` keeps the second number at its mean."""
    drawn = np.random.default_rng(1).standard_normal((number, spec.observation_size)) * 2
    if constant:
        drawn[:, 1] = 0
    return (drawn * spec.observation_std + spec.observation_mean).astype(np.float32)
