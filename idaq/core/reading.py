"""Reading untrusted files: plain files only, a bounded number of bytes, and no link that leads out of the folder."""

import os
import stat
from io import BufferedReader
from pathlib import Path

from idaq.core.disk import explain
from idaq.core.errors import CorruptDatasetError
from idaq.core.machine import open_flags

LARGEST_DOCUMENT = 1 << 24
"""bytes of a JSON, TOML or Markdown document, or of one line of a .jsonl file"""
LARGEST_TABLE = 1 << 28
"""bytes of a document that has an entry for each task, episode or step"""
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_document(path: Path, largest: int = LARGEST_DOCUMENT) -> bytes:
    """The bytes of a plain file. Opens nothing that could block, reads no more than `largest` bytes.

    Raises CorruptDatasetError for what is missing, no plain file, larger, or cannot be read.
    """
    try:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > largest:
                raise CorruptDatasetError(f"{path} has {size} bytes; such a document has at most {largest}")
            return file.read(size)
    except FileNotFoundError:
        raise CorruptDatasetError(f"{path} is missing") from None
    except OSError as error:
        raise CorruptDatasetError(f"{path} cannot be read: {error}", hint=explain(error).hint) from None
    except ValueError as error:  # a name with NUL or half a surrogate pair
        raise CorruptDatasetError(f"{path} cannot be read: {error}") from None


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file to read, and nothing else: a pipe would block, a device may do anything.

    Raises OSError, and CorruptDatasetError for what is no plain file.
    """
    _plain(path, os.stat(path))
    # A pipe that has come in between is not waited for; the flag has no effect on plain files.
    file = os.fdopen(os.open(path, open_flags("O_RDONLY", "O_NONBLOCK")), "rb")
    _plain(path, os.fstat(file.fileno()))
    return file


def check_members(folder: Path, *, links_out: bool = False) -> None:
    """Refuse a dataset folder that holds a pipe, device or socket or, without `links_out`, a link that leads out of it.

    The folder may be a link itself. Opens no file. Raises CorruptDatasetError naming the first.
    """
    home, waiting = os.path.realpath(folder) + os.sep, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as members:
                for member in members:
                    inside = os.path.realpath(member.path).startswith(home) and os.path.exists(member.path)
                    if member.is_symlink() and not (links_out or inside):
                        raise CorruptDatasetError(
                            f"{member.path} is a link that leads out of the dataset, to {os.readlink(member.path)}",
                            hint="put a copy of the file in its place, or remove it",
                        )
                    if member.is_dir(follow_symlinks=False):
                        waiting.append(member.path)
                    elif os.path.exists(member.path) and not member.is_dir():
                        _plain(Path(member.path), member.stat())
        except OSError as error:
            raise CorruptDatasetError(f"{folder} cannot be read: {error}") from None


def _plain(path: Path, status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise CorruptDatasetError(f"{path} cannot be read: it is {_KINDS.get(kind, 'something else')}, not a file")
