"""Streaming a Zarr form: what it saves on disk, what it costs a training step, and that memory stays where it is.

The dataset of the first three is point-robot/expert, or the one in the folder $IDAQ_BENCH_DATASET.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from idaq.collect.collect import Collected
from idaq.core.types import Episode
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.writer import DatasetSource, EpisodeEntry, write_dataset
from idaq.format.zarr.layout import Grid
from idaq.format.zarr.reader import open_zarr
from idaq.format.zarr.transfer import export_zarr, import_zarr
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.loop import agent_spec, training_step
from idaq.loader import MetaBatch, MetaBatches, StreamedBatches, open_dataset
from idaq.tasks import get_family
from tests.bench.conftest import seconds
from tests.bench.streaming import SHAPE
from tests.format.made import made_recipe, task_record

CHILD = [sys.executable, "-m", "tests.bench.streaming"]
POOL = 30
"""MB for streaming: a seventh of an ML1 dataset"""


@pytest.fixture(scope="module")
def stored(request: pytest.FixtureRequest) -> StoredDataset:
    given = os.environ.get("IDAQ_BENCH_DATASET")
    if given:
        return open_stored(Path(given))
    collected: Collected = request.getfixturevalue("full_size")
    return open_stored(collected.path)


@pytest.fixture(scope="module")
def exported(stored: StoredDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("zarr") / "set.zarr"
    export_zarr(stored, str(place))
    return place


@pytest.fixture(scope="module")
def served(exported: Path) -> Iterator[str]:
    """The export over HTTP, from a process of its own."""
    command = [*CHILD, "serve", str(exported.parent), "600", "0", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"{server.stdout.readline().strip()}/{exported.name}"
        server.kill()


def pool(url: str | Path, refresh: int = 1) -> StreamedBatches:
    slots = {"memory": POOL * 2**20, "refresh": refresh}
    return StreamedBatches(open_dataset(url), **SHAPE, **slots)


# -- size and rate -------------------------------------------------------------------------------------------------


def test_size_and_time_of_both_ways(say: Callable[[str], None], stored: StoredDataset, tmp_path: Path) -> None:
    start = time.perf_counter()
    size = export_zarr(stored, str(tmp_path / "set.zarr"))
    between = time.perf_counter()
    import_zarr(str(tmp_path / "set.zarr"), tmp_path / "root")
    end = time.perf_counter()
    hdf5 = stored.hdf5.stat().st_size
    say(
        f"{stored.manifest.dataset_id}: HDF5 {hdf5 / 1e6:,.1f} MB, Zarr {size / 1e6:,.1f} MB = {size / hdf5:.3f}; "
        f"export {between - start:.1f} s, import and verify {end - between:.1f} s"
    )
    assert size < hdf5


def test_batches_against_the_table(say: Callable[[str], None], exported: Path, served: str) -> None:
    """A meta-batch of 16 tasks x (64 + 100) transitions: from RAM, from the pool with its renewal, and at its start."""
    table = MetaBatches(open_dataset(exported).transitions("ram"), **SHAPE)
    sources = {"table in RAM": table, "disk": pool(exported), "disk, 4 a step": pool(exported, 4), "HTTP": pool(served)}
    numbers = {name: iter(range(1_000_000)) for name in sources}

    def drawing(name: str) -> Callable[[], MetaBatch]:
        return lambda: sources[name].at(next(numbers[name]))

    taken = dict(zip(sources, seconds(*map(drawing, sources), repeats=9, calls=50), strict=True))
    for name, each in taken.items():
        say(f"batches, {name}: {each * 1e3:.2f} ms, {taken['table in RAM'] / each:.2f} of the rate from RAM")


def test_training_against_the_table(say: Callable[[str], None], exported: Path, served: str) -> None:
    """One thread; blocks of steps by turns. The wait for input is what `at` takes inside the step."""
    torch.set_num_threads(1)
    dataset = open_dataset(exported)
    table = dataset.transitions("ram")
    algorithm = FocalTd3BcConfig().create(agent_spec(dataset, table.statistics()), "cpu")
    sources = {"table in RAM": MetaBatches(table, **SHAPE), "disk": pool(exported), "HTTP": pool(served)}
    waits = {name: timed(source) for name, source in sources.items()}
    numbers = {name: iter(range(1_000_000)) for name in sources}

    def stepping(name: str) -> Callable[[], object]:
        return lambda: training_step(algorithm, sources[name], 0, next(numbers[name]))

    taken = dict(zip(sources, seconds(*map(stepping, sources), repeats=7, calls=15), strict=True))
    share = {}
    for name, each in taken.items():
        wait = float(np.mean(waits[name][1:]))
        share[name] = wait / each
        rate = taken["table in RAM"] / each
        say(f"training, {name}: step {each * 1e3:.1f} ms, {rate:.2f} of the rate from RAM; input {wait * 1e3:.2f} ms "
            f"= {share[name]:.1%} of it")  # fmt: skip
    assert taken["disk"] < 2 * taken["table in RAM"]
    assert share["HTTP"] < 0.2


def timed(batches: MetaBatches | StreamedBatches) -> list[float]:
    """Have every batch's seconds noted in the list returned."""
    waits: list[float] = []
    draw = batches.at

    def at(step: int) -> MetaBatch:
        start = time.perf_counter()
        batch = draw(step)
        waits.append(time.perf_counter() - start)
        return batch

    batches.at = at
    return waits


