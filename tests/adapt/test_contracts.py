"""Every strategy that ships passes the exported suite with every kind of agent, and is what the docs say of it."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest

from idaq.adapt.adapt import why_not
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import RandomPolicy
from idaq.adapt.strategy import STRATEGIES, Strategy, configured
from idaq.core.errors import RunError
from idaq.core.policy import Policy
from idaq.core.seeds import generator
from idaq.core.types import Array, Floats
from idaq.learn.algorithm import Agent, EpisodicAgent
from idaq.testing import PolicyContract, StrategyContract
from idaq.testing.strategies import GOALS, PointAgent, play
from tests.adapt.kinds import KINDS, RecurrentAgent

SMALL = {"candidates": 3, "context": 6, "num_accepted": 2, "offline_context": 6}


def settled(name: str) -> Strategy:
    """A built-in strategy, small; `idaq above -4` has the reference code's fixed threshold, and a reference stage of
    one length, which the others have not."""
    built_in, _, threshold = name.partition(" above ")
    more = {"return_threshold": float(threshold), "reference": 2} if threshold else {}
    return configured(built_in, STRATEGIES.get(built_in), [{**SMALL, **more}])


NAMES = [*STRATEGIES.builtin, "idaq above -4"]
PAIRS = [
    (name, kind) for name in NAMES for kind in KINDS if why_not(settled(name), KINDS[kind](), has_data=True) is None
]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
class TestStrategies(StrategyContract):
    @pytest.fixture(autouse=True)
    def named(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind

    def strategy(self) -> Strategy:
        return settled(self.name)

    def agent(self) -> Agent:
        return KINDS[self.kind]()

    def beliefs(self, goals: Array) -> Floats:
        prior = self.agent().prior
        assert prior is not None
        wide = np.tile(goals.astype(np.float32), 3)
        return wide[:, : prior.beliefs.shape[1]]


def test_every_strategy_runs_with_every_kind_of_agent_but_where_it_needs_more() -> None:
    """Predictions score the episodes of agents that predict; `in-context` infers from whole episodes."""
    missing = {(name, kind) for name in NAMES for kind in KINDS} - set(PAIRS)
    predicting = {name for name in NAMES if name.endswith(("prediction-error", "prediction-variance"))}
    others = {(name, kind) for name in predicting for kind in KINDS if kind != "embedding"}
    bags = {("in-context", kind) for kind, agent in KINDS.items() if not isinstance(agent(), EpisodicAgent)}
    assert missing == others | bags
    assert len(bags) == 4


PAGE = Path(__file__).parents[2] / "docs/concepts/protocol.md"
ROWS = {
    name: dict(zip(("role", "prior", "own", "data", "simulator"), cells[1:6], strict=True))
    for cells in (line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    for name in re.findall(r"`([a-z-]+)`", cells[0])
}


def test_every_strategy_has_its_row_and_no_other() -> None:
    assert sorted(ROWS) == sorted(STRATEGIES.builtin)


def agent_of(strategy: Strategy) -> Agent:
    return PointAgent() if why_not(strategy, PointAgent(), has_data=True) is None else RecurrentAgent()


def told(name: str, *, prior: bool, data: bool) -> str | None:
    """Whether a strategy gets through three episodes with so much; else what it missed."""
    strategy = settled(name)
    agent = agent_of(strategy)

    def offline(size: int) -> Floats:
        return np.zeros((len(GOALS), 2), np.float32)

    seen = AdaptationHistory(
        agent=agent if prior else without_prior(agent), problems=len(GOALS), budget=4, rng=generator(0),
        offline=offline if data else None,
    )  # fmt: skip
    try:
        for _ in range(3):
            policy = strategy.explore(seen)
            seen.add(policy, play(policy, GOALS))
            strategy.deploy(seen)
    except RunError as error:
        return str(error)
    return None


def without_prior(agent: Agent) -> Agent:
    forgetful = copy.copy(agent)
    vars(forgetful)["prior"] = None
    return forgetful


@pytest.mark.parametrize("name", STRATEGIES.builtin)
def test_a_strategy_is_what_its_row_says(name: str) -> None:
    row, strategy = ROWS[name], settled(name)
    assert row["role"] == strategy.role
    assert (row["data"] == "yes") == strategy.uses_offline_data
    assert (row["simulator"] == "yes") == strategy.uses_cross_returns
    assert told(name, prior=True, data=True) is None
    assert (row["prior"] == "no") == (told(name, prior=False, data=True) is None)
    assert (row["data"] == "no") == (told(name, prior=True, data=False) is None)


class TestRandomPolicy(PolicyContract):
    observation_size, action_size = 2, 2

    def policy(self, problems: int) -> Policy:
        return RandomPolicy(PointAgent().spec, problems, generator(0))
