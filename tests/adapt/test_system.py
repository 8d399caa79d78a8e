"""What a user's own loop gives a session: arrays of any kind, and what is no episode, told in words."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import Policy
from idaq.adapt.session import Session
from idaq.adapt.strategies import BestOfPrior, Idaq
from idaq.adapt.system import SystemPolicy
from idaq.collect.collect import Collected
from idaq.core.errors import NonFiniteError, PluginError, RunError, UsageError
from idaq.learn.algorithm import Agent
from idaq.learn.checkpoint import load_agent
from idaq.learn.loop import train
from idaq.loader import open_dataset
from tests.learn.test_loop import small_config

STEPS = 4


@pytest.fixture(scope="module")
def run(collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    train(open_dataset(collected.path), small_config(steps=20), run)
    return run


@pytest.fixture(scope="module")
def agent(run: Path) -> Agent:
    return load_agent(run)


@pytest.fixture
def session(agent: Agent) -> Session:
    return Session(agent, "best-of-prior", 3)


def walked(policy: SystemPolicy) -> dict[str, Any]:
    """An episode of `STEPS` steps, each observation twice the one before."""
    observations = [np.full(2, 2.0**step) for step in range(STEPS + 1)]
    policy.reset()
    return {
        "observations": np.stack(observations),
        "actions": np.stack([policy.act(observation) for observation in observations[:-1]]),
        "rewards": np.ones(STEPS),
        "terminations": np.zeros(STEPS, bool),
        "truncations": np.arange(STEPS) == STEPS - 1,
    }


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64, np.uint8, np.bool_])
def test_observations_of_any_kind_of_number_are_acted_on_alike(agent: Agent, kind: type) -> None:
    policy = Session(agent, "best-of-prior").next_policy()
    np.testing.assert_array_equal(policy.act(np.array([1, 0], kind)), policy.act(np.array([1, 0], np.float32)))
    np.testing.assert_array_equal(policy.act([[1], [0]]), policy.act(np.array([1, 0], np.float32)))


@pytest.mark.parametrize("given", [[[0], [0, 1]], {"camera": 1}, None, "left"])
def test_an_observation_of_anything_else_is_told_in_words(session: Session, given: object) -> None:
    with pytest.raises(UsageError, match="an observation: "):
        session.next_policy().act(given)


def test_an_observation_beyond_float32_is_refused_not_turned_into_an_action_of_nan(session: Session) -> None:
    with pytest.raises(NonFiniteError, match="what float32 does not hold"):
        session.next_policy().act(np.full(2, 1e300))


def test_what_is_recorded_is_a_copy(session: Session) -> None:
    episode = walked(session.next_policy())
    session.record(episode)
    for name in ("observations", "actions", "rewards"):
        episode[name][:] = 99
    assert session.returns == [STEPS]
    assert session.episodes[0].observations[:, 0].tolist() == [1, 2, 4, 8, 16]


def test_a_policy_keeps_no_array_that_the_robot_changes_in_place(session: Session) -> None:
    policy, sensed = session.next_policy(), np.zeros(2, np.float32)
    policy.act(sensed)
    sensed += 1
    assert policy.saw[0].tolist() == [0, 0]


def test_one_array_changed_in_place_is_noticed(session: Session) -> None:
    policy, sensed, steps = session.next_policy(), np.zeros(2, np.float32), list[tuple[Any, ...]]()
    policy.reset()
    for step in range(STEPS):
        action = policy.act(sensed)
        sensed += 1
        steps.append((sensed, action, 0.0, sensed, False, step == STEPS - 1))
    with pytest.warns(UserWarning, match="4 of 4 observations are not those that the policy acted on"):
        session.record(steps)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("terminations", ["False"] * STEPS, "terminated: numbers are needed"),
        ("terminations", [None] * STEPS, "terminated: numbers are needed"),
        ("truncations", [np.nan] * STEPS, "truncated: true and false are needed, got nan"),
        ("truncations", [0, 0, 0, 2], "truncated: true and false are needed, got 2"),
        ("observations", 0.0, r"observations have the shape \(\)"),
        ("observations", {"camera": 1}, "observations: numbers are needed"),
    ],
)
def test_columns_that_are_none_are_told_in_words(session: Session, name: str, given: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        session.record({**walked(session.next_policy()), name: given})


@pytest.mark.parametrize(
    ("place", "given", "words"),
    [
        (0, [0, [1]], "observation of step 1: no array"),
        (1, np.zeros(3), r"actions have rows of the shapes \(2,\), \(3,\)"),
        (2, None, "reward of step 1: numbers are needed"),
        (4, "no", "terminated of step 1: numbers are needed"),
    ],
)
def test_a_step_that_is_none_is_named(session: Session, place: int, given: object, words: str) -> None:
    session.next_policy()
    step = [np.zeros(2), np.zeros(2), 0.0, np.zeros(2), False, False]
    wrong: list[Any] = [*step]
    wrong[place] = given
    with pytest.raises(UsageError, match=words):
        session.record([step, wrong])


UNTYPED = """
import sys
import idaq
from idaq.adapt.strategies import BestOfPrior, Idaq