# -- memory --------------------------------------------------------------------------------------------------------


def written(folder: Path, episodes: int) -> Path:
    """4 tasks of `episodes` episodes of 500 steps, 39 numbers an observation: 90 kB each. Returns the Zarr form."""
    rng = np.random.default_rng(0)
    flags = np.zeros(500, bool)
    few = [
        Episode(
            observations=rng.random((501, 39)).astype(np.float16).astype(np.float32),
            actions=rng.random((500, 4)).astype(np.float16).astype(np.float32),
            rewards=rng.random(500).round(2),
            terminated=flags,
            truncated=flags,
        )
        for _ in range(4)
    ]
    entries = [
        EpisodeEntry(episode=few[number % 4], task_index=task, behaviour="expert", seed=number, success=True)
        for task in range(4)
        for number in range(episodes)
    ]
    source = DatasetSource(
        recipe=made_recipe(),
        tasks=tuple(task_record(task, entries, "train") for task in range(4)),
        entries=entries,
        observation_space=gym.spaces.Box(0, 1, (39,), np.float32),
        action_space=gym.spaces.Box(0, 1, (4,), np.float32),
        env_spec_json=get_family("point-robot").env_spec.to_json(),
    )
    place = folder / "set.zarr"
    export_zarr(open_stored(write_dataset(source, folder / "root", "")), str(place))
    return place


def child(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CHILD, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_memory_is_flat_while_the_set_grows(say: Callable[[str], None], tmp_path: Path) -> None:
    """400 steps with 12 MB for streaming, from 23 and from 184 MB."""
    peaks = []
    for episodes in (64, 512):
        done = child("sample", written(tmp_path / str(episodes), episodes), 400, 12, 0)
        peaks.append(json.loads(done.stdout)["VmHWM"])
        say(f"{4 * episodes} episodes, {4 * episodes * 0.09:.0f} MB: peak resident memory {peaks[-1]:.0f} MB")
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.timeout(900)
def test_training_on_four_times_what_the_process_may_hold(say: Callable[[str], None], tmp_path: Path) -> None:
    """200 steps under an RLIMIT_DATA of 450 MB, on a set of 1.8 GB; the same by a table of all transitions fails."""
    place = written(tmp_path, 5000)
    gigabytes = sum(grid.shards * grid.shard_rows * grid.chunk_bytes // grid.chunk_rows for grid in open_grids(place))
    done = child("train", place, 200, 30, 450)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    say(
        f"{gigabytes / 1e9:.2f} GB under RLIMIT_DATA = 450 MB: trained 200 steps, peak resident memory "
        f"{found['VmHWM']:.0f} MB, heap and private mappings {found['VmData']:.0f} MB"
    )
    assert gigabytes > 4 * 450e6
    table = child("train", place, 1, 0, 450)
    assert table.returncode != 0
    assert "MemoryError" in table.stderr
    say(f"the same by a table of all transitions: {table.stderr.strip().splitlines()[-1]}")


def open_grids(place: Path) -> list[Grid]:
    return list(open_zarr(str(place)).grids.values())
