"""The folders that FOCAL and its descendants read: `goal_idx<k>/trj_evalsample<n>_step<S>.npy`, one episode a file.

A file holds rows [s, a, r, s']: a plain array (T, 2 D + A + 1), or an object array of rows, which only pickle can
store and which may have a fifth entry, done. `trj_eval<n>_step<S>.npy` is the policy's mean; `task_step<S>.npz` holds
all episodes of a goal: obs, actions, rewards, ep_lengths and last_next_obs, s_T of each. Episodes end by time limit;
nothing else in the files is a terminal.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.checks import as_column, as_flags, as_indices, check_finite, check_numbers
from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetNotFoundError
from idaq.core.files import read_json
from idaq.core.notes import Notes
from idaq.core.types import OBSERVATIONS, Array
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug
from idaq.share.importers.described import folder_hint, refusal
from idaq.share.importers.members import read_archive
from idaq.share.importers.pickled import read_objects
from idaq.share.rows import Rows, episodes_of_rows, same_rows

_FOLDER = re.compile(r"goal_idx(\d{1,6})")
_DESCRIPTION = "dataset.json"
_FOLDER_HINT = "the folder that holds them is meant"
_FILE = re.compile(r"trj_eval(sample|)(\d{1,18})_step(\d{1,18})\.npy")
_DENSE = re.compile(r"task_step(\d{1,18})\.npz")
_DENSE_MEMBERS = ("obs", "actions", "rewards", "ep_lengths", "last_next_obs")


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    behaviour: str
    """named by the step of training"""
    array: Array


def read_focal(folder: Path, allow_pickle: bool = False) -> Import:
    """Every goal folder as a task, every file as episodes of the behaviour `step-<S>`.

    Numbers missing from `goal_idx`, folders without files and files of other names are noted. Object arrays are
    pickles, which can run any code: they are refused unless `allow_pickle`. Raises DatasetNotFoundError,
    CorruptDatasetError.
    """
    found = _goal_folders(folder)
    result = Import(tasks=[], origin=f"{folder.name} ({len(found)} goal folders)")
    notes, where = result.notes, folder.name
    others = sorted(path.name for path in folder.iterdir() if path not in {*found.values(), folder / _DESCRIPTION})
    notes.add(where, f"entries beside the goal folders are not read, such as {others[:1]}", len(others))
    missing = sorted(set(range(max(found) + 1)) - set(found))
    if missing:
        notes.add(where, f"goal folders that are missing: {_few(missing)}", len(missing))
    files = {index: _files(path, allow_pickle, notes) for index, path in found.items()}
    size = _observation_size([file for of_goal in files.values() for file in of_goal], _stated_size(folder))
    first: tuple[Path, list[int]] | None = None
    for index, of_goal in files.items():
        task = ImportedTask(name=slug(f"{folder.resolve().name[:40]}.goal-{index}"), index=index, episodes=[])
        dense = [(path, behaviour, _dense(path)) for path, behaviour in _dense_files(found[index])]
        each = ((file.path, file.behaviour, _rows(file, size, notes, where)) for file in of_goal)
        for path, behaviour, rows in itertools.chain(dense, each):
            sizes = [rows.observations[OBSERVATIONS].shape[1], rows.actions.shape[1]]
            first = first or (path, sizes)
            if sizes != first[1]:
                said = f"{path} has observations and actions of {sizes} numbers, {first[0]} of {first[1]}"
                raise CorruptDatasetError(said)
            cut = episodes_of_rows(rows, notes, str(path.relative_to(folder)))
            limited = int(rows.truncated.sum())
            notes.add(where, "episodes end by a time limit, as this layout means but no file says", limited)
            task.episodes += [ImportedEpisode(episode=episode, behaviour=behaviour) for episode in cut]
        result.tasks.append(task)
    return result


def _goal_folders(folder: Path) -> dict[int, Path]:
    """By number. Raises DatasetNotFoundError for none, DatasetError where two have one number."""
    found: dict[int, Path] = {}
    for path in sorted(folder.glob("goal_idx*")):
        match = _FOLDER.fullmatch(path.name)
        if match and path.is_dir():
            other = found.setdefault(int(match[1]), path)
            if other != path:
                raise DatasetError(f"{folder}: {other.name} and {path.name} are the same goal, {int(match[1])}")
    if found:
        return dict(sorted(found.items()))
    raise DatasetNotFoundError(f"{folder} holds no goal_idx<k> folders", hint=folder_hint(folder) or _FOLDER_HINT)


def _files(folder: Path, allow_pickle: bool, notes: Notes) -> list[_File]:
    """Files by training step and sample number, those of the policy's mean first, checked for what they are."""
    named = [(path, m) for path in folder.iterdir() if (m := _FILE.fullmatch(path.name))]
    others = sorted(p.name for p in folder.iterdir() if not _FILE.fullmatch(p.name) and not _DENSE.fullmatch(p.name))
    notes.add(folder.parent.name, f"files of another name are left out, such as {others[:1]}", len(others))
    ordered = sorted(named, key=lambda entry: (int(entry[1][3]), entry[1][1], int(entry[1][2])))
    behaviour = {"sample": "step-{}", "": "step-{}-mean"}
    return [
        _File(path=path, behaviour=behaviour[m[1]].format(int(m[3])), array=_load(path, allow_pickle))
        for path, m in ordered
    ]


