"""What one file holds, by name: its arrays of numbers, its texts, and what it holds beside. Nothing is unpickled.

Untrusted bytes: a file that would unpack to far more than it has, one that was never written whole, and numbers that
lie in other files are refused.
"""

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import Array
from idaq.format.guarded import require_readable

_ALWAYS_ALLOWED, _LARGEST_RATIO = 1 << 30, 100
"""bytes that a file may unpack to whatever its size; beyond that, how many times its own size"""
_MOST = 1_000_000
"""members of one file"""

_OBJECTS = "objects, which only pickle can store"
_NUMBERS_HINTS = {
    _OBJECTS: "episodes of unequal lengths become objects: join them to one array, and mark where each ends",
    "text": "numbers are needed: number the words, say",
}

ALIASES = {
    "observations": ("observations", "observation", "obs"),
    "next_observations": ("next_observations", "next_observation", "next_obs", "obs_next", "obs2"),
    "actions": ("actions", "action", "acts", "act"),
    "rewards": ("rewards", "reward", "rews", "rew"),
    "terminated": ("terminated", "terminals", "terminations", "terminal", "is_terminal"),
    "truncated": ("truncated", "timeouts", "truncations", "truncation", "timeout"),
    "dones": ("dones", "done"),
    "task_index": ("task_index",),
    "episode": ("episode",),
}
"""by what they are: the names under which people store columns, the first that is there"""


@dataclass(frozen=True, kw_only=True)
class Members:
    """What a file holds, by name, groups before names: `data/demo_0/actions`."""

    path: Path
    arrays: Mapping[str, Array]
    """of booleans, integers and floats, in this machine's byte order"""
    texts: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    others: Mapping[str, str] = field(default_factory=dict[str, str])
    """anything else, and what it is"""
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """of groups, by name; only those that are numbers or text"""

    def below(self, group: str) -> "Members":
        """What a group holds, by names below it."""
        prefix = f"{group}/"
        inner: Any = lambda found: {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}  # noqa: E731
        return Members(
            path=self.path,
            arrays=inner(self.arrays),
            texts=inner(self.texts),
            others=inner(self.others),
            attributes=inner(self.attributes) | {"": self.attributes.get(group, {})},
        )

    def groups(self) -> "dict[str, Members]":
        """What each group holds, by the first part of its members' names, in one pass."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        every: dict[str, Mapping[str, Any]] = {
            "arrays": self.arrays,
            "texts": self.texts,
            "others": self.others,
            "attributes": self.attributes,
        }
        for kind, members in every.items():
            for name, value in members.items():
                top, _, rest = name.partition("/")
                found.setdefault(top, {kind: {} for kind in every})[kind][rest] = value
        return {top: Members(path=self.path, **kinds) for top, kinds in found.items()}

    @property
    def names(self) -> list[str]:
        """All names."""
        return [*self.arrays, *self.texts, *self.others]

    def name_of(self, what: str) -> str | None:
        """The first of its ALIASES that the file holds, as an array or as a group; None if it holds none."""
        return next((name for name in ALIASES[what] if self.holds(name)), None)

    def holds(self, name: str) -> bool:
        """Whether there is a member or a group of that name."""
        return any(found == name or found.startswith(f"{name}/") for found in self.names)

    def leaves(self, name: str, column: str) -> dict[str, Array]:
        """An array as `column`, or those of a group as `column/...`. Raises CorruptDatasetError for others."""
        found: dict[str, Array] = {}
        for member in self.names:
            if member == name or member.startswith(f"{name}/"):
                found[column + member.removeprefix(name)] = self.array(member)
        return found

    def array(self, name: str) -> Array:
        """An array of numbers. Raises CorruptDatasetError where it is none."""
        if name not in self.arrays:
            what = self.others.get(name) or ("text" if name in self.texts else "missing")
            said = f"{self.path}: {name} is no array of numbers in this file: it is {what}"
            raise CorruptDatasetError(said, hint=_NUMBERS_HINTS.get(what))
        return self.arrays[name]


def archive_names(path: Path) -> list[str]:
    """Names of an archive's members; nothing of what is no archive."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return list(archive.files)
    except Exception:  # what is no archive leads NumPy and zipfile to errors of any kind
        return []


