"""One width, one dtype and one pair of spaces for all imported episodes; each cast and each assumed bound is noted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import Array, Episode

_FLOAT32 = np.finfo(np.float32)


def flat_box(low: Array, high: Array, dtype: Any) -> gym.spaces.Box:
    """A Box of one row of numbers, with bounds as `dtype` holds them."""
    kind = np.dtype(dtype)
    return gym.spaces.Box(_bound(low, kind), _bound(high, kind), dtype=kind.type)


def _bound(bound: Array, kind: np.dtype[Any]) -> Array:
    """A bound in another dtype: 1e300 is infinite in float32, and infinity becomes the largest integer."""
    flat = bound.ravel()
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            return flat.astype(kind)
    lowest, highest = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    limited = (max(min(float(number), float(highest)), float(lowest)) for number in flat)
    return np.array([min(int(number), highest) for number in limited], kind)


def check_equal_sizes(episodes: Iterable[tuple[str, Episode]]) -> None:
    """Observations and actions of one size in all. Raises DatasetError naming two tasks where they differ."""
    first: tuple[str, list[int]] | None = None
    for where, episode in episodes:
        sizes = [episode.observations.shape[1], episode.actions.shape[1]]
        first = first or (where, sizes)
        if sizes != first[1]:
            said = "{}: observations of {} numbers and actions of {}".format
            raise DatasetError(f"{said(where, *sizes)}; {said(first[0], *first[1])}: they are no one dataset")


def common_dtype(columns: Sequence[Array], name: str) -> np.dtype[Any]:
    """What holds all of them: the widest. Rewards become floats, booleans uint8, integer actions floats."""
    kind = np.result_type(*{column.dtype for column in columns})
    if name == "observations":
        return np.dtype(np.uint8) if kind.kind == "b" else kind
    if name == "rewards" and kind == np.float16:
        return np.dtype(np.float32)
    if kind.kind == "f":
        return kind
    small = all(not column.size or np.abs(column.astype(np.float64)).max() <= 2**24 for column in columns)
    return np.dtype(np.float32 if small else np.float64)


def cast(episode: Episode, kinds: dict[str, np.dtype[Any]], note: Callable[[str, int], None]) -> Episode:
    """The episode in those dtypes; `note` gets what was cast, and how many numbers that changed."""
    changed: dict[str, Array] = {}
    for name, kind in kinds.items():
        array: Array = getattr(episode, name)
        if array.dtype == kind:
            continue
        changed[name] = array.astype(kind)
        note(f"numbers of {name} cast from {array.dtype} to {kind}", array.size)
        if array.dtype.kind in "iu" and kind.kind == "f":
            note(
                f"numbers of {name} changed by the cast: {kind} does not hold them", count_changed(array, changed[name])
            )
    return replace(episode, **changed) if changed else episode


def count_changed(whole: Array, floats: Array) -> int:
    """How many integers change when they become floats; exact beyond 2^53 too."""
    if np.abs(floats).max(initial=0) < 2 ** (np.finfo(floats.dtype).nmant + 1):
        return 0
    return sum(int(a) != int(b) for a, b in zip(whole.ravel().tolist(), floats.ravel().tolist(), strict=True))


def observation_box(stated: gym.spaces.Box | None, rows: Sequence[Array], notes: Notes, where: str) -> gym.spaces.Box:
    """The stated space, widened where the data leave it; unbounded where none is stated."""
    if stated is not None:
        return _widened(stated, rows, "observations", notes, where)
    kind = rows[0].dtype
    notes.add(where, "no observation bounds are known: written as unbounded (observation_low, observation_high)")
    low, high = (-np.inf, np.inf) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    return gym.spaces.Box(low, high, rows[0].shape[1:], kind.type)


def action_box(stated: gym.spaces.Box | None, rows: Sequence[Array], notes: Notes, where: str) -> gym.spaces.Box:
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
        return flat_box(-ones, ones, low.dtype) if inside else flat_box(low, high, low.dtype)
    box = _widened(stated, rows, "actions", notes, where)
    endless = ~(np.isfinite(box.low) & np.isfinite(box.high))
    notes.add(where, "action bounds are infinite: the data's are assumed", int(endless.sum()))
    return flat_box(np.where(endless, low, box.low), np.where(endless, high, box.high), low.dtype)


def joint_box(
    boxes: Sequence[gym.spaces.Box | None], names: Sequence[str], what: str, notes: Notes
) -> gym.spaces.Box | None:
    """The space that holds every source's; None where no source states one, or their sizes differ."""
    known = [box for box in boxes if box is not None]
    if not known or len({box.shape for box in known}) > 1:
        return None
    low, high = np.min([box.low for box in known], 0), np.max([box.high for box in known], 0)
    for box, name in zip(boxes, names, strict=True):
        if box is None:
            notes.add(name, f"no {what} bounds are known: those of the other sources are taken")
        elif (box.low != low).any() or (box.high != high).any():
            notes.add(name, f"{what} bounds are narrower than those of all sources together, which are written")
    return flat_box(low, high, np.result_type(*(box.dtype for box in known)))


def note_beyond_float32(columns: Mapping[str, Sequence[Array]], notes: Notes, where: str) -> None:
    """Numbers that float32 cannot hold are kept, but nothing here can learn from them."""
    for name, arrays in columns.items():
        count = sum(int((np.abs(a) > _FLOAT32.max).sum()) for a in arrays if a.dtype == np.float64)
        notes.add(where, f"numbers of {name} are beyond float32: idaq train will refuse them", count)


def _widened(box: gym.spaces.Box, rows: Sequence[Array], what: str, notes: Notes, where: str) -> gym.spaces.Box:
    stated = np.concatenate([box.low, box.high], axis=None)
    box = flat_box(box.low, box.high, rows[0].dtype)
    written = np.concatenate([box.low, box.high])
    moved = np.isfinite(stated) & (~np.isfinite(written) if written.dtype.kind == "f" else stated != written)
    notes.add(
        where, f"stated bounds of {what} are not numbers of {written.dtype}: others are written", int(moved.sum())
    )
    outside = sum(int(((r < box.low) | (r > box.high)).any(1).sum()) for r in rows)
    if not outside:
        return box
    notes.add(where, f"{what} lie outside of the stated bounds: the bounds are widened to hold them", outside)
    low, high = _extremes(rows)
    return flat_box(np.minimum(box.low, low), np.maximum(box.high, high), low.dtype)


def _extremes(rows: Sequence[Array]) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.min([r.min(0) for r in rows], 0), np.max([r.max(0) for r in rows], 0)
