"""Transitions as arrays in one file: NumPy archives, and HDF5 as D4RL lays it out. Nothing is unpickled.

Both hold `observations`, `actions`, `rewards`, a terminal flag and a time-out flag, one row a transition; some hold
`next_observations`, `task_index` and `episode` too, as `idaq dataset export` to .npz does.
"""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import Array
from idaq.format.guarded import require_readable
from idaq.share.importing import Import, ImportedEpisode, ImportedTask, Rows, cut_episodes

_TERMINAL, _TIMEOUT = ("terminated", "terminals", "terminations", "dones"), ("truncated", "timeouts", "truncations")
_WANTED = ("observations", "actions", "rewards", "next_observations", "task_index", "episode", *_TERMINAL, *_TIMEOUT)
_HARMLESS, _DENSEST = 1 << 30, 100
"""bytes that an archive may unpack to whatever its size; beyond that, how many times its own size"""


def read_npz(path: Path) -> Import:
    """A NumPy archive. Raises CorruptDatasetError for what NumPy cannot read or what would need pickle."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            claimed = sum(entry.file_size for entry in archive.zip.infolist())
            if claimed > max(_HARMLESS, _DENSEST * path.stat().st_size):
                raise CorruptDatasetError(f"{path} ({path.stat().st_size} bytes) would unpack to {claimed} bytes")
            if len(set(archive.files)) < len(archive.files):
                raise CorruptDatasetError(f"{path}: a name stands twice in the archive: {archive.files}"[:300])
            arrays = {name: archive[name] for name in archive.files if name in _WANTED}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        AttributeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise CorruptDatasetError(f"{path} is no NumPy archive of plain arrays: {error}") from None
    return _import(arrays, path)


def read_d4rl(path: Path) -> Import:
    """An HDF5 file in D4RL's layout. Raises CorruptDatasetError for what HDF5 cannot read."""
    require_readable(path)
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: _plain(file, name) for name in _WANTED if name in file}
    except OSError as error:
        raise CorruptDatasetError(f"{path} is no readable HDF5 file: {error}") from None
    return _import(arrays, path)


def _plain(file: h5py.File, name: str) -> Array:
    """A numeric dataset of this very file: links could lead anywhere."""
    member = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(member, h5py.Dataset) or member.dtype.kind not in "biuf" or member.external:
        raise CorruptDatasetError(f"{file.filename}: {name} is no array of numbers in this file")
    return np.asarray(member[()])


def _import(arrays: Mapping[str, Array], path: Path) -> Import:
    missing = [name for name in ("observations", "actions", "rewards") if name not in arrays]
    if missing or not any(name in arrays for name in _TERMINAL):
        raise DatasetError(f"{path} lacks {', '.join(missing) or 'a terminal flag'}; it holds {sorted(arrays)}")
    size = len(arrays["rewards"])
    short = {name: array.shape for name, array in arrays.items() if array.ndim == 0 or len(array) != size}
    if short:
        raise DatasetError(f"{path}: these do not have one row for each of the {size} rewards: {short}")
    result = Import(tasks=[], origin=path.name)
    if not any(name in arrays for name in _TIMEOUT):
        result.notes.append(f"{path.name} holds no time-outs: what is no terminal ends where the file says, if it does")
    task_index = arrays.get("task_index", np.zeros(size, np.int64)).ravel()
    for task in np.unique(task_index).tolist():
        rows = _rows(arrays, task_index == task)
        episodes = [ImportedEpisode(episode=e) for e in cut_episodes(rows, result.notes, f"{path.name}, task {task}")]
        result.tasks.append(ImportedTask(name=f"task-{int(task):03d}", index=int(task), episodes=episodes))
    return result


def _rows(arrays: Mapping[str, Array], mine: Array) -> Rows:
    size = int(mine.sum())

    def flags(names: tuple[str, ...]) -> Array:
        found = [arrays[name][mine].reshape(size).astype(bool) for name in names if name in arrays]
        return found[0] if found else np.zeros(size, bool)

    following, episode = arrays.get("next_observations"), arrays.get("episode")
    return Rows(
        observations=arrays["observations"][mine].reshape(size, -1),
        actions=arrays["actions"][mine].reshape(size, -1),
        rewards=arrays["rewards"][mine].reshape(size),
        terminated=flags(_TERMINAL),
        truncated=flags(_TIMEOUT),
        next_observations=None if following is None else following[mine].reshape(size, -1),
        episode=None if episode is None else episode[mine].reshape(size),
    )
