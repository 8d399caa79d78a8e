"""Meta-World ML10 and ML45: one family of many environments, some of which are in training and some never.

ML10 has 10 environments to train on and 5 to test on, ML45 has 45 and 5; each has the 50 variations that Meta-World
draws for `ML10(seed=1337)`, `ML45(seed=1337)`. To draw them again takes a minute, so they lie in datasets/<family>. The
arm, what it sees and its scripted policies are those of ML1; tasks are numbered in Meta-World's order, training first.
"""

import functools
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.core.extras import optional
from idaq.core.resources import resource_root
from idaq.core.types import Array, Task
from idaq.tasks.family import Family
from idaq.tasks.ml1 import HORIZON, PICTURE, SUCCESS, VARIATIONS, ArmEnv, ArmLockstep, scripted_policy

# fmt: off
TRAINING = {
    "ml10": (
        "reach", "push", "pick-place", "door-open", "drawer-close", "button-press-topdown", "peg-insert-side",
        "window-open", "sweep", "basketball",
    ),
    "ml45": (
        "assembly", "basketball", "button-press-topdown", "button-press-topdown-wall", "button-press",
        "button-press-wall", "coffee-button", "coffee-pull", "coffee-push", "dial-turn", "disassemble", "door-close",
        "door-open", "drawer-close", "drawer-open", "faucet-open", "faucet-close", "hammer", "handle-press-side",
        "handle-press", "handle-pull-side", "handle-pull", "lever-pull", "pick-place-wall", "pick-out-of-hole",
        "push-back", "pick-place", "plate-slide", "plate-slide-side", "plate-slide-back", "plate-slide-back-side",
        "peg-insert-side", "peg-unplug-side", "soccer", "stick-push", "stick-pull", "push-wall", "push", "reach-wall",
        "reach", "shelf-place", "sweep-into", "sweep", "window-open", "window-close",
    ),
}
TESTING = {
    "ml10": ("drawer-open", "door-close", "shelf-place", "sweep-into", "lever-pull"),
    "ml45": ("bin-picking", "box-close", "hand-insert", "door-lock", "door-unlock"),
}
# fmt: on


def environments(benchmark: str) -> tuple[str, ...]:
    """Names of a benchmark's environments: those to train on, then those to test on."""
    return TRAINING[benchmark] + TESTING[benchmark]


@functools.cache
def rand_vecs(benchmark: str) -> dict[str, Array]:
    """By environment (50, 3) or (50, 6) float64: what distinguishes its variations, as `ml1.rand_vecs`."""
    from safetensors.numpy import load_file

    return load_file(resource_root("datasets") / benchmark / "variations.safetensors")


def setting(benchmark: str, task: int) -> tuple[str, Any]:
    """The `Setting` of a benchmark: environment and Meta-World's own form of its task."""
    number, variation = divmod(task, VARIATIONS)
    name = environments(benchmark)[number]
    metaworld = optional("metaworld")
    stated = {
        "rand_vec": rand_vecs(benchmark)[name][variation],
        "env_cls": metaworld.ALL_V3_ENVIRONMENTS[f"{name}-v3"],
        "partially_observable": False,
    }
    return name, metaworld._encode_task(f"{name}-v3", stated)


def controller(benchmark: str, observations: Array, task_indices: NDArray[np.int64]) -> Array:
    """The actions (B, 4) float32 of each task's scripted policy; observations (B, 39) with the goal."""
    names = environments(benchmark)
    pairs = zip(task_indices.tolist(), observations.copy(), strict=True)  # some scripts add to what they see
    return np.array([scripted_policy(names[task // VARIATIONS]).get_action(seen) for task, seen in pairs])


class MultiEnv(ArmEnv):
    """ML10 or ML45: a task is a variation of one of its environments."""

    def __init__(self, benchmark: str, task: int = 0, render_mode: str | None = None) -> None:
        count = VARIATIONS * len(environments(benchmark))
        super().__init__(functools.partial(setting, benchmark), count, task, render_mode)


@functools.cache
def multi(benchmark: str) -> Family:
    """The family `ml10` or `ml45`."""
    training = len(TRAINING[benchmark])
    tasks = tuple(
        Task(
            task_id=f"{name}-v3-task-{variation:03d}",
            task_index=number * VARIATIONS + variation,
            params={"environment": float(number), "rand_vec": [float(x) for x in vector]},
            split="train" if number < training else "test",
            success=SUCCESS,
        )
        for number, name in enumerate(environments(benchmark))
        for variation, vector in enumerate(rand_vecs(benchmark)[name])
    )
    return Family(
        name=benchmark,
        description=f"Meta-World {benchmark.upper()}: {training} environments to train on and"
        f" {len(TESTING[benchmark])} others to test on, goal hidden",
        tasks=tasks,
        horizon=HORIZON,
        env_spec=EnvSpec(
            id=f"idaq/{benchmark}-v0",
            entry_point="idaq.tasks.ml10:MultiEnv",
            max_episode_steps=HORIZON,
            disable_env_checker=True,  # it warns of the goal's place: zeros, and nothing else, fit there
            kwargs={"benchmark": benchmark},
        ),
        batched=functools.partial(ArmLockstep, functools.partial(setting, benchmark)),
        controller=functools.partial(controller, benchmark),
        task_changes_dynamics=True,
        picture=PICTURE,
        simulators=("metaworld", "mujoco"),
        deterministic=True,
        lockstep_width=3,
    )
