"""What the package brings passes the exported suites."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idaq.adapt.strategy import STRATEGIES, Strategy
from idaq.format.recipe import Behaviour
from idaq.learn.algorithm import Agent
from idaq.learn.config import TrainConfig, training_config
from idaq.loader import Dataset, Sampler
from idaq.loader.samplers import make_sampler
from idaq.tasks import Family, get_family
from idaq.testing import AlgorithmContract, BehaviourContract, FamilyContract, SamplerContract, StrategyContract
from idaq.testing.strategies import PointAgent


@pytest.fixture(autouse=True)
def _importable(installed: Path) -> Iterator[None]:
    """As if it stood among the installed packages, for as long as a test takes."""
    sys.path.insert(0, str(installed))
    yield
    sys.path.remove(str(installed))


class TestMaze(FamilyContract):
    @pytest.fixture
    def family(self) -> Family:
        return get_family("maze")


class TestBehaviours(BehaviourContract):
    @pytest.fixture
    def family(self) -> Family:
        return get_family("maze")

    @pytest.fixture(params=["maze-expert", "maze-log"])
    def behaviour(self, request: pytest.FixtureRequest) -> Behaviour:
        return Behaviour(name="b", kind="policy", quality="unknown", episodes=1, policy=request.param, noise=0.1)


class TestMaml(AlgorithmContract):
    def config(self, seed: int) -> TrainConfig:
        return training_config({"algorithm": "maze-maml", "seed": seed})


class TestRecurrent(AlgorithmContract):
    def config(self, seed: int) -> TrainConfig:
        return training_config({"algorithm": "maze-recurrent", "seed": seed})


class TestBetterHalf(SamplerContract):
    def sampler(self, dataset: Dataset, seed: int) -> Sampler[Any]:
        config = training_config({"meta_batch": 4, "batch": 6, "context": 4, "seed": seed})
        return make_sampler("better-half", dataset, config)


class TestGaussianProcess(StrategyContract):
    def strategy(self) -> Strategy:
        return STRATEGIES.get("maze-bandit")


class TestMemoryAlone(StrategyContract):
    def strategy(self) -> Strategy:
        return STRATEGIES.get("memory-alone")

    def agent(self) -> Agent:
        config = training_config({"algorithm": "maze-recurrent"})
        return config.create(PointAgent.spec, "cpu").agent(PointAgent.prior)
