"""Files laid out as nothing that is imported: what they hold, whose layout it is, and what to do."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import h5py

_MOST, _DEEPEST, _SHOWN = 1000, 4, 12
_NPZ_LAYOUT = "numpy.savez(file, observations=, actions=, rewards=, terminals=, timeouts=), one row a transition"


def hdf5_members(file: h5py.File) -> list[str]:
    """Paths of the datasets of a file, and of groups without any; at most 1,000, at most four groups deep."""
    return list(islice(_members(file, "", _DEEPEST), _MOST))


def _members(group: h5py.Group, prefix: str, deeper: int) -> Iterator[str]:
    for name in group:
        hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
        member = group[name] if hard else None
        if isinstance(member, h5py.Group) and deeper and len(member):
            yield from _members(member, f"{prefix}{name}/", deeper - 1)
        else:
            yield f"{prefix}{name}"


def name_summary(names: Sequence[str]) -> str:
    """Names in words, those below one group as one: `data/demo_0/actions and 199 more below data, mask/train`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.partition("/")[0], []).append(name)
    said = [
        f"{members[0]} and {len(members) - 1} more below {top}" if len(members) > 1 else members[0]
        for top, members in groups.items()
    ]
    more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return (", ".join(name[:80] for name in said[:_SHOWN]) or "nothing") + more


def layout_hint(names: Sequence[str]) -> str:
    """Whose layout it looks like, and what would make it importable."""
    tops = {name.partition("/")[0] for name in names}
    if any(top.startswith("episode_") for top in tops):
        return "this is Minari's layout: idaq dataset import minari:<id>, with its root as --root"
    if any(name.startswith("data/demo") for name in names):
        return f"this is robomimic's layout, a group an episode: {_NPZ_LAYOUT}, episode= the demo's number"
    if {"observations", "actions"} <= tops and "rewards" not in tops:
        ogbench = "qpos" in tops or "terminals" in tops
        return f"{'OGBench stores no rewards: ' if ogbench else ''}add the task's rewards: {_NPZ_LAYOUT}"
    return _NPZ_LAYOUT


def folder_hint(folder: Path) -> str | None:
    """What to name instead of a folder that holds no goal folders; None where nothing suggests it."""
    if (folder / "data/metadata.json").is_file():
        return "this is a Minari dataset: idaq dataset import minari:<id>, with its root as --root"
    if any(path.suffix in (".npz", ".hdf5", ".h5") for path in folder.iterdir()):
        return "name the files themselves: several become a task each"
    return None
