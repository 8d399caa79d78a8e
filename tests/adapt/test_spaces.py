"""Adapting on counted spaces, images and dictionaries: the agent sees numbers, the system is given its own actions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import idaq
from idaq.adapt.adapt import adapt
from idaq.adapt.live import misfit
from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.policy import BeliefPolicy, Policy
from idaq.adapt.session import Session
from idaq.adapt.strategy import STRATEGIES, adaptation_plan
from idaq.adapt.system import SystemPolicy
from idaq.adapt.system_run import SystemSettings, start_system
from idaq.collect.collect import collect
from idaq.core.errors import DeployError, NonFiniteError, UsageError
from idaq.learn.algorithm import Agent
from idaq.learn.config import training_config
from idaq.learn.loop import train
from idaq.loader import open_dataset
from tests.corridor import Corridor, write_corridor
from tests.recipes import small_recipe

SETTINGS = {"steps": 30, "meta_batch": 4, "batch": 16, "context": 8, "log_every": 10, "threads": 1, "prior_context": 20}


@pytest.fixture(scope="module", params=[False, True], ids=["discrete", "dict"])
def picture(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(scope="module", params=["one-hot", "index"])
def agent(picture: bool, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    folder = tmp_path_factory.mktemp("spaces")
    dataset = open_dataset(write_corridor(folder, picture=picture))
    return train(dataset, training_config({**SETTINGS, "discrete": request.param}), folder / "run", device="cpu").agent


def adapted(agent: Agent, picture: bool, budget: int = 3) -> Session:
    session, env = Session(agent, "best-of-prior", budget), Corridor(task=5, picture=picture)
    while not session.done:
        session.record(idaq.run_episode(env, session.next_policy()))
    return session


def test_a_session_learns_from_the_moves_that_were_made(agent: Agent, picture: bool) -> None:
    session = adapted(agent, picture)
    assert session.notes == [], "what was played is what the policies gave"
    view = agent.spec.view
    assert view is not None
    for episode, batch in zip(session.episodes, session._history.episodes, strict=True):
        assert (episode.actions.shape, episode.actions.dtype) == ((8,), np.int64)
        assert set(episode.actions.tolist()) <= {-1, 0, 1}
        seen = view.encode_observations(episode.observations)
        np.testing.assert_array_equal(batch.transitions.observations[0], seen[:-1])
        np.testing.assert_array_equal(batch.transitions.next_observations[0], seen[1:])
        np.testing.assert_array_equal(batch.transitions.actions[0], view.encode_actions(episode.actions))


def test_a_session_comes_back_from_its_file(agent: Agent, picture: bool, tmp_path: Path) -> None:
    session = adapted(agent, picture)
    session.save(tmp_path / "one.session")
    again = Session.load(tmp_path / "one.session", agent)
    assert again.returns == session.returns
    for there, here in zip(session.episodes, again.episodes, strict=True):
        assert {name: c.tobytes() for name, c in there.columns.items()} == {
            name: c.tobytes() for name, c in here.columns.items()
        }
    env = Corridor(task=5, picture=picture)
    first, second = (idaq.run_episode(env, one.deploy()).actions.tolist() for one in (session, again))
    assert first == second


def test_steps_one_by_one_are_an_episode_too(agent: Agent, picture: bool) -> None:
    session, env = Session(agent, "best-of-prior", 1), Corridor(task=5, picture=picture)
    policy, (observation, _), steps, ended = session.next_policy(), env.reset(), [], False
    policy.reset()
    while not ended:
        action = policy.act(observation)
        following, reward, terminated, ended, _ = env.step(action)
        policy.observe(action, reward, following, ended)
        steps.append((observation, action, reward, following, terminated, ended))
        observation = following
    session.record(steps)
    assert session.notes == []
    assert session.returns == [sum(step[2] for step in steps)]


def test_the_policy_stays_where_the_agent_is(agent: Agent, picture: bool, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="on these spaces cannot leave") as raised:
        adapted(agent, picture).deploy().save(tmp_path / "policy")
    assert "session.deploy().act(observation)" in str(raised.value.hint)
    assert not (tmp_path / "policy").exists()


def test_a_system_by_name_is_adapted_to_and_says_that_no_policy_leaves(
    agent: Agent, picture: bool, tmp_path: Path
) -> None:
    settings = SystemSettings(
        env="tests.corridor:Corridor",
        env_settings={"task": 5, "picture": picture},
        strategy="best-of-prior",
        settings={},
        episodes=2,
        fresh=1,
    )
    run = start_system(tmp_path, agent, STRATEGIES.get("best-of-prior"), settings)
    record = run.run(lambda _stage, _episode: None)
    assert [one.steps for one in (*record.episodes, *record.fresh)] == [8, 8, 8]
    assert any("no policy folder is written" in note for note in record.notes)


@pytest.mark.parametrize("discrete", ["one-hot", "index"])
@pytest.mark.parametrize("family", ["dark-room", "dark-room-pixels"])
def test_dark_rooms_are_collected_learned_and_adapted_to(family: str, discrete: str, tmp_path: Path) -> None:
    dataset = open_dataset(collect(small_recipe(family), tmp_path).path)
    agent = train(dataset, training_config({**SETTINGS, "discrete": discrete}), tmp_path / "run", device="cpu").agent
    plan = adaptation_plan(["best-of-prior", "offline-context", "random-first"], {"episodes": 2, "report_at": [2]})
    problems = adapt(agent, dataset, replace(plan, config=replace(plan.config, seeds=1)))
    room, view = problems.problems.family, agent.spec.view
    assert view is not None
    for name, history in problems.histories.items():
        for policy, batch in zip(history.policies, history.episodes, strict=True):
            actions = view.decode_actions(batch.transitions.actions)
            assert set(actions.ravel().tolist()) <= set(range(5)), "what is kept is what the room was given"
            np.testing.assert_array_equal(view.encode_actions(actions), batch.transitions.actions)
            if name == "best-of-prior":
                _lived_alone(room.make(), agent, policy, batch, problems.problems.task_indices)


def _lived_alone(env: Any, agent: Agent, policy: Policy, batch: EpisodeBatch, tasks: NDArray[np.int64]) -> None:
    """Each problem's episode is the one that its policy plays in a single environment."""
    assert isinstance(policy, BeliefPolicy)
    assert agent.spec.view is not None
    for problem, task in enumerate(tasks.tolist()):
        alone = SystemPolicy(policy.of_problems(np.array([problem])), agent)
        episode = idaq.run_episode(env, alone, options={"task": task})
        seen = agent.spec.view.encode_observations(episode.observations)
        np.testing.assert_array_equal(batch.transitions.observations[problem], seen[:-1])
        np.testing.assert_array_equal(batch.transitions.rewards[problem], episode.rewards.astype(np.float32))


