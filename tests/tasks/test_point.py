from typing import Any

import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.core.errors import UnknownNameError, UsageError
from idaq.tasks import BUILT_IN, Family, get_family
from idaq.tasks.point import MAX_ACTION, load_variant, move

LARGEST = np.full(2, MAX_ACTION)
POINTS = sorted(name for name in BUILT_IN if name.startswith("point"))


@pytest.fixture(params=POINTS)
def family(request: pytest.FixtureRequest) -> Family:
    return get_family(request.param)


def run(family: Family, task: int, actions: NDArray[Any]) -> list[tuple[Any, ...]]:
    """(observation, reward, terminated, truncated, success) of one single-environment episode."""
    env = family.make(task)
    env.reset(seed=0)
    steps = [env.step(action) for action in actions]
    env.close()
    return [(*step[:4], step[4]["success"]) for step in steps]


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown task family 'point-robo'") as caught:
        get_family("point-robo")
    assert "'point-robot'" in str(caught.value.hint)


@pytest.mark.parametrize(("name", "tasks", "horizon"), [("point-robot", 100, 20), ("point-robot-wind", 50, 25)])
def test_the_families_have_the_sizes_of_the_literature(name: str, tasks: int, horizon: int) -> None:
    assert (len(get_family(name).tasks), get_family(name).horizon) == (tasks, horizon)


def test_goals_lie_on_the_upper_half_of_the_unit_circle() -> None:
    goals = np.array([task.params["goal"] for task in get_family("point-robot").tasks])
    np.testing.assert_allclose(np.linalg.norm(goals, axis=1), 1, atol=1e-6)
    assert (goals[:, 1] > -1e-6).all()
    np.testing.assert_allclose(goals[[0, -1]], [[1, 0], [-1, 0]], atol=1e-6)


def test_the_time_limit_truncates_at_the_horizon_and_nothing_ever_terminates(family: Family) -> None:
    goal = np.array(family.tasks[0].params.get("goal", [1.0, 0.0]))
    for actions in (np.zeros((family.horizon, 2)), np.clip(goal - np.arange(family.horizon)[:, None] * 0.1, -0.1, 0.1)):
        steps = run(family, 0, actions.astype(np.float32))
        assert [step[2] for step in steps] == [False] * family.horizon
        assert [step[3] for step in steps] == [False] * (family.horizon - 1) + [True]


def test_no_position_leaves_the_observation_space(family: Family) -> None:
    """Straight into each corner, by the largest action: where float32 rounding adds up."""
    for corner in ([1, 1], [1, -1], [-1, 1], [-1, -1]):
        actions = np.tile(LARGEST * np.float32(corner), (family.horizon, 1))
        for task in range(len(family.tasks)):
            env = family.make(task)
            assert all(env.observation_space.contains(step[0]) for step in run(family, task, actions))
            env.close()


def test_reset_options_choose_the_task_and_without_them_it_stays(family: Family) -> None:
    env = family.make(3)
    assert env.reset(seed=0)[1] == {"success": False, "task_index": 3}
    assert env.reset(options={"task": 7})[1]["task_index"] == 7
    assert env.reset()[1]["task_index"] == 7
    assert env.reset(options={"task": np.int64(2)})[1]["task_index"] == 2
    assert env.reset(options={})[1]["task_index"] == 2
    rewards = env.step(LARGEST)[1], run(family, 2, LARGEST[None])[0][1]
    assert rewards[0] == rewards[1]
    env.close()


@pytest.mark.parametrize("task", [-1, 1000, True, "0", 1.0, None, [1]])
def test_a_bad_task_is_refused_at_construction_and_at_reset(family: Family, task: Any) -> None:
    last = len(family.tasks) - 1
    with pytest.raises(UsageError, match="there is no task") as caught:
        family.make(task)
    assert caught.value.hint == f"an integer from 0 to {last}"
    env = family.make(last)
    with pytest.raises(UsageError, match="there is no task"):
        env.reset(options={"task": task})
    assert env.reset()[1]["task_index"] == last
    env.close()


def test_the_environment_spec_makes_the_family_again_from_its_json(family: Family) -> None:
    spec = EnvSpec.from_json(family.env_spec.to_json())
    assert (spec.id, spec.max_episode_steps) == (f"idaq/{family.name}-v0", family.horizon)
    assert spec.kwargs == {"variant": family.name}


