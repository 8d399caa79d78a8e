"""Which datasets are there: the folders below the root that Minari would list too."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idaq.core.errors import DatasetError, DatasetNotFoundError, unknown_name
from idaq.core.files import fsync_folder, inside, read_json
from idaq.core.ids import datasets_root
from idaq.format import layout
from idaq.format.lock import locked


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A dataset's identity, from its metadata.json alone."""

    dataset_id: str
    path: Path
    metadata: dict[str, Any]

    @property
    def by_idaq(self) -> bool:
        return "idaq" in self.metadata


def list_datasets(root: str | Path | None = None) -> list[Listing]:
    """All datasets below the root, by id. One that cannot be read is skipped with a warning that names it."""
    base = datasets_root(root)
    listings = []
    for path in sorted(_dataset_folders(base)) if base.is_dir() else []:
        try:
            metadata = read_json(layout.data_folder(path) / layout.METADATA)
            listings.append(Listing(dataset_id=str(metadata["dataset_id"]), path=path, metadata=metadata))
        except (DatasetError, KeyError, TypeError) as error:
            if not _holds_data(path):  # deleted since it was found
                continue
            warnings.warn(f"skipped {path}: {error}", stacklevel=2)
    return listings


def find_dataset(id_or_path: str | Path, root: str | Path | None = None) -> Path:
    """The folder of a dataset given its id or its path. Raises DatasetNotFoundError with near ids."""
    text = str(id_or_path)
    if isinstance(id_or_path, Path) or text.startswith(("/", ".", "~")):
        direct = Path(os.path.expanduser(text))
        if _holds_data(direct):
            return direct
        raise DatasetNotFoundError(f"there is no dataset at {direct}", hint="the folder that holds data/ is meant")
    base = datasets_root(root)
    # Ids of other makers may have no namespace, so only what cannot leave the root is asked of them.
    try:
        if _holds_data(inside(base, text)):
            return base / text
    except DatasetError:
        pass
    known = [listing.dataset_id for listing in list_datasets(root)]
    near = unknown_name("dataset", str(id_or_path), known).hint if known else None
    raise DatasetNotFoundError(
        f"there is no dataset {str(id_or_path)[:200]!r} in {base}", hint=near or "idaq collect point-robot makes one"
    )


def delete_dataset(path: Path, root: str | Path | None = None) -> None:
    """Remove a dataset: one rename takes it out of sight, whole, before anything is deleted.

    Raises DatasetNotFoundError if it is gone, DatasetLockedError while another process writes it.
    """
    path = path.absolute()
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
    base = datasets_root(root).absolute()
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


def _dataset_folders(folder: Path) -> Iterator[Path]:
    if layout.data_folder(folder).is_dir():
        yield folder
        return
    try:
        children = list(folder.iterdir())
    except FileNotFoundError:  # deleted since it was found
        return
    for child in children:
        if child.is_dir() and not child.name.startswith(".") and not child.is_symlink():
            yield from _dataset_folders(child)
