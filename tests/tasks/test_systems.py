"""One system stepped from outside: how it is named, and an episode on it."""

import gymnasium as gym
import numpy as np
import pytest

from idaq.core.errors import NonFiniteError, PluginError, UsageError
from idaq.tasks.systems import make_env, run_episode


class Counter(gym.Env):
    """Counts its steps; ends after `length`, and gives what `fault` says at step 2."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self, length=3, fault=None):
        self.length, self.fault, self.step_count = length, fault, 0

    def reset(self, seed=None, options=None):
        self.step_count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.step_count += 1
        given = self.fault if self.fault is not None and self.step_count == 2 else self.step_count
        done = self.step_count == self.length
        return np.array([given], np.float32), float(given), done, False, {"success": done}


class Remembering:
    def __init__(self):
        self.told = []

    def reset(self):
        self.told.append("reset")

    def act(self, observation):
        return np.array([observation[0] / 10], np.float32)

    def observe(self, action, reward, next_observation, ended):
        self.told.append((round(float(action[0]), 3), reward, float(next_observation[0]), ended))


def test_an_episode_has_one_more_observation_than_actions_and_ends_where_the_environment_says():
    episode = run_episode(Counter(), Remembering(), seed=7)
    assert episode.observations.ravel().tolist() == [0, 1, 2, 3]
    assert episode.actions.ravel() == pytest.approx([0, 0.1, 0.2])
    assert episode.rewards.tolist() == [1, 2, 3]
    assert episode.terminated.tolist() == [False, False, True]
    assert not episode.truncated.any()
    assert (episode.success, episode.seed) == (True, 7)


def test_a_limit_truncates_and_does_not_terminate():
    episode = run_episode(Counter(length=9), Remembering(), max_steps=2)
    assert (len(episode), episode.terminated.tolist(), episode.truncated.tolist()) == (2, [False] * 2, [False, True])
    at_the_end = run_episode(Counter(length=2), Remembering(), max_steps=2)
    assert (at_the_end.terminated.tolist(), at_the_end.truncated.tolist()) == ([False, True], [False, False])


def test_a_policy_with_memory_is_told_each_step_and_one_without_needs_act_alone():
    policy = Remembering()
    run_episode(Counter(), policy)
    assert policy.told == ["reset", (0, 1, 1, False), (0.1, 2, 2, False), (0.2, 3, 3, True)]

    class Plain:
        def act(self, observation):
            return np.zeros(1)

    assert len(run_episode(Counter(), Plain())) == 3


def test_nan_is_refused_with_the_step_that_gave_it():
    with pytest.raises(NonFiniteError, match="step 2"):
        run_episode(Counter(fault=np.nan), Remembering())


def test_a_first_observation_of_nan_is_refused_too():
    class Blind(Counter):
        def reset(self, seed=None, options=None):
            return np.full(1, np.nan), {}

    with pytest.raises(NonFiniteError, match="reset of the episode gave NaN"):
        run_episode(Blind(), _zero)


class InPlace(Counter):
    """Gives one array, which it changes at each step, and clips the action that it was given in place."""

    def reset(self, seed=None, options=None):
        super().reset()
        self.place = np.zeros(1, np.float32)
        return self.place, {}

    def step(self, action):
        self.place += 1
        action *= 0
        return self.place, *super().step(action)[1:]


class Reusing:
    """Gives one array too, and centres the observation in place."""

    def __init__(self):
        self.action = np.zeros(1, np.float32)

    def act(self, observation):
        observation -= 100
        self.action += 1
        return self.action


class Lake(gym.Env):
    """Sees a dictionary of a place and a picture, looks its moves up in a table as toy texts do, ends at place 3."""

    observation_space = gym.spaces.Dict(
        {"at": gym.spaces.Discrete(4), "view": gym.spaces.Box(0, 255, (2, 2), np.uint8)}
    )
    action_space = gym.spaces.Discrete(2)
    table = {0: -1, 1: 1}  # noqa: RUF012

    def reset(self, seed=None, options=None):
        self.seen = {"at": 1, "view": np.zeros((2, 2), np.uint8)}
        return self.seen, {}

    def step(self, action):
        self.seen["at"] += self.table[action]
        self.seen["view"] += 1
        return self.seen, 1.0, self.seen["at"] == 3, False, {}


def test_choices_and_dictionaries_are_episodes_too():
    class Right:
        def act(self, observation):
            observation["view"] += 7
            return 1

    episode = run_episode(Lake(), Right())
    assert episode.observations["at"].tolist() == [1, 2, 3]
    assert episode.observations["view"][:, 0, 0].tolist() == [0, 1, 2]
    assert (episode.observations["view"].dtype, episode.actions.tolist()) == (np.uint8, [1, 1])
    assert list(episode.columns)[:2] == ["observations/at", "observations/view"]


def test_arrays_that_are_changed_in_place_are_copied():
    episode = run_episode(InPlace(), Reusing())
    assert episode.observations.ravel().tolist() == [0, 1, 2, 3]
    assert episode.actions.ravel().tolist() == [1, 2, 3]


class Giving(gym.Env):
    """Gives what it was made with."""

    def __init__(self, started=((0.0,), {}), **stepped):
        step = {"observation": np.ones(1), "reward": 1.0, "terminated": True, "truncated": False, "info": {}}
        self.started, self.stepped = started, tuple({**step, **stepped}.values())

    def reset(self, seed=None, options=None):
        return self.started

    def step(self, action):
        return self.stepped


def test_lists_numbers_and_arrays_of_one_number_are_taken():
    for given in (
        {"observation": [1.0]}, {"reward": np.array([1.0])}, {"reward": True}, {"info": None}, {"terminated": np.True_},
    ):  # fmt: skip
        episode = run_episode(Giving(**given), _zero)
        assert (episode.observations.tolist(), episode.rewards.tolist()) == ([[0.0], [1.0]], [1.0])


def test_what_is_no_step_is_told_in_words():
    for given, words in (
        (
            {"observation": {"camera": np.ones(1)}},
            r"step 1 .* is of shape \{'camera': \(1,\)\}, at reset it was \(1,\)",
        ),
        ({"observation": np.ones(2)}, r"step 1 .* is of shape \(2,\), at reset it was \(1,\)"),
        ({"observation": {"camera": "dark"}}, "step 1 of the episode: the observation is .* numbers are needed"),
        ({"observation": [[1], [1, 2]]}, "the observation is"),
        ({"reward": None}, "the reward is None"),
        ({"reward": np.ones(2)}, "the reward is"),
        ({"extra": 1}, "step 1 of the episode gave"),
        ({"started": np.zeros(2)}, "reset of the episode gave"),
    ):
        with pytest.raises(PluginError, match=words):
            run_episode(Giving(**given), _zero)
    with pytest.raises(UsageError, match="an episode of 0 steps"):
        run_episode(Giving(), _zero, max_steps=0)


def test_success_is_unknown_where_the_environment_never_says():
    assert run_episode(make_env("Pendulum-v1"), _zero, max_steps=3).success is None


def test_an_environment_is_a_gymnasium_id_or_a_function_of_the_users():
    assert make_env("Pendulum-v1", {"g": 9.0}).unwrapped.g == 9.0
    assert make_env("tests.tasks.test_systems:Counter", {"length": 5}).length == 5


def test_what_names_no_environment_is_told_in_words():
    with pytest.raises(UsageError, match="Pendulum-v9"):
        make_env("Pendulum-v9")
    with pytest.raises(PluginError, match="no module 'nowhere'"):
        make_env("nowhere:make")
    with pytest.raises(PluginError, match=r"which is no gymnasium\.Env"):
        make_env("builtins:list")
    with pytest.raises(PluginError, match="unexpected keyword"):
        make_env("tests.tasks.test_systems:Counter", {"width": 5})


class _Zero:
    def act(self, observation):
        return np.zeros(1, np.float32)


_zero = _Zero()


def test_success_may_be_called_as_gymnasium_robotics_calls_it():
    class Robot(Counter):
        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated, truncated, {"is_success": info["success"]}

    assert [run_episode(Robot(), Remembering(), max_steps=n).success for n in (2, 3)] == [False, True]
