"""Bodies that run: tasks that differ in reward (a velocity, a direction, a place) or in dynamics (masses, friction).

Rewards as in the literature on meta-RL (PEARL, MACAW, FOCAL, IDAQ), on Gymnasium's MuJoCo v5 bodies instead of MuJoCo
1.3, 1.5 and 2.0. Shapes: N tasks, B bodies in lock-step, P numbers that tell a task, D observation, A action.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.core.errors import unknown_name
from idaq.core.seeds import generator
from idaq.core.types import Array, Success, Task, TaskParams
from idaq.tasks import bodies
from idaq.tasks.bodies import CONTACT, DYNAMICS, HEALTHY, POSITION, VELOCITY, Bodies, Body, Simulation
from idaq.tasks.family import Family, LockstepEnv, StepBatch, checked_task
from idaq.tasks.rendering import prepare_offscreen

HORIZON = 200
TASK_SEED = 1337

_WITHOUT_FORCES = {"include_cfrc_ext_in_observation": False}
_HUMANOID = ("include_cinert_in_observation", "include_cvel_in_observation", "include_qfrc_actuator_in_observation")

CHEETAH = Body(env_id="HalfCheetah-v5", place=bodies.planar)
WALKER = Body(env_id="Walker2d-v5", place=bodies.planar, stands=bodies.walker_stands, fastest=10.0)
HOPPER = Body(env_id="Hopper-v5", place=bodies.planar, stands=bodies.hopper_stands, fastest=10.0)
ANT = Body(
    env_id="Ant-v5",
    place=bodies.torso,
    stands=bodies.ant_stands,
    contact=bodies.ant_contact,
    unseen=2,
    options=_WITHOUT_FORCES,
)
ANT_WITH_PLACE = replace(ANT, unseen=0, options=_WITHOUT_FORCES | {"exclude_current_positions_from_observation": False})
HUMANOID = Body(
    env_id="Humanoid-v5",
    place=bodies.centre_of_mass,
    stands=bodies.humanoid_stands,
    contact=bodies.humanoid_contact,
    unseen=2,
    options=_WITHOUT_FORCES | dict.fromkeys(_HUMANOID, False),
)

Reward = Callable[[Array, Array, Array], Array]
"""goals (B, P), motions (B, M), actions (B, A) -> rewards (B,)"""


def velocity_reward(goals: Array, motions: Array, actions: Array) -> Array:
    """-|v - v*| - 0.05 |a|^2."""
    return -np.abs(motions[:, 0] - goals[:, 0]) - 0.05 * _square(actions)


def direction_reward(
    goals: Array, motions: Array, actions: Array, *, control: float, speed: float = 1.0, alive: float = 0.0
) -> Array:
    """speed * v . direction + alive - control |a|^2 - contact; goals are unit vectors (B, 2)."""
    along = (motions[:, VELOCITY] * goals).sum(-1)
    return speed * along + alive - control * _square(actions) - motions[:, CONTACT]


def goal_reward(goals: Array, motions: Array, actions: Array) -> Array:
    """-|x - x*|_1 - 0.1 |a|^2 - contact; goals (B, 2)."""
    return -np.abs(motions[:, POSITION] - goals).sum(-1) - 0.1 * _square(actions) - motions[:, CONTACT]


def forward_reward(goals: Array, motions: Array, actions: Array) -> Array:
    """v + 1 - 0.001 |a|^2, whatever the task: its dynamics are what differs."""
    return motions[:, 0] + 1 - 0.001 * _square(actions)


def _square(actions: Array) -> Array:
    return np.square(actions.astype(np.float64)).sum(-1)


def near_velocity(goals: Array, motions: Array) -> NDArray[np.bool_]:
    """|v - v*| <= 0.5 m/s."""
    return np.abs(motions[:, 0] - goals[:, 0]) <= 0.5


def runs_along(goals: Array, motions: Array) -> NDArray[np.bool_]:
    """v . direction >= 1 m/s, on its feet."""
    return ((motions[:, VELOCITY] * goals).sum(-1) >= 1) & (motions[:, HEALTHY] == 1)


def near_goal(goals: Array, motions: Array) -> NDArray[np.bool_]:
    """|x - x*|_2 <= 0.5 m."""
    return np.sqrt(np.square(motions[:, POSITION] - goals).sum(-1)) <= 0.5


def runs_forward(goals: Array, motions: Array) -> NDArray[np.bool_]:
    """v >= 1 m/s, on its feet."""
    return (motions[:, 0] >= 1) & (motions[:, HEALTHY] == 1)


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """What tells the tasks of a family apart."""

    params: tuple[TaskParams, ...]
    goals: Array
    """(N, P) float64: what the reward depends on"""
    features: Array
    """(N, F) float32 in about [-1, 1]: what a behaviour policy is conditioned on"""
    factors: tuple[dict[str, Array], ...]
    """what each task multiplies the fields of the model by"""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What distinguishes one family from another."""

    description: str
    body: Body
    tasks: Callable[[], Tasks]
    reward: Reward
    solved: Callable[[Array, Array], NDArray[np.bool_]]
    success: Success
    terminates: bool
    """whether a fall ends the episode"""
    place: tuple[int, int] | None = None
    velocity: int | None = None
    """as in Family"""


