"""Transitions as arrays in one file: NumPy archives, and HDF5 as D4RL lays it out. Nothing is unpickled.

Both hold `observations`, `actions`, `rewards`, a terminal flag and a time-out flag, one row a transition; some hold
`next_observations`, `task_index` and `episode` too, and `action_low`, `action_high`, `observation_low`,
`observation_high`, one row in all, as `idaq dataset export` to .npz does. S transitions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import h5py
import numpy as np
from numpy.typing import NDArray

from idaq.core.checks import as_column, as_flags, as_indices, check_finite, check_numbers
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.notes import Notes
from idaq.core.types import Array
from idaq.format.boxes import flat_box
from idaq.format.guarded import require_readable
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug
from idaq.share.import_layouts import hdf5_members, layout_hint, name_summary
from idaq.share.rows import Rows, episodes_of_rows

_TERMINAL, _TIMEOUT = ("terminated", "terminals", "terminations"), ("truncated", "timeouts", "truncations")
_NUMBERS = ("observations", "actions", "rewards", "next_observations")
_ROWS = (*_NUMBERS, "task_index", "episode", "dones", *_TERMINAL, *_TIMEOUT)
_BOUNDS = ("observation_low", "observation_high", "action_low", "action_high")
_WANTED = (*_ROWS, *_BOUNDS)
_ALWAYS_ALLOWED, _LARGEST_RATIO = 1 << 30, 100
"""bytes that a file may unpack to whatever its size; beyond that, how many times its own size"""


def read_npz(path: Path) -> Import:
    """A NumPy archive. Raises CorruptDatasetError for what NumPy cannot read or what would need pickle."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            _check_size(path, sum(entry.file_size for entry in archive.zip.infolist()))
            names = list(archive.files)
            if len(set(names)) < len(names):
                raise CorruptDatasetError(f"{path}: a name stands twice in the archive: {names}"[:300])
            arrays = {name: archive[name] for name in names if name in _WANTED}
    except DatasetError:
        raise
    except Exception as error:  # what is no archive leads NumPy and zipfile to errors of any kind
        raise CorruptDatasetError(f"{path} is no NumPy archive of plain arrays: {error}") from None
    return _import(arrays, names, path)


def read_d4rl(path: Path) -> Import:
    """An HDF5 file in D4RL's layout. Raises CorruptDatasetError for what HDF5 cannot read."""
    require_readable(path)
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: _plain(file, name, path) for name in _WANTED if name in file}
            names = hdf5_members(file)
    except DatasetError:
        raise
    except Exception as error:  # what is damaged leads h5py to errors of any kind
        raise CorruptDatasetError(f"{path} is no readable HDF5 file: {error}") from None
    return _import(arrays, names, path)


def _plain(file: h5py.File, name: str, path: Path) -> Array:
    """A numeric dataset of this very file: links could lead anywhere."""
    member = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(member, h5py.Dataset) or member.dtype.kind not in "biuf" or _elsewhere(member):
        raise CorruptDatasetError(f"{file.filename}: {name} is no array of numbers in this file")
    _check_size(path, member.nbytes)
    if _unwritten(member):
        raise CorruptDatasetError(
            f"{file.filename}: parts of {name} were never written: HDF5 would read its fill value there",
            hint="it may come from a killed writer: write the file again, or cut it to what was written",
        )
    return np.asarray(member[()])


