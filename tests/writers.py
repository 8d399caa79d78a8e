"""Every way to make or remove a dataset, as one process does it again and again at moments that it is given.

By hand, with 200 rounds of all pairs: python -m tests.writers 200
"""

import json
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path
from typing import IO

import numpy as np

from idaq.collect.collect import collect
from idaq.core.errors import IdaqError
from idaq.format.edit import Labels, relabelled, subset
from idaq.format.importing import dataset_source
from idaq.format.merge import merged
from idaq.format.reader import open_stored
from idaq.format.store import delete_dataset, find_dataset, list_datasets
from idaq.format.verify import check_valid, verify
from idaq.format.writer import DatasetSource, write_dataset
from idaq.format.zarr.transfer import export_zarr, import_zarr
from idaq.hub.lookup import look_up, open_remote
from idaq.hub.pull import pull
from idaq.hub.push import push
from idaq.hub.tasks import pull_tasks
from idaq.share.exporters.npz import export_npz
from idaq.share.importers.transitions import read_npz
from tests.format.made import left_in, made_recipe, made_source
from tests.recipes import small_recipe

ID = "idaq/made/tagged-v0"
TINY = ("episodes=1", "splits.sizes.train=1", "splits.sizes.test=1", "reference.random_episodes=2", f"id={ID}")


@dataclass(frozen=True)
class Shared:
    """What the writers make datasets from; none of them alters it."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def make(self) -> "Shared":
        made = write_dataset(made_source(), self.root, "# made by hand\n")
        write_dataset(replace(made_source(), recipe=made_recipe("id=idaq/made/second-v0")), self.root, "# second\n")
        export_zarr(open_stored(made), str(self.folder / "made.zarr"))
        export_npz(open_stored(made), self.folder / "made.npz")
        with open_remote(f"file://{self.folder / 'hub'}") as remote:
            push(made, remote)
        return self


def _subset(shared: Shared, root: Path) -> None:
    stored = open_stored(shared.root / ID)
    _write(subset(stored, ID, np.arange(len(stored.episodes)) < 5, "subset: the first five"), root)


def _merge(shared: Shared, root: Path) -> None:
    _write(merged([open_stored(shared.root / name) for name in (ID, "idaq/made/second-v0")], ID)[0], root)


def _relabel(shared: Shared, root: Path) -> None:
    _write(relabelled(open_stored(shared.root / ID), ID, Labels(splits={"test": [2]}, behaviours={})), root)


def _import(shared: Shared, root: Path) -> None:
    check = partial(check_valid, otherwise="the import is corrupt")
    _write(dataset_source(read_npz(shared.folder / "made.npz"), ID, "made", ""), root, check)


def _collect(shared: Shared, root: Path) -> None:
    collect(small_recipe("point-robot", "expert", *TINY), root)


def _pull(shared: Shared, root: Path) -> None:
    with open_remote(f"file://{shared.folder / 'hub'}") as remote:
        pull(look_up(remote, ID), root)


def _pull_tasks(shared: Shared, root: Path) -> None:
    with open_remote(f"file://{shared.folder / 'hub'}") as remote:
        pull_tasks(look_up(remote, ID), range(6), root, ID)


def _import_zarr(shared: Shared, root: Path) -> None:
    import_zarr(str(shared.folder / "made.zarr"), root)


def _delete(shared: Shared, root: Path) -> None:
    delete_dataset(find_dataset(ID, root), root)


def _write(source: DatasetSource, root: Path, check: Callable[[Path], None] = lambda _folder: None) -> None:
    write_dataset(source, root, "", check=check)


WRITERS: dict[str, Callable[[Shared, Path], None]] = {
    "subset": _subset,
    "merge": _merge,
    "relabel": _relabel,
    "import": _import,
    "collect": _collect,
    "pull": _pull,
    "pull --tasks": _pull_tasks,
    "import zarr": _import_zarr,
    "delete": _delete,
}
PAIRS = tuple(combinations_with_replacement(WRITERS, 2))


def work() -> None:
    """Lines on stdin say which writer, below which root, and when; a line on stdout says how it ended."""
    shared = Shared(Path(sys.argv[2]))
    for line in sys.stdin:
        name, root, start = json.loads(line)
        while time.monotonic() < start:
            pass
        try:
            WRITERS[name](shared, Path(root))
            outcome = "done"
        except IdaqError as error:
            outcome = type(error).__name__
        except Exception:
            outcome = traceback.format_exc()
        print(json.dumps(outcome), flush=True)


class Pair:
    """Two processes that write at once."""

    def __init__(self, shared: Shared, processes: list["subprocess.Popen[str]"]) -> None:
        self._shared, self._processes, self._random = shared, processes, random.Random(0)

    def write(self, names: tuple[str, str], root: Path) -> list[str]:
        """Let both write below `root`, the second up to 50 ms later; returns how they ended."""
        start = time.monotonic() + 0.002
        for process, name, later in zip(self._processes, names, (0.0, self._random.uniform(0, 0.05)), strict=True):
            _pipe(process.stdin).write(json.dumps([name, str(root), start + later]) + "\n")
            _pipe(process.stdin).flush()
        return [json.loads(_pipe(process.stdout).readline()) for process in self._processes]


@contextmanager
def pair(shared: Shared) -> Iterator[Pair]:
    command = [sys.executable, "-m", "tests.writers", "work", str(shared.folder)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        yield Pair(shared, processes)
    finally:
        for process in processes:
            process.communicate()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream
    return stream


def attempt(writers: Pair, names: tuple[str, str], root: Path) -> tuple[list[str], list[str]]:
    """Two writers at once in a fresh root, in which a deletion finds a dataset: how they ended, and what is wrong."""
    if "delete" in names:
        write_dataset(made_source(), root, "")
    outcomes = writers.write(names, root)
    wrong = [outcome for outcome in outcomes if "\n" in outcome]
    listings = list_datasets(root)
    wrong += [str(problem) for listing in listings for problem in verify(listing.path)]
    wrong += [f"{path} is left" for path in left_in(root / ".idaq") if path.name not in ("collect", "pull")]
    if "delete" not in names and len(listings) != 1:
        wrong.append(f"{len(listings)} datasets")
    return outcomes, wrong


def main(rounds: int) -> None:
    outcomes: Counter[tuple[str, ...]] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as folder, pair(Shared(Path(folder)).make()) as writers:
        for number in range(rounds):
            for place, names in enumerate(PAIRS):
                ended, wrong = attempt(writers, names, Path(folder) / f"{number}-{place}")
                outcomes[tuple(sorted(ended))] += 1
                failures += [(names, wrong)] if wrong else []
    print(f"{sum(outcomes.values())} tries of {len(PAIRS)} pairs: {len(failures)} went wrong")
    for ended, count in outcomes.most_common():
        print(f"{count:6d}  {' and '.join(ended)}")
    print(*failures[:5], sep="\n")


if __name__ == "__main__":
    work() if sys.argv[1] == "work" else main(int(sys.argv[1]))
