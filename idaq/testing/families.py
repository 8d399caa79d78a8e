"""What every task family must do, so that collecting, learning and adapting can rely on it."""

import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from idaq.core.config import from_mapping, to_mapping
from idaq.core.types import Array, Task, leaves_of
from idaq.tasks import Family, LockstepEnv
from idaq.tasks.family import stacked


@dataclass(frozen=True)
class Played:
    """One episode, as far as it went: T steps."""

    observations: Any
    """(T + 1, ...), or of a Dict space a dict of such"""
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    success: NDArray[np.bool_]
    infos: Mapping[str, Array]
    """(T, ...) each, by the names of `Family.infos`"""

    def same_bits(self, other: "Played") -> bool:
        """Whether another holds the same bits."""
        return same_bits(vars(self), vars(other))


def same_bits(one: Any, other: Any) -> bool:
    """Whether two arrays, or two (nested) tables of arrays, hold the same bits."""
    mine, theirs = leaves_of(one), leaves_of(other)
    return mine.keys() == theirs.keys() and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in ((np.asarray(mine[name]), np.asarray(theirs[name])) for name in mine)
    )


def row(observations: Any, index: int) -> Any:
    """One observation of several."""
    if isinstance(observations, Mapping):
        return {key: row(inner, index) for key, inner in observations.items()}
    return observations[index]


