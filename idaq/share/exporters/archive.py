"""NumPy archives, written a column at a time and without pickle; what both kinds of them say of episodes. M episodes.

Arrays (M,) beside the transitions, one entry an episode, in order: `episode_length`, `episode_task_index`,
`episode_behaviour`, `episode_seed` and `episode_success` with `episode_seed_known` and `episode_success_known` (False:
the entry says nothing), `episode_history` and `episode_policy_step` (-1 where there is none). And `idaq`, one JSON
text: the dataset's manifest, metadata and tasks, and how each column is called here.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from idaq.core.types import Array
from idaq.format.reader import StoredDataset
from idaq.share.exporting import Names, document_of, new_file

DOCUMENT = "idaq"
_FACTS = (
    "length",
    "task_index",
    "behaviour",
    "seed",
    "seed_known",
    "success",
    "success_known",
    "history",
    "policy_step",
)
FACTS = tuple(f"episode_{name}" for name in _FACTS)


class Archive:
    """A `.npz` file that is being written."""

    def __init__(self, members: ZipFile) -> None:
        self._members = members

    def add(self, name: str, array: Array) -> None:
        """One whole array."""
        self.add_rows(name, array.dtype, array.shape, [array])

    def add_rows(self, name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...], parts: Iterable[Array]) -> None:
        """An array of this dtype and shape, its rows in `parts`, of which one is in memory at a time."""
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        with self._members.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for part in parts:
                member.write(np.ascontiguousarray(part, dtype).tobytes())


@contextmanager
def new_archive(target: Path) -> Iterator[Archive]:
    """A `.npz` that appears whole or not at all. Raises DatasetExistsError if `target` is there already."""
    with new_file(target) as temporary, ZipFile(temporary, "w", allowZip64=True) as members:
        yield Archive(members)


def add_facts(archive: Archive, stored: StoredDataset, form: str, names: Names) -> None:
    """What the docstring of this module lists."""
    for name in _FACTS:
        archive.add(f"episode_{name}", getattr(stored.episodes, name))
    archive.add(DOCUMENT, np.array(json.dumps(document_of(stored, form, names), allow_nan=False)))
