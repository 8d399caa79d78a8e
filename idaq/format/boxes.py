"""The spaces of imported observations and actions: as they are stated, or assumed from the data, which is noted.

Integers are choices (Discrete, MultiDiscrete) where a space says so and, where none is stated, as actions and as
observations of one number; all else is a Box.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, Array
from idaq.format.gym_spaces import leaf_spaces

_WIDEST = 2**62
"""of a Discrete space"""
Space = gym.Space[Any]
Counted = gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary


def box(low: Array, high: Array, dtype: Any) -> gym.spaces.Box:
    """A Box with bounds as `dtype` holds them."""
    kind = np.dtype(dtype)
    return gym.spaces.Box(_bound(low, kind), _bound(high, kind), dtype=kind.type)


def _bound(bound: Array, kind: np.dtype[Any]) -> Array:
    """A bound in another dtype: 1e300 is infinite in float32, and infinity becomes the largest integer."""
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(bound).astype(kind)
    if np.asarray(bound).dtype == kind:
        return np.asarray(bound)
    lowest, highest = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    limited = (max(min(float(number), float(highest)), float(lowest)) for number in np.ravel(bound))
    return np.array([min(int(number), highest) for number in limited], kind).reshape(np.shape(bound))


def bounded_space(column: str, low: Array, high: Array, rows: Array) -> Space:
    """The space of a column's rows between bounds in the shape of one row: choices or quantities, as the data are."""
    if _are_choices(column, rows):
        return _choices(_whole(low), _whole(high))
    kind = np.result_type(low, high, np.uint8) if rows.dtype.kind == "f" else rows.dtype
    return box(low, high, kind)


def _are_choices(column: str, rows: Array) -> bool:
    """Whether integers without a stated space are choices: actions, and observations of one number."""
    return rows.dtype.kind in "iub" and (column == ACTIONS or rows.ndim == 1)


def _whole(bound: Array) -> NDArray[np.int64]:
    """Raises DatasetError for a number that is no choice."""
    beyond = [number for number in np.ravel(bound).tolist() if abs(number) > _WIDEST]
    if beyond:
        raise DatasetError(f"{beyond[0]} is no choice: it is too large", hint="store quantities as floats")
    return bound.astype(np.int64)


def _choices(low: NDArray[np.int64], high: NDArray[np.int64]) -> Space:
    """Discrete for one choice, MultiDiscrete for several; bounds in the shape of a row, inclusive."""
    counts = [int(last) - int(first) + 1 for first, last in zip(low.ravel(), high.ravel(), strict=True)]
    if max(counts) > _WIDEST or min(counts) < 1:
        raise DatasetError(
            f"whole numbers from {low.min()} to {high.max()} are no choices", hint="store them as floats"
        )
    if not low.shape:
        return gym.spaces.Discrete(counts[0], start=int(low))
    return gym.spaces.MultiDiscrete(np.array(counts, np.int64).reshape(low.shape), start=low)


def space_of(column: str, stated: Space | None, rows: Sequence[Array], notes: Notes, where: str) -> Space:
    """The space of a column: the stated one, widened where the data leave it; else what the data suggest."""
    whose = "action" if column == ACTIONS else column.replace(OBSERVATIONS, "observation", 1)
    if stated is not None and not isinstance(stated, gym.spaces.Box):
        return _counted(column, stated, rows, notes, where)
    if stated is None and _are_choices(column, rows[0]):
        low, high = map(_whole, _extremes(rows))
        space = _choices(np.minimum(low, 0), high)
        notes.add(where, f"no {whose} space is known: {space} is assumed, from the lowest to the highest value")
        return space
    if column == ACTIONS:
        return _action_box(stated, rows, notes, where)
    if stated is not None:
        return _widened(stated, rows, column, notes, where)
    kind = rows[0].dtype
    if not (kind == np.uint8 and rows[0].ndim > 2):  # the values of an image are all that its dtype holds
        known = "observation_low, observation_high"
        notes.add(where, f"no {whose} bounds are known: written as unbounded ({known})")
    low, high = (-np.inf, np.inf) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    return gym.spaces.Box(low, high, rows[0].shape[1:], kind.type)


def _counted(column: str, stated: Space, rows: Sequence[Array], notes: Notes, where: str) -> Space:
    """A space of choices, widened where the data leave it. Raises DatasetError for rows of another shape."""
    if stated.shape != rows[0].shape[1:] or rows[0].dtype.kind not in "iu":
        found = f"{column} of {rows[0].dtype} and shape {rows[0].shape[1:]}"
        raise DatasetError(f"{where}: {found} are of no {stated}"[:500])
    low, high = _limits(stated)
    outside = sum(int(((r < low) | (r > high)).reshape(len(r), -1).any(1).sum()) for r in rows)
    if not outside:
        return stated
    notes.add(where, f"{column} are not in the stated {stated}: it is widened to hold them"[:300], outside)
    lowest, highest = map(_whole, _extremes(rows))
    return _choices(np.minimum(low, lowest), np.maximum(high, highest))