def read_archive(path: Path) -> Members:
    """A NumPy archive. Raises CorruptDatasetError for what NumPy cannot read."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip file, as such an archive is")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            check_size(path, sum(entry.file_size for entry in archive.zip.infolist()))
            names = list(archive.files)
            if len(set(names)) < len(names):
                raise CorruptDatasetError(f"{path}: a name stands twice in the archive: {names}"[:300])
            return _sorted_out(path, ((name, _of_archive(archive, name)) for name in names))
    except DatasetError:
        raise
    except Exception as error:  # what is no archive leads NumPy and zipfile to errors of any kind
        refuse_pointer(path)
        raise CorruptDatasetError(f"{path} is no NumPy archive of plain arrays: {error}") from None


def refuse_pointer(path: Path) -> None:
    """Raise DatasetError for what Git LFS leaves in the place of a file that was not fetched."""
    with path.open("rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            raise DatasetError(f"{path} is a pointer of Git LFS, not the file itself", hint="git lfs pull")


def _of_archive(archive: Any, name: str) -> Array | str:
    try:
        return archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        return _OBJECTS


def read_hdf5(path: Path) -> Members:
    """An HDF5 file. Raises CorruptDatasetError for what HDF5 cannot read."""
    refuse_pointer(path)
    require_readable(path)
    try:
        with h5py.File(path, "r") as file:
            every = list(islice(_walk(file, "", {_place(file)}), _MOST + 1))
            check_size(path, sum(member.nbytes for _, member in every if isinstance(member, h5py.Dataset)))
            groups = {"": file} | {name: member for name, member in every if isinstance(member, h5py.Group)}
            attributes = {name: _plain_attributes(group) for name, group in groups.items()}
            return _sorted_out(path, ((name, _of_hdf5(member, name)) for name, member in every), attributes)
    except DatasetError:
        raise
    except Exception as error:  # what is damaged leads h5py to errors of any kind
        raise CorruptDatasetError(f"{path} is no readable HDF5 file: {error}") from None


def _walk(group: h5py.Group, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Groups and datasets of this very file by name, a group before what it holds; None for a link, which could lead
    anywhere, and for a group that was seen under another name."""
    for name in group:
        hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
        member = group[name] if hard else None
        if isinstance(member, h5py.Group):
            if (place := _place(member)) in seen:
                yield f"{prefix}{name}", None
                continue
            seen.add(place)
        yield f"{prefix}{name}", member
        if isinstance(member, h5py.Group):
            yield from _walk(member, f"{prefix}{name}/", seen)


def _place(group: Any) -> int:
    """Where the object header is: the same for every name of a group."""
    return h5py.h5o.get_info(group.id).addr  # pyright: ignore[reportAttributeAccessIssue]


def _plain_attributes(group: h5py.Group) -> dict[str, Any]:
    plain = {
        name: value for name, value in group.attrs.items() if isinstance(value, str | bytes | int | float | np.generic)
    }
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in plain.items()
    }


def _of_hdf5(member: Any, name: str) -> Array | list[str] | str | None:
    if isinstance(member, h5py.Group):
        return None if len(member) else "an empty group"
    if not isinstance(member, h5py.Dataset) or bool(member.external) or member.is_virtual:
        return "in another file" if member is not None else "a link"
    if h5py.check_string_dtype(member.dtype) is not None or member.dtype.kind == "S":
        return [text.decode(errors="replace") for text in np.atleast_1d(np.asarray(member[()], object)).tolist()]
    if member.dtype.kind in "biuf" and _unwritten(member):
        raise CorruptDatasetError(
            f"{member.file.filename}: parts of {name} were never written: HDF5 would read its fill value there",
            hint="it may come from a killed writer: write the file again, or cut it to what was written",
        )
    return np.asarray(member[()]) if member.dtype.kind in "biufc" else f"of {member.dtype}"


def _unwritten(member: h5py.Dataset) -> bool:
    """Whether the file holds less than the shape says."""
    if member.chunks is None:
        return bool(member.size) and member.id.get_storage_size() == 0
    places = (-(-rows // chunk) for rows, chunk in zip(member.shape, member.chunks, strict=True))
    return member.id.get_num_chunks() < math.prod(places)


def check_size(path: Path, claimed: int, stored: int | None = None) -> None:
    """Raise CorruptDatasetError for what would unpack to far more bytes than are stored (None: than the file has)."""
    size = path.stat().st_size if stored is None else stored
    if claimed > max(_ALWAYS_ALLOWED, _LARGEST_RATIO * size):
        raise CorruptDatasetError(f"{path} ({size} bytes) would unpack to {claimed} bytes")


def _sorted_out(
    path: Path,
    found: Iterable[tuple[str, Array | list[str] | str | None]],
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Members:
    arrays: dict[str, Array] = {}
    texts: dict[str, list[str]] = {}
    others: dict[str, str] = {}
    for name, value in found:
        if value is None:
            continue
        if len(arrays) + len(texts) + len(others) >= _MOST:
            raise CorruptDatasetError(f"{path} holds more than {_MOST} members")
        if isinstance(value, str):
            others[name] = value
        elif isinstance(value, list):
            texts[name] = value
        elif value.dtype.kind in "US":
            texts[name] = np.atleast_1d(value).ravel().astype(str).tolist()
        elif value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            arrays[name] = value.astype(value.dtype.newbyteorder("="), copy=False)
        else:
            others[name] = f"of {value.dtype}"
    return Members(path=path, arrays=arrays, texts=texts, others=others, attributes=attributes or {})