def _load(path: Path, allow_pickle: bool) -> Array:
    array = read_objects(path, allow_pickle)
    if not array.ndim or not len(array):
        raise CorruptDatasetError(f"{path} holds no rows [s, a, r, s']")
    if array.dtype != object:
        array = check_numbers("the array", array, str(path))
        check_finite("the array", array, str(path))
    return array


def _dense_files(folder: Path) -> list[tuple[Path, str]]:
    """Files of all episodes of a goal, by training step, and their behaviours."""
    named = [(path, m) for path in folder.iterdir() if (m := _DENSE.fullmatch(path.name))]
    return [(path, f"step-{int(m[1])}") for path, m in sorted(named, key=lambda entry: int(entry[1][1]))]


def _dense(path: Path) -> Rows:
    """Episodes one after the other, of which only s_T stands apart. Raises CorruptDatasetError."""
    members = read_archive(path)
    if missing := [name for name in _DENSE_MEMBERS if not members.holds(name)]:
        raise refusal(members, ", ".join(missing), hint=f"task_step<S>.npz holds {', '.join(_DENSE_MEMBERS)}")
    obs, actions, rewards, lengths, tails = (members.array(name) for name in _DENSE_MEMBERS)
    ends = np.cumsum(as_indices("ep_lengths", lengths, str(path)))
    whole = len(ends) and (np.diff(ends, prepend=0) > 0).all() and ends[-1] == len(obs)
    if not whole or tails.shape != (len(ends), *obs.shape[1:]) or obs.ndim != 2 or actions.ndim != 2:
        said = f"ep_lengths, which add up to {ends[-1:]}, do not divide {len(obs)} rows, or last_next_obs {tails.shape}"
        raise CorruptDatasetError(f"{path}: {said} are not one for each")
    following = np.concatenate([obs[1:], obs[:1]]).astype(np.result_type(obs, tails))
    following[ends - 1] = tails
    truncated = np.zeros(len(obs), bool)
    truncated[ends - 1] = True
    return Rows(
        observations={OBSERVATIONS: obs},
        next_observations={OBSERVATIONS: following},
        actions=actions,
        rewards=as_column("rewards", rewards, str(path)),
        terminated=np.zeros(len(obs), bool),
        truncated=truncated,
    )


def _is_objects(file: _File) -> bool:
    return file.array.dtype == object or file.array.ndim != 2


