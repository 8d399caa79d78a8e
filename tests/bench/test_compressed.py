"""Compressed pictures: random segments of rows against h5py in the same process, and what they take on disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import pytest

from idaq.core.types import Array
from idaq.format.columns import map_columns
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.writer import write_dataset
from idaq.testing.examples import EVEN, entries_of, example_source
from tests.bench.conftest import seconds

SIDE, STEPS, LENGTH, SEGMENTS = 64, 500, 16, 64


def pictures(number: int) -> Array:
    """A square that moves over a gradient, with a little noise, as of a renderer: (T + 1, 64, 64, 3)."""
    rng, ramp = np.random.default_rng(number), np.arange(SIDE, dtype=np.uint8)
    rows = np.broadcast_to((ramp[:, None] + 2 * ramp)[..., None], (STEPS + 1, SIDE, SIDE, 3)).copy()
    for step, (x, y) in enumerate((rng.random((STEPS + 1, 2)).cumsum(0) % 1 * (SIDE - 8)).astype(int)):
        rows[step, x : x + 8, y : y + 8] = (200, 30, 90)
    noisy = rng.random(rows.shape) < 0.02
    return rows + noisy.astype(np.uint8)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredDataset:
    """24 episodes of 500 steps: 148 MB of pictures."""
    entries = []
    for number, entry in enumerate(entries_of([replace(plan, length=STEPS) for plan in EVEN])):
        entries.append(replace(entry, episode=replace(entry.episode, observations=pictures(number))))
    source = example_source(entries)
    source = replace(
        source,
        observation_space=gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8),
        recipe=replace(source.recipe, compress=["observations"]),
    )
    return open_stored(write_dataset(source, Path(tmp_path_factory.mktemp("pictures")), ""))


def test_random_segments_against_h5py(say: Callable[[str], None], stored: StoredDataset) -> None:
    """h5py without its cache of chunks, as where more pictures are read than it holds: inflating is what is left."""
    column, rng = map_columns(stored)["observations"], np.random.default_rng(0)

    def picks() -> list[tuple[int, int]]:
        episodes, starts = (
            rng.integers(len(stored.episodes), size=SEGMENTS),
            rng.integers(STEPS - LENGTH, size=SEGMENTS),
        )
        return list(zip(episodes.tolist(), starts.tolist(), strict=True))

    def ours() -> list[Array]:
        return [column.rows(episode, STEPS, start, start + LENGTH) for episode, start in picks()]

    with h5py.File(stored.hdf5, rdcc_nbytes=0) as file:
        held: list[Any] = [file[f"episode_{episode}/observations"] for episode in range(len(stored.episodes))]

        def theirs() -> list[Array]:
            return [held[episode][start : start + LENGTH] for episode, start in picks()]

        times = dict(zip(("mapped", "h5py"), seconds(ours, theirs, repeats=25), strict=True))
    raw = len(stored.episodes) * pictures(0).nbytes
    packed = int(stored.chunks["observations"].size.sum())
    say(f"{raw / 1e6:.0f} MB of pictures in {packed / 1e6:.0f} MB: {raw / packed:.1f} x")
    for name, taken in times.items():
        rate = SEGMENTS * LENGTH * SIDE * SIDE * 3 / taken / 1e6
        say(f"{SEGMENTS} segments of {LENGTH} pictures, {name}: {taken * 1e3:.1f} ms, {rate:.0f} MB/s of pictures")
    assert times["mapped"] < 1.5 * times["h5py"]
