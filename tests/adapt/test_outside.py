"""What goes wrong in a strategy or an uncertainty of a user's own is told in one error."""

from dataclasses import field
from typing import Any

import numpy as np
import pytest

import idaq
from idaq.adapt.adapt import adapt
from idaq.adapt.strategy import adaptation_plan
from idaq.collect.collect import Collected
from idaq.core.errors import IdaqError, PluginError, RunError
from idaq.learn.algorithm import Agent
from idaq.learn.loop import train
from idaq.loader import Dataset, open_dataset
from tests.learn.test_loop import small_config

HERE = "tests.adapt.test_outside"
SETTINGS = {"episodes": 2, "reference": 2, "report_at": [2], "seeds": 1}


@pytest.fixture(scope="module")
def dataset(collected: Collected) -> Dataset:
    return open_dataset(collected.path)


@pytest.fixture(scope="module")
def agent(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return train(dataset, small_config(), tmp_path_factory.mktemp("runs") / "agent").agent


def broken(*_given: Any) -> Any:
    raise ValueError("my own mistake")


@idaq.config
class Mine(idaq.Strategy):
    """`wrong` is what it does wrongly."""

    wrong: str = ""
    seen: list[int] = field(default_factory=list)

    def explore(self, history: idaq.AdaptationHistory) -> Any:
        if self.wrong == "raise":
            return broken()
        if self.wrong == "remember":
            self.seen.append(len(history.episodes))
        return None if self.wrong == "explore" else history.agent.policy(history.prior.beliefs[[0] * history.problems])

    def deploy(self, history: idaq.AdaptationHistory) -> Any:
        return history.agent.policy(history.prior.beliefs[[0] * (1 if self.wrong == "size" else history.problems)])


def of_one_problem(*_: Any) -> Any:
    return np.zeros(1)


def not_a_number(_agent: Any, episodes: Any, _policy: Any) -> Any:
    return np.full(len(episodes.valid), np.nan)


def run(agent: Agent, dataset: Dataset, name: str, **settings: Any) -> None:
    adapt(agent, dataset, adaptation_plan([name], {**SETTINGS, **settings}))


@pytest.mark.parametrize(
    ("wrong", "kind", "told"),
    [
        ("raise", RunError, "strategy .*:Mine: ValueError: my own mistake\n  - raised by broken, line"),
        ("explore", PluginError, "explore of strategy .*:Mine gave None, which lacks reset, act, observe"),
        ("size", PluginError, r"deploy of strategy .*:Mine gave a policy of beliefs \(1, 4\); there are 2 problems"),
        (
            "remember",
            PluginError,
            r"strategy .*:Mine changed its own settings .*: seen is \[\], not \[0, 1\]",
        ),
    ],
)
def test_a_wrong_strategy_is_told_of(
    agent: Agent,
    dataset: Dataset,
    wrong: str,
    kind: type[IdaqError],
    told: str,
) -> None:
    with pytest.raises(kind, match=told):
        run(agent, dataset, f"{HERE}:Mine", wrong=wrong)


@pytest.mark.parametrize(
    ("uncertainty", "kind", "told"),
    [
        ("broken", RunError, "strategy idaq: ValueError: my own mistake"),
        ("of_one_problem", PluginError, r":of_one_problem gave float64 \(1,\); numbers \(2,\) were expected"),
        ("not_a_number", PluginError, "not_a_number gave NaN for 2 of 2 problems"),
    ],
)
def test_a_wrong_uncertainty_is_told_of(
    agent: Agent,
    dataset: Dataset,
    uncertainty: str,
    kind: type[IdaqError],
    told: str,
) -> None:
    with pytest.raises(kind, match=told):
        run(agent, dataset, "idaq", uncertainty=f"{HERE}:{uncertainty}")
