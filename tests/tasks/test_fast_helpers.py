"""Each faster helper gives what Meta-World, NumPy or SciPy gives, to the bit."""

from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metaworld.policies.action import Action
from metaworld.utils import reward_utils
from scipy.spatial.transform import Rotation

from idaq.tasks import fast_helpers

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
        ours = fast_helpers.tolerance(x, bounds, margin, sigmoid)
        assert ours == reward_utils.tolerance(x, bounds, margin, sigmoid)


@pytest.mark.parametrize(("bounds", "margin"), [((1.0, 0.0), 1.0), ((0.0, 1.0), -1.0)])
def test_tolerance_refuses_what_meta_world_refuses(bounds: tuple[float, float], margin: float) -> None:
    with pytest.raises(ValueError, match=r"[Bb]ound|margin"):
        fast_helpers.tolerance(0.5, bounds, margin, "long_tail")


@given(a=UNIT, b=UNIT)
def test_the_hamacher_product_is_meta_worlds(a: float, b: float) -> None:
    assert fast_helpers.hamacher_product(a, b) == reward_utils.hamacher_product(a, b)
    assert fast_helpers.hamacher_product(np.float64(a), b) == reward_utils.hamacher_product(np.float64(a), b)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6))
def test_norm_is_numpys(values: list[float]) -> None:
    x = np.array(values)
    assert fast_helpers.norm(x) == np.linalg.norm(x)
    assert fast_helpers.norm(x[::2]) == np.linalg.norm(x[::2])
    assert fast_helpers.norm(x.astype(np.float32)) == np.linalg.norm(x.astype(np.float32))
    assert fast_helpers.norm(x, ord=2) == np.linalg.norm(x, ord=2)
    assert fast_helpers.norm(x[0]) == np.linalg.norm(x[0])


@given(st.floats(-3, 3, width=32), st.sampled_from([np.float32, np.float64]), st.sampled_from([(-1, 1), (0.0, 0.1)]))
def test_clip_is_numpys_type_included(value: float, kind: Any, bounds: tuple[Any, Any]) -> None:
    ours, theirs = fast_helpers.clip(kind(value), *bounds), np.clip(kind(value), *bounds)
    assert (type(ours), ours) == (type(theirs), theirs)
    assert (fast_helpers.clip(np.array([value]), *bounds) == np.clip(np.array([value]), *bounds)).all()


def test_the_scripted_policies_action_is_meta_worlds() -> None:
    ours, theirs = [kind({"delta_pos": np.arange(3), "grab_pow": 3}) for kind in (fast_helpers.Action, Action)]
    for action in (ours, theirs):
        action["delta_pos"] = np.array([0.1, -2.0, 3.3])
        action["grab_pow"] = -0.7
    assert ours.array.tobytes() == theirs.array.tobytes()
    assert ours.array.dtype == theirs.array.dtype


def test_quaternions_are_scipys_in_every_branch_of_the_method() -> None:
    rng, branches = np.random.default_rng(0), set()
    for scale in np.concatenate([rng.normal(size=(1500, 4)), np.eye(4).repeat(100, 0) + rng.normal(0, 1e-4, (400, 4))]):
        quaternion, matrix = scale / np.linalg.norm(scale), np.zeros(9)
        mujoco.mju_quat2Mat(matrix, quaternion)
        matrix = matrix.reshape(3, 3)
        branches.add(int(np.argmax([*np.diag(matrix), np.trace(matrix)])))
        ours = fast_helpers.FastRotation.from_matrix(matrix)
        assert isinstance(ours, fast_helpers.FastRotation)
        assert ours.as_quat().tobytes() == Rotation.from_matrix(matrix).as_quat().tobytes()
    assert branches == {0, 1, 2, 3}
    skewed = np.eye(3) + 1e-3 * rng.normal(size=(3, 3))
    assert isinstance(fast_helpers.FastRotation.from_matrix(skewed), Rotation)
