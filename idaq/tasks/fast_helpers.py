"""Faster helpers for Meta-World's own code: the same results to the bit, and nothing of Meta-World is patched.

Its rewards and scripted policies call NumPy and SciPy for vectors of three numbers. `with_fast_helpers(cls, stop)`
makes a subclass whose methods are the same code, and find the helpers of this file under those names.
"""

import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from idaq.core.types import Array


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """`numpy.linalg.norm`, without its preparations for a vector of doubles."""
    if (ord is None or ord == 2) and axis is None and not keepdims:
        if type(x) is np.ndarray and x.strides == _IN_A_ROW and x.dtype == _DOUBLE:
            return np.float64(math.sqrt(x.dot(x)))
        if type(x) is np.float64 and ord is None:
            return np.float64(math.sqrt(x * x))
    return np.linalg.norm(x, ord, axis, keepdims)


_DOUBLE, _IN_A_ROW = np.dtype(np.float64), (8,)


def clip(a: Any, low: Any, high: Any) -> Any:
    """`numpy.clip` of one number between two of Python's."""
    kind = type(a)
    if kind in (np.float32, np.float64) and type(low) in (int, float) and type(high) in (int, float):
        return kind(min(max(a, low), high))
    return np.clip(a, low, high)


_LONG_TAIL, _GAUSSIAN = float(np.sqrt(1 / 0.1 - 1)), float(np.sqrt(-2 * np.log(0.1)))


def tolerance(
    x: Any,
    bounds: tuple[float, float] = (0.0, 0.0),
    margin: Any = 0.0,
    sigmoid: Any = "gaussian",
    value_at_margin: float = 0.1,
) -> Any:
    """`reward_utils.tolerance`, in Python floats for its commonest use: a scalar, and a long tail or a bell."""
    lower, upper = bounds
    usual = sigmoid in ("long_tail", "gaussian") and value_at_margin == 0.1 and isinstance(x, float) and lower <= upper
    if not (usual and margin > 1e-100 and x < 1e50):  # Python raises where NumPy overflows
        return reward_utils.tolerance(x, bounds, margin, sigmoid, value_at_margin)
    x, lower, upper = float(x), float(lower), float(upper)
    if lower <= x <= upper:
        return 1.0
    beyond = (lower - x if x < lower else x - upper) / float(margin)
    if sigmoid == "gaussian":
        return float(np.exp(-0.5 * (beyond * _GAUSSIAN) ** 2))
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
        """The quaternion, scalar last, as SciPy gives it."""
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


def move(from_xyz: Array, to_xyz: Array, p: float) -> Array:
    """The scripted policies' proportional response, without a warning at each large one."""
    return p * (to_xyz - from_xyz)


class Action:
    """The scripted policies' action, filled in by name: three numbers that move the hand, then one that grips."""

    def __init__(self, structure: dict[str, Any]) -> None:
        self.array = np.zeros(4, np.float32)

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "delta_pos":
            self.array[:3] = value
        else:
            self.array[3] = value


_NUMPY = types.SimpleNamespace(
    **vars(np) | {"clip": clip, "linalg": types.SimpleNamespace(**vars(np.linalg) | {"norm": norm})}
)
_REWARDS = types.SimpleNamespace(**vars(reward_utils) | {"tolerance": tolerance, "hamacher_product": hamacher_product})
_HELPERS = {"np": _NUMPY, "reward_utils": _REWARDS, "Rotation": FastRotation, "move": move, "Action": Action}


def _copied(function: Callable[..., Any], helpers: dict[str, Any]) -> Callable[..., Any]:
    """A function of the same code that finds `helpers` by name; a decorator that only asserts is dropped."""
    while function.__name__ == "inner" and function.__closure__:
        function = next(c.cell_contents for c in function.__closure__ if callable(c.cell_contents))
    names = {name: helper for name, helper in helpers.items() if name in function.__globals__}
    if not isinstance(function, types.FunctionType) or not names:
        return function
    copied = types.FunctionType(
        function.__code__, function.__globals__ | names, function.__name__, function.__defaults__, function.__closure__
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def with_fast_helpers(cls: type, stop: type, before: type = object) -> type:
    """A subclass of `before` and `cls`: each method and property of `cls` and its bases up to and including `stop`,
    copied to use the fast helpers, except what `before` has in place of the bases'."""
    line = cls.__mro__[: cls.__mro__.index(stop) + 1]
    fast = type(f"Fast{cls.__name__}", (cls,) if before is object else (before, cls), {})
    helpers = _HELPERS | {cls.__name__: fast}  # some call their own static methods by the class's name
    for base in reversed(line):
        for name, member in vars(base).items():
            if name.startswith("__") or (name in vars(before) and base is not cls):
                continue
            if isinstance(member, property) and member.fget:
                setattr(fast, name, property(_copied(member.fget, helpers), member.fset))
            elif isinstance(member, staticmethod):
                setattr(fast, name, staticmethod(_copied(member.__func__, helpers)))
            elif isinstance(member, types.FunctionType):
                setattr(fast, name, _copied(member, helpers))
    return fast
