"""Pickled lists of paths, a dict of arrays each: DAPG and mjrl demonstrations, the expert data of courses and papers.

`[{observations, actions, rewards, terminated, env_infos: {...}}, ...]`, under any of the usual names. Observations of T
rows, with next observations or without, or of T + 1 rows. T transitions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.checks import as_column, as_flags
from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, Array, Episode
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug, unknown_rewards
from idaq.format.outside_columns import as_numbers, extra_columns, flat
from idaq.share.importers.members import ALIASES
from idaq.share.importers.pickled import said
from idaq.share.rows import Rows, episodes_of_rows

_RENAMED = {"env_infos": "infos", "agent_infos": "infos/agent"}


def is_paths(value: Any) -> bool:
    """Whether an object is a list of dicts of which the first has observations and actions."""
    first = value[0] if isinstance(value, list | tuple) and value else None
    return isinstance(first, dict) and all(_name(what, first) for what in (OBSERVATIONS, ACTIONS))


def import_paths(value: Any, path: Path) -> Import:
    """One task, an episode a path. Raises DatasetError for what is no list of paths."""
    if not is_paths(value):
        raise DatasetError(f"{path} is no list of paths of observations and actions: it holds {said(value)}"[:1000])
    result = Import(tasks=[], origin=path.name)
    rewarded = all(isinstance(one, dict) and _name(REWARDS, one) for one in value)
    if not rewarded:
        unknown_rewards(result)
    episodes: list[Episode] = []
    for number, one in enumerate(value):
        where = f"{path}, path {number}"
        if not isinstance(one, dict):
            raise DatasetError(f"{where} is {said(one)}, no dict"[:500])
        episodes += _episodes(one, rewarded, result.notes, where, path.name)
    entries = [ImportedEpisode(episode=episode) for episode in episodes]
    result.tasks.append(ImportedTask(name=slug(path.stem), episodes=entries))
    return result


def _name(what: str, one: Mapping[Any, Any]) -> str | None:
    return next((name for name in ALIASES[what] if name in one), None)


def _episodes(one: Mapping[str, Any], rewarded: bool, notes: Notes, where: str, file: str) -> list[Episode]:
    names = {what: name for what in ALIASES if (name := _name(what, one)) is not None}
    found = {
        what: _leaves(one[names[what]], what, where) for what in (OBSERVATIONS, "next_observations") if what in names
    }
    actions = _numbers(one[names[ACTIONS]], ACTIONS, where)
    steps = len(actions)
    rewards = (
        as_column(REWARDS, _numbers(one[names[REWARDS]], REWARDS, where), where)
        if rewarded
        else np.zeros(steps, np.float32)
    )
    following = found.get("next_observations")
    seen = found[OBSERVATIONS]
    if following is None and {len(rows) for rows in seen.values()} == {steps + 1}:
        following = {name: rows[1:] for name, rows in seen.items()}
        seen = {name: rows[:-1] for name, rows in seen.items()}
    elif following is not None:
        following = {name.removeprefix("next_"): rows for name, rows in following.items()}
    flags = {
        what: _flags(one[names[what]], names[what], steps, where)
        for what in ("terminated", "truncated", "dones")
        if what in names
    }
    rows = Rows(
        observations=seen,
        next_observations=following,
        actions=actions,
        rewards=rewards,
        terminated=_terminated(flags, steps, notes, file),
        truncated=flags.get("truncated", np.zeros(steps, bool)),
        extras=_extras(one, names, steps, notes, file),
    )
    if not steps:
        notes.add(file, "paths of no step are left out", 1)
        return []
    return episodes_of_rows(rows, notes, file)


def _terminated(flags: Mapping[str, Any], steps: int, notes: Notes, file: str) -> Any:
    """(T,) a path that its maker calls terminated or done: time-outs are told apart only where they are flagged."""
    ended, limited = flags.get("terminated", flags.get("dones", np.zeros(steps, bool))), flags.get("truncated")
    if limited is None:
        said = "paths that are terminated, which may mean a time-out too: they are taken as terminals"
        notes.add(file, said, int(ended.any()))
        return ended
    return ended & ~limited if "terminated" not in flags else ended


def _flags(value: Any, name: str, steps: int, where: str) -> Any:
    """(T,) flags; one flag for a path is of its last step."""
    array = _numbers(value, name, where)
    if array.ndim == 0:
        return (np.arange(steps) == steps - 1) & bool(array)
    return as_flags(name, array, where)


def _extras(one: Mapping[str, Any], names: Mapping[str, str], steps: int, notes: Notes, file: str) -> dict[str, Array]:
    """Other arrays of T rows; what is left out is told."""
    found: dict[str, Array] = {}
    for key, value in one.items():
        if key in names.values():
            continue
        for name, leaf in flat(value, _RENAMED.get(str(key), str(key))).items():
            array = as_numbers(leaf)
            if array is not None and array.ndim and len(array) == steps and steps:
                found[name] = array
            elif array is None or array.size:
                what = "a list" if isinstance(leaf, list | tuple) else said(leaf)[:100]  # of any length: one note
                notes.add(file, f"{name[:100]} of paths is left out: it is {what}, not one row of numbers a step", 1)
    return extra_columns(found, notes, file)


def _leaves(value: Any, what: str, where: str) -> dict[str, Array]:
    return {name: _numbers(leaf, name, where) for name, leaf in flat(value, what).items()}


def _numbers(value: Any, name: str, where: str) -> Array:
    array = as_numbers(value)
    if array is None:
        raise DatasetError(f"{where}: {name} is no array of numbers but {said(value)}"[:500])
    return array
