"""Our algorithm passes the exported suite, and so does its agent's policy."""

import numpy as np
import pytest

from idaq.core.policy import Policy
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import AgentSpec, TrainConfig, training_config
from idaq.testing import AlgorithmContract, PolicyContract

SMALL = {
    "meta_batch": 3,
    "batch": 8,
    "context": 4,
    "encoder": {"hidden": 8, "latent": 2},
    "learner": {"hidden": 8},
    "ensemble": {"hidden": 8, "members": 2},
}


@pytest.mark.parametrize("next_observation", [False, True])
class TestFocalTd3Bc(AlgorithmContract):
    @pytest.fixture(autouse=True)
    def told(self, next_observation: bool) -> None:
        self.next_observation = next_observation

    def config(self, seed: int) -> TrainConfig:
        encoder = {**SMALL["encoder"], "next_observation": self.next_observation}
        return training_config({**SMALL, "encoder": encoder, "seed": seed})


class TestItsPolicy(PolicyContract):
    observation_size, action_size = 3, 2

    def policy(self, problems: int) -> Policy:
        config = training_config(SMALL)
        assert isinstance(config, FocalTd3BcConfig)
        spec = AgentSpec(
            observation_mean=[0.0] * 3,
            observation_std=[1.0] * 3,
            change_std=[1.0] * 3,
            reward_mean=0.0,
            reward_std=1.0,
            action_centre=[0.0] * 2,
            action_scale=[1.0] * 2,
        )
        beliefs = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2)[:problems]
        return config.create(spec, "cpu").agent(None).policy(beliefs)
