"""Every call that touches the disk, made to fail once: with a full disk, an I/O error, and a kill.

The calls of one operation are counted; then, for every n, a forked process does it again with the n-th call failing.
Afterwards the old state or the new must be there, whole; and the operation done again must end as if nothing had been,
with the same files and no others. By hand, with every call of every operation: python -m tests.failing

A full disk stays full: from the n-th call on whatever needs room fails. A write that fails has written half.
"""

import builtins
import errno
import io
import json
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from idaq.core.errors import IdaqError

Fault = Literal["full", "broken", "killed"]
FAULTS: tuple[Fault, ...] = ("full", "broken", "killed")
KILLED = 9
_FEW = 12
"""calls, all of which are tried whatever the stride"""
_NEEDS_ROOM = {"open", "write", "mkdir", "rename", "replace", "sendfile", "write_table", "ftruncate", "fsync"}
_CALLS = ("open", "write", "fsync", "rename", "replace", "unlink", "remove", "mkdir", "rmdir", "ftruncate", "sendfile")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """Something that writes below a folder."""

    act: Callable[[Path], object]
    state: Callable[[Path], str]
    """What a reader sees: a digest of the old content or the new. Raises for anything half done."""
    prepare: Callable[[Path], object] = lambda folder: None


class Failing:
    """Counts calls, and lets the n-th fail."""

    def __init__(self, folder: Path, nth: int, fault: Fault) -> None:
        self.folder, self.nth, self.fault, self.count = str(folder), nth, fault, 0
        self._open = io.open

    def strike(self, name: str, half: Callable[[], object] = lambda: None) -> None:
        """Before a call: raise or die if it is its turn. `half` does half of what the call would have done."""
        self.count += 1
        late = self.fault == "full" and self.count > self.nth and name in _NEEDS_ROOM
        if self.count != self.nth and not late:
            return
        if self.fault == "full" and name not in _NEEDS_ROOM:
            return
        half()
        if self.fault == "killed":
            os._exit(KILLED)
        raise OSError(errno.ENOSPC if self.fault == "full" else errno.EIO, f"made to fail: {name} {self.count}")

    def install(self) -> None:
        """Put this before the real calls, in a process that ends soon."""
        for name in _CALLS:
            setattr(os, name, self._before(name, getattr(os, name)))
        io.open = builtins.open = self._opened
        real = pq.write_table
        pq.write_table = lambda *a, **k: (self.strike("write_table"), real(*a, **k))

    def _before(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self._is_ours(arguments[0], options):
                return real(*arguments, **options)
            if name == "write":
                self.strike(name, lambda: real(arguments[0], arguments[1][: len(arguments[1]) // 2]))
            else:
                self.strike("look" if name == "open" and not arguments[1] & os.O_CREAT else name)
            return real(*arguments, **options)

        return call

    def _is_ours(self, place: object, options: dict[str, Any]) -> bool:
        if isinstance(place, int):
            return place > 2 and os.readlink(f"/proc/self/fd/{place}").startswith(self.folder)
        return options.get("dir_fd") is not None or os.path.abspath(os.fsdecode(place)).startswith(self.folder)  # type: ignore[arg-type]

    def _opened(self, file: Any, mode: str = "r", buffering: int = -1, *more: Any, **options: Any) -> Any:
        """`open`, whose files count their writes."""
        if isinstance(file, int) or not self._is_ours(file, {}):
            return self._open(file, mode, buffering, *more, **options)
        reads = not set(mode) & set("wax+")
        self.strike("look" if reads else "open")
        if reads:
            return self._open(file, mode, buffering, *more, **options)
        raw = _Counted(self, os.fspath(file), mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, "utf-8")


class _Counted(io.FileIO):
    def __init__(self, failing: Failing, path: str, mode: str) -> None:
        super().__init__(path, mode)
        self._failing = failing

    def write(self, content: Any) -> int:
        self._failing.strike("write", lambda: io.FileIO.write(self, memoryview(content)[: len(content) // 2]))
        return super().write(content)

    def truncate(self, size: int | None = None) -> int:
        self._failing.strike("ftruncate")
        return super().truncate(size)


def forked(operation: Operation, folder: Path, nth: int, fault: Fault) -> tuple[int, str]:
    """Do it in a process of its own: how many calls it made, and how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        failing, ended = Failing(folder, nth, fault), "done"
        os.close(reading)
        failing.install()
        try:
            operation.act(folder)
        except (OSError, IdaqError) as error:
            ended = type(error).__name__
        except BaseException:
            ended = traceback.format_exc()
        os.write(writing, json.dumps([failing.count, ended]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return tuple(json.loads(told)) if told else (nth, "killed")


def files(folder: Path) -> list[str]:
    """All that lies below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fail_every_call(operation: Operation, folder: Path, stride: dict[Fault, int]) -> tuple[int, int, list[str]]:
    """Calls of the operation, tries, and what went wrong in them. Of each fault every `stride`-th call is tried."""
    clean = folder / "clean"
    clean.mkdir(parents=True)
    operation.prepare(clean)
    old = operation.state(clean)
    calls, ended = forked(operation, clean, 0, "broken")
    assert ended == "done", ended
    new, whole = operation.state(clean), files(clean)
    tries, wrong = 0, []
    for fault in FAULTS:
        for nth in range(1, calls + 1, stride[fault] if calls > _FEW else 1):
            place = folder / f"{fault}-{nth}"
            place.mkdir()
            operation.prepare(place)
            _, ended = forked(operation, place, nth, fault)
            tries += 1
            wrong += [f"{fault} at {nth}: {what}" for what in _faults(operation, place, ended, old, new, whole)]
            shutil.rmtree(place)
    return calls, tries, wrong


def _faults(operation: Operation, place: Path, ended: str, old: str, new: str, whole: list[str]) -> list[str]:
    """What is wrong after a failure, and after the same again without one."""
    wrong = [ended] if "\n" in ended else []
    try:
        seen = operation.state(place)
        wrong += [] if seen in (old, new) else [f"neither old nor new: {seen}"]
        wrong += [f"{ended}, but it is not there"] if ended == "done" and seen != new else []
        try:
            operation.act(place)
        except IdaqError as error:
            wrong += [] if operation.state(place) == new else [f"cannot be done again: {error}"]
        wrong += [] if operation.state(place) == new else ["done again it ends otherwise"]
        left = sorted(set(files(place)) ^ set(whole))
        wrong += [f"other files than without a failure: {left}"] if left else []
    except Exception:
        wrong.append(traceback.format_exc())
    return wrong


def main(names: list[str], stride: dict[Fault, int]) -> None:
    """One JSON line an operation: [name, calls, tries, what went wrong]."""
    from tests.operations import operations

    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=fast) as folder:
        warnings.simplefilter("ignore")
        for name, operation in operations(Path(folder) / "shared").items():
            if names and name not in names:
                continue
            calls, tries, wrong = fail_every_call(operation, Path(folder) / name.replace(" ", "-"), stride)
            print(json.dumps([name, calls, tries, wrong]), flush=True)


if __name__ == "__main__":
    main(sys.argv[2:], json.loads(sys.argv[1]) if len(sys.argv) > 1 else dict.fromkeys(FAULTS, 1))
