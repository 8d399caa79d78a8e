"""Transitions as arrays in one file, a row each: NumPy archives, and HDF5 as D4RL lays it out.

Both hold `observations`, `actions`, `rewards`, a terminal flag and a time-out flag, one row a transition; some hold
`next_observations`, `task_index` and `episode` too, and `action_low`, `action_high`, `observation_low`,
`observation_high`, one row in all, as `idaq dataset export` to .npz does. Observations may be a group of arrays. Other
members of one row a transition are kept as extra columns (D4RL's `infos/...`). S transitions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.core.checks import as_column, as_flags, as_indices, check_finite
from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, Array
from idaq.format.boxes import bounded_space
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug, unknown_rewards
from idaq.format.outside_columns import extra_columns
from idaq.share.importers.described import name_summary, refusal
from idaq.share.importers.members import ALIASES, Members, read_archive, read_hdf5
from idaq.share.rows import Rows, episodes_of_rows

_NUMBERS = (OBSERVATIONS, "next_observations", ACTIONS, REWARDS)
_BOUNDS = ("observation_low", "observation_high", "action_low", "action_high")
_METADATA = "metadata"
"""D4RL's group of what made the data"""


def read_npz(path: Path) -> Import:
    """A NumPy archive. Raises CorruptDatasetError for what NumPy cannot read, DatasetError for another layout."""
    return import_transitions(read_archive(path))


def read_d4rl(path: Path) -> Import:
    """An HDF5 file in D4RL's layout. Raises CorruptDatasetError for what HDF5 cannot read."""
    return import_transitions(read_hdf5(path))


def import_transitions(members: Members) -> Import:
    """What a file of transitions holds: one task, or one for each `task_index`.

    Raises DatasetError that says what the file holds where it holds no transitions.
    """
    path, names = members.path, {what: name for what in ALIASES if (name := members.name_of(what)) is not None}
    missing = [what for what in (OBSERVATIONS, ACTIONS) if what not in names]
    if missing or not names.keys() & {"dones", "terminated", "truncated", "episode"}:
        raise refusal(members, ", ".join(missing) or "a terminal flag")
    if REWARDS not in names and not names.keys() & {"next_observations", "truncated", "dones", "episode"}:
        raise refusal(members, REWARDS)
    result = Import(tasks=[], origin=path.name)
    columns = _columns(members, names, result.notes)
    if REWARDS not in names:
        unknown_rewards(result)
    _tell(members, columns, result.notes)
    result.action_space = _space(members, "action", columns.actions)
    if list(columns.observations) == [OBSERVATIONS]:
        result.observation_space = _space(members, "observation", columns.observations[OBSERVATIONS])
    indices = None
    if "task_index" in names:
        indices = as_indices("task_index", members.array(names["task_index"]), str(path))
    size = len(columns.actions)
    for task in [None] if indices is None else np.unique(indices).tolist():
        name = slug(path.stem) if task is None else slug(f"{path.stem[:40]}.{task:03d}")
        where = path.name if task is None else f"{path.name}, task {task}"
        mine = np.arange(size) if task is None else np.flatnonzero(indices == task)
        rows = _rows(columns, mine, result.notes, where)
        episodes = [ImportedEpisode(episode=e) for e in episodes_of_rows(rows, result.notes, where)]
        result.tasks.append(ImportedTask(name=name, index=task, episodes=episodes))
    return result


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """The file's columns, checked. All (S, ...)."""

    observations: dict[str, Array]
    following: dict[str, Array] | None
    actions: Array
    rewards: Array
    extras: dict[str, Array]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    episode: Array | None
    used: frozenset[str]
    """members of the file that something was read from"""
    ends_known: bool
    """whether the file flags time-outs, so that an episode without an end is one that was not finished"""


