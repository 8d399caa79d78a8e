"""An adaptation into a folder: what is kept, when, and who may write there. Without the command line."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.adapt.strategies import BestOfPrior
from idaq.adapt.system_run import SESSION, SYSTEM, SystemRecord, SystemRun, SystemSettings, read_system, start_system
from idaq.core.config import to_mapping
from idaq.core.errors import PluginError, RunError, UsageError
from idaq.deploy.read import read_policy
from idaq.learn.algorithm import Agent
from tests.adapt.test_system import agent, run
from tests.cli.test_adapt_env import Arm
from tests.disks import enlarge, small_disk

__all__ = ["agent", "run"]
HERE = "tests.adapt.test_system_run:Wired"
SEEN: list[str] = []
"""what has happened to the arms of a test"""


class Wired(Arm):
    """An arm that tells, and breaks where a test says so."""

    def __init__(self, breaks="", **settings):
        super().__init__(**settings)
        self.breaks = breaks

    def reset(self, seed=None, options=None):
        SEEN.append(f"seed {seed}")
        if f"episode {sum(line.startswith('seed') for line in SEEN)}" == self.breaks:
            raise RuntimeError("the motor is hot")
        return super().reset(seed=seed)

    def close(self):
        SEEN.append("closed")
        if self.breaks == "close":
            raise RuntimeError("the cable is stuck")


class Blank:
    """An environment without spaces."""


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    SEEN.clear()
    yield
    SEEN.clear()


def started(out: Path, agent: Agent, force: bool = False, **changes: Any) -> SystemRun:
    asked = {"env": HERE, "strategy": "best-of-prior", "settings": to_mapping(BestOfPrior()), "episodes": 3, "fresh": 2}
    return start_system(out, agent, BestOfPrior(), SystemSettings(**{**asked, **changes}), force=force)


def adapted(out: Path, agent: Agent, **changes: Any) -> SystemRecord:
    return started(out, agent, **changes).run(lambda *_: None)


def played() -> int:
    return sum(line.startswith("seed") for line in SEEN)


def test_a_finished_adaptation_plays_nothing_more_and_loses_nothing(agent: Agent, tmp_path: Path) -> None:
    first = adapted(tmp_path, agent)
    assert played() == 5
    assert len({line for line in SEEN if line.startswith("seed")}) == 5, "each episode has a seed of its own"
    assert adapted(tmp_path, agent) == first
    assert started(tmp_path, agent).fresh == first.fresh
    assert played() == 5


def test_more_fresh_episodes_are_added_to_those_that_are_there(agent: Agent, tmp_path: Path) -> None:
    first = adapted(tmp_path, agent)
    more = adapted(tmp_path, agent, fresh=4)
    assert played() == 7
    assert more.fresh[:2] == first.fresh
    assert len({one.seed for one in more.fresh}) == 4
    assert adapted(tmp_path, agent, fresh=0).fresh == more.fresh


@pytest.mark.parametrize(("broken", "kept", "fresh"), [(1, 0, 0), (3, 2, 0), (4, 3, 0), (5, 3, 1)])
def test_what_was_played_before_the_system_failed_is_kept(
    agent: Agent, tmp_path: Path, broken: int, kept: int, fresh: int
) -> None:
    settings = {"breaks": f"episode {broken}"}
    with pytest.raises(RunError, match="RuntimeError: the motor is hot"):
        adapted(tmp_path / "out", agent, env_settings=settings)
    assert SEEN[-1] == "closed"
    there = started(tmp_path / "out", agent, env_settings=settings)
    assert (len(there.session.episodes), len(there.fresh)) == (kept, fresh)
    assert (tmp_path / "out" / "policy").exists() == (kept == 3), "the policy is there before it is tried"
    again, whole = there.run(lambda *_: None), adapted(tmp_path / "whole", agent, env_settings=settings)
    assert (again.episodes, again.fresh) == (whole.episodes, whole.fresh)


def test_the_environment_is_closed_and_a_close_that_fails_is_noted(agent: Agent, tmp_path: Path) -> None:
    assert adapted(tmp_path / "one", agent).notes == []
    assert SEEN.count("closed") == 1
    record = adapted(tmp_path / "two", agent, env_settings={"breaks": "close"})
    assert record.notes == ["closing the environment raised RuntimeError: the cable is stuck"]
    assert (record, len(record.fresh)) == (read_system(tmp_path / "two"), 2)
    with pytest.raises(RunError, match="other settings"):
        adapted(tmp_path / "two", agent, episodes=4)
    assert SEEN.count("closed") == 3


def test_a_second_process_touches_nothing_not_even_with_force(agent: Agent, tmp_path: Path) -> None:
    mine = started(tmp_path, agent)
    before = (tmp_path / SYSTEM).read_bytes()
    for force in (False, True):
        with pytest.raises(RunError, match="another process adapts into"):
            started(tmp_path, agent, force=force)
    assert (tmp_path / SYSTEM).read_bytes() == before

    def intrude(*_: object) -> None:
        with pytest.raises(RunError, match="another process adapts into"):
            started(tmp_path, agent, force=True)

    assert len(mine.run(intrude).episodes) == 3
    assert len(adapted(tmp_path, agent).episodes) == 3


def test_on_a_full_disk_what_is_kept_stays_whole_and_the_same_call_resumes(agent: Agent, tmp_path: Path) -> None:
    out = tmp_path / "disk"
    out.mkdir()
    with small_disk(out, kilobytes=40):
        there = started(out, agent)

        def fill(*_: object) -> None:
            with suppress(OSError), (out / "film").open("ab") as file:
                file.write(bytes(10**6))

        with pytest.raises(OSError, match="No space left on device"):
            there.run(fill)
        assert SEEN[-1] == "closed"
        (out / "film").unlink()
        enlarge(out, kilobytes=4000)
        assert len(started(out, agent).session.episodes) == 1
        assert len(adapted(out, agent).episodes) == 3


def test_force_begins_anew(agent: Agent, tmp_path: Path) -> None:
    adapted(tmp_path, agent)
    again = started(tmp_path, agent, force=True, seed=7)
    assert (again.session.episodes, again.fresh) == ((), [])
    again.run(lambda *_: None)
    assert played() == 10


def test_fresh_episodes_of_a_session_that_is_gone_are_not_taken_over(agent: Agent, tmp_path: Path) -> None:
    adapted(tmp_path, agent)
    (tmp_path / SESSION).unlink()
    assert started(tmp_path, agent).fresh == []


def test_the_policy_is_that_of_the_session(agent: Agent, tmp_path: Path) -> None:
    there = started(tmp_path, agent)
    there.run(lambda *_: None)
    deployed, saved = there.session.deploy(), read_policy(tmp_path / "policy")
    for observation in np.random.default_rng(0).normal(size=(20, 2)):
        np.testing.assert_allclose(saved.act(observation), deployed.act(observation), atol=1e-6)


def test_a_limit_of_steps_and_the_largest_seed_are_taken(agent: Agent, tmp_path: Path) -> None:
    record = adapted(tmp_path, agent, max_steps=7, seed=2**63)
    assert {one.steps for one in record.episodes} == {7}
    assert not any(one.terminated for one in record.episodes)
    assert all(one.seed is not None and one.seed < 2**32 for one in record.episodes)


def test_an_environment_without_spaces_is_told_in_words(agent: Agent, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="the spaces of"):
        adapted(tmp_path, agent, env="gymnasium:Env")
    with pytest.raises(PluginError, match=r"which is no gymnasium\.Env"):
        adapted(tmp_path, agent, env="tests.adapt.test_system_run:Blank")
    with pytest.raises(UsageError, match="boxes of numbers"):
        adapted(tmp_path, agent, env="CartPole-v1")
    assert list(tmp_path.iterdir()) == []
