"""MuJoCo bodies that walk: Gymnasium's v5 models and start states, stepped bare, for tasks with rewards of their own.

Shapes: B bodies side by side, S = nq + nv numbers of a state (positions, then velocities), D observation, A action.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.core.extras import optional
from idaq.core.types import Array

MOTION = ("x_velocity", "y_velocity", "x", "y", "healthy", "contact_cost")
"""What a step says for a reward: m/s, metres, 1 or 0, and the body's own cost of contact forces"""
VELOCITY, POSITION, HEALTHY, CONTACT = slice(0, 2), slice(2, 4), 4, 5

DYNAMICS = ("body_mass", "body_inertia", "dof_damping", "geom_friction")
"""fields of a MuJoCo model that a task may scale"""

Bools = NDArray[np.bool_]


@functools.cache
def simulator() -> Any:
    """MuJoCo, imported when a body is made: whoever recovers a family without bodies need not have it."""
    return optional("mujoco")


def planar(data: Any, state: Array) -> tuple[float, float]:
    """Place of a body that moves in the x-z plane."""
    return state[0], 0.0


def torso(data: Any, state: Array) -> tuple[float, float]:
    """Place of a body on a free joint."""
    return state[0], state[1]


def centre_of_mass(data: Any, state: Array) -> tuple[float, float]:
    """Place of all masses together."""
    x, y, _ = data.subtree_com[1]
    return x, y


def never_falls(states: Array) -> Bools:
    """Gymnasium says of this body that it cannot fall."""
    return np.ones(len(states), bool)


def walker_stands(states: Array) -> Bools:
    """Height in (0.8, 2) m and tilt within 1 rad."""
    return _between(states[:, 1], 0.8, 2.0) & _between(states[:, 2], -1.0, 1.0)


def hopper_stands(states: Array) -> Bools:
    """Height above 0.7 m, tilt within 0.2 rad, all else within 100."""
    return (states[:, 1] > 0.7) & _between(states[:, 2], -0.2, 0.2) & (np.abs(states[:, 2:]) < 100).all(-1)


def ant_stands(states: Array) -> Bools:
    """Height in [0.2, 1] m."""
    return (states[:, 2] >= 0.2) & (states[:, 2] <= 1.0) & np.isfinite(states).all(-1)


def humanoid_stands(states: Array) -> Bools:
    """Height in (1, 2) m."""
    return _between(states[:, 2], 1.0, 2.0)


def _between(values: Array, low: float, high: float) -> Bools:
    return (low < values) & (values < high)


def ant_contact(forces: Array) -> float:
    """0.0005 |f|^2 with each component clipped to [-1, 1]."""
    clipped = np.minimum(np.maximum(forces, -1.0), 1.0).ravel()
    return 5e-4 * float(clipped @ clipped)


def humanoid_contact(forces: Array) -> float:
    """0.0000005 |f|^2, at most 10."""
    return min(5e-7 * float(np.square(forces).sum()), 10.0)


@dataclass(frozen=True, kw_only=True)
class Body:
    """One of Gymnasium's bodies: what it sees, where it is, when it has fallen, as Gymnasium has it."""

    env_id: str
    place: Callable[[Any, Array], tuple[float, float]]
    """MuJoCo's data, state (S,) -> x, y in metres"""
    stands: Callable[[Array], Bools] = never_falls
    """states (B, S) -> (B,)"""
    contact: Callable[[Array], float] | None = None
    """forces on each of its parts -> what they cost"""
    unseen: int = 1
    """leading numbers of the state that an observation leaves out"""
    fastest: float = np.inf
    """observed velocities are clipped to this"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """what Gymnasium's environment is made with to see the same"""


def _ignore_warning(_text: str) -> None:
    """What is unstable shows in the numbers."""


