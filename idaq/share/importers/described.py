"""Sources laid out as nothing that is imported: what they hold, whose layout it may be, and what would help."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from idaq.core.errors import DatasetError, UsageError
from idaq.share.importers.members import Members

_SHOWN = 12
_NPZ_LAYOUT = "numpy.savez(file, observations=, actions=, rewards=, terminals=, timeouts=), one row a transition"


def refusal(members: Members, missing: str, hint: str | None = None) -> DatasetError:
    """The error for a file that lacks something: what is missing, what it holds, and what would help."""
    said = f"{members.path} lacks {missing}; it holds {contents(members)}"
    return DatasetError(said[:2000], hint=hint or layout_hint(members.names))


def contents(members: Members) -> str:
    """Members in words, those below one group as one: `data/demo_0/actions float32 (9, 2) and 199 more below data`."""
    groups: dict[str, list[str]] = {}
    for name in members.names:
        groups.setdefault(name.partition("/")[0], []).append(name)
    said = [
        f"{_member(members, names[0])} and {len(names) - 1} more below {top}"
        if len(names) > 1
        else _member(members, names[0])
        for top, names in groups.items()
    ]
    more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return (", ".join(said[:_SHOWN]) or "nothing") + more


def _member(members: Members, name: str) -> str:
    if name in members.arrays:
        array = members.arrays[name]
        return f"{name[:80]} {array.dtype} {array.shape}"
    return f"{name[:80]} ({members.others.get(name, 'text')})"


def name_summary(names: Sequence[str]) -> str:
    """Names in words, those below one group as one: `data/demo_0/actions and 199 more below data, mask/train`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.partition("/")[0], []).append(name)
    said = [
        f"{found[0]} and {len(found) - 1} more below {top}" if len(found) > 1 else found[0]
        for top, found in groups.items()
    ]
    more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return (", ".join(name[:80] for name in said[:_SHOWN]) or "nothing") + more


def layout_hint(names: Sequence[str]) -> str:
    """Whose layout it looks like, and what would make it importable."""
    tops, last = {name.partition("/")[0] for name in names}, {name.rpartition("/")[2] for name in names}
    if any(top.startswith("episode_") for top in tops):
        return "this is Minari's layout: idaq dataset import minari:<id>, with its root as --root"
    if {"states", "actions"} <= last and not {"obs", "observations"} & tops:
        said = "robosuite's own demonstrations hold states, from which robomimic makes observations"
        return f"{said}: its dataset_states_to_obs.py, then import what that writes"
    if any(name.startswith("data/demo") for name in names):
        return "this is robomimic's layout, which --from demos reads: each demo must have obs and actions"
    if {"observations", "actions", "terminals"} <= tops and "rewards" not in tops:
        said = "OGBench stores T + 1 rows a trajectory, as .npz: --from ogbench"
        return f"{said}; else add next_observations or timeouts, so that the last rows are known"
    return _NPZ_LAYOUT


def nothing_known(source: str, path: Path) -> UsageError:
    """The error for a source that no importer accepts: what it is, what it holds, and what would help."""
    kinds = "idaq plugins lists the importers; --from NAME takes one, or your own as package.module:thing"
    if path.is_dir():
        names = sorted(inner.name for inner in path.iterdir())
        said = f"it is a folder of {name_summary(names)}"
        return UsageError(f"{source} is nothing that can be imported: {said}"[:1000], hint=folder_hint(path) or kinds)
    if not path.is_file():
        return UsageError(f"{source} is nothing that can be imported: there is no such file or folder", hint=kinds)
    said = f"a file of {path.stat().st_size} bytes"
    if path.suffix == ".npy":
        said, kinds = _array(path), f"one array is no episodes: {_NPZ_LAYOUT}"
    elif path.suffix == ".parquet":
        kinds = "one Parquet file is a table of anybody's; a whole folder of LeRobot is read"
    return UsageError(f"{source} is nothing that can be imported: it is {said}"[:1000], hint=kinds)


def _array(path: Path) -> str:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # what is damaged leads NumPy to errors of any kind
        return "no array of numbers"
    return f"one array, {array.dtype} {array.shape}"


def folder_hint(folder: Path) -> str | None:
    """What to name instead of a folder that no importer accepts; None where nothing suggests it."""
    if (folder / "data/metadata.json").is_file():
        return "this is a Minari dataset: idaq dataset import minari:<id>, with its root as --root"
    inside = {path.suffix for path in folder.iterdir()}
    if inside & {".npz", ".hdf5", ".h5", ".pkl", ".pickle", ".zarr"}:
        return "name the files themselves: several become a task each"
    return None
