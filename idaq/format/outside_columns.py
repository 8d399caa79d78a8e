"""Columns as other people name and shape them: names that the format holds, and nested values as columns."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import FIXED_COLUMNS, Array, is_observation
from idaq.format.layout import MOST_COLUMNS, is_segment, names_fault

_KNOWN = ("observations", "actions", "rewards", "terminations", "truncations")


def column_name(name: str) -> str:
    """A name that the format holds, of anybody's: `infos/goal pos` becomes `infos/goal_pos`."""
    return "/".join(map(segment, name.split("/")))[:200]


def segment(text: str) -> str:
    """One segment of a column's name."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:64]
    return plain if is_segment(plain) else f"_{plain}"[:64]


def observation_names(names: Iterable[str], notes: Notes, where: str) -> dict[str, str]:
    """Names that the format holds of other people's leaves of observations, by their own; renames are noted.

    Raises DatasetError where two would have one name.
    """
    clean = {name: column_name(name) for name in dict.fromkeys(names) if is_observation(name)}
    whose: dict[str, str] = {}
    for name, new in clean.items():
        if whose.setdefault(new, name) != name:
            said = f"{where}: {whose[new][:100]} and {name[:100]} would both be the column {new[:100]}"
            raise DatasetError(said, hint="names are of letters, digits, '_', '.', '-': rename one in the file")
        if new != name:
            notes.add(where, f"the column {name[:100]} is written as {new[:100]}")
    if fault := names_fault([*FIXED_COLUMNS, *whose]):
        raise DatasetError(f"{where}: {fault}")
    return clean


def extra_columns(found: Mapping[str, Array], notes: Notes, where: str) -> dict[str, Array]:
    """Other people's columns under names that the format holds; what is renamed or left out is noted."""
    columns: dict[str, Array] = {}
    for name, array in found.items():
        clean = column_name(name)
        taken = clean.partition("/")[0] in _KNOWN or clean in columns or len(columns) >= MOST_COLUMNS - 50
        if taken or names_fault([*_KNOWN, *columns, clean]):
            notes.add(where, f"the column {name[:100]} is left out: its name, as {clean[:100]}, cannot be kept", 1)
            continue
        if clean != name:
            notes.add(where, f"the column {name[:100]} is written as {clean[:100]}", 1)
        columns[clean] = array
    return columns


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by their path, joined by slashes."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    leaves: dict[str, Any] = {}
    for key, inner in value.items():
        leaves |= flat(inner, f"{prefix}/{key}" if prefix else str(key))
    return leaves


def as_numbers(value: object) -> Array | None:
    """An array of numbers of at most 8 bytes, in this machine's byte order; None for what is none."""
    try:
        array = np.asarray(value)
    except Exception:  # anything may stand in other people's files
        return None
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        return None
    return array.astype(array.dtype.newbyteorder("="), copy=False)