def test_another_environment_is_refused_in_words(agent: Agent, picture: bool) -> None:
    env, other = Corridor(picture=picture), Corridor(picture=not picture)
    assert misfit(agent, env.observation_space, env.action_space) is None
    said = misfit(agent, other.observation_space, other.action_space)
    assert said is not None
    assert "the agent learned from" in said
    env.action_space.n = np.int64(4)
    said = misfit(agent, env.observation_space, env.action_space)
    assert said is not None
    assert "of [4] values from [-1] as actions; the agent learned from" in said
    assert "of [3] values from [-1]" in said


def test_values_outside_the_spaces_are_refused(agent: Agent, picture: bool) -> None:
    policy = Session(agent, "best-of-prior", 1).next_policy()
    policy.reset()
    pixels = np.zeros((1, 7, 1), np.uint8)
    wrong = {"pixels": pixels, "place": np.int64(9)} if picture else np.int64(9)
    if agent.config.discrete == "one-hot":
        with pytest.raises(UsageError, match="hold 9, which is no value of their space"):
            policy.act(wrong)
    with pytest.raises((UsageError, NonFiniteError)):
        policy.act({"pixels": pixels, "place": np.nan} if picture else np.nan)
    with pytest.raises(UsageError):
        policy.act({"place": np.int64(3)} if picture else np.zeros(7))