def _observation_size(files: Sequence[_File], stated: int | None) -> int:
    """D of plain files: that for which s' is the next row's s, in all files where the rows decide it.

    An episode that stands still, or has one step, fits several sizes; the other files decide. 0 if no file is plain.
    Raises CorruptDatasetError where no size fits, or several do.
    """
    plain = [file for file in files if not _is_objects(file)]
    if not plain:
        return 0
    widths = {file.array.shape[1]: file.path for file in plain}
    if len(widths) > 1:
        said = ", ".join(f"{path} of {width} columns" for width, path in sorted(widths.items()))
        raise CorruptDatasetError(f"files of different widths are no one dataset: {said}")
    width = plain[0].array.shape[1]
    possible = set(range(1, (width - 2) // 2 + 1))
    if stated is not None:
        if stated in possible:
            return stated
        said = f"{plain[0].path}: {width} columns cannot be [s, a, r, s'] with the {stated} observation numbers"
        raise CorruptDatasetError(f"{said} that {_DESCRIPTION} states")
    fitting = {file.path: _fitting(file.array, possible) for file in plain}
    common = set.intersection(possible, *(sizes for sizes in fitting.values() if sizes))
    if len(common) == 1 and any(fitting.values()):
        return common.pop()
    path = next((path for path, sizes in fitting.items() if len(sizes) != 1), plain[0].path)
    by_size = {tuple(sorted(sizes)): str(path) for path, sizes in fitting.items() if sizes}
    raise CorruptDatasetError(
        f"{path}: {width} columns can be [s, a, r, s'] with observations of {sorted(common) or 'no'} size"
        + (f"; the files disagree: {by_size}" if len(by_size) > 1 and not common else ""),
        hint="s' must be the next row's s; or state {\"observation_numbers\": D} in dataset.json beside the folders",
    )


def _fitting(array: Array, possible: set[int]) -> set[int]:
    """The sizes for which every s' is the next row's s; all of them for one row."""
    return {size for size in possible if same_rows(array[:-1, -size:], array[1:, :size]).all()}


def _stated_size(folder: Path) -> int | None:
    """D as `idaq dataset export --to focal-npy` writes it beside the folders; None if it did not."""
    about = folder / _DESCRIPTION
    document = read_json(about) if about.is_file() else None
    stated = document.get("observation_numbers") if isinstance(document, dict) else None
    if stated is not None and type(stated) is not int:
        raise CorruptDatasetError(f"{about}: observation_numbers is {stated!r}, no whole number")
    return stated


def _rows(file: _File, size: int, notes: Notes, where: str) -> Rows:
    array = file.array
    if _is_objects(file):
        s, a, r, following, terminated = _columns(file, notes, where)
    else:
        s, following = array[:, :size], array[:, -size:]
        a, r, terminated = array[:, size : -size - 1], array[:, -size - 1], np.zeros(len(array), bool)
    truncated = np.zeros(len(r), bool)
    truncated[-1:] = ~terminated[-1:]
    return Rows(
        observations={OBSERVATIONS: s},
        next_observations={OBSERVATIONS: following},
        actions=a,
        rewards=r,
        terminated=terminated,
        truncated=truncated,
    )


def _columns(file: _File, notes: Notes, where: str) -> tuple[Array, ...]:
    """(T, 4) or (T, 5) objects [s, a, r, s', done] as five arrays."""
    rows: list[Any] = list(file.array)
    try:
        widths = {len(row) for row in rows}
        if not widths <= {4, 5} or len(widths) > 1:
            raise ValueError(f"they have {sorted(widths)} entries")
        columns = [np.array([np.ravel(row[part]) for row in rows]) for part in range(max(widths))]
    except (ValueError, TypeError, IndexError) as error:
        raise CorruptDatasetError(f"{file.path}: its rows are not [s, a, r, s']: {error}") from None
    s, a, r, following, *rest = columns
    if any(column.dtype == object for column in columns) or s.shape != following.shape or r.shape != (len(rows), 1):
        raise CorruptDatasetError(f"{file.path}: rows [s, a, r, s'] of shapes {[c.shape[1:] for c in columns]}")
    s, a, r, following, *rest = (
        check_numbers(name, column, str(file.path))
        for name, column in zip(("s", "a", "r", "s'", "done"), columns, strict=False)
    )
    terminated = as_flags("the fifth entry", rest[0], str(file.path)) if rest else np.zeros(len(rows), bool)
    if rest:
        said = "rows whose fifth entry, done, is 1 are taken as terminals: time-outs are not distinguished"
        notes.add(where, said, int(terminated.sum()))
    return s, a, r[:, 0], following, terminated


def _few(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")
