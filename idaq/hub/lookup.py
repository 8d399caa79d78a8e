"""Opens hubs and reads what they hold, from documents alone: no data is transferred.

with open_remote("hf://me") as remote:
    found = look_up(remote, "idaq/point-robot/expert-v0")
    pull(found, root)
"""

import inspect
import re
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from idaq.core.errors import (
    CorruptDatasetError,
    DatasetError,
    DatasetNotFoundError,
    IdaqError,
    PluginError,
    ShareError,
    TransferError,
    UsageError,
)
from idaq.core.files import parse_json, write_bytes
from idaq.core.ids import parse_id
from idaq.core.registry import Registry, missing_members
from idaq.core.text import shorten
from idaq.format import layout
from idaq.format.documents import FileRecord, Manifest
from idaq.format.reader import read_manifest, read_metadata
from idaq.hub.fetch import fetch_document, retry
from idaq.hub.remote import MANIFEST_PATH, METADATA_PATH, Remote, hide_credentials

_EXAMPLES = "hf://user, s3://bucket/folder, gs://bucket/folder, https://host/folder, file:///folder"
_ANY_OTHER = "fsspec"
_LONGEST_TIMEOUT = 86_400
"""seconds of silence"""
_LISTING_THREADS, _LONGEST_LISTING = 8, 10_000


@dataclass(frozen=True, kw_only=True)
class RemoteDataset:
    """A dataset of format 1 on a hub, by its documents, which agree with each other."""

    remote: Remote
    dataset_id: str
    manifest: Manifest
    metadata: dict[str, Any]
    documents: dict[str, bytes]
    """metadata.json and manifest.json as they are there, by path below the dataset"""

    @property
    def size(self) -> int:
        """Bytes of the files the manifest names."""
        return sum(record.size for record in self.manifest.files)

    def record(self, name: str) -> FileRecord:
        """What the manifest states of a file: size and sha256."""
        return next(record for record in self.manifest.files if record.path == name)

    def path(self, below: str) -> str:
        """Where a file of the dataset is on the hub."""
        return f"{self.dataset_id}/{below}"


class RemoteFactory(Protocol):
    """Opens the hub at a URL: a class whose instances are remotes, or a function that returns one."""

    def __call__(self, url: str, *, revision: str | None, timeout: float) -> Remote:
        """The hub at `url`. `timeout`: seconds of silence that count as a stall; `revision`: of hubs that keep such.

        Raises UsageError for a URL or revision that it cannot use, ShareError where the hub cannot be reached.
        """
        ...


def _accept(_name: str, thing: object) -> RemoteFactory:
    if not callable(thing):
        raise TypeError("it cannot be called with a URL, a revision and a timeout")
    try:
        inspect.signature(thing).bind("", revision=None, timeout=0.0)
    except ValueError as error:  # what is written in C may have no signature
        raise TypeError(str(error)) from None
    return cast(RemoteFactory, thing)


# Each brings a large library along, so none is imported before it is asked for.
REMOTES = Registry[RemoteFactory](
    "hub",
    "idaq.remotes",
    {
        "hf": "idaq.hub.hugging_face:HfRemote",
        "http": "idaq.hub.http:HttpRemote",
        "https": "idaq.hub.http:HttpRemote",
        _ANY_OTHER: "idaq.hub.object_store:FsspecRemote",
    },
    _accept,
)
"""by the scheme of their URLs; `fsspec` for all other schemes, of which it knows s3, gs, file, memory and more"""


@contextmanager
def open_remote(
    url: str, *, remote: str | None = None, revision: str | None = None, timeout: float = 30.0
) -> Iterator[Remote]:
    """The hub at `url`, opened by the remote of that name, or else by the one for the URL's scheme.

    `timeout`: seconds of silence that count as a stall. `revision` pins a commit, tag or branch of hf:// hubs. Raises
    UsageError for a URL, name, revision or timeout that cannot be, PluginError for what is no remote, ShareError.
    """
    scheme, mark, _ = url.partition("://")
    if not mark or "::" in url:
        raise UsageError(f"{hide_credentials(url)!r} is not the URL of a hub", hint=f"for example {_EXAMPLES}")
    if not 0 < timeout <= _LONGEST_TIMEOUT:  # neither NaN nor infinity
        raise UsageError(f"a timeout of {timeout:g} s", hint=f"more than 0, at most {_LONGEST_TIMEOUT} seconds")
    name = remote or (scheme if scheme in REMOTES.names() else _ANY_OTHER)
    opened = REMOTES.get(name)(url, revision=revision, timeout=timeout)
    missing = missing_members(Remote, opened)
    if missing:
        raise PluginError(f"{name} gives no hub: what it opens has no {', '.join(missing)}")
    try:
        yield opened
    finally:
        opened.close()


