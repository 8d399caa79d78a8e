"""What this machine has, and what its system can do: the one place that asks, on Linux, macOS and Windows.

                            Linux                   macOS               Windows
cores                       those allowed to us     all                 all
memory                      total and free          total               not known
two writers of one file     the second waits        the second waits    the user's to avoid; of one dataset, one waits
a power cut                 all is flushed          all is flushed      files are flushed, folders are not
hostile HDF5                processor time, memory  processor time      time by the clock
worker of a killed command  ends itself             ends itself         is the user's to end

What is not known is None, and a check that needs it does not happen. Nothing here is asked when idaq is imported.
"""

import errno
import os
import platform
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_MOST_THREADS = 8
"""of PyTorch: more do not help networks of this size"""


def cores() -> int:
    """Cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def processor() -> str | None:
    """The processor's name, or None where the system does not say."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip() or None
    return platform.processor() or None


def default_threads() -> int:
    """OMP_NUM_THREADS, or without it the cores, at most 8."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return (int(asked) if asked.isdecimal() else min(cores(), _MOST_THREADS)) or 1


def has_display() -> bool:
    """Whether windows can be shown: on Linux, where the session names a display."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def total_memory() -> int | None:
    """Bytes, or None where the system does not say."""
    return _pages("SC_PHYS_PAGES")


def free_memory() -> int | None:
    """Bytes, or None where the system does not say."""
    return _pages("SC_AVPHYS_PAGES")


def _pages(name: str) -> int | None:
    ask: Any = getattr(os, "sysconf", None)
    if ask is not None:
        with suppress(OSError, ValueError):  # ValueError: a name that this system does not have
            return ask(name) * ask("SC_PAGE_SIZE")
    return None


def open_flags(*names: str) -> int:
    """The sum of `os.O_...` flags, without those that this system does not have; no file is changed as text."""
    return sum(getattr(os, name, 0) for name in {*names, "O_CLOEXEC", "O_BINARY"})


def has_folder_descriptors() -> bool:
    """Whether a folder can be opened, to flush or to lock it, and what is open be renamed; not so on Windows."""
    return hasattr(os, "O_DIRECTORY")


def flush(path: Path) -> None:
    """Make a file's content, or a folder's names, survive a power cut."""
    folders = has_folder_descriptors()
    if not folders and path.is_dir():
        return
    descriptor = os.open(path, open_flags("O_RDONLY" if folders else "O_RDWR"))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def wait_for_lock(descriptor: int) -> None:
    """Hold the kernel's lock of an open file or folder, which ends with the process.

    Some cluster file systems have no locks, nor has Windows such locks: there two writers of one file are the user's
    to avoid.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise


def limit_process(seconds: float, memory: int) -> None:
    """End this process after `seconds` of processor time, and refuse it more than `memory` bytes beyond what it has."""
    try:
        import resource
    except ModuleNotFoundError:
        return
    limit = _data_in_use(resource.getpagesize()) + memory
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    signal.setitimer(signal.ITIMER_PROF, seconds)


def lift_time_limit() -> None:
    """What `limit_process` set, once its work is done."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, 0)


def ran_out_of_time(return_code: int) -> bool:
    """Whether a process that ended so was ended by the limit of its processor time."""
    return -return_code == getattr(signal, "SIGPROF", None)


def _data_in_use(page: int) -> int:
    """Bytes that count towards the limit already; 0 where the system does not say, which leaves some room less."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[5]) * page
    except OSError:
        return 0