def _columns(members: Members, names: Mapping[str, str], notes: Notes) -> _Columns:
    where = str(members.path)
    found = {what: members.leaves(names[what], what) for what in _NUMBERS if what in names}
    if found[ACTIONS].keys() != {ACTIONS}:
        raise DatasetError(f"{where}: its actions are several arrays, {', '.join(found[ACTIONS])}: one is needed")
    actions = found[ACTIONS][ACTIONS]
    size = len(np.atleast_1d(found.get(REWARDS, found[ACTIONS]).get(REWARDS, actions)))
    flags = {what: members.array(names[what]) for what in ("dones", "terminated", "truncated") if what in names}
    numbers = {what: members.array(names[what]) for what in ("task_index", "episode") if what in names}
    _check_rows([*found.values(), flags, numbers], size, where)
    for column in (column for group in found.values() for column in group.items()):
        check_finite(*column, where)
    terminated, truncated, ends = _ends(
        {what: as_flags(names[what], flag, where) for what, flag in flags.items()},
        names,
        size,
        notes,
        members.path.name,
    )
    episode = as_column("episode", numbers["episode"], where) if "episode" in names else None
    if episode is not None:
        check_finite("episode", episode, where)
    rewards = found[REWARDS][REWARDS] if REWARDS in names else np.zeros(size, np.float32)
    following = found.get("next_observations")
    known = {names[what] for what in names if what not in flags} | ends
    named = {*_BOUNDS, *(name for aliases in ALIASES.values() for name in aliases)}
    others = {
        name: array
        for name, array in members.arrays.items()
        if name.partition("/")[0] not in {*named, _METADATA} and array.shape[:1] == (size,)
    }
    return _Columns(
        observations=found[OBSERVATIONS],
        following=None if following is None else {n.removeprefix("next_"): rows for n, rows in following.items()},
        actions=actions,
        rewards=as_column(REWARDS, rewards, where),
        extras=extra_columns(others, notes, members.path.name),
        terminated=terminated,
        truncated=truncated,
        episode=episode,
        used=frozenset(known | others.keys() | {name for name in _BOUNDS if name in members.arrays}),
        ends_known="truncated" in names or "dones" in names,
    )


def _check_rows(groups: list[dict[str, Array]], size: int, where: str) -> None:
    every = {name: array.shape for group in groups for name, array in group.items()}
    short = {name: shape for name, shape in every.items() if shape[:1] != (size,)}
    if short:
        raise DatasetError(f"{where}: these do not have one row for each of the {size} transitions: {short}"[:500])
    if not size:
        raise DatasetError(f"{where} holds no transitions")


def _ends(
    flags: Mapping[str, NDArray[np.bool_]], names: Mapping[str, str], size: int, notes: Notes, where: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], set[str]]:
    """Terminals, time-outs, and the members they come from. `dones` says that an episode ended; the other flag, where
    there is one, says how."""
    none = np.zeros(size, bool)
    dones, terminal, timeout = (flags.get(what) for what in ("dones", "terminated", "truncated"))
    if terminal is not None and timeout is not None:
        return terminal, timeout, {names["terminated"], names["truncated"]}
    if terminal is not None:
        if dones is None:
            notes.add(where, "no time-outs in the file: an end that is no terminal is known only by other signs")
            return terminal, none, {names["terminated"]}
        ends = dones & ~terminal
        notes.add(where, f"dones that are no {names['terminated']} are taken as time-outs", int(ends.sum()))
        return terminal, ends, {names["terminated"], names["dones"]}
    if timeout is not None and dones is not None:
        said = f"dones at {names['truncated']} are time-outs, no terminals"
        notes.add(where, said, int((dones & timeout).sum()))
        return dones & ~timeout, timeout, {names["dones"], names["truncated"]}
    if dones is None:
        notes.add(where, "no terminals in the file: that none ended its task is assumed")
        return (
            none,
            none if timeout is None else timeout,
            {names["truncated"]} & {*names.values()} if timeout is not None else set(),
        )
    said = "dones, which do not distinguish terminals from time-outs, are taken as terminals"
    notes.add(where, said, int(dones.sum()))
    return dones, none, {names["dones"]}


