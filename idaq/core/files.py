"""Writing so that nothing half-written is ever visible, and reading what may be broken."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from idaq.core.errors import CorruptDatasetError, DatasetError

_LONGEST_PATH = 255
"""bytes; a longer name could not stand in one folder on most file systems"""


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_ORDINARY_MODE = 0o666 & ~_umask()


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
    """Yield a temporary path beside `path`; on a clean exit fsync it and rename it into place, else remove it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.chmod(_ORDINARY_MODE)  # safetensors makes files that only their owner can read
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Replace `path` atomically with readable JSON. NaN and infinity are a bug of ours: ValueError, nothing written."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON document. Raises CorruptDatasetError naming the file and what is wrong with it."""
    try:
        return parse_json(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise CorruptDatasetError(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptDatasetError(f"{path} cannot be read: {error}") from None


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
