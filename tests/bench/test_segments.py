"""Windows for sequence models against the machine's memory, and a set of 346 million transitions."""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from idaq.core.types import Task
from idaq.format.columns import Columns, FlatColumn
from idaq.format.reader import EpisodeTable
from idaq.format.selection import Selection, select
from idaq.loader import MetaBatches, SegmentBatches, TransitionTable
from tests.bench.conftest import seconds
from tests.bench.test_loader import table_of, wide_columns

STEPS, NUMBERS, WINDOWS = 256, 39, 256
MANY, LENGTH = 692_000, 500
"""episodes and steps of each: 346 million transitions, the case of pytorch/rl issue 2669"""


def test_windows_against_the_memory(say: Callable[[str], None]) -> None:
    """Windows of 256 steps of 39 numbers, 40 KB each, out of 312 MB: no cache holds that.

    The limit is what one `copyto` a window reaches, from the same places into an array that is there already.
    """
    columns, episodes = wide_columns(episodes=4000, steps=500, size=NUMBERS, actions=4)
    table = TransitionTable(columns, episodes, np.arange(4000))
    batches = SegmentBatches(table, meta_batch=WINDOWS, length=STEPS, seed=0)
    flat, number, size = columns["observations"].flat, iter(range(10**6)), STEPS * NUMBERS
    rng, there = np.random.default_rng(0), np.empty((WINDOWS, size), np.float32)
    begins = rng.integers(4000, size=(64, WINDOWS)) * 500 + rng.integers(500 - STEPS, size=(64, WINDOWS))
    half = np.empty(len(flat) // 2, np.float32)

    def bare() -> None:
        for place, start in enumerate((begins[next(number) % 64] * NUMBERS).tolist()):
            np.copyto(there[place], flat[start : start + size])

    whole, column, limit, stream = seconds(
        lambda: batches.at(next(number)),
        lambda: table.column_windows("observations", begins[next(number) % 64], STEPS),
        bare,
        lambda: np.copyto(half, flat[: len(half)]),
        repeats=15,
        calls=4,
    )
    copied = WINDOWS * size * 4 / 1e9
    say(f"memory: {half.nbytes / stream / 1e9:.1f} GB/s copied in one piece; {copied / limit:.1f} GB/s as bare windows")
    for name, taken in {"one column": column, "whole segments (s, a, r, s', ends)": whole}.items():
        say(f"{name}: {WINDOWS / taken:,.0f} windows/s, {taken / limit:.2f} x the time of bare copies of one column")
    assert column < 2 * limit
    assert whole < 6 * limit


def test_346_million_transitions(say: Callable[[str], None], tmp_path: Path) -> None:
    """A batch of 256 segments of 4 steps, and of 256 transitions, out of a file of 46 GB that has holes for zeros.

    Beside it the index that has an entry a transition, and what a search among the episodes' ends costs.
    """
    columns, episodes = sparse_columns(tmp_path / "sparse", size=24, actions=6)
    tracemalloc.start()
    began = time.perf_counter()
    table = TransitionTable(columns, episodes, np.arange(MANY))
    built, memory = time.perf_counter() - began, tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    segments = SegmentBatches(table, meta_batch=256, length=4, seed=0)
    batches = MetaBatches(table, meta_batch=16, batch=10, context=6, seed=0)
    number, edges = iter(range(10**6)), table.episodes.edges
    ends = np.zeros(len(table), bool)
    ends[edges[1:] - 1] = True
    window, batch, again, scan = seconds(
        lambda: segments.at(next(number)),
        lambda: batches.at(next(number)),
        lambda: segments.at(next(number) % 8),
        lambda: np.flatnonzero(ends),
        repeats=9,
    )
    say(f"{len(table):,} transitions: built in {built * 1e3:.0f} ms, {memory / 1e6:.0f} MB beside the data")
    say(f"256 segments of 4 steps: {window * 1e3:.2f} ms, {again * 1e3:.2f} ms where pages have been read before")
    say(f"256 transitions of 16 tasks: {batch * 1e3:.2f} ms")
    say(
        f"the alternatives: an entry a transition, {8 * len(table) / 1e9:.1f} GB; a search for the ends at each batch, "
        f"{scan * 1e3:.0f} ms ({scan / again:,.0f} x)"
    )
    assert again < 5e-3
    assert max(window, batch) < 30e-3
    assert memory < 100e6


def test_torchrls_sampler_of_as_many(say: Callable[[str], None]) -> None:
    """The same case in TorchRL, where it is installed (0.14.1 beside this torch): 256 slices of 4 steps."""
    pytest.importorskip("torchrl")
    from tensordict import TensorDict
    from torchrl.data.replay_buffers import LazyTensorStorage, ReplayBuffer
    from torchrl.data.replay_buffers.samplers import SliceSampler

    for cached in (False, True):
        sampler = SliceSampler(slice_len=4, traj_key="episode", truncated_key=None, cache_values=cached)
        buffer = ReplayBuffer(storage=LazyTensorStorage(MANY * LENGTH), sampler=sampler, batch_size=1024)
        for start in range(0, MANY, MANY // 8):
            ids = torch.arange(start, start + MANY // 8).repeat_interleave(LENGTH)
            buffer.extend(TensorDict({"episode": ids}, [len(ids)]))
        times = list[float]()
        for _ in range(4):
            began = time.perf_counter()
            buffer.sample()
            times.append(time.perf_counter() - began)
        kind = "cached, as for data that never changes" if cached else "as it comes"
        say(f"TorchRL, {kind}: first {times[0] * 1e3:,.0f} ms, then {min(times[1:]) * 1e3:,.1f} ms")


def test_a_million_episodes(say: Callable[[str], None]) -> None:
    """1,000 tasks of 1,000 episodes of 20 steps: choosing among them, and a table of them."""
    episodes, tasks = 1_000_000, 1_000
    columns = {
        name: FlatColumn(
            flat=np.zeros(episodes * 21 * 2, bool if name == "terminations" else np.float32),
            offsets=np.arange(episodes) * 42,
            shape=(2,) if name in ("observations", "actions") else (),
            extra_row=name == "observations",
        )
        for name in ("observations", "actions", "rewards", "terminations")
    }
    table = replace(
        table_of(episodes, 20),
        task_index=np.repeat(np.arange(tasks), episodes // tasks),
        total_reward=np.random.default_rng(0).normal(size=episodes),
        history=np.arange(episodes) // 10 % 100,
        policy_step=np.arange(episodes) % 10,
    )
    known = [
        Task(task_id=f"task-{i}", task_index=i, params={}, split="train" if i % 5 else "test") for i in range(tasks)
    ]
    whole = TransitionTable(columns, table, np.arange(episodes))
    ways = {
        "select(split=...)": lambda: select(table, known, Selection(split="train")),
        "select(quantiles=...)": lambda: select(table, known, Selection(quantiles=(0.5, 1))),
        "a table of transitions": lambda: TransitionTable(columns, table, np.arange(episodes)),
        "segments within learning histories": lambda: SegmentBatches(
            whole, meta_batch=16, length=50, within="history", seed=0
        ),
    }
    for name, taken in zip(ways, seconds(*ways.values(), repeats=3), strict=True):
        say(f"1,000,000 episodes, {name}: {taken * 1e3:,.0f} ms")
        assert taken < 5


def sparse_columns(path: Path, size: int, actions: int) -> tuple[Columns, EpisodeTable]:
    """Columns of 692,000 episodes in a file that is one hole."""
    shapes = {"observations": (size,), "actions": (actions,), "rewards": (), "terminations": ()}
    widths = {name: (LENGTH + (name == "observations")) * int(np.prod(shape)) for name, shape in shapes.items()}
    total = MANY * sum(-(-width // 64) * 64 for width in widths.values())
    flat, start, columns = np.memmap(path, np.float32, "w+", shape=(total,)), 0, Columns()
    for name, width in widths.items():
        stride = -(-width // 64) * 64
        values = flat.view(bool) if name == "terminations" else flat
        columns[name] = FlatColumn(
            flat=np.asarray(values),
            offsets=start + np.arange(MANY) * stride,
            shape=shapes[name],
            extra_row=name == "observations",
        )
        start += MANY * stride
    return columns, table_of(MANY, LENGTH)
