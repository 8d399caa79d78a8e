"""Meta-World's environments stepped faster, and to the bit as they are.

Stock `step` spends much of its time outside MuJoCo: forces computed that nobody reads, contacts listed one Python
object at a time, rotations through SciPy, names looked up at every access, and it simulates a model with everything
that is only there to be seen. `accelerated(cls)` makes a subclass of an environment class with those replaced; the
environment's own rules (rewards, resets, observations) are its own code, with faster helpers. Nothing of Meta-World
is patched: stock environments in the same process stay stock. What is left is MuJoCo itself; `make bench` prints its
share for each of the 50.
"""

import functools
import math
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import mujoco as _mujoco
import numpy as np
from metaworld import sawyer_xyz_env
from metaworld.policies.policy import Policy

from idaq.core.types import Array
from idaq.tasks.fast_helpers import hamacher_product, norm, tolerance, with_fast_helpers

mujoco: Any = _mujoco  # its functions come from a compiled module without types

WRITTEN_FOR = {"metaworld": ("3.1.1",), "gymnasium": ("1.",), "mujoco": ("3.3.",), "scipy": ("1.",)}
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


_WHOLE_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
"""All that the simulation's future depends on, the solver's warm start included."""


class SharedModel:
    """The compiled model of an XML file, one for all environments of a process that draw it, or that do not.

    An environment's reset writes its task into the model (where a body stands, say). Those numbers are noted, and put
    back whenever another environment has stepped in between.
    """

    def __init__(self, path: str, drawn: bool) -> None:
        self.model = mujoco.MjModel.from_xml_path(path) if drawn else unseen_model(path)
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
def shared_model(path: str, drawn: bool) -> SharedModel:
    """One model a file for all environments of the process."""
    return SharedModel(path, drawn)


def unseen_model(path: str) -> Any:
    """The compiled model without what is only there to be seen, most of the meshes: the same dynamics to the bit, as
    MuJoCo's compiler promises, and less to move and to clear at every substep."""
    spec = mujoco.MjSpec.from_file(path)
    spec.compiler.discardvisual = True
    names = [geom.name for geom in spec.geoms if geom.name]  # rewards may ask where they are
    kept = spec.add_tuple(name="kept")  # what a tuple refers to is not discarded
    kept.objtype, kept.objname, kept.objprm = [mujoco.mjtObj.mjOBJ_GEOM] * len(names), names, [0.0] * len(names)
    return spec.compile()


_AFTER_TARGET_MOVED = (
    mujoco.mj_kinematics,
    mujoco.mj_makeConstraint,
    mujoco.mj_projectConstraint,
    mujoco.mj_referenceConstraint,
    mujoco.mj_fwdActuation,
    mujoco.mj_fwdAcceleration,
    mujoco.mj_fwdConstraint,
    mujoco.mj_Euler,
)
"""The stages of `mj_step` that depend on the mocap body's place and on `ctrl`."""


class Stepping:
    """The replaced parts of an environment, put before the stock class by `accelerated`.

    Construct, set the task, reset once (that is stock code), then `prepare`; from there on only `step`.
    """

    def __init__(self: Any, **settings: Any) -> None:
        self._drawn = settings.get("render_mode") is not None
        super().__init__(**settings)  # type: ignore[misc]

    def _initialize_simulation(self: Any) -> tuple[Any, Any]:
        self.shared = shared_model(self.fullpath, self._drawn)
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
        self._target, self._grip = views.mocap_pos[0], views.ctrl
        self._low, self._high = self.mocap_low.tolist(), self.mocap_high.tolist()
        views.mocap_quat[:] = np.array([1, 0, 1, 0])
        self._start = np.empty(mujoco.mj_stateSize(self.model, _WHOLE_STATE))
        mujoco.mj_getState(self.model, self.simulation, self._start, _WHOLE_STATE)
        self._forwarded = False
        self._attributes = dict(vars(self))

    def restart(self: Any) -> None:
        """Back to the start of the same task."""
        mujoco.mj_setState(self.model, self.simulation, self._start, _WHOLE_STATE)
        attributes = self._attributes
        vars(self).clear()
        vars(self).update(attributes, _attributes=attributes)

    def step(self: Any, action: Array) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        """One step, as Meta-World's, to the bit. Raises ValueError once the episode is over."""
        if self.curr_path_length >= self.max_path_length:
            raise ValueError("the episode is over: reset the environment")
        self.shared.lend(self, self._changes)
        low, high = self._bounds
        self._move_target(action)
        self._simulate(self.model, self.simulation)
        self.curr_path_length += 1
        observation = np.minimum(np.maximum(self._get_obs(), low), high)
        reward, info = self.evaluate_state(observation, action)
        return observation, reward, False, self.curr_path_length == self.max_path_length, info

    def _move_target(self: Any, action: Array) -> None:
        """The place that draws the hand, and the fingers' command; numbers are rounded as stock's arrays round them."""
        rounded = action.dtype.type
        scale = float(rounded(self.action_scale))
        dx, dy, dz, grip = action.tolist()
        (x, y, z), low, high = self._target.tolist(), self._low, self._high
        self._target[0] = min(max(x + float(rounded(min(max(dx, -1.0), 1.0) * scale)), low[0]), high[0])
        self._target[1] = min(max(y + float(rounded(min(max(dy, -1.0), 1.0) * scale)), low[1]), high[1])
        self._target[2] = min(max(z + float(rounded(min(max(dz, -1.0), 1.0) * scale)), low[2]), high[2])
        self._grip[0], self._grip[1] = grip, -grip

    def _simulate(self: Any, model: Any, data: Any) -> None:
        """Stock `mj_step` and `mj_forward`. Between two calls nothing moves but the hand's target and the fingers'
        command: collisions, inertia and bias forces of the last `mj_forward` are those of the first substep.
        """
        if self._forwarded:
            for stage in _AFTER_TARGET_MOVED:
                stage(model, data)
        mujoco.mj_step(model, data, nstep=self.frame_skip - self._forwarded)
        mujoco.mj_forward(model, data)  # the solver of the next substep starts from its result
        self._forwarded = True

    def render(self: Any) -> Any:
        """A picture, of the shared model set to this environment."""
        self.shared.lend(self, self._changes)
        return super().render()  # type: ignore[misc]

    def get_endeff_pos(self: Any) -> Array:
        """(3,) position of the hand."""
        return self.data.body("hand").xpos

    @property
    def tcp_center(self: Any) -> Array:
        """(3,) the middle between the two fingers."""
        return (self.data.site("rightEndEffector").xpos + self.data.site("leftEndEffector").xpos) / 2.0

    def _get_site_pos(self: Any, site_name: str) -> Array:
        return self.data.site(site_name).xpos.copy()

    def touching_object(self: Any, object_geom_id: int) -> bool:
        """Whether both pads press on the object; contacts are listed only where a contact is possible."""
        if not all(self._can_touch(pad, object_geom_id) for pad in self._pads):
            return False
        left, right = self._pads
        contact, force, pressed = self.simulation.contact, self.simulation.efc_force, {left: 0.0, right: 0.0}
        for (one, two), address in zip(contact.geom.tolist(), contact.efc_address.tolist(), strict=True):
            other = two if one == object_geom_id else one if two == object_geom_id else None
            if other in pressed:
                pressed[other] += force[address]
        return pressed[left] > 0 and pressed[right] > 0

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
    return with_fast_helpers(cls, sawyer_xyz_env.SawyerXYZEnv, before=Stepping)


@functools.cache
def accelerated_policy(cls: type) -> type:
    """The faster subclass of a scripted policy's class."""
    return with_fast_helpers(cls, Policy)
