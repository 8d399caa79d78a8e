"""Writes the groups of episodes through h5py's low-level interface: the same bytes in a third of the time.

What h5py's own objects prepare anew for each of the five datasets and six attributes of an episode (types, spaces,
property lists) is prepared once here. See `h5py/_hl/dataset.py` and `attrs.py` for what they do.
"""

from collections.abc import Mapping

import h5py
import numpy as np

from idaq.core.digest import little_endian
from idaq.core.types import Array
from idaq.format.layout import ALIGNMENT
from idaq.format.output import Output

_TEXT = h5py.string_dtype()
_MOST_SPACES = 1000
"""kept at once: episodes may be of any number of lengths"""


def open_hdf5(output: Output) -> h5py.File:
    """A new file, whose every object begins at a multiple of 64 bytes."""
    return h5py.File(output, "w", alignment_threshold=1, alignment_interval=ALIGNMENT, fs_strategy="none")


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

    def add(self, name: str, attributes: Mapping[str, int | str], columns: Mapping[str, Array]) -> dict[str, int]:
        """Write one group; returns each column's byte offset in the file. `seed` is stored unsigned."""
        group = h5py.h5g.create(self._root, name.encode(), lcpl=self._link, gcpl=self._group)
        for key, value in attributes.items():
            kind = _TEXT if isinstance(value, str) else np.dtype(np.uint64 if key == "seed" else np.int64)
            logical, stored = self._type(kind)
            h5py.h5a.create(group, key.encode(), logical, self._space(())).write(np.array(value, kind), mtype=stored)
        offsets = {}
        for key, column in columns.items():
            array = little_endian(column)
            logical, stored = self._type(array.dtype)
            made = h5py.h5d.create(
                group, key.encode(), logical, self._space(array.shape), self._dataset, lcpl=self._link
            )
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, array, stored)
            offsets[key] = made.get_offset()
        return offsets

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
