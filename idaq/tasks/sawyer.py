"""Meta-World's environments stepped faster, and to the bit as they are.

Stock `step` spends much of its time outside MuJoCo: forces computed that nobody reads, contacts listed one Python
object at a time, rotations through SciPy, names looked up at every access. `accelerated(cls)` makes a subclass of an
environment class with those replaced; the environment's own rules (rewards, resets, observations) are its own code,
bound to faster helpers. Nothing of Meta-World is patched: stock environments in the same process stay stock. What is
left is MuJoCo itself; `make bench` prints its share for each of the 50.
"""

import functools
import math
import types
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import mujoco as _mujoco
import numpy as np
from metaworld import sawyer_xyz_env
from metaworld.policies.policy import Policy
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from idaq.core.types import Array

mujoco: Any = _mujoco  # its functions come from a compiled module without types

WRITTEN_FOR = {"metaworld": ("3.1.1",), "gymnasium": ("1.",), "mujoco": ("3.",), "scipy": ("1.",)}
"""Version prefixes that the replacements were read against and compared with."""


@functools.cache
def supported() -> bool:
    """Whether the installed libraries are those the replacements were written for; warns once if not."""
    found = {name: version(name) for name in WRITTEN_FOR}
    strange = [f"{name} {found[name]}" for name, known in WRITTEN_FOR.items() if not found[name].startswith(known)]
    if strange:
        wanted = ", ".join(f"{name} {' or '.join(known)}" for name, known in WRITTEN_FOR.items())
        warnings.warn(
            f"{', '.join(strange)}: faster stepping was written for {wanted}; falling back to stock stepping",
            stacklevel=2,
        )
    return not strange


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """`numpy.linalg.norm`, without its preparations for a vector of doubles."""
    plain = ord is None and axis is None and not keepdims and type(x) is np.ndarray
    if plain and x.ndim == 1 and x.dtype == np.float64 and x.flags.c_contiguous:
        return np.float64(math.sqrt(x.dot(x)))
    return np.linalg.norm(x, ord, axis, keepdims)


_LONG_TAIL = float(np.sqrt(1 / 0.1 - 1))


def tolerance(
    x: Any,
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: Any = 0.0,
    sigmoid: Any = "gaussian",
    value_at_margin: float = 0.1,
) -> Any:
    """`reward_utils.tolerance`, in Python floats for its commonest use: a scalar and a long tail."""
    lower, upper = bounds
    usual = sigmoid == "long_tail" and value_at_margin == 0.1 and isinstance(x, float) and lower <= upper
    if not (usual and margin > 1e-100 and x < 1e50):  # Python raises where NumPy overflows
        return reward_utils.tolerance(x, bounds, margin, sigmoid, value_at_margin)
    x, lower, upper = float(x), float(lower), float(upper)
    if lower <= x <= upper:
        return 1.0
    beyond = (lower - x if x < lower else x - upper) / float(margin)
    return 1.0 / ((beyond * _LONG_TAIL) ** 2 + 1.0)


def hamacher_product(a: Any, b: Any) -> Any:
    """`reward_utils.hamacher_product`, in Python floats."""
    if not (isinstance(a, float) and isinstance(b, float) and 0.0 < a <= 1.0 and 0.0 < b <= 1.0):
        return reward_utils.hamacher_product(a, b)
    a, b = float(a), float(b)
    return (a * b) / (a + b - (a * b))