def _limits(space: Space) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest and highest value of a space of choices, inclusive."""
    match space:
        case gym.spaces.Discrete():
            low, count = np.array(space.start, np.int64), np.array(space.n, np.int64)
        case gym.spaces.MultiDiscrete():
            low, count = space.start.astype(np.int64), space.nvec.astype(np.int64)
        case gym.spaces.MultiBinary():
            low, count = np.zeros(space.shape, np.int64), np.full(space.shape, 2, np.int64)
        case _:
            raise DatasetError(f"the space {space} has no place in the format"[:500])
    return low, low + count - 1


def _action_box(stated: gym.spaces.Box | None, rows: Sequence[Array], notes: Notes, where: str) -> gym.spaces.Box:
    """The stated space, widened where the data leave it; else [-1, 1] where every action is inside, else the data's.

    A stated bound that is infinite is none.
    """
    low, high = _extremes(rows)
    width = np.where(low == high, np.maximum(np.abs(low), 1), 0)  # a number that never changes has no width
    low, high = low - width, high + width
    if stated is None:
        lowest, highest = _extremes(rows)
        inside = bool((lowest >= -1).all() and (highest <= 1).all())
        said = "[-1, 1] is assumed, where all lie" if inside else "the lowest and highest of each is assumed"
        notes.add(where, f"no action bounds are known: {said} (action_low, action_high)")
        ones = np.ones_like(low)
        return box(-ones, ones, low.dtype) if inside else box(low, high, low.dtype)
    found = _widened(stated, rows, ACTIONS, notes, where)
    endless = ~(np.isfinite(found.low) & np.isfinite(found.high))
    notes.add(where, "action bounds are infinite: the data's are assumed", int(endless.sum()))
    return box(np.where(endless, low, found.low), np.where(endless, high, found.high), low.dtype)


def _widened(stated: gym.spaces.Box, rows: Sequence[Array], what: str, notes: Notes, where: str) -> gym.spaces.Box:
    if stated.shape != rows[0].shape[1:]:
        raise DatasetError(f"{where}: {what} of shape {rows[0].shape[1:]}, their space of {stated.shape}")
    bounds = np.stack([stated.low, stated.high])
    found = box(stated.low, stated.high, rows[0].dtype)
    written = np.stack([found.low, found.high])
    moved = np.isfinite(bounds) & (~np.isfinite(written) if written.dtype.kind == "f" else bounds != written)
    notes.add(
        where, f"stated bounds of {what} are not numbers of {written.dtype}: others are written", int(moved.sum())
    )
    outside = sum(int(((r < found.low) | (r > found.high)).reshape(len(r), -1).any(1).sum()) for r in rows)
    if not outside:
        return found
    notes.add(where, f"{what} lie outside of the stated bounds: the bounds are widened to hold them", outside)
    low, high = _extremes(rows)
    return box(np.minimum(found.low, low), np.maximum(found.high, high), low.dtype)


def _extremes(rows: Sequence[Array]) -> tuple[Array, Array]:
    return np.min([r.min(0) for r in rows], 0), np.max([r.max(0) for r in rows], 0)


def joint_space(spaces: Sequence[Space | None], names: Sequence[str], what: str, notes: Notes) -> Space | None:
    """The space that holds every source's; None where no source states one, or they are of different kinds."""
    known = [leaf_spaces(space) for space in spaces if space is not None]
    if not known or any(_forms(leaves) != _forms(known[0]) for leaves in known):
        return None
    joint = {name: _joint([leaves[name] for leaves in known]) for name in known[0]}
    for space, name in zip(spaces, names, strict=True):
        if space is None:
            notes.add(name, f"no {what} bounds are known: those of the other sources are taken")
        elif leaf_spaces(space) != joint:
            notes.add(name, f"{what} bounds are narrower than those of all sources together, which are written")
    return nested_space(joint)


def _forms(leaves: Mapping[str, Space]) -> dict[str, tuple[type, tuple[int, ...] | None]]:
    return {name: (type(space), space.shape) for name, space in leaves.items()}


def _joint(spaces: Sequence[Any]) -> Space:
    if isinstance(spaces[0], gym.spaces.Box):
        low, high = np.min([space.low for space in spaces], 0), np.max([space.high for space in spaces], 0)
        return box(low, high, np.result_type(*(space.dtype for space in spaces)))
    if all(space == spaces[0] for space in spaces):
        return spaces[0]
    limits = list(map(_limits, spaces))
    return _choices(np.min([low for low, _ in limits], 0), np.max([high for _, high in limits], 0))


def nested_space(leaves: Mapping[str, Space]) -> Space:
    """The space that has these leaves, by the names of their columns."""
    name, space = next(iter(leaves.items()))
    if "/" not in name:
        return space
    groups: dict[str, dict[str, Space]] = {}
    for name, space in leaves.items():
        top, _, rest = name.partition("/")[2].partition("/")
        groups.setdefault(top, {})[f"{top}/{rest}" if rest else top] = space
    return gym.spaces.Dict({key: nested_space(inner) for key, inner in groups.items()})


def count_changed(whole: Array, floats: Array) -> int:
    """How many integers change when they become floats; exact beyond 2^53 too."""
    if np.abs(floats).max(initial=0) < 2 ** (np.finfo(floats.dtype).nmant + 1):
        return 0
    return sum(int(a) != int(b) for a, b in zip(whole.ravel().tolist(), floats.ravel().tolist(), strict=True))