def _by_reward(goals: Array, features: Array, params: list[dict[str, Any]]) -> Tasks:
    """Tasks that differ in reward."""
    return Tasks(
        params=tuple(params), goals=goals, features=features.astype(np.float32), factors=tuple({} for _ in params)
    )


def velocities() -> Tasks:
    """100 velocities in U[0, 3] m/s."""
    values = generator(TASK_SEED).uniform(0, 3, (100, 1))
    return _by_reward(values, values / 1.5 - 1, [{"velocity": float(value)} for (value,) in values])


def two_directions() -> Tasks:
    """Forward and backward."""
    goals = np.array([[1.0, 0.0], [-1.0, 0.0]])
    return _by_reward(goals, goals[:, :1], [{"direction": 1.0}, {"direction": -1.0}])


def directions(count: int) -> Tasks:
    """Angles in U[0, 2 pi], in radians from the x axis."""
    angles = generator(TASK_SEED).uniform(0, 2 * np.pi, count)
    goals = np.stack([np.cos(angles), np.sin(angles)], 1)
    return _by_reward(goals, goals, [{"angle": float(angle)} for angle in angles])


def places() -> Tasks:
    """80 goals spread evenly over a disc of radius 3 m."""
    rng = generator(TASK_SEED)
    angles, radii = rng.uniform(0, 2 * np.pi, 80), 3 * np.sqrt(rng.uniform(0, 1, 80))
    goals = np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)
    return _by_reward(goals, goals / 3, [{"goal": [float(x), float(y)]} for x, y in goals])


def random_dynamics(body: Body) -> Tasks:
    """50 draws of factors: 1.5^U(-3, 3) on masses, inertias and friction, 1.3^U(-3, 3) on damping (rand-param-envs)."""
    simulation, rng = Simulation(body), generator(TASK_SEED)
    sizes = {name: getattr(simulation.model, name).size for name in DYNAMICS}
    simulation.env.close()
    powers = [{name: rng.uniform(-3, 3, size) for name, size in sizes.items()} for _ in range(50)]
    bases = {name: 1.3 if name == "dof_damping" else 1.5 for name in DYNAMICS}
    factors = tuple({name: bases[name] ** power for name, power in draw.items()} for draw in powers)
    return Tasks(
        params=tuple({name: factor.tolist() for name, factor in draw.items()} for draw in factors),
        goals=np.zeros((50, 0)),
        features=np.stack([np.concatenate(list(draw.values())) / 3 for draw in powers]).astype(np.float32),
        factors=factors,
    )


