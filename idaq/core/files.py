"""Writing so that nothing half-written is ever visible, and reading what may be broken."""

import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from idaq.core.disk import explain
from idaq.core.errors import CorruptDatasetError, DatasetError

_LONGEST_PATH = 255
"""bytes; a longer name could not stand in one folder on most file systems"""


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Make everything below `folder`, and it, survive a power cut."""
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            fsync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit fsync it and rename it into place, else remove it.

    The caller writes into that file, rather than renaming another onto it. Its name depends on `path` alone, so that
    what a killed run left is taken over by the next. Of two writers of one path the second waits for the first.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path, temporary), _claimed(temporary, os.O_RDWR | os.O_CREAT) as descriptor:
        try:
            os.ftruncate(descriptor, 0)
            yield temporary
            os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    fsync_folder(path.parent)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: yields an empty one. Raises OSError if `path` is there, unless it is an empty folder."""
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path, temporary), _claimed(temporary, os.O_RDONLY | os.O_DIRECTORY):
        try:
            for left in temporary.iterdir():
                remove(left)
            yield temporary
            fsync_tree(temporary)
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    fsync_folder(path.parent)


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let an OSError name `path` where it names no file, as those of full disks do, or only the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


@contextmanager
def _claimed(path: Path, flags: int) -> Iterator[int]:
    """A file or folder that nobody else holds, made if need be. The kernel drops the lock of a killed process."""
    while True:
        if flags & os.O_DIRECTORY:
            path.mkdir(exist_ok=True)
        try:
            descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # another writer renamed the folder in between
            if not path.parent.is_dir():
                raise
            continue
        try:
            with _locks_may_be_missing():
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether `path` is still the file that was opened: whoever held it before may have renamed it into place."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def _locks_may_be_missing() -> Iterator[None]:
    """Some cluster file systems have no locks; there, two writers of one file are the user's to avoid."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace `path` atomically."""
    write_bytes(path, text.encode())


def is_torn(content: bytes, whole: bytes) -> bool:
    """Whether `content` is the beginning of `whole`, as a write in place leaves it that was cut off."""
    return len(content) < len(whole) and whole.startswith(content)


def write_json(path: Path, value: object) -> None:
    """Replace `path` atomically with readable JSON. NaN and infinity are a bug of ours: ValueError, nothing written."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON document. Raises CorruptDatasetError naming the file and what is wrong with it."""
    try:
        return parse_json(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise CorruptDatasetError(f"{path} is missing") from None
    except UnicodeDecodeError as error:
        raise CorruptDatasetError(f"{path} cannot be read: {error}") from None
    except OSError as error:
        raise CorruptDatasetError(f"{path} cannot be read: {error}", hint=explain(error).hint) from None


def parse_json(text: str, where: str) -> Any:
    """Parse strict JSON: no NaN, no Infinity (nor 1e999), no duplicate keys. Raises CorruptDatasetError."""

    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    def finite(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            raise ValueError(f"{digits} is too large for a number")
        return value

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key stands twice in one object")
        return result

    try:
        return json.loads(text, parse_constant=no_constant, parse_float=finite, object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as error:
        raise CorruptDatasetError(f"{where} is not valid JSON: {error}") from None


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(root: Path, relative: str) -> Path:
    """`root / relative` for a path read from a document. Raises DatasetError if it would leave `root`."""
    pure = PurePosixPath(relative)
    hostile = not relative.isprintable() or "\\" in relative or len(relative.encode(errors="replace")) > _LONGEST_PATH
    if hostile or not pure.parts or pure.is_absolute() or ".." in pure.parts:
        raise DatasetError(f"{relative[:200]!r} is not a path inside {root}")
    path = root.joinpath(*pure.parts)
    # realpath, because Path.resolve raises RuntimeError where links run in a circle
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise DatasetError(f"{relative!r} leads out of {root} through a link")
    return path