class FastRotation:
    """As much of SciPy's Rotation as the environments use: `from_matrix(m).as_quat()` of a valid rotation."""

    def __init__(self, quaternion: Array) -> None:
        self._quaternion = quaternion

    def as_quat(self) -> Array:
        return self._quaternion

    @staticmethod
    def from_matrix(matrix: Array) -> "FastRotation | Rotation":
        """Shepperd's method, operation for operation as SciPy does it; what is not orthogonal goes to SciPy."""
        (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = matrix.tolist()
        off = max(
            abs(m00 * m10 + m01 * m11 + m02 * m12),
            abs(m00 * m20 + m01 * m21 + m02 * m22),
            abs(m10 * m20 + m11 * m21 + m12 * m22),
            abs(m00 * m00 + m01 * m01 + m02 * m02 - 1),
            abs(m10 * m10 + m11 * m11 + m12 * m12 - 1),
            abs(m20 * m20 + m21 * m21 + m22 * m22 - 1),
        )
        if not off < 1e-13:
            return Rotation.from_matrix(matrix)
        trace = m00 + m11 + m22
        largest = max(m00, m11, m22, trace)
        if largest == m00:
            q = (1 - trace + 2 * m00, m10 + m01, m20 + m02, m21 - m12)
        elif largest == m11:
            q = (m10 + m01, 1 - trace + 2 * m11, m21 + m12, m02 - m20)
        elif largest == m22:
            q = (m20 + m02, m21 + m12, 1 - trace + 2 * m22, m10 - m01)
        else:
            q = (m21 - m12, m02 - m20, m10 - m01, 1 + trace)
        length = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
        return FastRotation(np.array([q[0] / length, q[1] / length, q[2] / length, q[3] / length]))


class Named:
    """Arrays of one named body, geom, site or joint, looked up once: views of the simulation's own memory."""

    def __init__(self, found: Any) -> None:
        self.id = found.id
        for name in ("xpos", "xquat", "xmat", "qpos", "qvel"):
            if hasattr(found, name):
                setattr(self, name, getattr(found, name))


def _named(find: Callable[[str], Any]) -> Callable[[str], Named]:
    return functools.cache(lambda name: Named(find(name)))


class Views:
    """Stands for `MjData` while an environment steps: the same arrays, with names resolved once."""

    def __init__(self, data: Any) -> None:
        self._data = data
        for kind in ("body", "geom", "site", "joint"):
            setattr(self, kind, _named(getattr(data, kind)))
        for name in ("qpos", "qvel", "ctrl", "mocap_pos", "mocap_quat", "geom_xpos"):
            setattr(self, name, getattr(data, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)


def move(from_xyz: Array, to_xyz: Array, p: float) -> Array:
    """The scripted policies' proportional response, without a warning at each large one."""
    return p * (to_xyz - from_xyz)


_NUMPY = types.SimpleNamespace(**vars(np) | {"linalg": types.SimpleNamespace(**vars(np.linalg) | {"norm": norm})})
_REWARDS = types.SimpleNamespace(**vars(reward_utils) | {"tolerance": tolerance, "hamacher_product": hamacher_product})
_HELPERS = {"np": _NUMPY, "reward_utils": _REWARDS, "Rotation": FastRotation, "move": move}


def rebound(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same code, looking its helpers up among the fast ones; a decorator that only asserts is dropped."""
    while function.__name__ == "inner" and function.__closure__:
        function = next(c.cell_contents for c in function.__closure__ if callable(c.cell_contents))
    names = {name: helper for name, helper in _HELPERS.items() if name in function.__globals__}
    if not isinstance(function, types.FunctionType) or not names:
        return function
    copied = types.FunctionType(
        function.__code__, function.__globals__ | names, function.__name__, function.__defaults__, function.__closure__
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def rebound_members(cls: type, stop: type) -> dict[str, Any]:
    """Every method and property that `cls` has from itself and its bases up to and including `stop`, rebound."""
    members: dict[str, Any] = {}
    line = cls.__mro__[: cls.__mro__.index(stop) + 1]
    for base in reversed(line):
        for name, member in vars(base).items():
            if name.startswith("__"):
                continue
            if isinstance(member, property) and member.fget:
                members[name] = property(rebound(member.fget), member.fset)
            elif isinstance(member, staticmethod):
                members[name] = staticmethod(rebound(member.__func__))
            elif isinstance(member, types.FunctionType):
                members[name] = rebound(member)
    return members


_WHOLE_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
"""All that the simulation's future depends on, the solver's warm start included."""


class SharedModel:
    """The compiled model of an XML file, one for all environments of a process: its meshes alone take 20 MB.

    An environment's reset writes its task into the model (where a body stands, say). Those numbers are noted, and put
    back whenever another environment has stepped in between.
    """

    def __init__(self, path: str) -> None:
        self.model = mujoco.MjModel.from_xml_path(path)
        arrays = {name: getattr(self.model, name) for name in dir(self.model) if not name.startswith("_")}
        self._views = {n: a for n, a in arrays.items() if isinstance(a, np.ndarray) and 0 < a.size < _LARGE}
        self._pristine = {name: array.copy() for name, array in self._views.items()}
        self._varying: set[str] = set()
        self._owner: object = None

    def changes(self) -> dict[str, Array]:
        """What the environment that was just reset has written."""
        views, pristine = self._views, self._pristine
        found = {name: view.copy() for name, view in views.items() if not np.array_equal(view, pristine[name])}
        self._varying |= found.keys()
        return found

    def lend(self, owner: object, changes: dict[str, Array]) -> None:
        """Make the model `owner`'s, whose reset wrote `changes`."""
        if self._owner is not owner:
            for name in self._varying:
                self._views[name][...] = changes.get(name, self._pristine[name])
            self._owner = owner


_LARGE = 10_000  # numbers; what is larger is meshes and textures, which no task changes


@functools.cache
def shared_model(path: str) -> SharedModel:
    return SharedModel(path)


class Stepping:
    """The replaced parts of an environment, put before the stock class by `accelerated`.

    Construct, set the task, reset once (that is stock code), then `prepare`; from there on only `step`.
    """

    def _initialize_simulation(self: Any) -> tuple[Any, Any]:
        self.shared = shared_model(self.fullpath)
        self.shared.lend(self, {})
        model = self.shared.model
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, self.width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, self.height)
        return model, mujoco.MjData(model)

    def _step_mujoco_simulation(self: Any, ctrl: Any, n_frames: int) -> None:
        """Stock follows with body forces (mj_rnePostConstraint) that no environment reads."""
        self.data.ctrl[:] = ctrl
        mujoco.mj_step(self.model, self.data, nstep=n_frames)

    def prepare(self: Any) -> None:
        """Look up, once, what every step needs, and note where the episode starts."""
        self.simulation, self._changes = self.data, self.shared.changes()
        self.data = views = Views(self.data)
        self._pads = tuple(views.geom(name).id for name in ("leftpad_geom", "rightpad_geom"))
        self._reach = functools.cache(self._touching_distance)
        self._bounds = self.sawyer_observation_space.low, self.sawyer_observation_space.high
        views.mocap_quat[:] = np.array([1, 0, 1, 0])
        self._start = np.empty(mujoco.mj_stateSize(self.model, _WHOLE_STATE))
        mujoco.mj_getState(self.model, self.simulation, self._start, _WHOLE_STATE)
        self._attributes = dict(vars(self))

    def restart(self: Any) -> None:
        """Back to the start of the same task."""
        mujoco.mj_setState(self.model, self.simulation, self._start, _WHOLE_STATE)
        attributes = self._attributes
        vars(self).clear()
        vars(self).update(attributes, _attributes=attributes)

    def step(self: Any, action: Array) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        if self.curr_path_length >= self.max_path_length:
            raise ValueError("the episode is over: reset the environment")
        self.shared.lend(self, self._changes)
        data, (low, high) = self.data, self._bounds
        moved = data.mocap_pos[0] + np.minimum(np.maximum(action[:3], -1), 1) * self.action_scale
        data.mocap_pos[0] = np.minimum(np.maximum(moved, self.mocap_low), self.mocap_high)
        data.ctrl[0] = action[-1]
        data.ctrl[1] = -action[-1]
        mujoco.mj_step(self.model, self.simulation, nstep=self.frame_skip)
        mujoco.mj_forward(self.model, self.simulation)  # the next step's solver starts from its result
        self.curr_path_length += 1
        observation = np.minimum(np.maximum(self._get_obs(), low), high)
        reward, info = self.evaluate_state(observation, action)
        return observation, reward, False, self.curr_path_length == self.max_path_length, info

    def render(self: Any) -> Any:
        self.shared.lend(self, self._changes)
        return super().render()  # type: ignore[misc]

    def get_endeff_pos(self: Any) -> Array:
        return self.data.body("hand").xpos

    @property
    def tcp_center(self: Any) -> Array:
        return (self.data.site("rightEndEffector").xpos + self.data.site("leftEndEffector").xpos) / 2.0

    def _get_site_pos(self: Any, site_name: str) -> Array:
        return self.data.site(site_name).xpos.copy()

    def touching_object(self: Any, object_geom_id: int) -> bool:
        """Whether both pads press on the object; contacts are listed only where a contact is possible."""
        if not all(self._can_touch(pad, object_geom_id) for pad in self._pads):
            return False
        contact, forces = self.simulation.contact, [0.0, 0.0]
        for pair, address in zip(contact.geom.tolist(), contact.efc_address.tolist(), strict=True):
            for side, pad in enumerate(self._pads):
                if object_geom_id in pair and pad in pair:
                    forces[side] += self.simulation.efc_force[address]
        return forces[0] > 0 and forces[1] > 0

    def _can_touch(self: Any, pad: int, other: int) -> bool:
        """MuJoCo's own test of bounding spheres, a little wider."""
        positions = self.data.geom_xpos
        away = positions[pad] - positions[other]
        return math.sqrt(away.dot(away)) <= self._reach(pad, other)

    def _touching_distance(self: Any, pad: int, other: int) -> float:
        radius, margin = self.model.geom_rbound, self.model.geom_margin
        if radius[other] == 0:  # a plane
            return math.inf
        return float(radius[pad] + radius[other] + margin[pad] + margin[other]) * 1.01

    def _gripper_caging_reward(
        self: Any,
        action: Array,
        obj_pos: Array,
        obj_radius: float,
        pad_success_thresh: float,
        object_reach_radius: float,
        xz_thresh: float,
        desired_gripper_effort: float = 1.0,
        high_density: bool = False,
        medium_density: bool = False,
    ) -> Any:
        """Meta-World's reward for grasping, number by number; it explains the terms."""
        if high_density and medium_density:
            raise ValueError("Can only be either high_density or medium_density")
        start, tcp, lr = self.obj_init_pos, self.tcp_center, []
        for pad in ("leftpad", "rightpad"):
            y = float(self.data.body(pad).xpos[1])
            margin = abs(abs(y - float(start[1])) - pad_success_thresh)
            lr.append(tolerance(abs(y - float(obj_pos[1])), (obj_radius, pad_success_thresh), margin, "long_tail"))
        xz_margin = norm(start[::2] - self.init_tcp[::2]) - xz_thresh
        xz = tolerance(norm(tcp[::2] - obj_pos[::2]), (0, xz_thresh), xz_margin, "long_tail")
        caging = hamacher_product(hamacher_product(*lr), float(xz))
        closed = min(max(0, action[-1]), desired_gripper_effort) / desired_gripper_effort
        both = hamacher_product(caging, closed if caging > 0.97 else 0.0)
        if high_density:
            both = (both + caging) / 2
        if medium_density:
            reach_margin = abs(norm(start - self.init_tcp) - object_reach_radius)
            reach = tolerance(norm(obj_pos - tcp), (0, object_reach_radius), reach_margin, "long_tail")
            both = (both + float(reach)) / 2
        return both

    def _get_curr_obs_combined_no_goal(self: Any) -> Array:
        """Hand (3), opening of the gripper (1), then position (3) and rotation (4) of each object, padded: (18,)."""
        combined = np.zeros(4 + self._obs_obj_max_len)
        combined[:3] = self.data.body("hand").xpos
        apart = self.data.body("rightclaw").xpos - self.data.body("leftclaw").xpos
        combined[3] = min(max(math.sqrt(apart.dot(apart)) / 0.1, 0.0), 1.0)
        positions, rotations = self._get_pos_objects(), self._get_quat_objects()
        for number in range(len(positions) // 3):
            start = 4 + 7 * number
            combined[start : start + 3] = positions[3 * number : 3 * number + 3]
            combined[start + 3 : start + 7] = rotations[4 * number : 4 * number + 4]
        return combined

    def _get_obs(self: Any) -> Array:
        current = self._get_curr_obs_combined_no_goal()
        observation = np.zeros(39)
        observation[:18] = current
        observation[18:36] = self._prev_obs
        if not self._partially_observable:
            observation[36:] = self._get_pos_goal()
        self._prev_obs = current
        return observation


@functools.cache
def accelerated(cls: type) -> type:
    """The faster subclass of a Meta-World environment class."""
    members = rebound_members(cls, sawyer_xyz_env.SawyerXYZEnv)
    for name in vars(Stepping).keys() & members.keys():
        if name not in vars(cls):  # what an environment does in its own way stays its own
            del members[name]
    return type(f"Fast{cls.__name__}", (Stepping, cls), members)


@functools.cache
def accelerated_policy(cls: type) -> type:
    """The faster subclass of a scripted policy's class."""
    return type(f"Fast{cls.__name__}", (cls,), rebound_members(cls, Policy))
