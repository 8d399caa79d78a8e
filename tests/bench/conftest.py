"""Full-size data, collected once, and a way to compare that a noisy machine cannot fool easily."""

import statistics
import time
from collections.abc import Callable

import pytest

from idaq.catalogue.entries import catalogue_recipe
from idaq.collect.collect import Collected, collect
from idaq.loader import Dataset, open_dataset


@pytest.fixture(scope="session")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    """point-robot expert: 100 tasks, 4,500 episodes, 90,000 steps."""
    return collect(catalogue_recipe("point-robot", "expert"), tmp_path_factory.mktemp("bench"), workers=1)


@pytest.fixture(scope="session")
def dataset(full_size: Collected) -> Dataset:
    return open_dataset(full_size.path)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line that pytest does not swallow."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", end="", flush=True)

    return line


def seconds(*functions: Callable[[], object], repeats: int = 7, calls: int = 1) -> list[float]:
    """Median seconds a call of each function, the functions taking turns so that the machine's mood hits all alike."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(repeats):
        for taken, function in zip(times, functions, strict=True):
            start = time.perf_counter()
            for _ in range(calls):
                function()
            taken.append((time.perf_counter() - start) / calls)
    return [statistics.median(taken) for taken in times]
