"""A strategy with a memory remembers what its session has recorded, whatever happens in between."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.adapt.history import AdaptationHistory
from idaq.adapt.session import Session
from idaq.adapt.strategy import Strategy
from idaq.core.config import config
from idaq.core.types import Array
from idaq.learn.algorithm import Agent
from idaq.learn.run import TaskSet
from tests.adapt.test_session import Robot, agent, assert_same_episodes, lockstep, point, robot

__all__ = ["agent", "point", "robot"]
NAME = "tests.adapt.test_memory:Remembering"
BUDGET = 3


class Memory:
    """Acts on everything that it was ever told, in its order."""

    def __init__(self, problems: int) -> None:
        self.sum = np.zeros((problems, 1))

    def _remember(self, *told: Array) -> None:
        for number, column in enumerate(told, 1):
            told_P1 = np.asarray(column, np.float64).reshape(len(self.sum), -1).sum(1, keepdims=True)
            self.sum = np.sin(3 * self.sum + number * told_P1)

    def reset(self) -> None:
        self._remember(np.full(len(self.sum), 0.7))

    def act(self, observations: Array) -> Array:
        self._remember(observations)
        return np.repeat(0.1 * self.sum, 2, 1).astype(np.float32)

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: Array) -> None:
        self._remember(actions, np.float32(rewards), next_observations, ended)


@config
class Remembering(Strategy):
    """One policy lives through all episodes; a copy of it is deployed."""

    def explore(self, history: AdaptationHistory) -> Memory:
        return history.policies[-1] if history.policies else Memory(history.problems)  # type: ignore[return-value]

    def deploy(self, history: AdaptationHistory) -> Memory:
        return copy.deepcopy(history.policies[-1])  # type: ignore[return-value]


def nothing(session: Session, _: Path) -> Session:
    return session


def loaded(session: Session, file: Path) -> Session:
    session.save(file)
    return Session.load(file, session.agent, allow=[NAME])


def aborted(session: Session, _: Path) -> Session:
    policy = session.next_policy()
    policy.reset()
    policy.observe(policy.act(np.ones(2)), 3.0, np.ones(2), False)
    session.discard()
    return session


def deployed(session: Session, _: Path) -> Session:
    if session.episodes:
        session.deploy().act(np.ones(2))
    return session


def crashed(session: Session, file: Path) -> Session:
    session.save(file)
    session.next_policy().act(np.ones(2))
    return Session.load(file, session.agent, allow=[NAME])


@pytest.mark.parametrize("between", [nothing, loaded, aborted, deployed, crashed])
def test_what_it_remembers_is_what_was_recorded(
    agent: Agent, point: tuple[Path, TaskSet], robot: Robot, tmp_path: Path, between: Callable[..., Session]
) -> None:
    session = Session(agent, NAME, BUDGET)
    while not session.done:
        session = between(session, tmp_path / "one.session")
        session.record(robot.run(session.next_policy(), len(session.episodes)))
    assert len({tuple(e.actions[0]) for e in session.episodes}) == BUDGET, "it does remember"
    assert_same_episodes(session, lockstep(agent, point[1], NAME, BUDGET), NAME)


def test_a_first_try_that_it_remembers_is_told(agent: Agent, robot: Robot) -> None:
    session = Session(agent, NAME, BUDGET)
    session.next_policy().reset()
    with pytest.warns(UserWarning, match="has a memory, and had begun an episode before"):
        session.record(robot.run(session.next_policy(), 0))


def test_without_a_memory_a_second_try_is_as_good_as_the_first(agent: Agent, robot: Robot) -> None:
    session = Session(agent, "best-of-prior", BUDGET)
    for number in range(2):
        episode: Any = robot.run(session.next_policy(), number)
    session.record(episode)
    assert session.notes == []