def look_up(remote: Remote, dataset_id: str, *, expect: str | None = None) -> RemoteDataset:
    """A dataset's documents, checked against each other and, with `expect`, against that content digest.

    `expect` may be the digest's first twelve or more digits; what is pulled is then checked against the whole of it.
    Raises UsageError for what is no id, DatasetNotFoundError, FormatVersionError, CorruptDatasetError, ShareError.
    """
    name = str(parse_id(dataset_id))
    if expect is not None and not re.fullmatch(r"[0-9a-f]{12,64}", expect):
        raise UsageError(f"{expect[:80]!r} is no content digest", hint="64 hexadecimal digits, or the first 12 or more")
    metadata = fetch_document(remote, f"{name}/{METADATA_PATH}")
    if metadata is None:
        raise DatasetNotFoundError(
            f"there is no dataset {name} at {remote.url}",
            hint=f"idaq hub list {remote.url} shows what is there; if it is private, {remote.login}",
        )
    documents = {METADATA_PATH: metadata}
    manifest = fetch_document(remote, f"{name}/{MANIFEST_PATH}")
    if manifest is not None:
        documents[MANIFEST_PATH] = manifest
    place = f"{remote.url}/{name}"
    with tempfile.TemporaryDirectory() as folder:
        write_documents(Path(folder), documents)
        try:
            found = read_metadata(Path(folder))
            checked = read_manifest(Path(folder), found)
        except DatasetError as error:
            raise type(error)(
                error.message.replace(folder, place), hint=f"it cannot be used; is {remote.url} the right hub?"
            ) from None
    files = [record.path for record in checked.files]
    if checked.dataset_id != name or sorted(files) != sorted(layout.hashed_files(checked.columns)):
        raise CorruptDatasetError(f"{place}: its manifest is of {checked.dataset_id[:200]!r} and files {files}"[:500])
    if expect is not None and not checked.content_digest.startswith(expect):
        raise ShareError(
            f"{place} has content digest {checked.content_digest}, not {expect}: nothing was fetched",
            hint="it is other data than you expect: compare the digest with that of whoever made the dataset",
        )
    return RemoteDataset(remote=remote, dataset_id=name, manifest=checked, metadata=found, documents=documents)


def write_documents(dataset: Path, documents: dict[str, bytes]) -> None:
    """Put documents below a dataset folder."""
    for below, content in documents.items():
        (dataset / below).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(dataset / below, content)


@dataclass(frozen=True, kw_only=True)
class RemoteListing:
    """A dataset on a hub, by its metadata.json alone, of which nothing was checked."""

    dataset_id: str
    metadata: dict[str, Any]


def list_remote(remote: Remote) -> list[RemoteListing]:
    """All datasets of a hub, by id; one whose metadata.json is broken is skipped with a warning that names it."""
    ids = retry(remote.dataset_ids)
    listings = []
    with ThreadPoolExecutor(_LISTING_THREADS) as threads:
        for found in threads.map(lambda place: _listing(remote, place), sorted(set(ids))[:_LONGEST_LISTING]):
            if isinstance(found, RemoteListing):
                listings.append(found)
            else:
                warnings.warn(f"skipped {found}", stacklevel=2)
    if len(ids) > _LONGEST_LISTING:
        warnings.warn(f"{remote.url} names {len(ids)} datasets; looked at {_LONGEST_LISTING}", stacklevel=2)
    return listings


def _listing(remote: Remote, place: str) -> RemoteListing | str:
    """The dataset at a place, or what is wrong with it. Raises TransferError."""
    try:
        name = str(parse_id(place))
        metadata = parse_json((fetch_document(remote, f"{name}/{METADATA_PATH}") or b"").decode(), METADATA_PATH)
        stated = metadata.get("dataset_id") if isinstance(metadata, dict) else None
        if not isinstance(stated, str) or not f"/{name}".endswith(f"/{stated}"):  # hf://user/name puts a name before it
            raise CorruptDatasetError(f"its {METADATA_PATH} is of dataset {shorten(str(stated))!r}")
        return RemoteListing(dataset_id=str(parse_id(stated)), metadata=metadata)
    except TransferError:
        raise
    except (IdaqError, UnicodeDecodeError) as error:
        return f"{shorten(place)} at {remote.url}: {error.message if isinstance(error, IdaqError) else error}"
