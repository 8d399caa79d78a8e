"""The folders that FOCAL and its descendants read: `goal_idx<k>/trj_evalsample<n>_step<S>.npy`, one episode a file.

A file holds rows [s, a, r, s']: a plain array (T, 2 D + A + 1), or an object array of rows, which only pickle can
store and which may have a fifth entry, done. Episodes end by time limit; nothing else in the files is a terminal.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.checks import as_flags, check_finite, check_numbers
from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetNotFoundError
from idaq.core.files import read_json
from idaq.core.notes import Notes
from idaq.core.types import Array
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug
from idaq.share.import_layouts import folder_hint
from idaq.share.rows import Rows, episodes_of_rows, same_rows

_FOLDER = re.compile(r"goal_idx(\d{1,6})")
_DESCRIPTION = "dataset.json"
_FOLDER_HINT = "the folder that holds them is meant"
_FILE = re.compile(r"trj_evalsample(\d{1,18})_step(\d{1,18})\.npy")


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    step: int
    """of training, which names the behaviour"""
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
    every = [file for of_goal in files.values() for file in of_goal]
    size = _observation_size(every, _stated_size(folder))
    first: tuple[Path, list[int]] | None = None
    for index, of_goal in files.items():
        task = ImportedTask(name=slug(f"{folder.resolve().name[:40]}.goal-{index}"), index=index, episodes=[])
        for file in of_goal:
            rows = _rows(file, size, notes, where)
            sizes = [rows.observations.shape[1], rows.actions.shape[1]]
            first = first or (file.path, sizes)
            if sizes != first[1]:
                said = f"{file.path} has observations and actions of {sizes} numbers, {first[0]} of {first[1]}"
                raise CorruptDatasetError(said)
            cut = episodes_of_rows(rows, notes, str(file.path.relative_to(folder)))
            limited = int(rows.truncated.sum())
            notes.add(where, "episodes end by a time limit, as this layout means but no file says", limited)
            task.episodes += [ImportedEpisode(episode=e, behaviour=f"step-{file.step}") for e in cut]
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
    """Files by training step and sample number, checked for what they are."""
    named = [(path, m) for path in folder.iterdir() if (m := _FILE.fullmatch(path.name))]
    others = sorted(path.name for path in folder.iterdir() if not _FILE.fullmatch(path.name))
    notes.add(folder.parent.name, f"files of another name are left out, such as {others[:1]}", len(others))
    ordered = sorted(named, key=lambda entry: (int(entry[1][2]), int(entry[1][1])))
    return [_File(path=path, step=int(m[2]), array=_load(path, allow_pickle)) for path, m in ordered]


def _load(path: Path, allow_pickle: bool) -> Array:
    try:
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":  # NumPy would take anything else for a pickle
                raise ValueError("it does not begin as one")
        array = np.load(path, allow_pickle=allow_pickle)
    except Exception as error:  # what is damaged, and what a pickle runs, leads to errors of any kind
        if "allow_pickle" in str(error):
            raise DatasetError(
                f"{path} is a pickle, which can run any code when it is opened",
                hint="--allow-pickle, if you trust whoever made it",
            ) from None
        raise CorruptDatasetError(f"{path} is no NumPy array: {error}") from None
    if not isinstance(array, np.ndarray) or not array.ndim or not len(array):
        raise CorruptDatasetError(f"{path} holds no rows [s, a, r, s']")
    if array.dtype != object:
        array = check_numbers("the array", array, str(path))
        check_finite("the array", array, str(path))
    return array


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
        observations=s, actions=a, rewards=r, next_observations=following, terminated=terminated, truncated=truncated
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
