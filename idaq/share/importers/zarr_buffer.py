"""Zarr replay buffers as diffusion policy lays them out: `data/*` of N rows, `meta/episode_ends`; a folder or a .zip.

`data/action` are the actions; `reward` and `done` are those, where they are there; every other array of N rows is
observed. An episode of L rows has L - 1 transitions: nothing holds what was observed after the last.
"""

from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.extras import optional
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, Array
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug, unknown_rewards
from idaq.share.importers.described import name_summary
from idaq.share.importers.members import ALIASES, Members, check_size
from idaq.share.rows import Rows, episodes_of_rows

_ENDS, _DATA = "meta/episode_ends", "data"


def is_zarr_buffer(path: Path) -> bool:
    """Whether a folder or a zipped one is laid out so."""
    if path.is_dir():
        return (path / _ENDS).is_dir()
    return path.name.endswith(".zarr.zip") and path.is_file()


def read_zarr_buffer(path: Path) -> Import:
    """One task, an episode for each end. Raises DatasetError for another layout, MissingExtraError without zarr."""
    result = Import(tasks=[], origin=path.name)
    members = _read(path, result.notes)
    ends = members.array(_ENDS).ravel()
    data = members.below(_DATA)
    names = {what: name for what in (ACTIONS, REWARDS, "dones", "terminated") if (name := data.name_of(what))}
    if ACTIONS not in names or ends.dtype.kind not in "iu":
        raise DatasetError(
            f"{path} lacks actions or whole numbers as episode_ends; it holds {', '.join(data.names)}"[:1000]
        )
    actions = data.array(names[ACTIONS])
    size = len(actions)
    edges = np.concatenate([[0], ends.astype(np.int64)])
    if not len(ends) or (np.diff(edges) < 1).any() or edges[-1] != size:
        raise CorruptDatasetError(f"{path}: episode_ends do not divide its {size} rows: {ends[:5].tolist()}, ...")
    seen = _observations(data, set(names.values()), size, result, path)
    if REWARDS not in names:
        unknown_rewards(result)
    rewards = data.array(names[REWARDS]).reshape(size) if REWARDS in names else np.zeros(size, np.float32)
    flag = names.get("terminated", names.get("dones"))
    terminated = np.zeros(size, bool) if flag is None else data.array(flag).reshape(size).astype(bool)
    is_last = np.zeros(size, bool)
    is_last[edges[1:] - 1] = True
    result.notes.add(
        path.name, "flags before the last row of an episode end nothing", int((terminated & ~is_last).sum())
    )
    rows = Rows(
        observations=seen,
        actions=actions,
        rewards=rewards,
        terminated=terminated & is_last,
        truncated=np.zeros(size, bool),
        episode=np.repeat(np.arange(len(ends)), np.diff(edges)),
    )
    episodes = [ImportedEpisode(episode=each) for each in episodes_of_rows(rows, result.notes, path.name)]
    result.tasks.append(ImportedTask(name=slug(path.name.partition(".zarr")[0]), episodes=episodes))
    return result


def _observations(data: Members, taken: set[str], size: int, result: Import, path: Path) -> dict[str, Array]:
    known = {alias for what in (ACTIONS, REWARDS, "dones", "terminated") for alias in ALIASES[what]}
    found = {n: rows for n, rows in data.arrays.items() if n not in known | taken and rows.shape[:1] == (size,)}
    if not found:
        raise DatasetError(f"{path} holds nothing that was observed, only {', '.join(data.names)}"[:1000])
    left = [name for name in data.names if name not in {*found, *taken}]
    result.notes.add(path.name, f"arrays that are not read: {', '.join(left)}"[:300], len(left))
    if list(found) in ([name] for name in ALIASES[OBSERVATIONS]):
        return {OBSERVATIONS: next(iter(found.values()))}
    result.notes.add(path.name, f"everything but actions is taken as observed: {', '.join(sorted(found))}"[:300])
    return {f"{OBSERVATIONS}/{name}": rows for name, rows in sorted(found.items())}


def _read(path: Path, notes: Notes) -> Members:
    zarr = optional("zarr")
    try:
        store = (
            zarr.storage.ZipStore(path, mode="r") if path.is_file() else zarr.storage.LocalStore(path, read_only=True)
        )
        root = zarr.open_group(store, mode="r")
        arrays, unread = dict[str, Array](), list[str]()
        for name, member in sorted(root.members(max_depth=None)):
            if not isinstance(member, zarr.Array):
                continue
            if member.dtype.kind in "biuf" and (name.startswith(f"{_DATA}/") or name == _ENDS):
                _check(path, member, notes)
                arrays[name] = np.asarray(member[...])
            else:
                unread.append(name)
    except DatasetError:
        raise
    except Exception as error:  # what is damaged leads zarr to errors of any kind
        raise CorruptDatasetError(f"{path} cannot be read as Zarr: {error}"[:500]) from None
    notes.add(path.name, f"arrays of text, or beside data, are not read: {name_summary(unread)}", len(unread))
    return Members(path=path, arrays=arrays)


def _check(path: Path, member: Any, notes: Notes) -> None:
    """A small store may claim any size; and what was never written looks as what is all fill value, which is noted."""
    check_size(path, member.nbytes, member.nbytes_stored())
    said = f"chunks of {member.name} are not stored, which in Zarr means that they are all {member.fill_value}"
    notes.add(path.name, f"{said}: so they are read", member.nchunks - member.nchunks_initialized)