def _success(metric: str, op: Any, threshold: float, unit: str) -> Success:
    return Success(metric=metric, op=op, threshold=threshold, unit=unit, when="last-step")


_SPEED = _success("velocity_along_task", ">=", 1.0, "m/s")

VARIANTS: dict[str, Variant] = {
    "cheetah-vel": Variant(
        description="half-cheetah, run at a hidden velocity; reward -|v - v*| - 0.05 |a|^2",
        body=CHEETAH,
        tasks=velocities,
        reward=velocity_reward,
        solved=near_velocity,
        success=_success("velocity_error", "<=", 0.5, "m/s"),
        terminates=False,
        velocity=8,
    ),
    "cheetah-dir": Variant(
        description="half-cheetah, run forward or backward; reward +-v - 0.05 |a|^2",
        body=CHEETAH,
        tasks=two_directions,
        reward=functools.partial(direction_reward, control=0.05),
        solved=runs_along,
        success=_SPEED,
        terminates=False,
    ),
    "ant-dir": Variant(
        description="ant, run in a hidden direction; reward v.direction + 1 - 0.5 |a|^2 - contact",
        body=ANT,
        tasks=functools.partial(directions, 50),
        reward=functools.partial(direction_reward, control=0.5, alive=1.0),
        solved=runs_along,
        success=_SPEED,
        terminates=True,
    ),
    "ant-goal": Variant(
        description="ant, go to a hidden place; reward -|x - x*|_1 - 0.1 |a|^2 - contact",
        body=ANT_WITH_PLACE,
        tasks=places,
        reward=goal_reward,
        solved=near_goal,
        success=_success("distance_to_goal", "<=", 0.5, "m"),
        terminates=False,
        place=(0, 1),
    ),
    "humanoid-dir": Variant(
        description="humanoid, walk in a hidden direction; reward 1.25 v.direction + 5 - 0.1 |a|^2 - contact",
        body=HUMANOID,
        tasks=functools.partial(directions, 100),
        reward=functools.partial(direction_reward, control=0.1, speed=1.25, alive=5.0),
        solved=runs_along,
        success=_SPEED,
        terminates=True,
    ),
    "walker-rand-params": Variant(
        description="walker with hidden masses, inertias, damping and friction; reward v + 1 - 0.001 |a|^2",
        body=WALKER,
        tasks=functools.partial(random_dynamics, WALKER),
        reward=forward_reward,
        solved=runs_forward,
        success=_success("forward_velocity", ">=", 1.0, "m/s"),
        terminates=True,
    ),
    "hopper-rand-params": Variant(
        description="hopper with hidden masses, inertias, damping and friction; reward v + 1 - 0.001 |a|^2",
        body=HOPPER,
        tasks=functools.partial(random_dynamics, HOPPER),
        reward=forward_reward,
        solved=runs_forward,
        success=_success("forward_velocity", ">=", 1.0, "m/s"),
        terminates=True,
    ),
}


@functools.cache
def load_tasks(name: str) -> Tasks:
    """The tasks of a family: the same on every machine. Raises UnknownNameError."""
    if name not in VARIANTS:
        raise unknown_name("locomotion family", name, VARIANTS)
    return VARIANTS[name].tasks()


