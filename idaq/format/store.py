"""Which datasets are there: the folders below the root that Minari would list too."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from idaq.core.errors import DatasetError, DatasetNotFoundError, unknown_name
from idaq.core.files import below, fsync_folder, read_json
from idaq.core.ids import datasets_root, parse_id
from idaq.core.text import shorten
from idaq.format import layout
from idaq.format.lock import locked
from idaq.format.reader import read_metadata

_DEEPEST, _MOST_LINKS = 16, 2
"""folders above a dataset, of which ids of ours have eight at most, and links among them"""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A dataset's identity, from its metadata.json alone."""

    dataset_id: str
    path: Path
    metadata: dict[str, Any]

    @property
    def by_idaq(self) -> bool:
        """Whether idaq wrote it."""
        return "idaq" in self.metadata


def list_datasets(root: str | Path | None = None) -> list[Listing]:
    """All datasets below the root, by id; links to folders are followed as Minari does, each folder once.

    One that cannot be read is skipped with a warning that names it.
    """
    base = datasets_root(root)
    listings = []
    for path in sorted(_dataset_folders(base)):
        try:
            listings.append(_listing(base, path))
        except DatasetError as error:
            if not _holds_data(path):  # deleted since it was found
                continue
            warnings.warn(f"skipped {path}: {error.message}", stacklevel=2)
    return listings


def _listing(base: Path, path: Path) -> Listing:
    metadata, name = read_metadata(path), path.relative_to(base).as_posix()
    if metadata.get("dataset_id") != name:
        stated = shorten(str(metadata.get("dataset_id")))
        raise DatasetError(f"its metadata.json is of dataset {stated!r}, its folder is that of {name!r}")
    return Listing(dataset_id=name, path=path, metadata=metadata)


def find_dataset(id_or_path: str | Path, root: str | Path | None = None) -> Path:
    """The folder of a dataset given its id or its path. Raises DatasetNotFoundError with near ids."""
    text = str(id_or_path)
    if isinstance(id_or_path, Path) or text.startswith(("/", ".", "~")):
        direct = Path(os.path.expanduser(text))
        if _holds_data(direct):
            return direct
        raise DatasetNotFoundError(f"there is no dataset at {direct}", hint="the folder that holds data/ is meant")
    base = datasets_root(root)
    # Ids of plain Minari datasets may have no namespace; links in the user's own root are followed, as Minari does.
    try:
        if _holds_data(below(base, text)):
            return base / text
    except DatasetError:
        pass
    known = [listing.dataset_id for listing in list_datasets(root)]
    near = unknown_name("dataset", str(id_or_path), known).hint if known else None
    raise DatasetNotFoundError(
        f"there is no dataset {str(id_or_path)[:200]!r} in {base}", hint=near or "idaq collect point-robot makes one"
    )


def next_version(dataset_id: str, root: str | Path | None = None) -> str:
    """The id of the lowest version above a dataset's for which there is none: me/x-v2 of me/x-v0, where v1 is there."""
    parsed, base = parse_id(dataset_id), datasets_root(root)
    versions = (replace(parsed, version=number) for number in count(parsed.version + 1))
    return next(str(one) for one in versions if not (base / str(one)).exists())


def delete_dataset(path: Path, root: str | Path | None = None) -> None:
    """Remove a dataset: one rename takes it out of sight, whole, before anything is deleted. Of a link, the link.

    Raises DatasetNotFoundError if it is gone, DatasetLockedError while another process writes it.
    """
    path = path.parent.resolve() / path.name  # where its namespace is a link, on the disk that holds it
    if path.is_symlink():
        path.unlink()
        return
    if not _holds_data(path):
        raise DatasetNotFoundError(f"there is no dataset at {path}")
    base = _root_of(path, root)
    with locked(base, path.relative_to(base).as_posix(), "deletion") as work:
        try:
            path.rename(work / "deleted")
        except FileNotFoundError:
            raise DatasetNotFoundError(f"there is no dataset at {path}") from None
        fsync_folder(path.parent)


def _root_of(path: Path, root: str | Path | None) -> Path:
    """The root that a dataset lies below: `root`, or what stands before its id, or the folder it is in."""
    base = datasets_root(root).resolve()
    if base in path.parents:
        return base
    try:
        name = Path(str(read_json(layout.data_folder(path) / layout.METADATA)["dataset_id"]))
    except (DatasetError, KeyError, TypeError):
        return path.parent
    return path.parents[len(name.parts) - 1] if path.parts[-len(name.parts) :] == name.parts else path.parent


def _holds_data(path: Path) -> bool:
    try:
        return layout.data_folder(path).is_dir()
    except OSError:  # a name too long, a folder that is not ours to look into
        return False


def _dataset_folders(base: Path) -> Iterator[Path]:
    """The dataset folders below `base`, links to folders followed, two on one way at most and never in a circle."""
    waiting = [(base, 0, frozenset[str]())]
    while waiting:
        folder, links, above = waiting.pop()
        if folder != base and _holds_data(folder):
            yield folder
        elif links <= _MOST_LINKS and (here := os.path.realpath(folder)) not in above and len(above) <= _DEEPEST:
            waiting += [(child, links + child.is_symlink(), above | {here}) for child in _children(folder)]


def _children(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if not child.name.startswith(".") and child.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        warnings.warn(f"skipped {folder}: it cannot be read: {error.strerror}", stacklevel=2)
        return []
