"""Faster stepping gives what stock Meta-World gives, to the bit: each helper, and whole trajectories."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import metaworld
import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metaworld import policies
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from idaq.tasks import ml1, sawyer

UNIT = st.floats(0, 1)
METRES = st.floats(0, 10)


@given(
    x=METRES.map(np.float64),
    low=METRES,
    width=METRES,
    margin=METRES,
    sigmoid=st.sampled_from(["long_tail", "gaussian"]),
)
def test_tolerance_is_meta_worlds(x: Any, low: float, width: float, margin: float, sigmoid: Any) -> None:
    bounds = (low, low + width)
    with np.errstate(all="ignore"):
        ours = sawyer.tolerance(x, bounds, margin, sigmoid)
        assert ours == reward_utils.tolerance(x, bounds, margin, sigmoid)


@pytest.mark.parametrize(("bounds", "margin"), [((1.0, 0.0), 1.0), ((0.0, 1.0), -1.0)])
def test_tolerance_refuses_what_meta_world_refuses(bounds: tuple[float, float], margin: float) -> None:
    with pytest.raises(ValueError, match=r"[Bb]ound|margin"):
        sawyer.tolerance(0.5, bounds, margin, "long_tail")


@given(a=UNIT, b=UNIT)
def test_the_hamacher_product_is_meta_worlds(a: float, b: float) -> None:
    assert sawyer.hamacher_product(a, b) == reward_utils.hamacher_product(a, b)
    assert sawyer.hamacher_product(np.float64(a), b) == reward_utils.hamacher_product(np.float64(a), b)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6))
def test_norm_is_numpys(values: list[float]) -> None:
    x = np.array(values)
    assert sawyer.norm(x) == np.linalg.norm(x)
    assert sawyer.norm(x[::2]) == np.linalg.norm(x[::2])
    assert sawyer.norm(x.astype(np.float32)) == np.linalg.norm(x.astype(np.float32))


def test_quaternions_are_scipys_in_every_branch_of_the_method() -> None:
    rng, branches = np.random.default_rng(0), set()
    for scale in np.concatenate([rng.normal(size=(1500, 4)), np.eye(4).repeat(100, 0) + rng.normal(0, 1e-4, (400, 4))]):
        quaternion, matrix = scale / np.linalg.norm(scale), np.zeros(9)
        mujoco.mju_quat2Mat(matrix, quaternion)
        matrix = matrix.reshape(3, 3)
        branches.add(int(np.argmax([*np.diag(matrix), np.trace(matrix)])))
        ours = sawyer.FastRotation.from_matrix(matrix)
        assert isinstance(ours, sawyer.FastRotation)
        assert ours.as_quat().tobytes() == Rotation.from_matrix(matrix).as_quat().tobytes()
    assert branches == {0, 1, 2, 3}
    skewed = np.eye(3) + 1e-3 * rng.normal(size=(3, 3))
    assert isinstance(sawyer.FastRotation.from_matrix(skewed), Rotation)


def trajectory(cls: Any, policy: Any, task: Any, start: Callable[[Any], None], steps: int = 200) -> list[Any]:
    """Everything that a noisy scripted episode shows: actions, observations, rewards, and all that `info` says."""
    env, rng = cls(), np.random.default_rng(0)
    env.set_task(task)
    observation, _ = env.reset()
    start(env)
    shown = [observation.tobytes()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the stock policies warn at every large response
        for _ in range(steps):
            action = np.clip(policy.get_action(observation) + 0.1 * rng.standard_normal(4), -1, 1).astype(np.float32)
            observation, reward, terminated, truncated, info = env.step(action)
            shown.append((action.tobytes(), observation.tobytes(), float(reward), terminated, truncated, info))
    env.close()
    return shown


# every kind of environment: contact forces, rotations, two objects, levers, doors, gravity, and none of these
@pytest.mark.parametrize(
    "name",
    ["reach", "push", "pick-place", "stick-pull", "hammer", "door-open", "peg-insert-side", "window-open", "soccer",
     "lever-pull"],
)  # fmt: skip
def test_two_hundred_steps_are_stock_to_the_bit(name: str) -> None:
    bench = ml1.benchmark(name)
    (stock,), task = bench.train_classes.values(), bench.train_tasks[17]
    policy = policies.ENV_POLICY_MAP[f"{name}-v3"]
    theirs = trajectory(stock, policy(), task, lambda env: None)
    fast, fast_policy = sawyer.accelerated(stock), sawyer.accelerated_policy(policy)()
    ours = trajectory(fast, fast_policy, task, lambda env: env.prepare())
    for step, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        assert mine == other, f"step {step}"


def test_a_restart_is_a_new_environment_to_the_bit() -> None:
    def played(env: Any) -> None:
        env.prepare()
        for _ in range(40):
            env.step(env.action_space.sample())
        env.restart()

    bench = ml1.benchmark("push")
    fast, policy = sawyer.accelerated(bench.train_classes["push-v3"]), ml1.scripted_policy("push")
    fresh = trajectory(fast, policy, bench.train_tasks[3], lambda env: env.prepare(), steps=60)
    assert trajectory(fast, policy, bench.train_tasks[3], played, steps=60) == fresh


def test_meta_world_itself_is_left_as_it_is() -> None:
    sawyer.accelerated(metaworld.ALL_V3_ENVIRONMENTS["push-v3"])
    assert reward_utils.tolerance.__module__ == "metaworld.utils.reward_utils"
    assert metaworld.ALL_V3_ENVIRONMENTS["push-v3"].compute_reward.__globals__["np"] is np
    assert math.isclose(np.linalg.norm([3.0, 4.0]), 5.0)


def test_another_version_is_stepped_stock_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sawyer.WRITTEN_FOR, "metaworld", ("2.0",))
    caches: list[Any] = [sawyer.supported, ml1._env_class, ml1.scripted_policy]
    for cached in caches:
        cached.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"metaworld 3\.\d+\.\d+: faster stepping was written for metaworld 2.0"):
            assert ml1._env_class("reach") is metaworld.ALL_V3_ENVIRONMENTS["reach-v3"]
        slow = ml1.Arm("reach")
        first = [
            slow.reset(5),
            slow.step(np.ones(4, np.float32))[0],
            slow.reset(5),
            slow.step(np.ones(4, np.float32))[0],
        ]
    finally:
        monkeypatch.undo()
        for cached in caches:
            cached.cache_clear()
    fast = ml1.Arm("reach")
    second = [fast.reset(5), fast.step(np.ones(4, np.float32))[0], fast.reset(5), fast.step(np.ones(4, np.float32))[0]]
    assert [x.tobytes() for x in first] == [x.tobytes() for x in second]