class Simulation:
    """One body in a MuJoCo model of its own."""

    def __init__(self, body: Body, render_mode: str | None = None) -> None:
        mujoco = simulator()
        made = gym.make(
            body.env_id,
            disable_env_checker=True,
            render_mode=render_mode,
            camera_name="track",  # named, it follows the body; by default Gymnasium's stands still
            width=256,
            height=256,
            **body.options,
        )
        self.env: Any = made.unwrapped
        """Gymnasium's environment: start states, spaces, pictures"""
        self.model, self.data = self.env.model, self.env.data
        if mujoco.get_mju_user_warning() is None:  # it would print on stdout, and write a log where one stands
            mujoco.set_mju_user_warning(_ignore_warning)
        # Else MuJoCo puts an unstable body back to its start in the middle of an episode, and nobody hears of it.
        self.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self._original = {name: getattr(self.model, name).copy() for name in DYNAMICS}
        self._factors: Mapping[str, Array] | None = None
        self.scale({})

    def scale(self, factors: Mapping[str, Array]) -> None:
        """Multiply fields of DYNAMICS by that many factors; those not named become as built. Then `reset`."""
        if factors is self._factors:
            return
        for name, original in self._original.items():
            now = getattr(self.model, name)
            now[:] = original * factors[name].reshape(original.shape) if name in factors else original
        simulator().mj_setConst(self.model, self.data)  # what MuJoCo derives from them
        self._factors = factors


class Bodies:
    """B bodies, stepped one after the other. What is not finite after a step has become unstable."""

    def __init__(self, body: Body, render_mode: str | None = None) -> None:
        self._body, self._render_mode = body, render_mode
        self._made: list[Simulation] = []

    def start(self, factors: Sequence[Mapping[str, Array]], seeds: Sequence[int | None]) -> Array:
        """Begin an episode of B bodies from Gymnasium's start state of each seed; returns observations (B, D)."""
        self._made += [Simulation(self._body, self._render_mode) for _ in seeds[len(self._made) :]]
        self._active = self._made[: len(seeds)]
        for simulation, factor, seed in zip(self._active, factors, seeds, strict=True):
            simulation.scale(factor)
            simulation.env.reset(seed=seed)
        first = self._active[0]
        self._skip, self._seconds, self._positions = first.env.frame_skip, first.env.dt, first.model.nq
        # Views into MuJoCo's own memory: reading an attribute of its data takes as long as a small copy.
        self._views = [(s.model, s.data, s.data.ctrl, s.data.qpos, s.data.qvel, s.data.cfrc_ext) for s in self._active]
        self._states = np.array([np.concatenate([qpos, qvel]) for *_, qpos, qvel, _ in self._views])
        places = [self._body.place(s.data, state) for s, state in zip(self._active, self._states, strict=True)]
        self.motions = np.zeros((len(seeds), len(MOTION)))
        """(B, M) of the last step"""
        self.motions[:, POSITION] = places
        return self.observations()

    def step(self, actions: Array, alive: Bools) -> Array:
        """Step those alive with actions (B, A); returns observations (B, D), and `motions` tells the rest."""
        body, states, motions, positions = self._body, self._states, self.motions, self._positions
        before, mujoco = motions[:, POSITION].copy(), simulator()
        for index in np.flatnonzero(alive).tolist():
            model, data, control, qpos, qvel, forces = self._views[index]
            state = states[index]
            control[:] = actions[index]
            mujoco.mj_step(model, data, self._skip)
            state[:positions], state[positions:] = qpos, qvel
            motions[index, POSITION] = body.place(data, state)
            if body.contact is not None:
                mujoco.mj_rnePostConstraint(model, data)  # MuJoCo leaves contact forces out of its step
                motions[index, CONTACT] = body.contact(forces)
        motions[:, VELOCITY] = (motions[:, POSITION] - before) / self._seconds
        motions[:, HEALTHY] = body.stands(states)
        return self.observations()

    def observations(self) -> Array:
        """(B, D) float32, as Gymnasium's environment gives them."""
        seen = self._states[:, self._body.unseen :].astype(np.float32)
        if np.isfinite(self._body.fastest):
            velocities = seen[:, self._positions - self._body.unseen :]
            np.clip(velocities, -self._body.fastest, self._body.fastest, out=velocities)
        return seen

    def render(self) -> Any:
        """A picture of the first body."""
        return self._active[0].env.render()

    def close(self) -> None:
        """Close all simulations."""
        for simulation in self._made:
            simulation.env.close()
