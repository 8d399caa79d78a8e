"""Exporters by name: each writes a dataset in the form that another library reads.

    from idaq.share.exporters import export

    export("idaq/point-robot/expert-v0", "point.parquet")          # by the ending of the file
    export("idaq/point-robot/expert-v0", "out", to="lerobot")      # by name, or package.module:thing

Those that ship are declared here and imported when they write, so that names, endings and help need no other library.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from idaq.core.errors import ShareError, UsageError, unknown_name
from idaq.core.notes import Notes
from idaq.core.outside import raised_as
from idaq.core.registry import Registry, accept_like, load_built_in
from idaq.core.types import REWARDS, Advance, ShowProgress, show_nothing

if TYPE_CHECKING:
    from idaq.format.documents import Counts
    from idaq.format.reader import StoredDataset


class Exporter(Protocol):
    """One way to write a dataset. A class that has these members is an exporter too: it is called without arguments."""

    @property
    def description(self) -> str:
        """What it writes, in one line."""
        ...

    @property
    def ending(self) -> str:
        """The ending of OUT that chooses this exporter, such as `.npz`; empty if none does."""
        ...

    @property
    def is_folder(self) -> bool:
        """Whether it writes a folder rather than a file."""
        ...

    @property
    def takes_urls(self) -> bool:
        """Whether OUT may be a URL."""
        ...

    def write(self, stored: "StoredDataset", out: str, progress: Advance) -> Iterable[str] | None:
        """Write every transition to `out`, which appears whole or not at all. `progress` counts episodes.

        Returns a note for each kind of thing that `out` does not hold, or holds otherwise; none if all is there.
        Raises DatasetExistsError if `out` exists: an export overwrites nothing.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class BuiltInExporter:
    """An exporter that ships: `function` is imported when it writes, and gets `options` besides."""

    description: str
    function: str
    ending: str = ""
    is_folder: bool = False
    takes_urls: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def write(self, stored: "StoredDataset", out: str, progress: Advance) -> Iterable[str]:
        """As `Exporter.write`."""
        write = load_built_in(self.function)
        found = write(stored, out if self.takes_urls else Path(out), progress=progress, **self.options)
        return found if isinstance(found, Notes) else ()


BUILT_IN = {
    "npz": BuiltInExporter(
        description="one NumPy archive, a row a transition",
        function="idaq.share.exporters.npz:export_npz",
        ending=".npz",
    ),
    "ogbench": BuiltInExporter(
        description="one .npz that ogbench.load_dataset reads, T + 1 rows an episode",
        function="idaq.share.exporters.ogbench:export_ogbench",
    ),
    "parquet": BuiltInExporter(
        description="one Parquet file, a row a transition: pandas, Polars, DuckDB",
        function="idaq.share.exporters.parquet:export_parquet",
        ending=".parquet",
    ),
    "zarr": BuiltInExporter(
        description="Zarr 3, which idaq streams from any store; OUT may be a URL",
        function="idaq.format.zarr.transfer:export_zarr",
        ending=".zarr",
        is_folder=True,
        takes_urls=True,
    ),
    "minari-per-task": BuiltInExporter(
        description="a Minari dataset for each task, below the datasets root OUT",
        function="idaq.share.exporters.minari_per_task:export_minari_per_task",
        is_folder=True,
    ),
    "focal-npy": BuiltInExporter(
        description="goal_idx<k>/trj_*.npy of the FOCAL family, rows as plain numbers",
        function="idaq.share.exporters.focal_npy:export_focal_npy",
        is_folder=True,
    ),
    "focal-npy-objects": BuiltInExporter(
        description="the same with rows as objects, for loaders that unpickle",
        function="idaq.share.exporters.focal_npy:export_focal_npy",
        is_folder=True,
        options={"rows": "objects"},
    ),
    "lerobot": BuiltInExporter(
        description="LeRobot v3", function="idaq.share.exporters.lerobot:export_lerobot", is_folder=True
    ),
    "rlds": BuiltInExporter(
        description="RLDS, in TensorFlow Datasets' files",
        function="idaq.share.exporters.rlds:export_rlds",
        is_folder=True,
    ),
}  # fmt: skip
EXPORTERS = Registry[Exporter]("exporter", "idaq.exporters", BUILT_IN, accept_like(Exporter))


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote."""

    out: str
    to: str
    """name of the exporter"""
    counts: "Counts"
    notes: list[str]
    """what of the dataset it does not hold, or holds otherwise, with counts"""


def export(
    dataset: "StoredDataset | str | Path",
    out: str | Path,
    to: str | None = None,
    *,
    root: str | Path | None = None,
    show: ShowProgress = show_nothing,
) -> Exported:
    """Write a dataset, by its id or path, to `out` by the exporter `to`; without `to`, the ending of `out` chooses it.

    Raises UsageError for an exporter that there is not, or one that does not take a URL, DatasetNotFoundError,
    DatasetExistsError if `out` exists, and what else the exporter raises.
    """
    from idaq.format.reader import StoredDataset, open_stored
    from idaq.format.store import find_dataset

    place = os.path.expanduser(out)
    name = to or _name_by_ending(place)
    exporter = EXPORTERS.get(name)
    if "://" in place and not exporter.takes_urls:
        raise UsageError(f"{place} is a URL, which {name} does not write to", hint="idaq hub push sends a dataset")
    stored = dataset if isinstance(dataset, StoredDataset) else open_stored(find_dataset(dataset, root))
    showing = show(f"exporting {stored.manifest.dataset_id}", len(stored.episodes), "episodes")
    with raised_as(ShareError, f"exporter {name}"), showing as advance:
        notes = [*_unknown_rewards(stored), *(exporter.write(stored, place, advance) or ())]
    return Exported(out=place, to=name, counts=stored.manifest.counts, notes=notes)


def _unknown_rewards(stored: "StoredDataset") -> Notes:
    notes = Notes()
    if not stored.manifest.columns[REWARDS].known:
        said = "rewards are not known: each is written as 0, which another reader takes for one"
        notes.add(stored.manifest.dataset_id, said, stored.manifest.counts.steps)
    return notes


def _name_by_ending(out: str) -> str:
    """The exporter whose ending `out` has. Raises UsageError with the nearest endings."""
    ending = Path(out.rstrip("/")).suffix
    known: list[str] = []
    for name in EXPORTERS.names():  # built in first: another package is imported only where none of them fits
        its = EXPORTERS.get(name).ending
        if ending and its == ending:
            return name
        known += [its] if its else []
    if ending:
        error = unknown_name("ending of an export", ending, known)
        raise type(error)(error.message, hint=f"{error.hint} Or --to NAME: idaq dataset export --help lists them")
    raise UsageError(
        f"what is to be written to {out}?",
        hint=f"an ending ({', '.join(known)}) or --to NAME: idaq dataset export --help lists them",
    )
