"""Spaces that Minari stores, as the format holds them: a Tuple becomes a Dict, text bytes, a Dict of actions one Box.

Each conversion is noted, and one array of the column's rows is made of each value.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, Array
from idaq.format.gym_spaces import LEAVES
from idaq.format.outside_columns import as_numbers, segment

Take = Callable[[Any, int, str], Array]
"""a value of Minari's, how many rows it must have, where it is from -> the rows"""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A space, and how its leaves are taken from what Minari reads."""

    space: gym.Space[Any]
    takes: Mapping[str, Take]
    """by column"""
    has_images: bool

    def leaves(self, value: Any, rows: int, where: str) -> dict[str, Array]:
        """(rows, ...) each, by the name of the column. Raises CorruptDatasetError for rows that do not fit."""
        return {name: take(value, rows, where) for name, take in self.takes.items()}


def converted(space: gym.Space[Any], column: str, notes: Notes, where: str) -> Converted:
    """The space of `observations` or `actions`. Raises DatasetError for one that the format cannot hold."""
    takes: dict[str, Take] = {}
    images: list[str] = []
    made = _space(space, column, lambda value: value, takes, images, notes, where)
    if column == ACTIONS and list(takes) != [ACTIONS]:
        return _joined(space, takes, notes, where)
    return Converted(space=made, takes=takes, has_images=bool(images))


def _space(
    space: gym.Space[Any],
    column: str,
    inner: Callable[[Any], Any],
    takes: dict[str, Take],
    images: list[str],
    notes: Notes,
    where: str,
) -> gym.Space[Any]:
    if isinstance(space, gym.spaces.Text):
        return _text(space, column, inner, takes, notes, where)
    if isinstance(space, LEAVES):
        takes[column] = _taking(space, column, inner)
        images += [column] * _is_image(space)
        return space
    if isinstance(space, gym.spaces.Tuple):
        notes.add(where, f"{column}: a Tuple is written as a Dict of _index_0, _index_1, ...")
        children: dict[Any, tuple[str, gym.Space[Any]]] = {n: (f"_index_{n}", s) for n, s in enumerate(space.spaces)}
    elif isinstance(space, gym.spaces.Dict):
        children = {key: (segment(str(key)), child) for key, child in space.spaces.items()}
        renamed = [str(key) for key, (name, _) in children.items() if key != name]
        notes.add(
            where, f"{column}: keys that no column can have are renamed: {', '.join(renamed)}"[:300], len(renamed)
        )
    else:
        raise DatasetError(f"{where}: {column} hold a {space}, which has no place in the format"[:500])
    if not children or len({name for name, _ in children.values()}) < len(children):
        raise DatasetError(f"{where}: {column} hold nothing, or two keys of one name: {space}"[:500])
    made: dict[str, gym.Space[Any]] = {}
    for key, (name, child) in sorted(children.items(), key=lambda entry: entry[1][0]):
        deeper: Callable[[Any], Any] = lambda value, key=key: inner(value)[key]  # noqa: E731
        made[name] = _space(child, f"{column}/{name}", deeper, takes, images, notes, where)
    return gym.spaces.Dict(made)


def _is_image(space: gym.Space[Any]) -> bool:
    from minari.dataset.minari_storage import is_image_space  # half a second

    return bool(is_image_space(space))


def _taking(space: gym.Space[Any], column: str, inner: Callable[[Any], Any]) -> Take:
    def take(value: Any, rows: int, where: str) -> Array:
        array, shape = as_numbers(inner(value)), space.shape or ()
        if array is None or array.shape[:1] != (rows,) or array.size != rows * math.prod(shape):
            found = None if array is None else array.shape
            raise CorruptDatasetError(f"{where}: {column} of shape {found} do not have {rows} rows of {shape} numbers")
        return array.reshape(rows, *shape)

    return take


def _text(
    space: gym.spaces.Text,
    column: str,
    inner: Callable[[Any], Any],
    takes: dict[str, Take],
    notes: Notes,
    where: str,
) -> gym.Space[Any]:
    """Bytes of UTF-8, in rows of the longest that the space holds, zeros behind."""
    width = space.max_length * max((len(character.encode()) for character in space.characters), default=1)
    notes.add(where, f"{column}: text is written as rows of {width} bytes of UTF-8, zeros behind it")

    def take(value: Any, rows: int, place: str) -> Array:
        texts = [str(text).encode() for text in inner(value)]
        if len(texts) != rows or max(map(len, texts), default=0) > width:
            raise CorruptDatasetError(f"{place}: {column} are no {rows} texts of at most {width} bytes")
        return np.array([np.frombuffer(text.ljust(width, b"\0"), np.uint8) for text in texts]).reshape(rows, width)

    takes[column] = take
    return gym.spaces.Box(0, 255, (width,), np.uint8)


def _joined(space: gym.Space[Any], takes: Mapping[str, Take], notes: Notes, where: str) -> Converted:
    """Actions of several Boxes as one row of numbers. Raises DatasetError for others."""
    flat = _boxes(space)
    if flat is None:
        raise DatasetError(
            f"{where}: actions are of {space}: actions are one array"[:500],
            hint="write them as one Box, Discrete or MultiDiscrete: an own importer can (idaq plugins, --from)",
        )
    sizes = ", ".join(
        f"{name.removeprefix(f'{ACTIONS}/')} ({box.low.size})" for name, box in zip(takes, flat, strict=True)
    )
    notes.add(where, f"actions of several parts are written as one row of numbers: {sizes}"[:300])
    low, high = (
        np.concatenate([bound.ravel() for bound in bounds])
        for bounds in zip(*((b.low, b.high) for b in flat), strict=True)
    )

    def take(value: Any, rows: int, place: str) -> Array:
        return np.concatenate([part(value, rows, place).reshape(rows, -1) for part in takes.values()], axis=1)

    kind = np.result_type(low, high)
    return Converted(space=gym.spaces.Box(low, high, dtype=kind.type), takes={ACTIONS: take}, has_images=False)


def _boxes(space: gym.Space[Any]) -> list[gym.spaces.Box] | None:
    """The Boxes of a space, in the order of its leaves; None where it has others."""
    if isinstance(space, gym.spaces.Box):
        return [space]
    if isinstance(space, gym.spaces.Dict):
        inner = [child for _, child in sorted(space.spaces.items(), key=lambda entry: segment(str(entry[0])))]
    elif isinstance(space, gym.spaces.Tuple):
        inner = [child for _, child in sorted((f"_index_{n}", child) for n, child in enumerate(space.spaces))]
    else:
        return None
    found = [_boxes(child) for child in inner]
    return None if None in found else [box for boxes in found for box in boxes or ()]
