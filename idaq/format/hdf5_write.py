"""Writes the groups of episodes through h5py's low-level interface: the same bytes in a third of the time.

What h5py's own objects prepare anew for each of the five datasets and six attributes of an episode (types, spaces,
property lists) is prepared once here. See `h5py/_hl/dataset.py` and `attrs.py` for what they do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import h5py
import numpy as np

from idaq.core.digest import little_endian
from idaq.core.types import Array
from idaq.format.layout import ALIGNMENT
from idaq.format.output import Output

Chunk = tuple[int, int]
"""the first byte of a chunk in the file, and how many it has"""
_TEXT = h5py.string_dtype()
_MOST_SPACES = 1000
"""kept at once: episodes may be of any number of lengths"""


def open_hdf5(output: Output) -> h5py.File:
    """A new file, whose every object begins at a multiple of 64 bytes."""
    return h5py.File(output, "w", alignment_threshold=1, alignment_interval=ALIGNMENT, fs_strategy="none")


@dataclass(frozen=True)
class Written:
    """Where the columns of an episode lie, by name."""

    offsets: dict[str, int] = field(default_factory=dict)
    chunks: dict[str, list[Chunk]] = field(default_factory=dict)
    """of the compressed ones"""


class EpisodeGroups:
    """Adds groups to the root of a file."""

    def __init__(self, file: h5py.File) -> None:
        self._root = file.id
        self._group, self._dataset, self._link = (
            h5py.h5p.create(kind) for kind in (h5py.h5p.GROUP_CREATE, h5py.h5p.DATASET_CREATE, h5py.h5p.LINK_CREATE)
        )
        self._group.set_obj_track_times(False)
        self._dataset.set_obj_track_times(False)
        self._link.set_create_intermediate_group(True)
        self._link.set_char_encoding(h5py.h5t.CSET_ASCII)
        self._types: dict[np.dtype, tuple[h5py.h5t.TypeID, h5py.h5t.TypeID]] = {}
        self._spaces: dict[tuple[int, ...], h5py.h5s.SpaceID] = {}

    def add(
        self,
        name: str,
        attributes: Mapping[str, int | str],
        columns: Mapping[str, Array],
        chunk_rows: Mapping[str, int],
    ) -> Written:
        """Write one group; `seed` is stored unsigned. Columns that have `chunk_rows` are compressed."""
        group = h5py.h5g.create(self._root, name.encode(), lcpl=self._link, gcpl=self._group)
        for key, value in attributes.items():
            kind = _TEXT if isinstance(value, str) else np.dtype(np.uint64 if key == "seed" else np.int64)
            logical, stored = self._type(kind)
            h5py.h5a.create(group, key.encode(), logical, self._space(())).write(np.array(value, kind), mtype=stored)
        written = Written()
        for key, column in columns.items():
            array = little_endian(column)
            if key in chunk_rows:
                written.chunks[key] = _write_chunks(h5py.Group(group), key, array, chunk_rows[key])
                continue
            logical, stored = self._type(array.dtype)
            made = h5py.h5d.create(
                group, key.encode(), logical, self._space(array.shape), self._dataset, lcpl=self._link
            )
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, array, stored)
            written.offsets[key] = made.get_offset()
        return written

    def _type(self, dtype: np.dtype) -> tuple[h5py.h5t.TypeID, h5py.h5t.TypeID]:
        """As the file states it, and as the numbers lie in memory."""
        if dtype not in self._types:
            self._types[dtype] = h5py.h5t.py_create(dtype, logical=True), h5py.h5t.py_create(dtype)
        return self._types[dtype]

    def _space(self, shape: tuple[int, ...]) -> h5py.h5s.SpaceID:
        if shape not in self._spaces:
            if len(self._spaces) == _MOST_SPACES:
                self._spaces.clear()
            self._spaces[shape] = h5py.h5s.create_simple(shape)
        return self._spaces[shape]


def _write_chunks(group: h5py.Group, name: str, values: Array, chunk_rows: int) -> list[Chunk]:
    """A compressed column; returns its chunks in order. HDF5 wants no chunk longer than the column."""
    rows = min(chunk_rows, len(values))
    dataset = group.create_dataset(name, data=values, chunks=(rows, *values.shape[1:]), compression="gzip")
    rest = (0,) * (values.ndim - 1)
    chunks = [dataset.id.get_chunk_info_by_coord((row, *rest)) for row in range(0, len(values), rows)]
    assert not any(chunk.filter_mask for chunk in chunks), "HDF5 left a chunk unpacked"
    return [(chunk.byte_offset, chunk.size) for chunk in chunks]
