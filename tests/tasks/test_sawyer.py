"""Faster stepping gives what stock Meta-World gives, to the bit."""

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import metaworld
import numpy as np
import pytest
from metaworld import policies
from metaworld.utils import reward_utils

from idaq.tasks import ml1, sawyer


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
     "lever-pull", "box-close", "faucet-close"],
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


def test_what_is_only_seen_is_left_out_unless_one_looks() -> None:
    (stock,) = ml1.benchmark("door-open").train_classes.values()
    env, fast = stock(), sawyer.accelerated(stock)
    unseen, drawn = fast().model, fast(render_mode="rgb_array").model
    assert drawn.ngeom == env.model.ngeom
    assert unseen.ngeom < drawn.ngeom / 2
    assert unseen.nmesh < drawn.nmesh
    names = {env.model.geom(i).name for i in range(env.model.ngeom)}
    assert names == {unseen.geom(i).name for i in range(unseen.ngeom)}
    env.close()


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


def test_what_calls_itself_by_its_classs_name_gets_the_fast_class() -> None:
    stock = metaworld.ALL_V3_ENVIRONMENTS["box-close-v3"]
    fast = sawyer.accelerated(stock)
    assert fast.compute_reward.__globals__["SawyerBoxCloseEnvV3"] is fast
    assert stock.compute_reward.__globals__["SawyerBoxCloseEnvV3"] is stock
    assert fast._reward_pos.__globals__["reward_utils"] is not reward_utils


def test_another_version_is_stepped_stock_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sawyer.WRITTEN_FOR, "metaworld", ("2.0",))
    caches: list[Any] = [sawyer.supported, ml1._env_class, ml1.scripted_policy]
    for cached in caches:
        cached.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"metaworld 3\.\d+\.\d+: faster stepping was written for metaworld 2.0"):
            assert ml1._env_class("reach") is metaworld.ALL_V3_ENVIRONMENTS["reach-v3"]
        slow = ml1.Arm(partial(ml1.setting, "reach"))
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
    fast = ml1.Arm(partial(ml1.setting, "reach"))
    second = [fast.reset(5), fast.step(np.ones(4, np.float32))[0], fast.reset(5), fast.step(np.ones(4, np.float32))[0]]
    assert [x.tobytes() for x in first] == [x.tobytes() for x in second]