class FamilyContract:
    """Subclass it and give `family`; `steps` bounds the episodes of most tests, in the family's own horizon."""

    steps = 40

    @pytest.fixture
    def family(self) -> Family:
        """Yours to give: the family."""
        raise NotImplementedError

    @pytest.fixture
    def tasks(self, family: Family) -> NDArray[np.int64]:
        """(B,) the first, the last, one twice."""
        last = len(family.tasks) - 1
        return np.array([0, last, last // 2, 0, min(1, last)])

    @pytest.fixture
    def actions(self, family: Family, tasks: NDArray[np.int64]) -> Array:
        """(T, B, ...) anywhere in the action space."""
        env = family.make()
        env.action_space.seed(0)
        steps = min(self.steps, family.horizon)
        drawn = [[env.action_space.sample() for _ in tasks] for _ in range(steps)]
        env.close()
        return np.array(drawn)

    def test_tasks_are_told_apart_by_index_id_and_params(self, family: Family) -> None:
        assert [task.task_index for task in family.tasks] == list(range(len(family.tasks)))
        assert len({task.task_id for task in family.tasks}) == len(family.tasks) > 0
        assert len({str(task.params) for task in family.tasks}) == len(family.tasks)
        for task in family.tasks:
            assert from_mapping(Task, to_mapping(task), where=task.task_id, strict=True) == task

    def test_gymnasium_makes_the_environment_from_the_spec_alone(self, family: Family) -> None:
        env = gym.make(EnvSpec.from_json(family.env_spec.to_json()))
        assert family.env_spec.max_episode_steps == family.horizon
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of unbounded spaces, which bodies have
            check_env(env.unwrapped, skip_render_check=True)
        env.close()

    def test_what_is_seen_and_paid_fits_the_spaces(self, family: Family, actions: Array) -> None:
        env, played = family.make(), single(family, 0, 0, actions[:, 0])
        assert all(row(played.observations, t) in env.observation_space for t in range(len(played.rewards) + 1))
        assert list(played.infos) == list(family.infos)
        assert np.isfinite(played.rewards).all()
        env.close()

    def test_a_reset_option_chooses_the_task_and_without_it_it_stays(self, family: Family, actions: Array) -> None:
        last = len(family.tasks) - 1
        expected = single(family, last, 3, actions[:, 0])
        env = family.make(0)
        env.reset(seed=3, options={"task": last})
        for options in (None, {"task": last}):
            first, _ = env.reset(seed=3, options=options)
            assert play(env, first, actions[:, 0], family.infos).same_bits(expected)
        env.close()

    def test_the_same_task_seed_and_actions_give_the_same_episode(self, family: Family, actions: Array) -> None:
        first = single(family, 0, 5, actions[:, 0])
        assert single(family, 0, 5, actions[:, 0]).same_bits(first)
        if family.deterministic:
            assert single(family, 0, 6, actions[:, 0]).same_bits(first)

    def test_environments_in_lockstep_give_what_each_gives_alone(
        self, family: Family, tasks: NDArray[np.int64], actions: Array
    ) -> None:
        """In one batch, in a batch of one, and as the single Gymnasium environment: to the bit."""
        seeds = np.arange(len(tasks), dtype=np.uint64) + 2**63
        env = family.lockstep()
        for b, (task, together) in enumerate(zip(tasks, lockstep(family, env, tasks, seeds, actions), strict=True)):
            (alone,) = lockstep(family, env, tasks[b : b + 1], seeds[b : b + 1], actions[:, b : b + 1])
            assert together.same_bits(alone), f"task {task}, in a batch and alone"
            assert together.same_bits(single(family, task, seeds[b], actions[:, b])), f"task {task}, single environment"

    def test_an_episode_does_not_depend_on_those_before_it(
        self, family: Family, tasks: NDArray[np.int64], actions: Array
    ) -> None:
        seeds, used = np.arange(len(tasks), dtype=np.uint64), family.lockstep()
        lockstep(family, used, tasks[::-1], seeds[::-1], actions[:7])
        again = lockstep(family, used, tasks, seeds, actions)
        fresh = lockstep(family, family.lockstep(), tasks, seeds, actions)
        assert all(a.same_bits(b) for a, b in zip(again, fresh, strict=True))

    def test_arrays_given_before_are_not_altered(
        self, family: Family, tasks: NDArray[np.int64], actions: Array
    ) -> None:
        env = family.lockstep()
        given = [env.reset(tasks, np.zeros(len(tasks), np.uint64))]
        kept = [deepcopy(given[0])]
        for action in actions[:5]:
            given.append(env.step(action).observations)
            kept.append(deepcopy(given[-1]))
        assert all(same_bits(a, b) for a, b in zip(given, kept, strict=True))

    def test_the_time_limit_truncates_at_the_horizon_and_not_before(self, family: Family, actions: Array) -> None:
        long = np.resize(actions[:, 0], (family.horizon, *actions.shape[2:]))
        played = single(family, 0, 0, long)
        assert not played.truncated[:-1].any()
        if not played.terminated.any():
            assert (len(played.rewards), bool(played.truncated[-1])) == (family.horizon, True)

    def test_tasks_change_the_dynamics_as_the_family_says(self, family: Family, actions: Array) -> None:
        """Of tasks that start alike. Else a context that lacks the next state could not tell tasks apart."""
        moved: dict[bytes, set[bytes]] = {}
        for task in np.unique(np.linspace(0, len(family.tasks) - 1, 6).astype(int)):
            seen = single(family, task, 1, actions[:, 0]).observations
            first, second = (b"".join(leaf[t].tobytes() for leaf in leaves_of(seen).values()) for t in (0, 1))
            moved.setdefault(first, set()).add(second)
        alike = [len(ways) for ways in moved.values()]
        if not family.task_changes_dynamics:
            assert alike == [1] * len(moved)
        elif len(family.tasks) > 1 == len(moved):
            assert max(alike) > 1

    def test_the_controller_acts_for_each_row_alone(self, family: Family, tasks: NDArray[np.int64]) -> None:
        if family.controller is None:
            pytest.skip("the family has no scripted controller")
        env, space = family.lockstep(), family.spaces().actions
        env.reset(tasks, np.arange(len(tasks), dtype=np.uint64))
        seen = env.controller_view()
        given = deepcopy(seen)
        chosen = family.controller(seen, tasks)
        assert same_bits(seen, given), "what the controller is given is altered"
        assert chosen.shape == (len(tasks), *(space.shape or ()))
        assert np.isfinite(chosen).all()
        if space.dtype is not None and space.dtype.kind in "iu":
            assert all(choice in space for choice in chosen.astype(space.dtype))
        env.reset(tasks[1:2], np.array([1], np.uint64))
        np.testing.assert_array_equal(family.controller(env.controller_view(), tasks[1:2]), chosen[1:2])

    def test_relabelling_pays_what_the_task_itself_would_have(self, family: Family, actions: Array) -> None:
        if family.relabel is None:
            pytest.skip("the family cannot be relabelled")
        env: Any = family.make(1 % len(family.tasks))
        env.reset(seed=2)
        for action in actions[:10, 0]:
            _, reward, ended, _, info = env.step(action)
            paid = family.relabel(np.array([1 % len(family.tasks)]), info["motion"][None], action[None])
            assert float(paid[0]) == float(reward)
            if ended:
                break
        env.close()

    def test_what_a_trained_behaviour_and_figures_are_told_is_there(self, family: Family) -> None:
        features, env = family.task_features, family.make()
        if features is not None:
            assert (features.dtype, len(features)) == (np.float32, len(family.tasks))
            assert np.isfinite(features).all()
        numbers = [*(family.place or ()), *([] if family.velocity is None else [family.velocity])]
        assert all(0 <= number < env.observation_space.shape[0] for number in numbers)  # type: ignore[index]
        env.close()


def single(family: Family, task: int | np.integer, seed: int | np.integer, actions: Array) -> Played:
    """One episode of the Gymnasium environment. actions (T, ...)."""
    env = family.make(int(task))
    first, _ = env.reset(seed=int(seed))
    played = play(env, first, actions, family.infos)
    env.close()
    return played


def play(env: gym.Env[Any, Any], first: Any, actions: Array, infos: Iterable[str] = ()) -> Played:
    """Step an environment that has been reset, until the actions or the episode end."""
    seen, steps, told = [first], [], {name: [] for name in infos}
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append(observation)
        steps.append((float(reward), bool(terminated), bool(truncated), bool(info.get("success", False))))
        for name, values in told.items():
            values.append(info[name])
        if terminated or truncated:
            break
    rewards, ended, cut, success = map(np.array, zip(*steps, strict=True))
    said = {name: np.array(values) for name, values in told.items()}
    return Played(stacked(seen), rewards, ended, cut, success, said)


def lockstep(
    family: Family, env: LockstepEnv, tasks: NDArray[np.int64], seeds: NDArray[np.uint64], actions: Array
) -> list[Played]:
    """B episodes together, each as far as it went. actions (T, B, ...)."""
    first = env.reset(tasks, seeds)
    seen, steps = [first], []
    for action in actions:
        step = env.step(action)
        for name in ("rewards", "terminated", "truncated", "success"):
            assert getattr(step, name).shape == (len(tasks),), name
        seen.append(step.observations)
        steps.append(step)
    episodes = []
    for b in range(len(tasks)):
        ends = [t for t, step in enumerate(steps) if step.terminated[b] or step.truncated[b]]
        length = ends[0] + 1 if ends else len(steps)
        columns = [
            np.array([getattr(step, name)[b] for step in steps[:length]])
            for name in ("rewards", "terminated", "truncated", "success")
        ]
        rewards, *flags = columns
        said = {name: np.array([step.infos[name][b] for step in steps[:length]]) for name in family.infos}
        watched = stacked([row(rows, b) for rows in seen[: length + 1]])
        episodes.append(Played(watched, rewards.astype(np.float64), *flags, infos=said))
    return episodes