agent = idaq.load_agent(sys.argv[1])
for arguments in (("runs/push",), (agent, Idaq), (agent, "idaq", "3"), (agent, "idaq", 2.5), (agent, "idaq", None)):
    try:
        idaq.Session(*arguments)
    except idaq.UsageError as error:
        print(error.message)
"""


def test_what_a_session_is_made_of_is_checked_when_it_is_made(run: Path, agent: Agent, tmp_path: Path) -> None:
    command = [sys.executable, "-c", UNTYPED, str(run)]  # elsewhere the tests check types
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    expected = ["is no agent", "is no strategy", "a budget of '3'", "a budget of 2.5", "a budget of None"]
    assert [words in line for words, line in zip(expected, told, strict=True)] == [True] * len(expected)
    for seed in (-1, 2**64):
        with pytest.raises(UsageError, match=f"a seed of {seed}"):
            Session(agent, seed=seed)
    Session(agent, seed=2**64 - 1).save(tmp_path / "one.session")
    assert Session.load(tmp_path / "one.session", agent).seed == 2**64 - 1


def test_a_built_in_strategy_may_be_given_as_itself(agent: Agent, tmp_path: Path) -> None:
    Session(agent, Idaq(reference=1, candidates=7), 3).save(tmp_path / "one.session")
    again = Session.load(tmp_path / "one.session", agent)
    assert (again.name, again.strategy) == ("idaq", Idaq(reference=1, candidates=7))
    Session(agent, "idaq-prediction-error", 3).save(tmp_path / "two.session")
    assert Session.load(tmp_path / "two.session", agent).name == "idaq-prediction-error"


class Restless(BestOfPrior):
    """Counts its episodes where it must not."""

    def explore(self, history: AdaptationHistory) -> Policy:
        object.__setattr__(self, "candidates", self.candidates + 1)
        return super().explore(history)


def test_a_strategy_that_changes_its_own_settings_is_found_out(agent: Agent) -> None:
    with pytest.raises(PluginError, match="changed its own settings: candidates is"):
        Session(agent, Restless(), 3).next_policy()


def test_what_was_told_once_is_not_told_again(agent: Agent) -> None:
    session = Session(agent, "idaq", 3, settings={"reference": 3})
    with pytest.warns(UserWarning, match="draws from the prior alone"):
        session.next_policy()
    session.discard()
    session.next_policy()
    assert len(session.notes) == 1


def test_one_session_may_be_kept_in_several_files(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        session.record(walked(session.next_policy()))
        session.save((tmp_path / "one.session").relative_to(folder))
        session.save(tmp_path / "backup.session")
    with pytest.raises(RunError, match="does not know"):
        Session(session.agent, "best-of-prior").save(tmp_path / "backup.session")


def test_two_sessions_of_one_agent_do_not_meet(agent: Agent) -> None:
    def play(*sessions: Session) -> list[list[float]]:
        for _ in range(3):
            policies = [one.next_policy() for one in sessions]
            for one, policy in zip(sessions, policies, strict=True):
                one.record(walked(policy))
        return [np.concatenate([e.actions for e in one.episodes]).tolist() for one in sessions]

    settings = {"reference": 1, "candidates": 3, "context": 4}
    alone = [play(Session(agent, "idaq", 3, seed=seed, settings=settings))[0] for seed in (0, 1)]
    together = play(*(Session(agent, "idaq", 3, seed=seed, settings=settings) for seed in (0, 1)))
    assert together == alone
    assert alone[0] != alone[1]


def test_a_choice_that_fails_is_made_of_the_same_random_numbers_when_it_is_tried_again(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Session(agent, "best-of-prior", 3).next_policy().act(np.zeros(2))
    session, once, policy = Session(agent, "best-of-prior", 3), [KeyboardInterrupt()], type(agent).policy

    def interrupted(self: Agent, beliefs: Any) -> Any:
        if once:
            raise once.pop()
        return policy(self, beliefs)

    monkeypatch.setattr(type(agent), "policy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.next_policy()
    np.testing.assert_array_equal(session.next_policy().act(np.zeros(2)), expected)


def test_an_action_may_be_changed_by_whoever_got_it_and_columns_lie_in_any_order(agent: Agent, tmp_path: Path) -> None:
    session = Session(agent, "best-of-prior", 3)
    policy = session.next_policy()
    first = policy.act(np.zeros(2))
    first += 1
    assert policy.acted[0].tolist() == pytest.approx((first - 1).tolist(), abs=1e-6)
    columns = walked(policy)
    columns["observations"] = np.asfortranarray(columns["observations"] * [1, 1])
    session.record(columns)
    session.save(tmp_path / "one.session")
    there = Session.load(tmp_path / "one.session", agent).episodes[0]
    np.testing.assert_array_equal(there.observations, columns["observations"])