def _unwritten(member: h5py.Dataset) -> bool:
    """Whether the file holds less than the shape says."""
    if member.chunks is None:
        return bool(member.size) and member.id.get_storage_size() == 0
    places = (-(-rows // chunk) for rows, chunk in zip(member.shape, member.chunks, strict=True))
    return member.id.get_num_chunks() < math.prod(places)


def _elsewhere(member: h5py.Dataset) -> bool:
    """Whether other files hold its numbers."""
    return bool(member.external) or member.is_virtual


def _check_size(path: Path, claimed: int) -> None:
    size = path.stat().st_size
    if claimed > max(_ALWAYS_ALLOWED, _LARGEST_RATIO * size):
        raise CorruptDatasetError(f"{path} ({size} bytes) would unpack to {claimed} bytes")


def _import(arrays: Mapping[str, Array], names: Sequence[str], path: Path) -> Import:
    missing = [name for name in ("observations", "actions", "rewards") if name not in arrays]
    if missing or not any(name in arrays for name in ("dones", *_TERMINAL)):
        said = f"{path} lacks {', '.join(missing) or 'a terminal flag'}; it holds {name_summary(names)}"
        raise DatasetError(said, hint=layout_hint(names))
    arrays = {name: check_numbers(name, value, str(path)) for name, value in arrays.items()}
    size = len(np.atleast_1d(arrays["rewards"]))
    short = {name: value.shape for name, value in arrays.items() if name in _ROWS and value.shape[:1] != (size,)}
    if short:
        raise DatasetError(f"{path}: these do not have one row for each of the {size} rewards: {short}")
    if not size:
        raise DatasetError(f"{path} holds no transitions")
    result = Import(tasks=[], origin=path.name)
    columns = _columns(arrays, result.notes, path)
    ignored = [name for name in names if name not in columns.used]
    result.notes.add(path.name, f"members that are not read: {name_summary(ignored)}", len(ignored))
    result.action_space = _box(arrays, "action", columns.numbers["actions"], path)
    result.observation_space = _box(arrays, "observation", columns.numbers["observations"], path)
    indices = as_indices("task_index", arrays["task_index"], str(path)) if "task_index" in arrays else None
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

    numbers: dict[str, Array]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    episode: Array | None
    used: frozenset[str]
    """members of the file that something was read from"""
    ends_known: bool
    """whether the file flags time-outs, so that an episode without an end is one that was not finished"""


def _columns(arrays: Mapping[str, Array], notes: Notes, path: Path) -> _Columns:
    numbers: dict[str, Array] = {}
    for name in _NUMBERS:
        if name in arrays:
            check_finite(name, arrays[name], str(path))
            numbers[name] = _flat(name, arrays[name], notes, path)
    numbers["rewards"] = as_column("rewards", numbers["rewards"], str(path))
    if numbers["actions"].dtype.kind in "biu":
        raise DatasetError(
            f"{path}: its actions are integers ({numbers['actions'].dtype}), as discrete actions are; only continuous "
            "ones are supported",
            hint="if they are continuous, store them as float32",
        )
    wanted = [name for name in ("dones", *_TERMINAL, *_TIMEOUT) if name in arrays]
    flags = {name: as_flags(name, arrays[name], str(path)) for name in wanted}
    terminal, timeout = (next((name for name in names if name in flags), None) for names in (_TERMINAL, _TIMEOUT))
    terminated, truncated = _ends(flags, terminal, timeout, notes, path)
    episode = as_column("episode", arrays["episode"], str(path)) if "episode" in arrays else None
    if episode is not None:
        check_finite("episode", episode, str(path))
    used = {name for name in arrays if name in (*_NUMBERS, *_BOUNDS, "task_index", "episode", terminal, timeout)}
    if terminal is None or timeout is None:
        used |= {"dones"} & set(flags)
    return _Columns(
        numbers=numbers,
        terminated=terminated,
        truncated=truncated,
        episode=episode,
        used=frozenset(used),
        ends_known=timeout is not None or "dones" in flags,
    )


def _flat(name: str, array: Array, notes: Notes, path: Path) -> Array:
    """The array as (S, numbers); notes where a row had several dimensions."""
    if array.ndim > 2 and name != "next_observations":
        notes.add(path.name, f"{name} of shape {array.shape[1:]} are written as rows of {array[0].size} numbers")
    return array.reshape(len(array), -1)


def _ends(
    flags: Mapping[str, NDArray[np.bool_]], terminal: str | None, timeout: str | None, notes: Notes, path: Path
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Terminals and time-outs. `dones` says that an episode ended; the other flag, where there is one, says how."""
    dones = flags.get("dones", np.zeros(len(next(iter(flags.values()))), bool))
    if terminal is not None and timeout is not None:
        return flags[terminal], flags[timeout]
    if terminal is not None:
        ends = dones & ~flags[terminal]
        if "dones" in flags:
            notes.add(path.name, f"dones that are no {terminal} are taken as time-outs", int(ends.sum()))
        else:
            notes.add(path.name, "no time-outs in the file: an end that is no terminal is known only by other signs")
        return flags[terminal], ends
    if timeout is not None:
        notes.add(path.name, f"dones at {timeout} are time-outs, no terminals", int((dones & flags[timeout]).sum()))
        return dones & ~flags[timeout], flags[timeout]
    notes.add(
        path.name, "dones, which do not distinguish terminals from time-outs, are taken as terminals", int(dones.sum())
    )
    return dones, np.zeros_like(dones)


def _rows(columns: _Columns, mine: NDArray[np.int64], notes: Notes, where: str) -> Rows:
    """The rows `mine` of one task, the rows of an episode together."""
    order, gaps = _in_order(columns, mine, notes, where)
    following = columns.numbers.get("next_observations")
    return Rows(
        observations=columns.numbers["observations"][order],
        actions=columns.numbers["actions"][order],
        rewards=columns.numbers["rewards"][order],
        terminated=columns.terminated[order],
        truncated=columns.truncated[order],
        next_observations=None if following is None else following[order],
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
    elif "next_observations" in columns.numbers:
        joined = apart
    else:
        last = np.searchsorted(number, number, side="right") - 1
        joined = apart & ends[last] & columns.ends_known
    cut = apart & ~joined
    notes.add(where, "gaps between rows of one episode number: joined across them", int(joined.sum()))
    notes.add(where, "gaps between rows: cut there, for nothing says that those after it follow", int(cut.sum()))
    return mine, cut


def _box(arrays: Mapping[str, Array], what: str, rows: Array, path: Path) -> gym.spaces.Box | None:
    """The space that the file's bounds give, where it holds them."""
    bounds = [arrays[name].ravel() for name in (f"{what}_low", f"{what}_high") if name in arrays]
    if not bounds:
        return None
    if len(bounds) < 2 or any(len(bound) != rows.shape[1] for bound in bounds) or not (bounds[0] <= bounds[1]).all():
        raise DatasetError(f"{path}: {what}_low and {what}_high are no bounds of {rows.shape[1]} numbers")
    return flat_box(bounds[0], bounds[1], np.result_type(*bounds, np.uint8))
