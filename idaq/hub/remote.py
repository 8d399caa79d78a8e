"""What a hub must be able to do.

Paths are relative to the hub, POSIX, and begin with a dataset's id: `idaq/point-robot/expert-v0/data/metadata.json`.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from idaq.core.errors import UsageError
from idaq.core.types import Advance
from idaq.format import layout

RESUME_HINT = "run the same command again: it resumes"
METADATA_PATH = f"data/{layout.METADATA}"
MANIFEST_PATH = f"data/{layout.MANIFEST}"
NAMESPACE_METADATA = layout.NAMESPACE
INDEX = "datasets.json"
"""a list of ids at the root of a hub, for HTTP, which cannot list files; push writes it"""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A local file and where it goes."""

    source: Path
    path: str
    size: int
    sha256: str


class Remote(Protocol):
    """A place that holds datasets. Every method raises TransferError where trying again may help, else ShareError."""

    @property
    def url(self) -> str:
        """For messages: without credentials."""
        ...

    @property
    def login(self) -> str:
        """How a person gives credentials."""
        ...

    def dataset_ids(self) -> list[str]:
        """Ids of all datasets here, whoever wrote them. Untrusted text: nothing is checked."""
        ...

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is no such file."""
        ...

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop), never more."""
        ...

    def alone(self, dataset_id: str) -> AbstractContextManager[None]:
        """Held over a push: keeps a second one of this id away, where the place has locks."""
        ...

    def upload(self, dataset_id: str, files: Sequence[Upload], progress: Advance) -> None:
        """Send the files in their order, the last of which makes the dataset visible; skip those already there."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class Addressed(Protocol):
    """A hub whose files have addresses on the web, as a Croissant file states them. A `Remote` may be one."""

    def addresses(self, dataset_id: str) -> tuple[str, str]:
        """Of the page that shows a dataset, and of the folder that holds its files."""
        ...


def hide_credentials(text: object) -> str:
    """Text without what a URL may hide: `user:password@` and signed queries."""
    bare = re.sub(r"(?<=://)[^/\s]*@", "", str(text))
    return re.sub(r"(://[^\s?]+)\?\S*", r"\1", bare)


def refuse_revision(url: str, revision: str | None) -> None:
    """For hubs that keep no revisions. Raises UsageError if one is asked for."""
    if revision is not None:
        raise UsageError(f"{url.partition('://')[0]}:// knows no revisions", hint="--revision is for hf://")


def namespaces_of(dataset_id: str) -> list[str]:
    """The folders above a dataset, outermost first: `a/b/c-v0` gives `a` and `a/b`."""
    parts = dataset_id.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