def _tell(members: Members, columns: _Columns, notes: Notes) -> None:
    """What of the file is not written, or under another name."""
    where = members.path.name
    known = {name: texts[0] for name, texts in members.texts.items() if len(texts) == 1}
    known |= {name: str(array) for name, array in members.arrays.items() if array.ndim == 0}
    said = {name.removeprefix(f"{_METADATA}/"): text for name, text in known.items() if name not in columns.used}
    for name, text in list(said.items())[:20]:
        notes.add(where, f"states {name} {text}, which is told here alone"[:300])
    ignored = [name for name in members.names if not _is_read(name, columns.used) and name not in known]
    notes.add(where, f"members that are not read: {name_summary(ignored)}", len(ignored))
    notes.add(where, f"members kept as extra columns: {name_summary(list(columns.extras))}", len(columns.extras))


def _is_read(name: str, used: frozenset[str]) -> bool:
    return name in used or any(name.startswith(f"{group}/") for group in used)


def _rows(columns: _Columns, mine: NDArray[np.int64], notes: Notes, where: str) -> Rows:
    """The rows `mine` of one task, the rows of an episode together."""
    order, gaps = _in_order(columns, mine, notes, where)
    following = columns.following
    return Rows(
        observations={name: column[order] for name, column in columns.observations.items()},
        actions=columns.actions[order],
        rewards=columns.rewards[order],
        terminated=columns.terminated[order],
        truncated=columns.truncated[order],
        next_observations=None if following is None else {name: rows[order] for name, rows in following.items()},
        extras={name: column[order] for name, column in columns.extras.items()},
        episode=None if columns.episode is None else columns.episode[order],
        gaps=gaps,
    )


def _in_order(
    columns: _Columns, mine: NDArray[np.int64], notes: Notes, where: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows by episode, by first appearance, and where a row is not followed by the next.

    Rows of one episode number that lie apart are one episode only where something else says so too: s' (which is
    compared later), or an end that the file flags after them. Else another episode may have had the same number.
    """
    if columns.episode is not None:
        _, first, number = np.unique(columns.episode[mine], return_index=True, return_inverse=True)
        number = first[number.ravel()]
        mine = mine[np.argsort(number, kind="stable")]
        number = np.sort(number, kind="stable")
    else:
        number = np.zeros(len(mine), np.int64)
    ends = columns.terminated[mine] | columns.truncated[mine]
    apart = np.zeros(len(mine), bool)
    apart[:-1] = (np.diff(mine) != 1) & (np.diff(number) == 0) & ~ends[:-1]
    if columns.episode is None:
        joined = np.zeros(len(mine), bool)
    elif columns.following is not None:
        joined = apart
    else:
        last = np.searchsorted(number, number, side="right") - 1
        joined = apart & ends[last] & columns.ends_known
    cut = apart & ~joined
    notes.add(where, "gaps between rows of one episode number: joined across them", int(joined.sum()))
    notes.add(where, "gaps between rows: cut there, for nothing says that those after it follow", int(cut.sum()))
    return mine, cut


def _space(members: Members, what: str, rows: Array) -> gym.Space[Array] | None:
    """The space that the file's bounds give, where it holds them."""
    bounds = [members.array(name) for name in (f"{what}_low", f"{what}_high") if name in members.names]
    if not bounds:
        return None
    width = rows[0].size
    if len(bounds) < 2 or any(bound.size != width for bound in bounds) or not (bounds[0] <= bounds[1]).all():
        raise DatasetError(f"{members.path}: {what}_low and {what}_high are no bounds of {width} numbers")
    if what == "action" and rows.dtype.kind in "biu" and width == 1:
        rows = rows.reshape(len(rows))  # one choice
    low, high = (bound.reshape(rows.shape[1:]) for bound in bounds)
    return bounded_space(ACTIONS if what == "action" else OBSERVATIONS, low, high, rows)
