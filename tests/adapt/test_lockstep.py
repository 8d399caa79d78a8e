"""Lock-step episodes of unlike lengths by value, in an environment in which every number tells where it belongs."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.adapt.lockstep import EpisodeBatch, Rollouts, stack
from idaq.adapt.policy import RandomPolicy
from idaq.core.errors import PluginError
from idaq.core.seeds import generator
from idaq.core.types import Array, Success, Task
from idaq.learn.algorithm import BeliefPolicy
from idaq.learn.config import AgentSpec
from idaq.tasks.family import Family, StepBatch

HORIZON = 4
LENGTHS = (2, 3, 4)
"""of an episode of each task: the first terminates, the second is cut, the third meets the time limit"""
SOLVED_AT = (1, 1, 4)
"""the step at which a task is solved; it is not solved after it, but for what an ended environment returns"""


class Tagged:
    """Observation: task and step. Reward: 10 task + step. An ended environment returns nonsense."""

    def __init__(self) -> None:
        self.seeds = list[int]()

    def reset(self, task_indices: NDArray[np.int64], seeds: NDArray[np.uint64]) -> Array:
        self._tasks, self._step = task_indices, 0
        self.seeds += seeds.tolist()
        return self._observations()

    def step(self, actions: Array) -> StepBatch:
        assert actions.shape == (len(self._tasks), 1)
        self._step += 1
        lengths, solved_at = np.array(LENGTHS)[self._tasks], np.array(SOLVED_AT)[self._tasks]
        over = self._step > lengths
        last = self._step == lengths
        return StepBatch(
            observations=self._observations(),
            rewards=np.where(over, 999.0, 10.0 * self._tasks + self._step),
            terminated=(last & (self._tasks == 0)) | over,
            truncated=last & (self._tasks > 0),
            success=(self._step == solved_at) | over,
        )

    def controller_view(self) -> Array:
        return self._observations()

    def _observations(self) -> Array:
        return np.stack([self._tasks, np.full(len(self._tasks), self._step)], 1).astype(np.float32)


class Alone(gym.Env[Array, Array]):
    """The spaces of `Tagged`."""

    observation_space, action_space = gym.spaces.Box(0, 9, (2,)), gym.spaces.Box(0, 9, (1,))

    def __init__(self, task: int = 0, render_mode: str | None = None) -> None:
        pass


def tagged(when: str | None = "any-step", *, deterministic: bool = False, env: Tagged | None = None) -> Family:
    success = None if when is None else Success(metric="m", op=">=", threshold=0.5, unit="m", when=when)  # type: ignore[arg-type]
    tasks = tuple(Task(task_id=f"t-{number}", task_index=number, params={}, success=success) for number in range(3))
    made = env or Tagged()
    return Family(
        name="tagged",
        description="every number tells where it belongs",
        tasks=tasks,
        horizon=HORIZON,
        env_spec=EnvSpec(id="tagged-v0", entry_point=f"{__name__}:Alone"),
        batched=lambda: made,
        deterministic=deterministic,
    )


class Counting:
    """Acts with the number of the step, and notes what it is told."""

    def __init__(self) -> None:
        self.step, self.told = 0, list[tuple[list[float], list[bool]]]()

    def reset(self) -> None:
        self.step = 0

    def act(self, observations: Array) -> Array:
        self.step += 1
        return np.full((len(observations), 1), self.step, np.float32)

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: Array) -> None:
        np.testing.assert_array_equal(actions, np.full((len(rewards), 1), self.step))
        np.testing.assert_array_equal(next_observations[:, 1], np.full(len(rewards), self.step))
        self.told.append((rewards.tolist(), ended.tolist()))


def played(tasks: list[int], when: str | None = "any-step") -> tuple[EpisodeBatch, Counting]:
    policy = Counting()
    return Rollouts(tagged(when)).run(np.array(tasks), np.zeros(len(tasks), np.uint64), policy), policy


def test_each_episode_ends_by_itself() -> None:
    batch, policy = played([2, 0, 1])
    assert batch.valid.tolist() == [[True] * 4, [True, True, False, False], [True, True, True, False]]
    rows = batch.transitions
    assert np.where(batch.valid, rows.rewards, 0).tolist() == [[21, 22, 23, 24], [1, 2, 0, 0], [11, 12, 13, 0]]
    assert batch.returns.tolist() == [90, 3, 36]
    assert (rows.terminated & batch.valid).tolist() == [[False] * 4, [False, True, False, False], [False] * 4]
    assert rows.observations[:, :, 1].tolist() == [[0, 1, 2, 3]] * 3
    assert rows.next_observations[:, :, 1].tolist() == [[1, 2, 3, 4]] * 3
    assert rows.observations[:, :, 0].tolist() == [[2] * 4, [0] * 4, [1] * 4]
    assert rows.actions[:, :, 0].tolist() == [[1, 2, 3, 4]] * 3
    assert [ended for _, ended in policy.told] == [
        [False, False, False],
        [False, True, False],
        [False, True, True],
        [True, True, True],
    ]
    assert policy.told[0][0] == [21, 1, 11]


def test_nothing_is_stepped_after_the_last_end_and_zeros_follow_it() -> None:
    batch, policy = played([0, 0])
    assert policy.step == len(policy.told) == 2
    for column in (batch.transitions.rewards, batch.transitions.actions, batch.transitions.next_observations):
        assert not column[:, 2:].any()
    assert not batch.valid[:, 2:].any()
    assert batch.transitions.terminated.tolist() == [[False, True, False, False]] * 2


def test_success_is_of_any_step_or_of_the_last_one_before_the_end() -> None:
    """Tasks 0 and 1 are solved in the middle, task 2 at its end; what follows an end counts for neither."""
    assert played([0, 1, 2])[0].success.tolist() == [True, True, True]
    assert played([0, 1, 2], None)[0].success.tolist() == [True, True, True]
    assert played([0, 1, 2], "last-step")[0].success.tolist() == [False, False, True]


def test_every_problem_gets_its_own_seed() -> None:
    env = Tagged()
    Rollouts(tagged(env=env)).run(np.array([0, 2]), np.array([5, 2**64 - 1], np.uint64), Counting())
    assert env.seeds == [5, 2**64 - 1]


def echo(_observations: Array, beliefs: Array) -> Array:
    return beliefs


def beliefs(*values: float) -> BeliefPolicy:
    """A policy that acts with its belief."""
    return BeliefPolicy(respond=echo, beliefs=np.array(values, np.float32)[:, None])


def test_what_a_belief_does_on_a_task_is_known_by_both() -> None:
    env = Tagged()
    rollouts, tasks = Rollouts(tagged(deterministic=True, env=env)), np.array([0, 1, 0, 0])
    first = rollouts.run(tasks, np.array([1, 2, 3, 4], np.uint64), beliefs(7, 7, 7, 8))
    assert sorted(env.seeds) == [2, 3, 4]  # of two alike, one is played
    assert first.transitions.actions[:, 0, 0].tolist() == [7, 7, 7, 8]
    assert first.returns.tolist() == [3, 36, 3, 3]
    again = rollouts.run(tasks[:2], np.array([5, 6], np.uint64), beliefs(8, 8))
    assert sorted(env.seeds) == [2, 3, 4, 6]
    assert again.transitions.actions[:, 0, 0].tolist() == [8, 8]
    assert again.returns.tolist() == [3, 36]


def test_a_family_with_chance_is_played_each_time() -> None:
    env = Tagged()
    rollouts = Rollouts(tagged(env=env))
    for seed in (1, 2):
        rollouts.run(np.array([0]), np.array([seed], np.uint64), beliefs(7))
    assert env.seeds == [1, 2]


def test_rows_of_batches_are_put_together_column_by_column() -> None:
    one, other = played([0, 1])[0], played([2])[0]
    both = stack([(other, 0), (one, 1)])
    assert both.returns.tolist() == [90, 36]
    assert both.success.tolist() == [True, True]
    assert both.valid.sum(1).tolist() == [4, 3]


def test_random_actions_are_uniform_between_the_bounds() -> None:
    spec = AgentSpec(
        observation_mean=[0.0],
        observation_std=[1.0],
        change_std=[1.0],
        reward_mean=0.0,
        reward_std=1.0,
        action_centre=[1.0, -2.0],
        action_scale=[0.5, 4.0],
    )
    policy = RandomPolicy(spec, 5000, generator(0))
    policy.reset()
    actions = policy.act(np.zeros((5000, 1)))
    assert (actions.shape, actions.dtype) == ((5000, 2), np.float32)
    np.testing.assert_allclose(actions.min(0), [0.5, -6.0], atol=0.01)
    np.testing.assert_allclose(actions.max(0), [1.5, 2.0], atol=0.01)
    np.testing.assert_allclose(actions.mean(0), [1.0, -2.0], atol=0.1)
    np.testing.assert_allclose(actions.std(0), np.array([0.5, 4.0]) / np.sqrt(3), rtol=0.05)
    assert (policy.act(np.zeros((5000, 1))) != actions).any()


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ([[1.0, 1.0]], r"mine at step 0 gave actions of float64 \(1, 2\); numbers \(1, 1\) were expected"),
        (None, r"mine at step 0 gave actions of object \(\)"),
        ([[float("nan")]], r"mine at step 0 gave the action \[nan\], outside \[0.0\] to \[9.0\]"),
        ([[9.1]], r"mine at step 0 gave the action \[9.1\], outside"),
    ],
)
def test_actions_that_the_environment_does_not_take_are_told(action: object, told: str) -> None:
    class Wrong(Counting):
        def act(self, observations: Array) -> Any:
            return action

    with pytest.raises(PluginError, match=told):
        Rollouts(tagged()).run(np.array([0]), np.zeros(1, np.uint64), Wrong(), "mine")


def test_the_actions_of_an_ended_episode_are_not_looked_at() -> None:
    def respond(observations: Array, _z: Array) -> Array:
        ended = (observations[:, 0] == 0) & (observations[:, 1] >= LENGTHS[0])
        return np.where(ended, np.nan, 1)[:, None]

    policy = BeliefPolicy(respond=respond, beliefs=np.zeros((2, 0), np.float32))
    batch = Rollouts(tagged()).run(np.array([0, 2]), np.zeros(2, np.uint64), policy)
    assert batch.valid.sum(1).tolist() == [2, 4]


def test_a_known_episode_is_of_the_function_that_acted_not_of_its_belief_alone() -> None:
    """Two policies of one belief that act unlike each other, as a strategy from outside may mix them."""
    rollouts = Rollouts(tagged(deterministic=True))
    tasks, seeds, beliefs = np.array([0, 2]), np.zeros(2, np.uint64), np.zeros((2, 1), np.float32)
    for action in (1.0, 2.0, 1.0):
        policy = BeliefPolicy(respond=RESPONSES[action], beliefs=beliefs)
        acted = rollouts.run(tasks, seeds, policy)
        assert set(acted.transitions.actions[acted.valid].ravel().tolist()) == {action}


RESPONSES = {
    action: lambda observations, _z, action=action: np.full((len(observations), 1), action, np.float32)
    for action in (1.0, 2.0)
}
