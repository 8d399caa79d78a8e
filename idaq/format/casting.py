"""One set of columns for all imported episodes, each of one shape and one dtype; what that changes is noted."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, is_observation
from idaq.format.boxes import count_changed
from idaq.format.layout import is_extra

Columns = dict[str, Array]
"""of one episode, by name"""
Spaces = Mapping[str, gym.Space[Any]]
"""of observations and actions, by the name of the column, where they are known"""


def settled(episodes: Sequence[tuple[str, Columns]], spaces: Spaces, notes: Notes) -> list[Columns]:
    """The columns of each episode, given with its place, as all can have them. Raises DatasetError where none can."""
    shaped = [(where, in_shape(columns, spaces)) for where, columns in episodes]
    names = _common_names(shaped, notes)
    kinds = {name: _common_dtype(name, [columns[name] for _, columns in shaped], spaces.get(name)) for name in names}
    return [
        {name: _cast(name, columns[name], kinds[name], where, notes) for name in names} for where, columns in shaped
    ]


def in_shape(columns: Mapping[str, Array], spaces: Spaces) -> Columns:
    """The columns of an episode with each row as the format has it: of the shape of its space, where that fits."""
    return {name: _shaped(name, array, spaces.get(name)) for name, array in columns.items()}


def _shaped(name: str, array: Array, space: gym.Space[Any] | None) -> Array:
    """A number a row as the format has it: choices as (T,), quantities as (T, 1); else in the shape of the space."""
    if name != ACTIONS and not is_observation(name):
        return array
    if space is not None and space.shape is not None:
        fits = array.size == len(array) * int(np.prod(space.shape))
        return array.reshape(len(array), *space.shape) if fits else array
    if name == ACTIONS and array.dtype.kind in "iub" and array.shape[1:] == (1,):
        return array[:, 0]
    return array[:, None] if array.ndim == 1 and array.dtype.kind == "f" else array


def _common_names(episodes: Sequence[tuple[str, Columns]], notes: Notes) -> list[str]:
    """The columns that all have. An extra column that some lack, or have in another shape, is left out.

    Raises DatasetError naming two tasks where observations or actions differ.
    """
    first_where, first = episodes[0]
    names, dropped = list(first), dict[str, str]()
    for where, columns in episodes:
        for name in dict.fromkeys((*first, *columns)):
            if _form(name, columns) == _form(name, first):
                continue
            if not is_extra(name):
                said = f"{name} {_said(name, columns)}, {first_where} {_said(name, first)}"
                raise DatasetError(f"{where} has {said}: they are no one dataset")
            dropped.setdefault(name, where)
    for name, where in dropped.items():
        notes.add(where, f"the extra column {name} is left out: not every episode has it, in one shape")
    return [name for name in names if name not in dropped]


def _form(name: str, columns: Columns) -> tuple[int, tuple[int, ...]] | None:
    """Rows beyond T, and the shape of one row."""
    return (len(columns[name]) - len(columns[REWARDS]), columns[name].shape[1:]) if name in columns else None


def _said(name: str, columns: Columns) -> str:
    return f"of shape {columns[name].shape[1:]}" if name in columns else "not at all"


def _common_dtype(name: str, arrays: Sequence[Array], space: gym.Space[Any] | None) -> np.dtype[Any]:
    """What holds all of them: the widest. Rewards become floats, booleans uint8, choices integers."""
    kind = np.result_type(*{array.dtype for array in arrays})
    if is_extra(name) or name in (TERMINATIONS, TRUNCATIONS):
        return kind
    if name == REWARDS:
        return _floats(arrays) if kind.kind != "f" else np.result_type(kind, np.float32)
    if space is not None and not isinstance(space, gym.spaces.Box) and kind.kind == "f":
        if any((array != np.floor(array)).any() for array in arrays):
            raise DatasetError(f"{name} hold numbers that are not whole, and their space is {space}")
        return np.dtype(np.int64)
    if name == ACTIONS and isinstance(space, gym.spaces.Box) and space.dtype.kind == "f" and kind.kind != "f":
        return _floats(arrays)
    return np.dtype(np.uint8) if kind.kind == "b" else kind


def _floats(arrays: Sequence[Array]) -> np.dtype[Any]:
    small = all(not array.size or np.abs(array.astype(np.float64)).max() <= 2**24 for array in arrays)
    return np.dtype(np.float32 if small else np.float64)


def _cast(name: str, array: Array, kind: np.dtype[Any], where: str, notes: Notes) -> Array:
    if array.dtype == kind:
        return array
    cast = array.astype(kind)
    notes.add(where, f"numbers of {name} cast from {array.dtype} to {kind}", array.size)
    if array.dtype.kind in "iu" and kind.kind == "f":
        said = f"numbers of {name} changed by the cast: {kind} does not hold them"
        notes.add(where, said, count_changed(array, cast))
    return cast


def note_beyond_float32(episodes: Sequence[Columns], notes: Notes, where: str) -> None:
    """Numbers that float32 cannot hold are kept, but nothing here can learn from them."""
    largest = np.finfo(np.float32).max
    for name, array in ((name, array) for columns in episodes for name, array in columns.items()):
        if not is_extra(name) and array.dtype == np.float64:
            count = int((np.abs(array) > largest).sum())
            notes.add(where, f"numbers of {name} are beyond float32: idaq train will refuse them", count)