@pytest.mark.parametrize(
    ("position", "action", "dense", "sparse"),
    [
        ((0.0, 0.0), (0.0, 0.0), -1.0, 0.0),
        ((0.0, 0.0), (0.1, 0.0), -0.9, 0.0),
        ((0.0, 0.0), (5.0, 0.0), -0.9, 0.0),
        ((1.0, 0.0), (0.0, 0.0), 0.0, 1.0),
        ((0.9, 0.0), (0.1, 0.0), 0.0, 1.0),
        ((0.8, 0.0), (0.1, 0.0), -0.1, 0.5),
        ((0.85, 0.0), (0.0, 0.0), -0.15, 0.25),
        ((1.0, 0.25), (0.0, -0.05), -0.2, 0.0),
        ((0.79, 0.0), (0.0, 0.0), -0.21, 0.0),
        ((1.0, 0.0), (0.0, 0.3), -0.1, 0.5),
    ],
)
def test_rewards_for_a_goal_at_1_0_are_paid_after_the_move(
    position: tuple[float, float], action: tuple[float, float], dense: float, sparse: float
) -> None:
    start, goal, calm = np.float32([position]), np.float32([[1, 0]]), np.zeros((1, 2), np.float32)
    for is_sparse, reward in ((False, dense), (True, sparse)):
        _, rewards, distances = move(start, np.float32([action]), goal, calm, is_sparse)
        assert rewards[0] == pytest.approx(reward, abs=1e-6)
        assert distances[0] == pytest.approx(-dense, abs=1e-6)
        assert rewards.dtype == np.float32


@pytest.mark.parametrize("name", ["point-robot", "point-robot-sparse"])
def test_success_means_within_the_radius_of_the_goal_at_this_step(name: str) -> None:
    there, back = [LARGEST * [1, 0]] * 9, [LARGEST * [-1, 0]] * 3
    steps = run(get_family(name), 0, np.float32(there + back))
    success = {round(float(steps[i][0][0]), 1): steps[i][4] for i in (0, 6, 8, 11)}
    assert success == {0.1: False, 0.7: False, 0.9: True, 0.6: False}


def test_wind_displaces_every_move_and_differs_between_tasks() -> None:
    family = get_family("point-robot-wind")
    winds = np.float32([task.params["wind"] for task in family.tasks])
    assert np.abs(winds).max() <= 0.05
    assert len(np.unique(winds, axis=0)) == len(winds)
    for task in range(len(winds)):
        still = np.array([step[0] for step in run(family, task, np.zeros((family.horizon, 2), np.float32))])
        moves = np.diff(still, axis=0, prepend=np.zeros((1, 2), np.float32))
        np.testing.assert_allclose(moves, np.tile(winds[task], (family.horizon, 1)), atol=1e-6)


def test_only_the_wind_family_says_that_its_tasks_change_the_dynamics() -> None:
    changes = {name: get_family(name).task_changes_dynamics for name in POINTS}
    assert changes == {"point-robot": False, "point-robot-sparse": False, "point-robot-wind": True}


def test_the_scripted_controller_solves_every_task(family: Family) -> None:
    tasks = np.arange(len(family.tasks))
    batch = family.lockstep()
    observations = batch.reset(tasks, np.zeros(len(tasks), np.uint64))
    for _ in range(family.horizon):
        action = family.controller(observations, tasks) * MAX_ACTION
        step = batch.step(action)
        observations = step.observations
    assert step.success.all()
    if family.name == "point-robot-wind":
        goals = load_variant(family.name).goals
        np.testing.assert_allclose(observations, goals, atol=1e-5)


def test_rendering_shows_goal_trail_and_robot() -> None:
    env = get_family("point-robot").make(0, render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(3):
        env.step(LARGEST)
    image: Any = env.render()
    env.close()
    assert image.shape == (256, 256, 3)
    assert image.dtype == np.uint8

    def colour(x: float, y: float) -> tuple[int, ...]:
        return tuple(image[round((1.5 - y) / 3 * 255), round((x + 1.5) / 3 * 255)])

    assert colour(1.0, 0.0) == (190, 230, 190)
    assert colour(0.3, 0.3) == (200, 40, 40)
    assert colour(0.1, 0.1) == (110, 140, 220)
    assert colour(-1.4, -1.4) == (255, 255, 255)


def test_without_a_render_mode_there_is_no_image() -> None:
    env: Any = get_family("point-robot").make(0).unwrapped
    env.reset(seed=0)
    assert env.render() is None
