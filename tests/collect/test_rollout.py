import dataclasses
from typing import Any

import numpy as np
import pytest

from idaq.collect.behaviours import Batch, draw_noise, make_policy
from idaq.collect.rollout import rollout
from idaq.core.digest import episode_digest
from idaq.core.types import Array, Episode, Success
from idaq.format.recipe import Behaviour
from idaq.tasks import BUILT_IN, Family, StepBatch, get_family
from idaq.tasks.point import MAX_ACTION

POINT = get_family("point-robot")
SEEDS = np.arange(100, 106, dtype=np.uint64) * np.uint64(2**60 + 1)
TASKS = np.array([0, 3, 3, 50, 99, 7])


def behaviour(kind: Any, noise: float = 0.0, random_share: float = 0.0) -> Behaviour:
    return Behaviour(name="b", kind=kind, quality="medium", episodes=1, noise=noise, random_share=random_share)


def actions_of(family: Family, which: Behaviour, count: int = 200) -> Array:
    """(count * T, A) actions on task 0."""
    episodes = rollout(family, which, np.zeros(count, np.int64), np.arange(count, dtype=np.uint64)).episodes
    return np.concatenate([episode.actions for episode in episodes])


@pytest.mark.parametrize("name", [*(n for n in BUILT_IN if n.startswith("point")), "ml1/reach"])
@pytest.mark.parametrize("which", [behaviour("scripted", 0.5), behaviour("random"), behaviour("mixture", 0.5, 0.5)])
def test_an_episode_is_a_pure_function_of_task_and_seed_whatever_it_is_batched_with(
    name: str, which: Behaviour
) -> None:
    family = get_family(name)
    family = dataclasses.replace(family, horizon=min(family.horizon, 25))
    tasks = np.minimum(TASKS, len(family.tasks) - 1)
    together = rollout(family, which, tasks, SEEDS).episodes
    backwards = rollout(family, which, tasks[::-1], SEEDS[::-1]).episodes
    for b, episode in enumerate(together):
        alone = rollout(family, which, tasks[b : b + 1], SEEDS[b : b + 1]).episodes
        digests = {episode_digest(e, task_index=0, seed=0) for e in (episode, alone[0], backwards[-1 - b])}
        assert len(digests) == 1


def test_an_episode_has_t_plus_1_observations_and_t_of_everything_else() -> None:
    for episode in rollout(POINT, behaviour("random"), TASKS, SEEDS).episodes:
        assert episode.observations.shape == (21, 2)
        assert episode.actions.shape == (20, 2)
        assert episode.observations.dtype == episode.actions.dtype == episode.rewards.dtype == np.float32
        assert [len(c) for c in (episode.rewards, episode.terminated, episode.truncated)] == [20] * 3
        assert (episode.truncated == [False] * 19 + [True]).all()
        assert not episode.terminated.any()


def test_an_episode_replays_in_a_single_environment_to_the_same_bits() -> None:
    for task, episode in zip(TASKS, rollout(POINT, behaviour("mixture", 0.5, 0.5), TASKS, SEEDS).episodes, strict=True):
        env = POINT.make(int(task))
        observation, _ = env.reset(seed=1)
        for t, action in enumerate(episode.actions):
            np.testing.assert_array_equal(observation, episode.observations[t])
            observation, reward, terminated, truncated, _ = env.step(action)
            assert (reward, terminated, truncated) == (episode.rewards[t], episode.terminated[t], episode.truncated[t])
        np.testing.assert_array_equal(observation, episode.observations[-1])
        env.close()


def test_the_scripted_behaviour_without_noise_heads_straight_for_the_goal() -> None:
    episode = rollout(POINT, behaviour("scripted"), np.array([0]), SEEDS[:1]).episodes[0]
    expected = np.tile(np.array([MAX_ACTION, 0], np.float32), (9, 1))
    np.testing.assert_allclose(episode.actions[:9], expected, atol=1e-7)
    np.testing.assert_allclose(episode.observations[10:], np.tile([1, 0], (11, 1)), atol=1e-5)


def test_noise_is_gaussian_in_units_of_the_largest_action_and_clipped() -> None:
    sideways = actions_of(POINT, behaviour("scripted", 0.2))[::20, 1] / MAX_ACTION
    assert sideways.std() == pytest.approx(0.2, rel=0.15)
    assert abs(sideways.mean()) < 0.05
    wild = actions_of(POINT, behaviour("scripted", 5.0))
    assert np.abs(wild).max() == MAX_ACTION
    assert (np.abs(wild) == MAX_ACTION).mean() > 0.5


