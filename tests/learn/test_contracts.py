"""Our algorithms pass the exported suite, and so do their agents' policies."""

from typing import Any

import numpy as np
import pytest

from idaq.core.policy import Policy
from idaq.learn.algorithm import SamplingAgent
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import AgentSpec, TrainConfig, training_config
from idaq.loader.transitions import Transitions
from idaq.testing import AlgorithmContract, PolicyContract

SMALL = {
    "meta_batch": 3,
    "batch": 8,
    "context": 4,
    "encoder": {"hidden": 8, "latent": 2},
    "learner": {"hidden": 8},
    "ensemble": {"hidden": 8, "members": 2},
}
SPEC = AgentSpec(
    observation_mean=[0.0] * 3,
    observation_std=[1.0] * 3,
    change_std=[1.0] * 3,
    reward_mean=0.0,
    reward_std=1.0,
    action_centre=[0.0] * 2,
    action_scale=[1.0] * 2,
)


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
        beliefs = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2)[:problems]
        return config.create(SPEC, "cpu").agent(None).policy(beliefs)


TRANSFORMER = {"width": 8, "layers": 1, "heads": 2}
DPT = {"algorithm": "dpt", "meta_batch": 3, "context": 6, "queries": 4, "network": TRANSFORMER}
AD = {"algorithm": "ad", "meta_batch": 3, "length": 8, "context": 5, "within": "task", "network": TRANSFORMER}


@pytest.mark.parametrize("settings", [DPT, AD], ids=["dpt", "ad"])
class TestSequenceModels(AlgorithmContract):
    @pytest.fixture(autouse=True)
    def told(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    def config(self, seed: int) -> TrainConfig:
        return training_config({**self.settings, "seed": seed})


@pytest.mark.parametrize("drawn", [False, True], ids=["mode", "drawn"])
@pytest.mark.parametrize("settings", [DPT, AD], ids=["dpt", "ad"])
class TestTheirPolicies(PolicyContract):
    observation_size, action_size = 3, 2

    @pytest.fixture(autouse=True)
    def told(self, settings: dict[str, Any], drawn: bool) -> None:
        self.settings, self.drawing = settings, drawn

    def policy(self, problems: int) -> Policy:
        config = training_config(self.settings)
        agent = config.create(SPEC, "cpu").agent(None)
        rng = np.random.default_rng(0)
        seen = Transitions(
            observations=rng.standard_normal((8, 7, 3), np.float32),
            actions=rng.uniform(-1, 1, (8, 7, 2)).astype(np.float32),
            rewards=rng.standard_normal((8, 7), np.float32),
            next_observations=rng.standard_normal((8, 7, 3), np.float32),
            terminated=np.zeros((8, 7), bool),
        )
        beliefs = agent.infer(seen[:problems])
        if self.drawing:
            assert isinstance(agent, SamplingAgent)
            return agent.sampled_policy(beliefs, np.random.default_rng(1))
        return agent.policy(beliefs)
