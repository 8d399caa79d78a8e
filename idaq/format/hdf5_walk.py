"""Asks the HDF5 library what readers of the file will see, and says in words where that is not what the format says.

Slow, some milliseconds an episode, and the library can be hung by hostile bytes: `verify` asks it in a process of its
own, and only of episodes that `hdf5_structure` could not prove to be in order.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import h5py
import numpy as np

from idaq.core.types import Array
from idaq.format.hdf5_structure import ExpectedColumn, ExpectedEpisode, within

_ALWAYS_ALLOWED, _LARGEST_RATIO, _BLOCK = 1 << 30, 100, 1 << 24
"""bytes that a file may unpack to whatever its size; beyond that, how many times its own size; bytes read at once"""

Finding = tuple[int | None, str]
"""an episode's number, None for the file, and what is wrong"""


def walk(path: str, count: int, episodes: Sequence[tuple[int, ExpectedEpisode]]) -> Iterator[Finding]:
    """Compare the groups of `episodes` with what is expected of them, in a file that must hold `count` of them."""
    try:
        with h5py.File(path, "r") as file:
            expected = {f"episode_{number}" for number in range(count)}
            if set(file.keys()) != expected:
                strange = sorted(set(file.keys()) ^ expected)[:5]
                yield None, f"root holds other than its episodes: {strange}"
                return
            for number, episode in episodes:
                group = _own_member(file, f"episode_{number}")
                yield from ((number, what) for what in _check_group(group, episode))
    except Exception as error:  # a damaged file makes h5py raise errors of any kind
        yield None, "HDF5 cannot read it: " + "".join(c if c.isprintable() else " " for c in str(error))


def walk_plain(path: str, count: int, most: int, episodes: list[tuple[int, dict[str, Any]]]) -> list[Finding]:
    """`walk` of plain data, as `to_plain` gives it, up to `most` findings."""
    expected = [(number, _from_plain(plain)) for number, plain in episodes]
    return [finding for finding, _ in zip(walk(path, count, expected), range(most), strict=False)]


def read_all(path: str) -> None:
    """Read all numbers and attributes that hard links lead to, some megabytes at once. Raises whatever HDF5 raises.

    Raises ValueError for a file that claims to hold far more than it has.
    """
    claimed, largest = 0, max(_ALWAYS_ALLOWED, _LARGEST_RATIO * os.path.getsize(path))
    with h5py.File(path, "r") as file:
        left, seen = ["/"], {_place(file["/"])}
        while left:
            parent = left.pop()
            group: Any = file[parent]
            for name in group:
                member = _own_member(group, name)
                if isinstance(member, h5py.Group):
                    dict(member.attrs)
                    if _place(member) not in seen:
                        seen.add(_place(member))
                        left.append(f"{parent}{name}/")
                elif isinstance(member, h5py.Dataset) and member.dtype.kind in "biuf" and not member.external:
                    claimed += member.nbytes
                    if claimed > largest:
                        raise ValueError(f"it would unpack to more than {largest} bytes")
                    for _ in _blocks(member):
                        pass


def _place(group: Any) -> int:
    """Where the object header is: the same for every name of a group."""
    return h5py.h5o.get_info(group.id).addr  # pyright: ignore[reportAttributeAccessIssue]


def _blocks(dataset: h5py.Dataset) -> Iterator[Array]:
    if dataset.shape is None or not dataset.ndim:
        yield np.asarray(dataset[()])
        return
    rows = max(1, _BLOCK // max(dataset.nbytes // max(len(dataset), 1), 1))
    yield from (dataset[first : first + rows] for first in range(0, len(dataset), rows))


def to_plain(episode: ExpectedEpisode) -> dict[str, Any]:
    """As JSON can hold it."""
    return asdict(episode)


def _from_plain(plain: dict[str, Any]) -> ExpectedEpisode:
    columns = {
        name: ExpectedColumn(
            **{**column, "shape": tuple(column["shape"]), "chunks": tuple(map(tuple, column["chunks"]))}
        )
        for name, column in plain["columns"].items()
    }
    return ExpectedEpisode(**{**plain, "columns": columns})


def _check_group(group: object, episode: ExpectedEpisode) -> Iterator[str]:
    if not isinstance(group, h5py.Group):
        yield "is no group"
        return
    for name, value in episode.attributes.items():
        found = _attribute(group, name)
        if value is None or not np.array_equal(found, value):
            yield f"attribute {name} is {found!r}, not {value!r}"
    yield from _check_columns(group, episode.columns)
    yield from _check_unknown("attributes", group.attrs, episode.attributes)


def _check_columns(group: h5py.Group, columns: Mapping[str, ExpectedColumn], place: str = "") -> Iterator[str]:
    here, below = within(columns)
    for name, column in here.items():
        dataset, shape = _own_member(group, name), column.shape
        if not isinstance(dataset, h5py.Dataset) or dataset.shape != shape or dataset.dtype != np.dtype(column.dtype):
            yield f"column {place}{name} is {dataset!r}, not {shape} of {column.dtype}"
        elif column.chunk_shape is not None:
            yield from (f"column {place}{name} {what}" for what in _check_chunks(dataset, column))
        elif dataset.chunks is not None or dataset.id.get_offset() != column.offset:
            yield f"column {place}{name} is not contiguous at byte {column.offset}"
    for name, inner in below.items():
        member = _own_member(group, name)
        if isinstance(member, h5py.Group):
            yield from _check_columns(member, inner, f"{place}{name}/")
            yield from _check_unknown(f"attributes of {name}", member.attrs, {})
        else:
            yield f"{place}{name} is no group"
    yield from _check_unknown("members", group, {**here, **below})


def _check_chunks(dataset: h5py.Dataset, column: ExpectedColumn) -> Iterator[str]:
    """Whether a compressed column is packed by deflate alone, in the chunks that are stated and no others."""
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    if column.chunk_shape is None or dataset.chunks != column.chunk_shape or filters != [h5py.h5z.FILTER_DEFLATE]:
        yield f"is not in chunks of {column.chunk_shape} packed by deflate alone"
        return
    if dataset.id.get_num_chunks() != len(column.chunks):
        yield f"has {dataset.id.get_num_chunks()} chunks, not {len(column.chunks)}"
        return
    for number, place in enumerate(column.chunks):
        begin = (number * column.chunk_shape[0], *(0 for _ in column.shape[1:]))
        found = dataset.id.get_chunk_info_by_coord(begin)
        if (found.byte_offset, found.size) != place or found.filter_mask:
            yield f"does not have its chunk {number} packed at byte {place[0]}, in {place[1]} bytes"


def _check_unknown(kind: str, found: Any, known: Any) -> Iterator[str]:
    """Members that the format does not know, or an unknown seed: Minari reads them, though no digest covers them."""
    strange = sorted(set(found.keys()) - set(known))[:5]
    if strange:
        yield f"holds {kind} that do not belong there: {strange}"


def _attribute(group: h5py.Group, name: str) -> Any:
    """A plain scalar attribute; None for anything else, since HDF5 hangs or crashes on reading what is no real type."""
    if name not in group.attrs:
        return None
    attribute = group.attrs.get_id(name)
    kind = attribute.get_type()
    plain = isinstance(kind, h5py.h5t.TypeStringID) or kind in (h5py.h5t.STD_I64LE, h5py.h5t.STD_U64LE)
    return group.attrs[name] if attribute.shape == () and plain else None


def _own_member(group: Any, name: str) -> object:
    """A member that lies in this file; None for links, which may lead anywhere."""
    return group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
