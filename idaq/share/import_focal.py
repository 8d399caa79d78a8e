"""The folders that FOCAL and its descendants read: `goal_idx<k>/trj_evalsample<n>_step<S>.npy`, one episode a file.

A file holds rows [s, a, r, s']: a plain array (T, 2 D + A + 1), or an object array of rows, which only pickle can
store. Episodes end by time limit; nothing in the files is a terminal.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetNotFoundError
from idaq.core.files import read_json
from idaq.core.types import Array
from idaq.share.importing import Import, ImportedEpisode, ImportedTask, Rows, cut_episodes

_FOLDER = re.compile(r"goal_idx(\d{1,6})")
_FILE = re.compile(r"trj_evalsample(\d+)_step(\d+)\.npy")


def read_focal(folder: Path, allow_pickle: bool = False) -> Import:
    """Every goal folder as a task, every file as episodes of the behaviour `step-<S>`.

    Numbers missing from `goal_idx`, and folders without files, are noted. Object arrays are pickles, which can run any
    code: they are refused unless `allow_pickle`. Raises DatasetNotFoundError, CorruptDatasetError.
    """
    found = {int(m[1]): path for path in sorted(folder.glob("goal_idx*")) if (m := _FOLDER.fullmatch(path.name))}
    if not found:
        raise DatasetNotFoundError(f"{folder} holds no goal_idx<k> folders", hint="the folder that holds them is meant")
    result = Import(tasks=[], origin=f"{folder.name} ({len(found)} goal folders)")
    missing = sorted(set(range(max(found) + 1)) - set(found))
    if missing:
        result.notes.append(f"goal folders that are missing: {missing}")
    for index, path in sorted(found.items()):
        task = ImportedTask(name=f"goal-{index}", index=index, episodes=[])
        for file, number, step in _files(path):
            rows = _rows(file, allow_pickle)
            episodes = cut_episodes(rows, result.notes, str(file))
            task.episodes += [ImportedEpisode(episode=e, behaviour=f"step-{step}", seed=number) for e in episodes]
        if not task.episodes:
            result.notes.append(f"{path.name} is empty")
        result.tasks.append(task)
    return result


def _files(folder: Path) -> list[tuple[Path, int, int]]:
    """Files with sample number n and training step S, by step and number."""
    named = [(path, m) for path in folder.iterdir() if (m := _FILE.fullmatch(path.name))]
    return sorted(((path, int(m[1]), int(m[2])) for path, m in named), key=lambda entry: (entry[2], entry[1]))


def _rows(path: Path, allow_pickle: bool) -> Rows:
    array = _load(path, allow_pickle)
    if array.dtype == object or array.ndim != 2:
        observations, actions, rewards, following = _columns(array, path)
    else:
        size = _stated_size(path, array.shape[1]) or observation_size(array, path)
        observations, following = array[:, :size], array[:, -size:]
        actions, rewards = array[:, size : -size - 1], array[:, -size - 1]
    truncated = np.zeros(len(rewards), bool)
    truncated[-1:] = True
    return Rows(
        observations=observations,
        actions=actions,
        rewards=rewards,
        next_observations=following,
        terminated=np.zeros(len(rewards), bool),
        truncated=truncated,
    )


def _load(path: Path, allow_pickle: bool) -> Array:
    try:
        return np.load(path, allow_pickle=allow_pickle)
    except (ValueError, OSError, EOFError) as error:
        if "allow_pickle" in str(error):
            raise DatasetError(
                f"{path} is a pickle, which can run any code when it is opened",
                hint="--allow-pickle, if you trust whoever made it",
            ) from None
        raise CorruptDatasetError(f"{path} is no NumPy array: {error}") from None


def _columns(array: Array, path: Path) -> tuple[Array, Array, Array, Array]:
    """(T, 4) objects [s, a, r, s'] as four arrays."""
    rows: list[Any] = list(array)
    try:
        columns = [np.array([np.ravel(row[part]) for row in rows]) for part in range(4)]
    except (ValueError, TypeError, IndexError) as error:
        raise CorruptDatasetError(f"{path}: its rows are not [s, a, r, s']: {error}") from None
    s, a, r, following = columns
    if any(column.dtype == object for column in columns) or s.shape != following.shape or r.shape != (len(rows), 1):
        raise CorruptDatasetError(f"{path}: rows [s, a, r, s'] of shapes {[c.shape[1:] for c in columns]}")
    return s, a, r[:, 0], following


def _stated_size(path: Path, width: int) -> int | None:
    """D as `idaq dataset export --to focal-npy` writes it beside the folders; None for other makers'."""
    about = path.parent.parent / "dataset.json"
    document = read_json(about) if about.is_file() else None
    stated = document.get("observation_numbers") if isinstance(document, dict) else None
    return stated if isinstance(stated, int) and 0 < stated <= (width - 2) // 2 else None


def observation_size(array: Array, path: Path) -> int:
    """D of rows [s, a, r, s'] of one array: the size for which every s' is the next row's s.

    Raises CorruptDatasetError where no size fits, or several do (an episode of one step).
    """
    fitting = [
        size
        for size in range(1, (array.shape[1] - 2) // 2 + 1)
        if len(array) > 1 and np.array_equal(array[:-1, -size:], array[1:, :size])
    ]
    if len(fitting) != 1:
        raise CorruptDatasetError(
            f"{path}: {array.shape[1]} columns can be [s, a, r, s'] with observations of {fitting or 'no'} size",
            hint="s' must be the next row's s",
        )
    return fitting[0]
