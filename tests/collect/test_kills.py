"""A collection killed at any moment: SIGKILL to its whole process group, no chance to tidy up.

One subprocess imports idaq and forks a real collection on each request, so that what is killed is the collection and
not the imports before it.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import minari
import pytest

import idaq
from idaq.collect.collect import Collected, collect
from idaq.format.store import list_datasets
from idaq.format.verify import verify
from tests.recipes import small_recipe

FORKS = """
import os, sys
from pathlib import Path
from idaq.collect.collect import collect
from tests.recipes import small_recipe
recipe = small_recipe()
for line in sys.stdin:
    workers, root = line.rstrip().split(" ", 1)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        print(os.getpid(), flush=True)
        collect(recipe, Path(root), workers=int(workers))
        os._exit(0)
    os.waitpid(pid, 0)
    print("ended", flush=True)
"""


class Forks:
    """Starts collections, each a process group of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin
        assert process.stdout
        self._in, self._out = process.stdin, process.stdout

    def start(self, root: Path, workers: int) -> int:
        """Start a collection and return its process group."""
        self._in.write(f"{workers} {root}\n")
        self._in.flush()
        return int(self._out.readline())

    def wait(self) -> None:
        assert self._out.readline() == "ended\n"


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    environment = {**os.environ, "PYTHONPATH": str(Path(idaq.__file__).parents[1])}
    command = [sys.executable, "-c", FORKS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Forks(process)


def wait_for_a_cell(root: Path) -> None:
    """Until the journal of the collection notes a first cell, or the collection is over."""
    while not any(root.glob(".idaq/collect/*/journal.jsonl")) and not (root / "idaq").exists():
        time.sleep(0.001)


def seconds_of(forks: Forks, root: Path, workers: int) -> tuple[float, float]:
    """How long a collection takes that nobody kills: to its first cell, and from there to its end."""
    start = time.monotonic()
    forks.start(root, workers)
    wait_for_a_cell(root)
    first = time.monotonic()
    forks.wait()
    return first - start, time.monotonic() - first


def kill_after(forks: Forks, root: Path, workers: int, seconds: float, after_a_cell: bool) -> None:
    group = forks.start(root, workers)
    if after_a_cell:
        wait_for_a_cell(root)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    forks.wait()


def assert_whole_or_absent(root: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """No dataset is visible, to us or to Minari, that does not verify; returns whether one is."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    seen = [listing.path for listing in list_datasets(root)]
    assert list(minari.list_local_datasets()) == [path.relative_to(root).as_posix() for path in seen]
    assert [path for path in root.glob("*/*/*") if path.is_dir() and ".idaq" not in path.parts] == seen
    for path in seen:
        assert verify(path) == []
    return bool(seen)


@pytest.mark.parametrize(("workers", "kills"), [(1, 26), (2, 6)])
def test_a_collection_killed_at_any_moment_is_invisible_and_resumes_to_the_same_content(
    forks: Forks, tmp_path: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch, workers: int, kills: int
) -> None:
    to_first, to_end = min(seconds_of(forks, tmp_path / f"whole-{i}", workers) for i in range(2))
    rng, absent, resumed = random.Random(workers), 0, 0
    for number in range(kills):
        root = tmp_path / f"killed-{number}"
        if number % 2:
            kill_after(forks, root, workers, rng.uniform(0, to_end), after_a_cell=True)
        else:
            kill_after(forks, root, workers, rng.uniform(0, to_first + to_end), after_a_cell=False)
        absent += not assert_whole_or_absent(root, monkeypatch)
        again = collect(small_recipe(), root)
        assert again.content_digest == collected.content_digest
        assert assert_whole_or_absent(root, monkeypatch)
        assert list((root / ".idaq" / "collect").glob("*")) == []
        resumed += again.resumed
    # Kills that all came too late, or all before the first cell, would prove nothing.
    assert absent >= kills // 3
    assert resumed > 0


def test_a_dataset_appears_all_at_once(forks: Forks, tmp_path: Path) -> None:
    """Watched as closely as can be: at the instant its folder is there, so is all that is in it."""
    for number in range(3):
        root = tmp_path / str(number)
        path = root / small_recipe().id
        forks.start(root, 1)
        while not path.exists():
            pass
        assert {"README.md", "metadata.json", "manifest.json"} <= {file.name for file in path.rglob("*")}
        assert verify(path) == []
        forks.wait()


def test_a_collection_killed_again_and_again_still_ends(
    forks: Forks, tmp_path: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sum(seconds_of(forks, tmp_path / "whole", 1))
    rng, root = random.Random(3), tmp_path / "killed"
    for _ in range(4):
        kill_after(forks, root, 1, rng.uniform(0, whole / 2), after_a_cell=False)
        assert_whole_or_absent(root, monkeypatch)
    assert collect(small_recipe(), root).content_digest == collected.content_digest
