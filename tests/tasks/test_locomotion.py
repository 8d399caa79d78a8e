"""Bodies that run: published rewards by hand, Gymnasium's own dynamics to the bit, tasks that really differ."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import UnknownNameError, UsageError
from idaq.core.types import Array, Task
from idaq.tasks import BUILT_IN, Family, get_family
from idaq.tasks.bodies import DYNAMICS, Simulation
from idaq.tasks.locomotion import VARIANTS, LocomotionLockstep, load_tasks
from tests.marks import DRAWS

NAMES = list(VARIANTS)
DYNAMIC = ["walker-rand-params", "hopper-rand-params"]


@pytest.fixture(params=NAMES)
def family(request: pytest.FixtureRequest) -> Family:
    return get_family(request.param)


def play(name: str, tasks: list[int], seeds: list[int], actions: Array) -> dict[str, Array]:
    """Columns (T, B, ...) of actions (T, B, A), with the motions."""
    lockstep = LocomotionLockstep(name)
    columns: dict[str, list[Any]] = {"observations": [lockstep.reset(np.array(tasks), np.array(seeds, np.uint64))]}
    for action in actions:
        step = lockstep.step(action)
        for key in ("observations", "rewards", "terminated", "truncated", "success"):
            columns.setdefault(key, []).append(getattr(step, key))
        columns.setdefault("motions", []).append(lockstep.bodies.motions.copy())
    lockstep.bodies.close()
    return {key: np.stack(values) for key, values in columns.items()}


def random_actions(name: str, steps: int, bodies: int, scale: float = 1.0) -> Array:
    space: Any = get_family(name).make().action_space
    rng = np.random.default_rng(3)
    return (rng.uniform(space.low, space.high, (steps, bodies, *space.shape)) * scale).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "observation", "action", "tasks"),
    [
        ("cheetah-vel", 17, 6, 100),
        ("cheetah-dir", 17, 6, 2),
        ("ant-dir", 27, 8, 50),
        ("ant-goal", 29, 8, 80),
        ("humanoid-dir", 45, 17, 100),
        ("walker-rand-params", 17, 6, 50),
        ("hopper-rand-params", 11, 3, 50),
    ],
)
def test_the_families_have_these_sizes(name: str, observation: int, action: int, tasks: int) -> None:
    family = get_family(name)
    env = family.make()
    assert name in BUILT_IN
    assert (env.observation_space.shape, env.action_space.shape) == ((observation,), (action,))
    assert (len(family.tasks), family.horizon) == (tasks, 200)
    assert family.task_features is not None
    assert len(family.task_features) == tasks
    assert np.abs(family.task_features).max() <= 1
    assert len({str(task.params) for task in family.tasks}) == tasks
    for task in family.tasks[:3]:
        assert from_mapping(Task, to_mapping(task), where="task", strict=True) == task
    env.close()


@pytest.mark.filterwarnings("ignore:.*A Box observation space")  # positions and velocities are unbounded
def test_every_family_passes_gymnasiums_checker_and_is_made_again_from_its_spec(family: Family) -> None:
    env = gym.make(EnvSpec.from_json(family.env_spec.to_json()))
    check_env(env.unwrapped, skip_render_check=True)
    first, info = env.reset(seed=5, options={"task": 1})
    assert info == {"success": False, "task_index": 1}
    assert env.reset(seed=5)[1]["task_index"] == 1
    np.testing.assert_array_equal(env.reset(seed=5)[0], first)
    assert not np.array_equal(env.reset(seed=6)[0], first)
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_body_moves_and_sees_as_gymnasiums_own_to_the_bit(name: str) -> None:
    """Task 0 of the families that scale dynamics is played on a model scaled by hand."""
    body, factors = VARIANTS[name].body, load_tasks(name).factors[0]
    theirs: Any = gym.make(body.env_id, **body.options).unwrapped
    if factors:
        by_hand = Simulation(body)
        by_hand.scale(factors)
        theirs = by_hand.env
    actions = random_actions(name, 40, 1, 0.5)
    ours = play(name, [0], [11], actions)
    np.testing.assert_array_equal(ours["observations"][0, 0], theirs.reset(seed=11)[0].astype(np.float32))
    for t, action in enumerate(actions[:, 0]):
        observation, _, _, _, info = theirs.step(action)
        np.testing.assert_array_equal(ours["observations"][t + 1, 0], observation.astype(np.float32))
        assert ours["motions"][t, 0, 0] == pytest.approx(info["x_velocity"], abs=0.2)
        assert ours["motions"][t, 0, 4] == getattr(theirs, "is_healthy", True)
        assert ours["motions"][t, 0, 5] == pytest.approx(getattr(theirs, "contact_cost", 0.0), rel=1e-12)
        if not ours["motions"][t, 0, 4] and VARIANTS[name].terminates:
            break
    theirs.close()


def motion(vx: float = 0, vy: float = 0, x: float = 0, y: float = 0, healthy: float = 1, contact: float = 0) -> Array:
    return np.array([[vx, vy, x, y, healthy, contact]], np.float64)


@pytest.mark.parametrize(
    ("name", "goal", "moved", "action", "reward", "success"),
    [
        ("cheetah-vel", [1.5], motion(vx=2.0), [1, 0, 0, 0, 0, 0], -0.5 - 0.05, True),
        ("cheetah-vel", [1.5], motion(vx=-0.5), [0.5] * 6, -2.0 - 0.05 * 1.5, False),
        ("cheetah-dir", [-1, 0], motion(vx=-2.0), [1] * 6, 2.0 - 0.3, True),
        ("cheetah-dir", [-1, 0], motion(vx=2.0), [0] * 6, -2.0, False),
        ("ant-dir", [0, 1], motion(vx=9, vy=2, contact=0.01), [1] * 8, 2.0 + 1 - 4 - 0.01, True),
        ("ant-dir", [0.6, 0.8], motion(vx=1, vy=1, healthy=0), [0] * 8, 1.4 + 1, False),
        ("ant-goal", [1, -2], motion(x=0.5, y=-1, contact=0.02), [1, 1] + [0] * 6, -1.5 - 0.2 - 0.02, False),
        ("ant-goal", [1, -2], motion(x=1.2, y=-1.8), [0] * 8, -0.4, True),
        ("humanoid-dir", [1, 0], motion(vx=2, contact=0.5), [0.4] * 17, 2.5 + 5 - 0.1 * 17 * 0.16 - 0.5, True),
        ("walker-rand-params", [], motion(vx=1.5), [1] * 6, 1.5 + 1 - 0.006, True),
        ("hopper-rand-params", [], motion(vx=0.5), [1] * 3, 0.5 + 1 - 0.003, False),
    ],
)
def test_rewards_are_the_published_formulas(
    name: str, goal: list[float], moved: Array, action: list[float], reward: float, success: bool
) -> None:
    variant, goals = VARIANTS[name], np.array([goal], np.float64)
    assert variant.reward(goals, moved, np.array([action], np.float32))[0] == pytest.approx(reward, abs=1e-6)
    assert variant.solved(goals, moved)[0] == success


def test_what_an_episode_is_paid_is_the_formula_of_its_motion_and_task(family: Family) -> None:
    tasks = [0, len(family.tasks) - 1]
    actions = random_actions(family.name, 15, 2)
    played = play(family.name, tasks, [1, 2], actions)
    if family.relabel is not None:
        for t in range(15):
            if not played["terminated"][:t].any():
                paid = family.relabel(np.array(tasks), played["motions"][t], actions[t])
                np.testing.assert_array_equal(paid, played["rewards"][t])
    assert (family.relabel is None) == family.task_changes_dynamics == (family.name in DYNAMIC)


@pytest.mark.parametrize("name", NAMES)
def test_two_tasks_pay_or_move_differently_from_the_same_start(name: str) -> None:
    actions = np.repeat(random_actions(name, 10, 1), 2, 1)
    played = play(name, [0, 1], [4, 4], actions)
    np.testing.assert_array_equal(played["observations"][0, 0], played["observations"][0, 1])
    assert (played["rewards"][:, 0] != played["rewards"][:, 1]).any()
    same_motion = np.array_equal(played["observations"][:, 0], played["observations"][:, 1])
    assert same_motion == (name not in DYNAMIC)


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamics_are_scaled_as_the_params_say_and_restored_exactly(name: str) -> None:
    simulation = Simulation(VARIANTS[name].body)
    built = {field: getattr(simulation.model, field).copy() for field in DYNAMICS}
    derived = simulation.model.dof_invweight0.copy(), simulation.model.body_subtreemass.copy()
    params: Any = get_family(name).tasks[7].params
    simulation.scale(load_tasks(name).factors[7])
    for field in DYNAMICS:
        factors = np.array(params[field]).reshape(built[field].shape)
        np.testing.assert_allclose(getattr(simulation.model, field), built[field] * factors)
        low, high = (
            math.log(x) / math.log(1.3 if field == "dof_damping" else 1.5) for x in (factors.min(), factors.max())
        )
        assert -3 <= low < -1 < 1 < high <= 3
    assert simulation.model.body_subtreemass[0] == pytest.approx(simulation.model.body_mass.sum())
    simulation.scale({})
    for field in DYNAMICS:
        np.testing.assert_array_equal(getattr(simulation.model, field), built[field])
    np.testing.assert_array_equal(simulation.model.dof_invweight0, derived[0])
    np.testing.assert_array_equal(simulation.model.body_subtreemass, derived[1])


@pytest.mark.parametrize("name", ["cheetah-vel", "hopper-rand-params"])
def test_environments_in_processes_of_their_own_give_the_same(name: str) -> None:
    spec, actions = get_family(name).env_spec, random_actions(name, 10, 2)
    envs = [gym.make_vec(spec, num_envs=2, vectorization_mode=mode, vector_kwargs={}) for mode in ("sync", "async")]
    starts = [env.reset(seed=[1, 2], options={"task": 1})[0] for env in envs]
    np.testing.assert_array_equal(*starts)
    for action in actions[:5]:
        (a, ra, *_), (b, rb, *_) = (env.step(action) for env in envs)
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(ra, rb)
    for env in envs:
        env.close()


def test_a_fall_ends_the_episode_only_where_the_literature_says_so() -> None:
    ends = {name: play(name, [0], [0], random_actions(name, 120, 1))["terminated"].any() for name in NAMES}
    assert ends == {name: VARIANTS[name].terminates and name != "ant-dir" for name in NAMES}


def test_an_unstable_simulation_ends_and_is_not_put_back_to_its_start() -> None:
    lockstep = LocomotionLockstep("cheetah-vel")
    lockstep.reset(np.array([0, 0]), np.arange(2, dtype=np.uint64))
    lockstep.bodies._active[0].data.qvel[:] = 1e9
    steps = [lockstep.step(np.zeros((2, 6), np.float32)) for _ in range(5)]
    assert steps[-1].terminated.tolist() == [True, False]
    assert not np.isfinite(steps[-1].observations[0]).all()
    assert np.isfinite(steps[-1].observations[1]).all()
    assert np.isfinite(lockstep.reset(np.array([0, 0]), np.arange(2, dtype=np.uint64))).all()


@pytest.mark.parametrize("task", [-1, 100, True, "0", 1.0])
def test_a_task_that_is_not_there_is_refused(task: Any) -> None:
    with pytest.raises(UsageError, match="there is no task") as caught:
        get_family("cheetah-vel").make(task=task)
    assert caught.value.hint == "an integer from 0 to 99"


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        get_family("cheeta-vel")
    assert "'cheetah-vel'" in str(caught.value.hint)


@DRAWS
def test_the_camera_follows_the_body(family: Family) -> None:
    env: Any = family.make(render_mode="rgb_array")
    env.reset(seed=0)
    shown = [skin(env)]
    env.unwrapped._lockstep.bodies._active[0].data.qpos[0] += 20  # metres
    env.step(np.zeros(env.action_space.shape, np.float32))
    shown.append(skin(env))
    env.close()
    assert shown[0] > 300
    assert 0.5 < shown[1] / shown[0] < 2


def skin(env: Any) -> int:
    """How many pixels show the body: it alone is reddish."""
    red, green, _ = np.moveaxis(env.render().astype(int), -1, 0)
    return int((red > green + 15).sum())
