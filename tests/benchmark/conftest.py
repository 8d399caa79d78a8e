"""A matrix small enough to run in a test, on the dataset that many tests share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from idaq.benchmark.bench import Bench
from idaq.benchmark.matrix import Matrix
from idaq.benchmark.rows import Place
from idaq.collect.collect import Collected
from idaq.core.config import from_mapping
from idaq.core.errors import RunError

ID = "idaq/point-robot/expert-v0"
FOCAL = {"algorithm": "focal-td3bc"}
CLONING = {"algorithm": "focal-td3bc", "label": "cloning", "train": {"learner.alpha": 0.0}}
QUICK = {
    "steps": 12, "log_every": 4, "checkpoint_every": 4, "batch": 8, "meta_batch": 4, "context": 10,
    "encoder.hidden": 16, "learner.hidden": 16, "ensemble.hidden": 16, "prior_context": 20,
}  # fmt: skip
STRATEGIES = ["best-of-prior", "posterior", "offline-context"]


def mapping(*algorithms: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A matrix as plain data."""
    return {
        "bench_version": 1,
        "name": "small",
        "hours": 1,
        "seeds": 2,
        "protocol": {"episodes": 2, "report_at": [1, 2], "seeds": 2},
        "strategies": STRATEGIES,
        "datasets": [{"id": ID, "train": QUICK}],
        "algorithms": list(algorithms) or [FOCAL, CLONING],
        **changes,
    }


def matrix(*algorithms: Mapping[str, Any], **changes: Any) -> Matrix:
    return from_mapping(Matrix, mapping(*algorithms, **changes), where="small.toml")


class Ran:
    """A bench that is run here, and all that it tells."""

    def __init__(self, asked: Matrix, out: Path, root: Path, only: tuple[str, ...] = ()) -> None:
        self.notes = list[str]()
        place = Place(out=out, root=root)
        self.bench = Bench(matrix=asked, named="small.toml", place=place, only=only, tell=self.notes.append)
        self.rows = self.bench.rows()
        self.estimate = self.bench.estimate(self.bench.asked(self.rows))
        self.failed: RunError | None = None

    def run(self) -> "Ran":
        try:
            self.records = self.bench.run(self.estimate)
        except RunError as error:
            self.failed = error
        self.tables = self.bench.tables(self.rows)
        return self


@pytest.fixture(scope="session")
def root(collected: Collected, datasets_root: Path) -> Path:
    """Of the datasets, in which the small one lies."""
    assert collected.path == datasets_root / ID
    return datasets_root


@pytest.fixture(scope="session")
def ran(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Two rows of two seeds, run; no test may alter what it left."""
    return Ran(matrix(), tmp_path_factory.mktemp("bench") / "out", root).run()
