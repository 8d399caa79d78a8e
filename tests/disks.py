"""Disks that are small or read-only, mounted for a test; without the right to mount it is skipped."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, kilobytes: int) -> Iterator[None]:
    """An empty disk of this size at `folder`."""
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def enlarge(folder: Path, *, kilobytes: int) -> None:
    """Give a small disk another size."""
    _mount("-o", f"remount,size={kilobytes}k", folder)


@contextmanager
def read_only(folder: Path, at: Path) -> Iterator[None]:
    """What is in `folder`, at another place, where it can only be read."""
    at.mkdir()
    _mount("--bind", folder, at)
    try:
        _mount("-o", "remount,ro,bind", at)
        yield
    finally:
        subprocess.run(["umount", at], check=True)


def _mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
