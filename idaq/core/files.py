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

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.reading import LARGEST_DOCUMENT, open_plain, read_document

_LONGEST_PATH = 255
"""bytes; a longer name could not stand in one folder on most file systems"""
MOST_CONTAINERS, DEEPEST = 1_000_000, 64
"""lists and objects that a document may hold, and how deep in each other"""


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


def is_cut_short(content: bytes, whole: bytes) -> bool:
    """Whether `content` is the beginning of `whole`, as a write in place leaves it that was cut off."""
    return len(content) < len(whole) and whole.startswith(content)


def write_json(path: Path, value: object) -> None:
    """Replace `path` atomically with readable JSON. NaN and infinity are a bug of ours: ValueError, nothing written."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path, largest: int = LARGEST_DOCUMENT) -> Any:
    """Parse a JSON document of at most `largest` bytes. Raises CorruptDatasetError naming the file and its fault."""
    content = read_document(path, largest)
    try:
        return parse_json(content.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise CorruptDatasetError(f"{path} cannot be read: {error}") from None


def parse_json(text: str, where: str) -> Any:
    """Parse strict JSON: no NaN or Infinity (nor 1e999), no duplicate keys; bounded in depth and size of numbers.

    Raises CorruptDatasetError.
    """
    hooks = {"parse_constant": _no_constant, "parse_float": _finite, "parse_int": _whole}
    try:
        if text.count("[") + text.count("{") > MOST_CONTAINERS:  # each takes some hundred bytes once parsed
            raise ValueError(f"more than {MOST_CONTAINERS} lists and objects")
        value = json.loads(text, object_pairs_hook=_no_duplicates, **hooks)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        check_depth(value)
    except ValueError as error:
        raise CorruptDatasetError(f"{where} is not valid JSON: {error}") from None
    except RecursionError:
        raise CorruptDatasetError(f"{where} is not valid JSON: nested too deeply") from None
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is too large for a number")
    return value


def _whole(digits: str) -> int:
    value = int(digits)
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"{digits[:40]} is too large for a number")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def check_depth(value: object) -> None:
    """Raise ValueError where lists and mappings lie deeper in each other than any document of ours has them."""
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEPEST):
        inner = (container.values() if isinstance(container, dict) else container for container in level)
        level = [item for items in inner for item in items if isinstance(item, (dict, list))]
        if not level:
            return
    raise ValueError(f"nested more than {DEEPEST} levels deep")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a plain file's bytes. Raises OSError, and CorruptDatasetError for what is no plain file."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def below(root: Path, relative: str) -> Path:
    """`root / relative` for a path that a stranger wrote. Raises DatasetError if its text leads out of `root`."""
    pure = PurePosixPath(relative)
    hostile = not relative.isprintable() or "\\" in relative or len(relative.encode(errors="replace")) > _LONGEST_PATH
    if hostile or not pure.parts or pure.is_absolute() or ".." in pure.parts:
        raise DatasetError(f"{relative[:200]!r} is not a path inside {root}")
    return root.joinpath(*pure.parts)


def inside(root: Path, relative: str) -> Path:
    """As `below`, and no link on the way leads out of `root` either. Raises DatasetError."""
    path = below(root, relative)
    # realpath, because Path.resolve raises RuntimeError where links run in a circle
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise DatasetError(f"{relative!r} leads out of {root} through a link")
    return path
