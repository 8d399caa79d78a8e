"""Push: a verified dataset goes up, the file that makes it visible last."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetExistsError, DatasetNotFoundError
from idaq.core.extras import optional
from idaq.core.files import sha256_file
from idaq.core.types import ShowProgress, show_nothing
from idaq.format import layout
from idaq.format.croissant import Published
from idaq.format.published import published_files
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.recipe import attribution_notes
from idaq.format.verify import verify
from idaq.hub.fetch import fetch_document, retry
from idaq.hub.lookup import RemoteDataset, look_up
from idaq.hub.remote import METADATA_PATH, Addressed, Remote, Upload


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a push came to."""

    dataset_id: str
    url: str
    content_digest: str
    existed: bool
    """it was there already, with this very content: nothing was sent"""
    notes: tuple[str, ...] = ()
    """what those who pull it cannot know: authors or licence"""


def push(path: str | Path, remote: Remote, show: ShowProgress = show_nothing) -> Pushed:
    """Send the dataset in folder `path` to a hub; beside it its card, a table of its tasks, and its Croissant file.

    To a store without locks, two pushes of one id are yours to avoid.

    Raises CorruptDatasetError if it does not verify, DatasetExistsError if the hub holds other content under its id,
    DatasetLockedError while another process writes that, ShareError if the hub cannot be written, MissingExtraError
    without mlcroissant.
    """
    path = Path(path).expanduser()
    stored = open_stored(path)
    dataset_id = stored.manifest.dataset_id
    optional("mlcroissant")  # it may be missing, and verifying may take long
    with show(f"verifying {dataset_id}", 2 * len(stored.episodes), "episodes") as advance:
        problems = verify(path, advance)
    if problems:
        raise CorruptDatasetError(
            f"{path} is damaged and was not sent: {problems[0]}", hint=f"idaq dataset verify {path} lists all problems"
        )
    with remote.alone(dataset_id), TemporaryDirectory() as folder:
        existed = _is_there(remote, stored)
        if not existed:
            for name, content in published_files(stored, _published(remote, dataset_id)).items():
                (Path(folder) / name).write_bytes(content)
            files = _uploads(stored, Path(folder))
            with show(f"pushing {dataset_id}", sum(file.size for file in files), "bytes") as advance:
                remote.upload(dataset_id, files, advance)
    return Pushed(
        dataset_id=dataset_id,
        url=remote.url,
        content_digest=stored.manifest.content_digest,
        existed=existed,
        notes=tuple(attribution_notes(stored.manifest.recipe)),
    )


def _published(remote: Remote, dataset_id: str) -> Published:
    """Where and when: the addresses are left out where a hub is none that browsers open."""
    page, files = remote.addresses(dataset_id) if isinstance(remote, Addressed) else (None, None)
    return Published(page=page, files=files, when=datetime.now(UTC).date())


def _uploads(stored: StoredDataset, beside: Path) -> list[Upload]:
    """All files, metadata.json last: without it there is no dataset, neither for us nor for Minari."""
    data = layout.data_folder(Path()).as_posix()
    names = [
        f"{data}/{name}" for name in (*layout.hashed_files(stored.manifest.columns), layout.MANIFEST, layout.METADATA)
    ]
    files = [(path.name, path) for path in sorted(beside.iterdir())] + [(name, stored.path / name) for name in names]
    return [
        Upload(
            source=source,
            path=f"{stored.manifest.dataset_id}/{name}",
            size=source.stat().st_size,
            sha256=sha256_file(source),
        )
        for name, source in files
    ]


def _is_there(remote: Remote, stored: StoredDataset) -> bool:
    """Whether the hub holds this content whole. Raises DatasetExistsError if it holds any other under this id."""
    dataset_id = stored.manifest.dataset_id
    taken = f"{dataset_id} is already at {remote.url}, and what was published does not change"
    hint = "collect it under another version: idaq collect ... --set id=..., with a higher number behind -v"
    try:
        there = look_up(remote, dataset_id)
    except DatasetNotFoundError:
        return False
    except DatasetError as error:
        if _is_cut_off(remote, stored):
            return False
        raise DatasetExistsError(f"{taken}; but it is corrupt there: {error.message}", hint=hint) from None
    if there.manifest.content_digest != stored.manifest.content_digest:
        raise DatasetExistsError(
            f"{taken}: its content digest is {there.manifest.content_digest}, not {stored.manifest.content_digest}",
            hint=hint,
        )
    return _is_whole(there)


def _is_whole(there: RemoteDataset) -> bool:
    remote = there.remote
    sizes = [retry(lambda r=r: remote.size(there.path(f"data/{r.path}"))) for r in there.manifest.files]
    return sizes == [record.size for record in there.manifest.files]


def _is_cut_off(remote: Remote, stored: StoredDataset) -> bool:
    """Whether what is there is the beginning of our own metadata.json, as a store without atomic writes may show."""
    content = fetch_document(remote, f"{stored.manifest.dataset_id}/{METADATA_PATH}") or b""
    return (stored.path / METADATA_PATH).read_bytes().startswith(content)