class LocomotionLockstep(LockstepEnv):
    """B bodies and what their tasks pay them."""

    def __init__(self, name: str, render_mode: str | None = None) -> None:
        self._tasks, self._variant = load_tasks(name), VARIANTS[name]
        self.bodies = Bodies(self._variant.body, render_mode)

    def reset(self, task_indices: NDArray[np.int64], seeds: NDArray[np.uint64]) -> Array:
        return self.start(task_indices.tolist(), seeds.tolist())

    def start(self, tasks: list[int], seeds: Sequence[int | None]) -> Array:
        """`reset` for lists; with a seed of None a body goes on with its own random numbers."""
        self._goals, self._elapsed = self._tasks.goals[tasks], 0
        self._alive = np.ones(len(tasks), bool)
        self._seen = self.bodies.start([self._tasks.factors[task] for task in tasks], seeds)
        return self._seen

    def controller_view(self) -> Array:
        return self._seen

    def step(self, actions: Array) -> StepBatch:
        self._elapsed += 1
        self._seen = self.bodies.step(actions, self._alive)
        motions = self.bodies.motions
        rewards = self._variant.reward(self._goals, motions, actions)
        over = ~(np.isfinite(rewards) & np.isfinite(self._seen).all(-1))
        if self._variant.terminates:
            over |= motions[:, HEALTHY] < 1
        self._alive &= ~over
        return StepBatch(
            observations=self._seen,
            rewards=rewards,
            terminated=over,
            truncated=np.full(len(rewards), self._elapsed >= HORIZON),
            success=self._variant.solved(self._goals, motions),
        )


class LocomotionEnv(gym.Env[Array, Array]):
    """One body on one task. `reset(options={"task": i})` changes the task; without it the last task stays.

    `info["motion"]` holds what `idaq.tasks.bodies.MOTION` names.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, variant: str, task: int = 0, render_mode: str | None = None) -> None:
        self._count = len(load_tasks(variant).params)
        self._task = checked_task(task, self._count)
        if render_mode is not None:
            prepare_offscreen()
        self.render_mode = render_mode
        self._lockstep = LocomotionLockstep(variant, render_mode)
        self.observation_space, self.action_space = spaces(variant)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        if options and "task" in options:
            self._task = checked_task(options["task"], self._count)
        return self._lockstep.start([self._task], [seed])[0], {"success": False, "task_index": self._task}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        batch = self._lockstep.step(np.asarray(action, np.float32)[None])
        motion = self._lockstep.bodies.motions[0].copy()
        info = {"success": bool(batch.success[0]), "task_index": self._task, "motion": motion}
        return batch.observations[0], float(batch.rewards[0]), bool(batch.terminated[0]), False, info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """(256, 256, 3) uint8 from a camera that follows the body."""
        return None if self.render_mode is None else self._lockstep.bodies.render()

    def close(self) -> None:
        self._lockstep.bodies.close()


@functools.cache
def spaces(name: str) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space of a family."""
    simulation = Simulation(VARIANTS[name].body)
    actions, size = simulation.env.action_space, simulation.env.observation_space.shape
    simulation.env.close()
    return gym.spaces.Box(-np.inf, np.inf, size, np.float32), actions


@functools.cache
def locomotion(name: str) -> Family:
    """The family `name` of VARIANTS."""
    variant, tasks = VARIANTS[name], load_tasks(name)
    return Family(
        name=name,
        description=variant.description,
        tasks=tuple(
            Task(task_id=f"task-{index:03d}", task_index=index, params=params, split="train", success=variant.success)
            for index, params in enumerate(tasks.params)
        ),
        horizon=HORIZON,
        env_spec=EnvSpec(
            id=f"idaq/{name}-v0",
            entry_point="idaq.tasks.locomotion:LocomotionEnv",
            max_episode_steps=HORIZON,
            disable_env_checker=True,  # it warns of unbounded observations
            kwargs={"variant": name},
        ),
        batched=functools.partial(LocomotionLockstep, name),
        task_features=tasks.features,
        relabel=None if tasks.factors[0] else functools.partial(_relabel, name),
        task_changes_dynamics=bool(tasks.factors[0]),
        place=variant.place,
        velocity=variant.velocity,
        picture="A camera follows the body over a chequered floor; the task is not drawn.",
        simulators=("gymnasium", "mujoco"),
        lockstep_width=9,
    )


def _relabel(name: str, task_indices: NDArray[np.int64], motions: Array, actions: Array) -> Array:
    return VARIANTS[name].reward(load_tasks(name).goals[task_indices], motions, actions)
