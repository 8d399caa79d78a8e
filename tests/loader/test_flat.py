"""The flat view: values of every space as numbers, and actions back."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.core.errors import DatasetError, UsageError
from idaq.format.spaces import Kind, Leaf
from idaq.loader.flat import FlatView, flat_view, plain_view


def leaf(kind: Kind, low: Any, high: Any, dtype: str = "<i8") -> Leaf:
    low, high = np.array(low, dtype), np.array(high, dtype)
    return Leaf(kind=kind, dtype=dtype, shape=low.shape, low=low, high=high)


BOX = leaf("Box", [-1, -1], [1, 1], "<f8")
IMAGE = leaf("Box", np.zeros((2, 3, 1)), np.full((2, 3, 1), 255), "|u1")
DISCRETE = leaf("Discrete", 3, 6)
MULTI = leaf("MultiDiscrete", [0, -1], [1, 1])
BINARY = leaf("MultiBinary", [0, 0, 0], [1, 1, 1], "|i1")
EVERYTHING = {
    "observations/a": DISCRETE,
    "observations/b/c": IMAGE,
    "observations/b/d": BOX,
    "observations/e": BINARY,
    "actions": MULTI,
}


def observation() -> dict[str, Any]:
    pixels = np.arange(0, 60, 10, np.uint8).reshape(2, 3, 1)
    return {"a": np.int64(5), "b": {"c": pixels, "d": np.array([0.5, -1])}, "e": np.array([1, 0, 1], np.int8)}


def test_leaves_follow_each_other_in_file_order_each_in_its_own_encoding() -> None:
    view = flat_view(EVERYTHING)
    found = view.encode_observations(observation())
    pixels = (np.arange(0, 60, 10) / np.float32(255)).astype(np.float32)
    np.testing.assert_array_equal(found, [0, 0, 1, 0, *pixels, 0.5, -1, 1, 0, 1])
    assert (found.dtype, view.observation_size, view.action_size) == (np.float32, 15, 5)
    assert view.scaled.tolist() == [True] * 10 + [False] * 5, "what lies in 0 to 1 is not normalised again"
    assert not view.is_plain


def test_leading_dimensions_stay() -> None:
    view, one = flat_view(EVERYTHING), observation()
    several = {"a": np.full((4, 2), 5), "e": np.broadcast_to(one["e"], (4, 2, 3))}
    several["b"] = {name: np.broadcast_to(value, (4, 2, *value.shape)) for name, value in one["b"].items()}
    expected = np.broadcast_to(view.encode_observations(one), (4, 2, 15))
    np.testing.assert_array_equal(view.encode_observations(several), expected)


def test_an_index_is_the_value_itself() -> None:
    view = flat_view({"observations": DISCRETE, "actions": MULTI}, "index")
    assert view.encode_observations(np.array([3, 6])).tolist() == [[3], [6]]
    assert view.encode_actions(np.array([1, -1])).tolist() == [1, -1]
    low, high = view.actions.bounds or ([], [])
    assert (list(low), list(high)) == ([0, -1], [1, 1])
    decoded = view.decode_actions(np.array([0.6, -0.4], np.float32))
    assert (decoded.tolist(), decoded.dtype) == ([1, 0], np.int64)


@given(st.integers(3, 6), st.floats(0, 0.3), st.floats(0.31, 1))
def test_the_largest_of_one_hot_numbers_is_the_action(value: int, low: float, high: float) -> None:
    view = flat_view({"observations": BOX, "actions": DISCRETE})
    one_hot = view.encode_actions(np.array(value))
    assert (one_hot.sum(), one_hot[value - 3]) == (1, 1)
    blurred = np.where(one_hot == 1, high, low)
    decoded = view.decode_actions(blurred)
    assert (decoded.item(), decoded.shape, decoded.dtype) == (value, (), np.int64)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-1, 1)), min_size=1, max_size=5))
def test_actions_of_several_numbers_come_back(values: list[tuple[int, int]]) -> None:
    for discrete in ("one-hot", "index"):
        view = flat_view({"observations": BOX, "actions": MULTI}, discrete)
        np.testing.assert_array_equal(view.decode_actions(view.encode_actions(np.array(values))), values)


@pytest.mark.parametrize("value", [2, 7, -1, 3.5])
def test_a_value_outside_its_space_is_refused(value: float) -> None:
    view = flat_view({"observations": DISCRETE, "actions": BOX})
    with pytest.raises(UsageError, match=rf"observations hold {value}, which is no value of their space"):
        view.encode_observations(np.array([4, value]))


def test_other_shapes_and_missing_leaves_are_refused() -> None:
    view = flat_view(EVERYTHING)
    with pytest.raises(UsageError, match=r"an observation lacks observations/b/c, .*: it holds observations/a"):
        view.encode_observations({"a": np.array(3)})
    with pytest.raises(UsageError, match=r"actions are of shape \(3,\); values of \(2,\) are needed"):
        view.encode_actions(np.zeros(3, int))


def test_one_hot_numbers_beyond_reason_are_refused_with_the_way_out() -> None:
    huge = leaf("Discrete", 0, 2**40)
    with pytest.raises(DatasetError, match=r"actions would be 1099511627777 one-hot numbers") as raised:
        flat_view({"observations": BOX, "actions": huge})
    assert raised.value.hint == "--set discrete=index"
    assert flat_view({"observations": BOX, "actions": huge}, "index").action_size == 1


def test_arrays_of_numbers_are_as_they_are() -> None:
    plain: FlatView = plain_view((2, 2), (3,))
    seen = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert plain.is_plain
    assert np.shares_memory(plain.encode_observations(seen), seen), "float32 is not copied"
    assert flat_view({"observations": BOX, "actions": BOX}).is_plain


@pytest.mark.parametrize(
    ("low", "high", "dtype", "seen"),
    [
        ([[0, 0]], [[255, 255]], "|u1", 1.0),
        ([0, 0], [255, 255], "|u1", 200.0),  # one axis: numbers, no image
        ([[0, 0]], [[254, 255]], "|u1", 200.0),  # other bounds: quantities
        ([[1, 0]], [[255, 255]], "|u1", 200.0),
        ([[0, 0]], [[255, 255]], "<f4", 200.0),
    ],
)
def test_only_uint8_from_0_to_255_of_two_axes_is_an_image(low: Any, high: Any, dtype: str, seen: float) -> None:
    space = leaf("Box", low, high, dtype)
    view = flat_view({"observations": space, "actions": DISCRETE})
    value = 255 if seen == 1 else 200
    assert view.encode_observations(np.full(space.shape, value, dtype)).tolist() == [seen, seen]