def test_the_random_behaviour_is_uniform_over_the_action_space_and_ignores_the_task() -> None:
    actions = actions_of(POINT, behaviour("random")) / MAX_ACTION
    assert np.histogram(actions, bins=10, range=(-1, 1))[0] / actions.size == pytest.approx(np.full(10, 0.1), abs=0.02)
    first, last = (rollout(POINT, behaviour("random"), np.array([t]), SEEDS[:1]).episodes[0] for t in (0, 99))
    np.testing.assert_array_equal(first.actions, last.actions)
    assert not np.array_equal(first.rewards, last.rewards)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_mixture_takes_each_step_from_the_random_or_from_the_scripted_policy(share: float) -> None:
    count, steps = 50, POINT.horizon
    seeds, tasks = np.arange(count, dtype=np.uint64), np.zeros(count, np.int64)
    spaces, seen = POINT.spaces(), np.zeros((count, 2), np.float32)

    def actions(which: Behaviour) -> Array:
        policy = make_policy(Batch(family=POINT, spaces=spaces, behaviour=which, tasks=tasks, seeds=seeds[:, None]))
        policy.reset()
        return np.stack([policy.act(seen) for _ in range(steps)])

    mixed, scripted, random = map(
        actions, (behaviour("mixture", 0.5, share), behaviour("scripted", 0.5), behaviour("random"))
    )
    from_random = (mixed == random).all(-1)
    assert (from_random | (mixed == scripted).all(-1)).all()
    assert from_random.mean() == pytest.approx(share, abs=0.05)


@dataclasses.dataclass
class EndingEnv:
    """A lock-step of environments that end after `task + 1` steps, by a time limit where the task is even.

    What it returns after the end is not finite: nobody may look at it.
    """

    def reset(self, task_indices: Array, seeds: Array) -> Array:
        self.ends, self.steps = np.asarray(task_indices) + 1, 0
        self.seen = np.zeros((len(task_indices), 2), np.float32)
        return self.seen

    def controller_view(self) -> Array:
        return self.seen

    def step(self, actions: Array) -> StepBatch:
        self.steps += 1
        after, at = self.steps > self.ends, self.steps == self.ends
        value = np.where(after, np.nan, self.steps).astype(np.float32)
        return StepBatch(
            observations=np.stack([value, value], 1),
            rewards=value,
            terminated=at & (self.ends % 2 == 0),
            truncated=at & (self.ends % 2 == 1),
            success=np.full(len(value), self.steps == 2),
        )


def ending_family(when: Any) -> Family:
    success = Success(metric="m", op=">=", threshold=0.0, unit="", when=when)
    tasks = tuple(dataclasses.replace(task, success=success) for task in POINT.tasks)
    return dataclasses.replace(POINT, tasks=tasks, batched=EndingEnv)


def test_an_episode_is_cut_at_its_own_end() -> None:
    family = ending_family("last-step")
    episodes = rollout(family, behaviour("random"), np.arange(4), np.arange(4, dtype=np.uint64)).episodes
    assert [len(episode) for episode in episodes] == [1, 2, 3, 4]
    assert [len(episode.observations) for episode in episodes] == [2, 3, 4, 5]
    ends = [(bool(episode.terminated[-1]), bool(episode.truncated[-1])) for episode in episodes]
    assert ends == [(False, True), (True, False)] * 2
    assert [episode.total_reward for episode in episodes] == [1, 3, 6, 10]


@pytest.mark.parametrize(
    ("when", "solved"), [("last-step", [False, True, False, False]), ("any-step", [False, True, True, True])]
)
def test_success_is_judged_at_the_last_step_or_at_any_as_the_task_says(when: str, solved: list[bool]) -> None:
    seeds = np.arange(4, dtype=np.uint64)
    assert rollout(ending_family(when), behaviour("random"), np.arange(4), seeds).successes.tolist() == solved


def test_an_episode_that_is_not_finite_is_left_out() -> None:
    broken = dataclasses.replace(ending_family("any-step"), batched=BrokenEnv)
    done = rollout(broken, behaviour("random"), np.array([0]), SEEDS[:1])
    assert (done.episodes, len(done.successes), len(done.kept)) == ([], 0, 0)


class BrokenEnv(EndingEnv):
    def step(self, actions: Array) -> StepBatch:
        return dataclasses.replace(super().step(actions), rewards=np.full(len(actions), np.inf, np.float32))


def test_the_noise_of_an_episode_is_drawn_from_its_own_seed() -> None:
    both, second = draw_noise(np.array([1, 2], np.uint64), 5, (3,)), draw_noise(np.array([2], np.uint64), 5, (3,))
    assert (both.gaussian.shape, both.uniform.shape, both.choice.shape) == ((5, 2, 3), (5, 2, 3), (5, 2))
    for name in ("gaussian", "uniform", "choice"):
        np.testing.assert_array_equal(getattr(both, name)[:, 1:], getattr(second, name))


def test_episodes_hold_copies_that_share_no_memory() -> None:
    episodes: list[Episode] = rollout(POINT, behaviour("random"), TASKS[:2], SEEDS[:2]).episodes
    before = episodes[1].observations.copy()
    episodes[0].observations[:] = 7
    np.testing.assert_array_equal(episodes[1].observations, before)
