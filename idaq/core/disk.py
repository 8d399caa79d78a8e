"""What the operating system's errors mean, in one sentence, and what helps: one table for every command."""

import errno
import os

from idaq.core.errors import DiskError

_FULL = ("the disk is full: no room for {}", "free some space, or choose another --root or --out")
_DENIED = ("there is no permission to use {}", "check its owner and mode: ls -ld; or choose another --root or --out")
_FILES = ("too many files are open", "allow more: ulimit -n 4096")
_SENTENCES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: ("{} is on a disk that can only be read", "choose another --root or --out, or mount it for writing"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOTDIR: ("a part of the path {} is a file, where a folder is needed", "choose another --root or --out"),
    errno.EEXIST: ("{} is there already", "choose another name, or remove it"),
    errno.EISDIR: ("{} is a folder, where a file is needed", "choose another name"),
    errno.ENAMETOOLONG: ("the path {} is too long", "choose a shorter name or --root"),
    errno.ENOENT: ("there is no {}", "check the path: ls -ld"),
    errno.EIO: ("the disk reports an error at {}", "see dmesg, and copy what is still readable to another disk"),
}


def explain(error: OSError) -> DiskError:
    """The error in words, with a hint; of what it does not know it repeats what the system says."""
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    place, said = " or ".join(names), error.strerror or str(error)
    what, hint = _SENTENCES.get(error.errno or 0, ("", "check the path, its owner and mode, and the disk"))
    if what and (place or error.errno != errno.ENOENT):
        said = what.format(place or "a file")
    elif place:
        said = f"{place}: {said}"
    return DiskError(said, hint=f"{hint}; then run the same command again")
