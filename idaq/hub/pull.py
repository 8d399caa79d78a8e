"""Pull: into a hidden folder, every byte checked, then one rename. Interrupted, it resumes where it stopped."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetExistsError, ShareError
from idaq.core.files import inside, sha256_file, write_bytes
from idaq.core.ids import dataset_path, datasets_root
from idaq.core.types import Advance, ShowProgress, show_nothing
from idaq.format import layout
from idaq.format.documents import FileRecord
from idaq.format.lock import locked
from idaq.format.reader import read_manifest, read_metadata
from idaq.format.verify import check_valid
from idaq.format.writer import publish
from idaq.hub.fetch import fetch_document, fetch_extents, retry
from idaq.hub.lookup import RemoteDataset, write_documents
from idaq.hub.remote import RESUME_HINT

_RESERVE = 1 << 20
"""bytes of disk for documents and folders"""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What a pull came to."""

    dataset_id: str
    path: Path
    content_digest: str
    existed: bool
    """it was here already, with this very content"""


def pull(found: RemoteDataset, root: str | Path | None = None, show: ShowProgress = show_nothing) -> Pulled:
    """Fetch a whole dataset to `<root>/<id>`, visible only once every byte has been checked.

    Raises DatasetExistsError if the id is taken by other content, DatasetLockedError while another process writes it,
    CorruptDatasetError if what came is not what the manifest states, ShareError if the hub cannot be read or the disk
    is too small, OSError where it is full.
    """
    target, digest = dataset_path(found.dataset_id, root), found.manifest.content_digest
    with partial_folder(found, found.dataset_id, "whole", root) as folder:
        existed = is_pulled(target, digest)
        if not existed:
            _check_room(folder, found.manifest.files)
            write_documents(folder, found.documents)
            with show(f"pulling {found.dataset_id}", found.size, "bytes") as advance:
                for record in found.manifest.files:
                    fetch_file(found, record, folder, advance)
            fetch_card(found, folder)
            check_pulled(folder, found.remote.url)
            publish(folder, datasets_root(root), found.dataset_id)
    return Pulled(dataset_id=found.dataset_id, path=target, content_digest=digest, existed=existed)


@contextmanager
def partial_folder(found: RemoteDataset, dataset_id: str, part: str, root: str | Path | None) -> Iterator[Path]:
    """A hidden folder for what comes, ending in the id; kept on an error, removed when all went well.

    Its name holds the manifest's hash, so that what was left behind is never continued with other content. Holds the
    lock of the id.
    """
    base = datasets_root(root) / ".idaq" / "pull" / dataset_id.replace("/", "--")
    with locked(datasets_root(root), dataset_id, f"pull from {found.remote.url}"):
        key = str(found.metadata["idaq"]["manifest_sha256"])[:16]
        folder = base / f"{key}-{part}.partial" / dataset_id
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield folder
        except DatasetExistsError:  # what came is of no use
            shutil.rmtree(base)
            raise
        shutil.rmtree(base)


def fetch_file(found: RemoteDataset, record: FileRecord, folder: Path, advance: Advance) -> None:
    """Fetch one file of the manifest and check its hash. What an earlier run left is kept unless the hash differs.

    Raises CorruptDatasetError where size or hash are not those of the manifest, ShareError if the hub cannot be read.
    """
    remote, path = found.remote, found.path(f"data/{record.path}")
    size = retry(lambda: remote.size(path))
    if size != record.size:
        there = "is missing" if size is None else f"has {size} bytes"
        raise CorruptDatasetError(
            f"{remote.url}/{path} {there}, its manifest says {record.size}", hint="tell whoever pushed it"
        )
    target = inside(layout.data_folder(folder), record.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    resumed = target.exists()
    fetch_extents(remote, path, [(0, record.size)], target, advance)
    if target.stat().st_size == record.size and sha256_file(target) == record.sha256:
        return
    target.unlink()
    if resumed:  # a power cut may have left anything
        advance(-record.size)
        return fetch_file(found, record, folder, advance)
    raise CorruptDatasetError(
        f"{remote.url}/{path} has another sha256 than its manifest says; what came was thrown away",
        hint="try again; if that fails too, tell whoever pushed it",
    )


def fetch_card(found: RemoteDataset, folder: Path) -> str:
    """The dataset card, which has no hash and may be missing."""
    card = fetch_document(found.remote, found.path(layout.CARD))
    if card is not None:
        write_bytes(folder / layout.CARD, card)
    return (card or b"").decode(errors="replace")


def is_pulled(target: Path, content_digest: str) -> bool:
    """Whether a dataset of this content stands at `target`. Raises DatasetExistsError if anything else does."""
    if not target.exists():
        return False
    try:
        here = read_manifest(target, read_metadata(target)).content_digest
    except DatasetError as error:
        here = f"unknown: {error.message}"
    if here != content_digest:
        raise DatasetExistsError(
            f"{target} exists already, with another content (digest {here})",
            hint=f"remove it, rm -r {target}, or pull into another --root",
        )
    return True


def check_pulled(folder: Path, source: str) -> None:
    """Check a dataset completely. Raises CorruptDatasetError, having thrown away what came."""
    try:
        check_valid(folder, f"what came from {source} is corrupt")
    except CorruptDatasetError as error:
        shutil.rmtree(folder)
        raise CorruptDatasetError(error.message, hint="tell whoever pushed it") from None


def _check_room(folder: Path, files: list[FileRecord]) -> None:
    """Say at once that the disk is too small, rather than after hours."""
    paths = [(inside(layout.data_folder(folder), record.path), record.size) for record in files]
    missing = sum(size - (path.stat().st_size if path.exists() else 0) for path, size in paths) + _RESERVE
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise ShareError(
            f"{missing / 1e6:.0f} MB are to come, the disk of {folder} has room for {free / 1e6:.0f} MB",
            hint=f"free some space or choose another --root; {RESUME_HINT}",
        )
