"""A session adapts one system stepped from outside, exactly as the lock-step protocol adapts it."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.adapt.adapt import Adapted, adapt, training_returns
from idaq.adapt.session import Session
from idaq.adapt.strategy import STRATEGIES, adaptation_plan
from idaq.catalogue.entries import catalogue_recipe
from idaq.collect.collect import Collected, collect
from idaq.core.errors import NonFiniteError, PluginError, RunError, UsageError
from idaq.core.seeds import episode_seed
from idaq.deploy.read import read_policy
from idaq.format.merge import merged
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.learn.algorithm import Agent
from idaq.learn.checkpoint import load_agent, weights_digest
from idaq.learn.cross_returns import CROSS_RETURNS, write_cross_returns
from idaq.learn.loop import train
from idaq.learn.run import TaskSet, task_set
from idaq.loader import open_dataset
from idaq.tasks import Family, get_family
from idaq.tasks.systems import PlayedEpisode, run_episode
from tests.learn.test_loop import small_config

BUDGET = 5
SETTINGS = {"reference": 2, "candidates": 4, "context": 20}
SYSTEMS = [name for name in STRATEGIES.builtin if name not in {"in-context", "offline-context"}]


class Robot:
    """A system of one task: what a user has, and the seeds that the lock-step protocol gives each episode."""

    def __init__(self, family: Family, task: int, seed: int = 0) -> None:
        self.env, self.task, self.seed = family.make(task), task, seed

    def run(self, policy: Any, number: int) -> PlayedEpisode:
        return run_episode(
            self.env, policy, seed=episode_seed(self.seed, self.task, 0, number), options={"task": self.task}
        )


@pytest.fixture(scope="module")
def point(collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TaskSet]:
    dataset, run = open_dataset(collected.path), tmp_path_factory.mktemp("runs") / "point"
    agent, tasks = train(dataset, small_config(steps=100), run).agent, task_set(dataset)
    measured = training_returns(agent, tasks, adaptation_plan([], {"cross_tasks": 4}).config)
    write_cross_returns(run, measured, weights_digest(agent))
    return run, tasks


@pytest.fixture(scope="module")
def agent(point: tuple[Path, TaskSet]) -> Agent:
    return load_agent(point[0])


@pytest.fixture
def robot(point: tuple[Path, TaskSet]) -> Robot:
    return Robot(get_family("point-robot"), _test_task(point[1]))


def _test_task(tasks: TaskSet) -> int:
    return next(task.task_index for task in tasks.tasks if task.split == "test")


def lockstep(agent: Agent, tasks: TaskSet, strategy: str, budget: int = BUDGET, **settings: Any) -> Adapted:
    """The protocol on one task with one seed."""
    alone = [task for task in tasks.tasks if task.task_index == _test_task(tasks)]
    chosen = {"episodes": budget, "report_at": [budget], "seeds": 1, "cross_tasks": 4, **SETTINGS, **settings}
    return adapt(agent, replace(tasks, tasks=alone), adaptation_plan([strategy], chosen))


def own(strategy: str) -> dict[str, Any]:
    """Those of SETTINGS that a strategy has."""
    return {name: value for name, value in SETTINGS.items() if hasattr(STRATEGIES.get(strategy), name)}


def assert_same_episodes(session: Session, adapted: Adapted, strategy: str) -> None:
    history = adapted.histories[strategy]
    assert len(session.episodes) == len(history.episodes)
    for episode, batch in zip(session.episodes, history.episodes, strict=True):
        length = int(batch.valid.sum())
        assert len(episode) == length
        known = batch.transitions[0, :length]
        np.testing.assert_array_equal(episode.observations[:-1].astype(np.float32), known.observations)
        np.testing.assert_array_equal(episode.actions.astype(np.float32), known.actions)
        np.testing.assert_array_equal(episode.rewards.astype(np.float32), known.rewards)


@pytest.mark.parametrize("strategy", SYSTEMS)
def test_a_session_is_the_lockstep_protocol_on_one_system_to_the_bit(
    strategy: str, agent: Agent, point: tuple[Path, TaskSet], robot: Robot
) -> None:
    adapted = lockstep(agent, point[1], strategy)
    session = Session(agent, strategy, BUDGET, settings=own(strategy))
    while not session.done:
        session.record(robot.run(session.next_policy(), len(session.episodes)))
    assert_same_episodes(session, adapted, strategy)
    fresh = robot.run(session.deploy(), 1_000_000 + BUDGET - 1)
    assert (
        fresh.rewards.astype(np.float32).sum(dtype=np.float64) == adapted.results.strategies[strategy].returns[-1][0][0]
    )


@pytest.mark.parametrize("strategy", ["idaq", "idaq-mixture", "random-first"])
def test_saved_and_loaded_after_every_call_it_goes_on_to_the_bit(
    strategy: str, agent: Agent, point: tuple[Path, TaskSet], robot: Robot, tmp_path: Path
) -> None:
    adapted, file = lockstep(agent, point[1], strategy), tmp_path / "one.session"
    Session(agent, strategy, BUDGET, settings=own(strategy)).save(file)
    for number in range(BUDGET):
        asked = Session.load(file, agent)
        asked.next_policy().act(np.zeros(2))  # and the power fails here
        asked.save(file)
        session = Session.load(file, agent)
        session.record(robot.run(session.next_policy(), number))
        session.save(file)
    assert_same_episodes(Session.load(file, agent), adapted, strategy)


@pytest.mark.parametrize("name", ["ml1/reach", "walker-rand-params"])
def test_bodies_and_arms_too_whose_episodes_end_early_or_late(name: str, tmp_path: Path) -> None:
    quality = {"ml1/reach": "expert", "walker-rand-params": "medium"}[name]
    done = collect(catalogue_recipe(name, quality, ["episodes=1"]), tmp_path)
    dataset = open_dataset(done.path)
    agent = train(dataset, small_config(steps=30), tmp_path / "run").agent
    tasks, strategy = task_set(dataset), "idaq-mixture"
    adapted = lockstep(agent, tasks, strategy, budget=3)
    robot, file = Robot(get_family(name), _test_task(tasks)), tmp_path / "one.session"
    session = Session(agent, strategy, 3, settings=own(strategy))
    while not session.done:
        session.record(robot.run(session.next_policy(), len(session.episodes)))
        session.save(file)
        session = Session.load(file, agent)
    assert_same_episodes(session, adapted, strategy)


def played(agent: Agent, robot: Robot, episodes: int = 2, strategy: str = "best-of-prior") -> Session:
    session = Session(agent, strategy, BUDGET)
    for number in range(episodes):
        session.record(robot.run(session.next_policy(), number))
    return session


def test_killed_at_any_moment_the_session_goes_on_from_its_last_episode(
    agent: Agent, point: tuple[Path, TaskSet], tmp_path: Path
) -> None:
    """kill -9 at each point of the loop in turn: after next_policy, in an episode, after record and after save."""
    file, strategy = tmp_path / "one.session", "random-first"
    for moment in range(12):
        process = subprocess.run(
            [sys.executable, "-m", "tests.adapt.killed_session", str(point[0]), str(file), strategy, str(moment)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == -signal.SIGKILL, process.stderr
    session = Session.load(file, agent)
    robot = Robot(get_family("point-robot"), _test_task(point[1]))
    assert 0 < len(session.episodes) < BUDGET, "every life gets a little further"
    while not session.done:
        session.record(robot.run(session.next_policy(), len(session.episodes)))
    assert_same_episodes(session, lockstep(agent, point[1], strategy), strategy)


def test_an_aborted_episode_leaves_nothing_behind(agent: Agent, point: tuple[Path, TaskSet], robot: Robot) -> None:
    for strategy in ("idaq", "random-first"):
        session = Session(agent, strategy, BUDGET, settings=own(strategy))
        while not session.done:
            session.next_policy().act(np.zeros(2))  # the gripper jams
            session.discard()
            session.discard()
            session.record(robot.run(session.next_policy(), len(session.episodes)))
        assert_same_episodes(session, lockstep(agent, point[1], strategy), strategy)


def test_deploying_on_the_way_changes_nothing(agent: Agent, point: tuple[Path, TaskSet], robot: Robot) -> None:
    session = Session(agent, "posterior", BUDGET, settings=own("posterior"))
    while not session.done:
        session.record(robot.run(session.next_policy(), len(session.episodes)))
        first, again = (session.deploy().act(np.zeros(2)) for _ in range(2))
        np.testing.assert_array_equal(first, again)
    assert_same_episodes(session, lockstep(agent, point[1], "posterior"), "posterior")


def steps_of(episode: PlayedEpisode) -> list[tuple[Any, ...]]:
    o = episode.observations
    flags = zip(episode.terminated, episode.truncated, strict=True)
    return [
        (o[t], episode.actions[t], episode.rewards[t], o[t + 1], bool(end), bool(limit))
        for t, (end, limit) in enumerate(flags)
    ]


def columns_of(episode: PlayedEpisode) -> dict[str, Any]:
    return {
        "observations": episode.observations.tolist(),
        "actions": episode.actions.tolist(),
        "rewards": episode.rewards.tolist(),
        "terminations": episode.terminated.tolist(),
        "truncations": episode.truncated.tolist(),
    }


def minari_of(episode: PlayedEpisode) -> Any:
    from minari import EpisodeData

    columns = {name: np.asarray(value) for name, value in columns_of(episode).items()}
    return EpisodeData(id=0, infos={}, **columns)


STEP = ("observation", "action", "reward", "next_observation", "terminated", "truncated")


@pytest.mark.parametrize(
    "form",
    [
        steps_of,
        lambda episode: [dict(zip(STEP, step, strict=True)) for step in steps_of(episode)],
        columns_of,
        minari_of,
    ],
)
def test_an_episode_may_come_as_steps_as_columns_or_from_minari(agent: Agent, robot: Robot, form: Any) -> None:
    session = Session(agent, "best-of-prior", BUDGET)
    episode = robot.run(session.next_policy(), 0)
    session.record(form(episode))
    there = session.episodes[0]
    for name in ("observations", "actions", "rewards", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(there, name), getattr(episode, name))
    assert session.returns == [episode.total_reward]


def test_episodes_may_have_any_length_and_end_in_any_way(agent: Agent, robot: Robot, tmp_path: Path) -> None:
    session = Session(agent, "idaq", BUDGET, settings={"reference": 1, "candidates": 3, "context": 8})
    for length, terminated in ((3, True), (11, False), (1, True), (20, False), (7, True)):
        episode = run_episode(robot.env, session.next_policy(), max_steps=length)
        flags = np.zeros((2, length), bool)
        flags[0 if terminated else 1, -1] = True
        session.record(replace(episode, terminated=flags[0], truncated=flags[1]))
        session.save(tmp_path / "any.session")
    assert [len(episode) for episode in Session.load(tmp_path / "any.session", agent).episodes] == [3, 11, 1, 20, 7]
    assert np.isfinite(session.deploy().act(np.zeros(2))).all()


def faulty(episode: PlayedEpisode) -> dict[str, tuple[Any, type[Exception], str]]:
    nan, late = episode.rewards.copy(), episode.observations.astype(np.float64)
    nan[3], late[5, 1] = np.nan, 1e300
    early = episode.truncated.copy()
    early[4] = True
    steps = steps_of(episode)
    return {
        "nan": (replace(episode, rewards=nan), NonFiniteError, "rewards of step 3"),
        "too large": (replace(episode, observations=late), NonFiniteError, "observations of step 5"),
        "ends twice": (replace(episode, truncated=early), UsageError, "step 4 of 20 ends the episode already"),
        "no last observation": (
            replace(episode, observations=episode.observations[:-1]), UsageError, "20 rewards do not fit 20 obs",
        ),
        "empty": ([], UsageError, "without a step"),
        "a step is missing": ([*steps[:4], *steps[5:]], UsageError, "step 4 begins at another observation"),
        "short steps": ([step[:5] for step in steps], UsageError, "step 0 is"),
        "another width": (replace(episode, actions=episode.actions[:, :1]), UsageError, "rows of 2 numbers"),
        "a text": ("episode", UsageError, "a str is no episode: it has no actions, observations"),
        "ragged": ({**columns_of(episode), "observations": [[0, 0], [0]]}, UsageError, "observations: no array"),
        "words": ({**columns_of(episode), "rewards": ["good"] * 20}, UsageError, "rewards: numbers are needed"),
    }  # fmt: skip


FAULTS = (
    "nan", "too large", "ends twice", "no last observation", "empty", "a step is missing", "short steps",
    "another width", "a text", "ragged", "words",
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_episode_that_contradicts_itself_is_refused_and_nothing_of_it_is_kept(
    fault: str, agent: Agent, point: tuple[Path, TaskSet], robot: Robot
) -> None:
    session = Session(agent, "best-of-prior", BUDGET, settings=own("best-of-prior"))
    policy = session.next_policy()
    episode = robot.run(policy, 0)
    given, kind, words = faulty(episode)[fault]
    with pytest.raises(kind, match=words):
        session.record(given)
    assert session.episodes == ()
    assert session.next_policy() is policy
    while not session.done:
        session.record(robot.run(session.next_policy(), len(session.episodes)))
    assert_same_episodes(session, lockstep(agent, point[1], "best-of-prior"), "best-of-prior")


def test_what_is_assumed_of_an_episode_is_told_and_kept(agent: Agent, robot: Robot, tmp_path: Path) -> None:
    session = Session(agent, "best-of-prior", BUDGET)
    episode = robot.run(session.next_policy(), 0)
    other = episode.actions.copy()
    other[[2, 7]] += 0.05
    none = np.zeros(len(episode), bool)
    with pytest.warns(UserWarning, match="episode 0") as told:
        session.record(replace(episode, actions=other, truncated=none))
    said = [str(one.message) for one in told]
    assert said == [
        "episode 0: it has no end: taken as a time limit (truncated)",
        "episode 0: 2 of 20 actions are not those that the policy gave",
    ]
    assert session.episodes[0].truncated[-1]
    session.save(tmp_path / "one.session")
    assert Session.load(tmp_path / "one.session", agent).notes == said


def test_a_budget_within_the_reference_stage_is_told(agent: Agent) -> None:
    session = Session(agent, "idaq", settings={"reference": 12})
    with pytest.warns(UserWarning, match="for its first 12 episodes, and 10 are planned.*: 'half'}"):
        session.next_policy()
    for budget in (1, 10):  # half of the budget, by itself; a single episode leaves no other choice
        usual = Session(agent, "idaq", budget=budget)
        usual.next_policy()
        assert usual.notes == []


def test_without_a_name_it_takes_what_the_agent_was_measured_for(
    agent: Agent, point: tuple[Path, TaskSet], tmp_path: Path
) -> None:
    assert Session(agent).name == "policy-reuse"
    shutil.copytree(point[0], tmp_path / "unmeasured", ignore=shutil.ignore_patterns(CROSS_RETURNS))
    assert Session(load_agent(tmp_path / "unmeasured")).name == "gaussian-process"


def test_calls_out_of_order_are_told_in_words(agent: Agent, robot: Robot) -> None:
    session = Session(agent, "best-of-prior", 1)
    with pytest.raises(RunError, match="nothing to deploy"):
        session.deploy()
    with pytest.raises(RunError, match="no policy was asked for"):
        session.record(robot.run(session.next_policy(), 0) if session.episodes else [])
    session.record(robot.run(session.next_policy(), 0))
    assert session.done
    with pytest.raises(RunError, match="all 1 episodes are recorded"):
        session.next_policy()
    with pytest.raises(UsageError, match="a budget of 0"):
        Session(agent, "best-of-prior", 0)
    with pytest.raises(RunError, match="offline"):
        Session(agent, "offline-context")


def test_an_observation_of_another_size_or_nan_is_refused(agent: Agent) -> None:
    policy = Session(agent, "best-of-prior").next_policy()
    with pytest.raises(UsageError, match="2 numbers are needed"):
        policy.act(np.zeros(3))
    with pytest.raises(NonFiniteError, match="the observation at step 0"):
        policy.act([0.0, np.nan])


def test_a_file_is_not_overwritten_by_a_session_that_does_not_know_it(
    agent: Agent, robot: Robot, tmp_path: Path
) -> None:
    file = tmp_path / "one.session"
    mine = played(agent, robot)
    mine.save(file)
    theirs = Session.load(file, agent)
    theirs.record(robot.run(theirs.next_policy(), 2))
    theirs.save(file)
    with pytest.raises(RunError, match="holds episodes that this session does not know"):
        mine.save(file)
    assert len(Session.load(file, agent).episodes) == 3
    mine.save(file, force=True)
    assert len(Session.load(file, agent).episodes) == 2
    with pytest.raises(RunError, match="does not know"):
        Session(agent, "best-of-prior").save(file)


def test_a_damaged_file_is_refused_wherever_it_is_cut_or_changed(agent: Agent, robot: Robot, tmp_path: Path) -> None:
    file = tmp_path / "one.session"
    played(agent, robot).save(file)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    cuts = [whole[:n] for n in (0, 5, 100, len(whole) // 2, len(whole) - 1)]
    flips = [bytes([*whole[:i], whole[i] ^ 4, *whole[i + 1 :]]) for i in rng.integers(len(whole), size=60)]
    for content in cuts + flips:
        file.write_bytes(content)
        try:
            again = Session.load(file, agent)
        except (RunError, UsageError):
            continue
        assert [e.rewards.tolist() for e in again.episodes] == [
            e.rewards.tolist() for e in played(agent, robot).episodes
        ], "what is read is what was written, or it is refused"


def test_another_agent_is_refused(agent: Agent, collected: Collected, robot: Robot, tmp_path: Path) -> None:
    played(agent, robot).save(tmp_path / "one.session")
    other = train(open_dataset(collected.path), small_config(steps=2, seed=9), tmp_path / "other").agent
    with pytest.raises(RunError, match="is of another agent"):
        Session.load(tmp_path / "one.session", other)


def test_a_strategy_from_outside_is_looked_up_only_if_the_user_names_it_again(agent: Agent, tmp_path: Path) -> None:
    name = "tests.adapt.test_outside:Mine"
    session = Session(agent, name, 2)
    session.save(tmp_path / "one.session")
    with pytest.raises(PluginError, match="never imported because a document says so"):
        Session.load(tmp_path / "one.session", agent)
    assert Session.load(tmp_path / "one.session", agent, allow=[name]).name == name
    scored = Session(agent, "idaq", 2, settings={"uncertainty": "my_module:surprise"})
    scored.save(tmp_path / "two.session")
    with pytest.raises(PluginError, match="never imported"):
        Session.load(tmp_path / "two.session", agent)


def test_the_deployed_policy_leaves_and_acts_the_same(agent: Agent, robot: Robot, tmp_path: Path) -> None:
    deployed = played(agent, robot).deploy()
    deployed.save(tmp_path / "policy")
    saved = read_policy(tmp_path / "policy")
    rng = np.random.default_rng(0)
    for observation in rng.normal(size=(50, 2)):
        np.testing.assert_allclose(saved.act(observation), deployed.act(observation), atol=1e-6)
    assert saved.document.source is not None
    assert saved.document.source.belief == "that best-of-prior deploys after 2 episodes on one system"


def test_its_episodes_become_a_task_of_the_training_set(
    agent: Agent, robot: Robot, own_copy: Path, tmp_path: Path
) -> None:
    session = played(agent, robot)
    root = tmp_path / "datasets"
    written = session.to_dataset(
        "me/point-robot/tuesday-v0", task="robot-7", params={"goal": [0.1, 0.9]}, like=own_copy, split="val", root=root
    )
    assert verify(written.path) == []
    alone = open_dataset(written.path)
    assert [(task.task_id, task.params, task.split) for task in alone.tasks] == [
        ("robot-7", {"goal": [0.1, 0.9]}, "val")
    ]
    for number, episode in enumerate(session.episodes):
        np.testing.assert_array_equal(alone.episode(number).rewards, episode.rewards)
    both, duplicates = merged([open_stored(path) for path in (own_copy, written.path)], "me/point-robot/both-v0")
    assert duplicates == 0
    assert {task.task_id for task in both.tasks} == {t.task_id for t in open_dataset(own_copy).all_tasks} | {"robot-7"}
