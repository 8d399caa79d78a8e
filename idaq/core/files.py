"""Atomic writes, and reads of files that may be damaged."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.machine import flush, has_folder_descriptors, open_flags, wait_for_lock
from idaq.core.plain import children
from idaq.core.reading import LARGEST_DOCUMENT, open_plain, read_document

_LONGEST_PATH = 255
"""bytes; a longer name could not stand in one folder on most file systems"""
MOST_CONTAINERS, DEEPEST = 1_000_000, 64
"""lists and objects that a document may hold, and how deep in each other"""


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut."""
    flush(folder)


def fsync_tree(folder: Path) -> None:
    """Make everything below `folder`, and it, survive a power cut."""
    for path in (*folder.rglob("*"), folder):
        flush(path)


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Yield a temporary path beside `path`; on a clean exit fsync it and rename it into place, else remove it.

    The caller writes into that file, rather than renaming another onto it. Its name depends on `path` alone, so that
    what a killed run left is taken over by the next. Of two writers of one path the second waits for the first.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path, temporary), _claimed(temporary):
        try:
            os.truncate(temporary, 0)
            yield temporary
            flush(temporary)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    fsync_folder(path.parent)


@contextmanager
def replacing_folder(path: Path) -> Generator[Path]:
    """The same for a folder: yields an empty one. Raises OSError if `path` is there, unless it is an empty folder."""
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path, temporary), _claimed(temporary, folder=True):
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
def naming(path: Path, temporary: Path | None = None) -> Generator[None]:
    """Make an OSError within the block name `path`, where it names no file (a full disk) or only the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


@contextmanager
def _claimed(path: Path, *, folder: bool = False) -> Generator[None]:
    """Create and lock a file or folder. The kernel drops the lock of a killed process."""
    if not has_folder_descriptors():
        path.mkdir(exist_ok=True) if folder else path.touch()
        yield
        return
    flags = open_flags("O_NOFOLLOW", *(("O_RDONLY", "O_DIRECTORY") if folder else ("O_RDWR", "O_CREAT")))
    while True:
        if folder:
            path.mkdir(exist_ok=True)
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError:  # another writer renamed the folder in between
            if not path.parent.is_dir():
                raise
            continue
        try:
            wait_for_lock(descriptor)
            if _is_at(path, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether `path` is still the file that was opened: whoever held it before may have renamed it into place."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


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
    """Whether `content` is the beginning of `whole`, as an interrupted write in place leaves it."""
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
    try:
        if text.count("[") + text.count("{") > MOST_CONTAINERS:  # each takes some hundred bytes once parsed
            raise ValueError(f"more than {MOST_CONTAINERS} lists and objects")
        value = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_no_duplicates,
        )
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
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [item for container in level for item in children(container) if isinstance(item, (dict, list))]
        if not level:
            return
    raise ValueError(f"nested more than {DEEPEST} levels deep")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a plain file's bytes. Raises OSError, and CorruptDatasetError for what is no plain file."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def below(root: Path, relative: str) -> Path:
    """`root / relative` for an untrusted path. Raises DatasetError if its text leads out of `root`."""
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
