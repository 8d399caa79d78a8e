"""One writer an id at a time: whatever makes or removes a dataset holds the lock of its id while it does.

<root>/.idaq/<id>.lock          held by a kernel lock, which ends with its process; the file itself stays
<root>/.idaq/building/<id>/     unfinished work of the holder, and who that is; what a killed one left, the next removes
"""

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from idaq.core.errors import DatasetLockedError
from idaq.core.files import inside, naming, remove

PATIENCE = 10.0
"""seconds that a writer waits for another of the same id"""
_HOLDER = "holder.txt"


@contextmanager
def locked(root: Path, dataset_id: str, what: str, patience: float | None = None) -> Iterator[Path]:
    """Hold the lock of an id; yields an empty folder for unfinished work, removed at the end.

    A thread that holds it may take it again. `what` says in messages what the holder does. Raises
    DatasetLockedError after `patience` seconds (default PATIENCE), DatasetError where <root>/.idaq leads elsewhere,
    OSError where nothing can be written.
    """
    name = dataset_id.replace("/", "--")
    building = inside(root, ".idaq/building")  # an untrusted root could lead the cleaning below anywhere
    building.mkdir(parents=True, exist_ok=True)
    lock = _lock(root, name)
    if lock.is_locked:
        yield building / name
        return
    try:
        lock.acquire(timeout=PATIENCE if patience is None else patience, poll_interval=0.02)
    except Timeout:
        holder = _holder(building / name)
        raise DatasetLockedError(f"{dataset_id} is being written by {holder}", hint="wait for it to end") from None
    try:
        for left in building.iterdir():
            _clear(left, None if left.name == name else _lock(root, left.name))
        with naming(root):
            (building / name).mkdir()
            (building / name / _HOLDER).write_text(f"{what}, process {os.getpid()} on {platform.node()}")
            yield building / name
    finally:
        shutil.rmtree(building / name, ignore_errors=True)
        lock.release()


def _lock(root: Path, name: str) -> FileLock:
    return FileLock(root / ".idaq" / f"{name}.lock", is_singleton=True)


def _clear(left: Path, lock: FileLock | None) -> None:
    """Remove what a killed writer left; `lock` is that of another id, whose writer may be alive."""
    if lock is None:
        remove(left)
    elif not lock.is_locked:
        with suppress(Timeout), lock.acquire(timeout=0):
            shutil.rmtree(left, ignore_errors=True)


def _holder(work: Path) -> str:
    try:
        text = (work / _HOLDER).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200] or "another process"
