"""Downloads that survive broken connections and kills: what is on disk is kept, the rest is requested by range."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from idaq.core.errors import ShareError, TransferError
from idaq.core.outside import raised_as
from idaq.core.reading import LARGEST_DOCUMENT
from idaq.core.types import Advance
from idaq.hub.remote import RESUME_HINT, Remote

T = TypeVar("T")
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""seconds before the second, third, ... try; any byte that comes resets the count"""


def retry(call: Callable[[], T]) -> T:
    """`call()`, tried again where that may help. Raises what the last try raised, ShareError where code fails."""
    for pause in PAUSES:
        try:
            with raised_as(ShareError, "the hub"):
                return call()
        except TransferError:
            time.sleep(pause)
    return call()


def stream(remote: Remote, path: str, start: int, stop: int) -> Iterator[bytes]:
    """The bytes [start, stop), over as many connections as it takes. Raises ShareError."""
    tries = 0
    while start < stop:
        try:
            for chunk in remote.read(path, start, stop):
                start += len(chunk)
                tries = 0
                yield chunk
            if start < stop:
                raise TransferError(f"{remote.url}/{path} ended {stop - start} bytes early", hint=RESUME_HINT)
        except TransferError:
            if tries == len(PAUSES):
                raise
            time.sleep(PAUSES[tries])
            tries += 1


def fetch_document(remote: Remote, path: str) -> bytes | None:
    """A small file whole; None if there is none. Raises ShareError, also where it is not small."""
    size = retry(lambda: remote.size(path))
    if size is not None and size > LARGEST_DOCUMENT:
        raise ShareError(
            f"{remote.url}/{path} has {size} bytes; such documents have at most {LARGEST_DOCUMENT}",
            hint="tell whoever runs the hub",
        )
    return None if size is None else b"".join(stream(remote, path, 0, size))


def fetch_extents(
    remote: Remote, path: str, extents: Iterable[tuple[int, int]], target: Path, progress: Advance
) -> None:
    """Copy rising [start, stop) extents of a remote file to the same places of `target`, which grows as they come.

    So the length of `target` says how far an earlier try came, and only the rest is requested.
    """
    with target.open("r+b" if target.exists() else "w+b") as file:
        have = file.seek(0, 2)
        for start, stop in extents:
            begin = min(max(start, have), stop)
            progress(begin - start)
            file.seek(begin)
            for chunk in stream(remote, path, begin, stop):
                file.write(chunk)
                progress(len(chunk))
