"""Streaming a Zarr form: the same dataset through the same interface, and meta-batches from a bounded pool."""

import gc
import itertools
import threading
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import Episode
from idaq.format.columns import Columns
from idaq.format.episodes import EpisodeStore
from idaq.format.reader import open_stored
from idaq.format.writer import write_dataset
from idaq.format.zarr.transfer import export_zarr
from idaq.loader import Dataset, MetaBatch, MetaBatches, StreamedBatches, open_dataset
from tests.format.made import PLANS, Plan, entries_of, made_source
from tests.loader.test_sampling import copies, task_of
from tests.loader.test_table import assert_bitwise
from tests.serving import http_server

EVEN = tuple(Plan(task=task, length=10, ends="truncated") for task in (0, 1, 2) for _ in range(8))
"""three tasks of 8 episodes alike long"""
SLOT = 4 * 11 * (3 + 2 + 2)
"""bytes of a slot of EVEN"""


def exported(plans: tuple[Plan, ...], folder: Path) -> Path:
    stored = open_stored(write_dataset(made_source(entries_of(plans)), folder / "root", ""))
    export_zarr(stored, str(folder / "made.zarr"))
    return folder / "made.zarr"


@pytest.fixture(scope="module")
def even_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(EVEN, tmp_path_factory.mktemp("even"))


@pytest.fixture(scope="module")
def even(even_path: Path) -> Dataset:
    return open_dataset(even_path)


@pytest.fixture(scope="module")
def far(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The hand-made dataset in Zarr form: episodes of unlike lengths."""
    place = tmp_path_factory.mktemp("far") / "made.zarr"
    export_zarr(open_stored(made), str(place))
    return open_dataset(place)


def streamed(dataset: Dataset, slots: int = 6, *, refresh: int = 1, seed: int = 0, readers: int = 2) -> StreamedBatches:
    """A sampler whose memory holds `slots` slots, whatever is read ahead."""
    memory = (slots + 3 * (2 * refresh + readers)) * SLOT
    return StreamedBatches(
        dataset, meta_batch=5, batch=7, context=3, seed=seed, memory=memory, refresh=refresh, readers=readers
    )


def assert_same_batch(found: MetaBatch, expected: MetaBatch) -> None:
    np.testing.assert_array_equal(found.tasks, expected.tasks)
    assert_bitwise(found.transitions, expected.transitions)
    assert_bitwise(found.context, expected.context)


def episode_of(rewards: np.ndarray) -> np.ndarray:
    """The (task, episode) that a tagged reward was paid in; see `tests.format.made.tag`, whose episode overflows."""
    return rewards.astype(int) // (16 * 64)


# -- the same interface --------------------------------------------------------------------------------------------


def test_a_zarr_form_is_the_same_dataset(made: Path, far: Dataset) -> None:
    near = open_dataset(made)
    assert (far.dataset_id, far.tasks, far.manifest, len(far)) == (
        near.dataset_id,
        near.tasks,
        near.manifest,
        len(near),
    )
    np.testing.assert_array_equal(far.action_low, near.action_low)
    np.testing.assert_array_equal(far.action_high, near.action_high)
    for selection in ({}, {"split": "train"}, {"tasks": [9, "task-2"]}, {"behaviour": "random"}, {"min_return": 0.0}):
        ours, theirs = far.select(**selection), near.select(**selection)
        assert ours.tasks == theirs.tasks
        for a, b in zip(ours, theirs, strict=True):
            assert_same_episode(a, b)
        rows = np.arange(len(theirs.transitions("ram")))[::-1]
        for where in ("ram", "auto"):
            assert_bitwise(ours.transitions(where).gather(rows), theirs.transitions("ram").gather(rows))


def assert_same_episode(found: Episode, expected: Episode) -> None:
    assert list(found.columns) == list(expected.columns)
    for name, value in expected.columns.items():
        assert found.columns[name].tobytes() == value.tobytes()


def test_what_a_zarr_form_cannot_do_is_said(far: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="lies in Zarr form: it cannot be mapped"):
        far.transitions("map")
    monkeypatch.setattr("os.sysconf", lambda name: 1)
    with pytest.raises(DatasetError, match="do not fit in memory") as caught:
        far.transitions()
    assert "StreamedBatches" in str(caught.value.hint)


def test_statistics_are_those_of_the_table(made: Path, far: Dataset) -> None:
    ours = StreamedBatches(far, meta_batch=2, batch=2, context=2, seed=0, memory=10**6).statistics()
    theirs = open_dataset(made).transitions("ram").statistics()
    for name, value in vars(theirs).items():
        np.testing.assert_allclose(getattr(ours, name), value, rtol=1e-6)


# -- batches -------------------------------------------------------------------------------------------------------


def test_with_memory_for_everything_batches_are_as_from_a_table(far: Dataset) -> None:
    """Tasks by the same draw as MetaBatches, rows of those tasks and no others, every transition reachable."""
    table = far.transitions()
    ours = StreamedBatches(far, meta_batch=5, batch=7, context=3, seed=0, memory=10**6)
    theirs = MetaBatches(table, meta_batch=5, batch=7, context=3, seed=0)
    assert ours.steps_to_replace == 0
    seen: set[float] = set()
    for step in range(100):
        batch = ours.at(step)
        np.testing.assert_array_equal(batch.tasks, theirs.at(step).tasks)
        for rows in (batch.transitions, batch.context):
            np.testing.assert_array_equal(task_of(rows.rewards), np.tile(batch.tasks[:, None], rows.rewards.shape[1]))
            seen.update(rows.rewards.ravel().tolist())
    assert seen == set(table.gather(np.arange(len(table))).rewards.tolist())


@pytest.mark.parametrize("refresh", [1, 2, 5])
@pytest.mark.parametrize("readers", [1, 4])
def test_a_batch_is_a_pure_function_of_seed_and_step(even: Dataset, refresh: int, readers: int) -> None:
    straight = streamed(even, refresh=refresh)
    expected = [straight.at(step) for step in range(60)]
    anyhow = streamed(even, refresh=refresh, readers=readers)
    for step in (40, 41, 42, 3, 59, 0, 0, 1, 30):
        assert_same_batch(anyhow.at(step), expected[step])


def test_a_resumed_run_draws_what_the_first_would_have(even: Dataset) -> None:
    first = streamed(even)
    expected = [first.at(step) for step in range(50)][25:]
    for step, batch in enumerate(expected, start=25):
        if step in (25, 33):
            resumed = streamed(even)
        assert_same_batch(resumed.at(step), batch)


def test_seeds_and_steps_draw_differently(even: Dataset) -> None:
    drawn = [streamed(even, seed=seed).at(step).transitions.rewards.tobytes() for seed in (0, 1) for step in range(10)]
    assert len(set(drawn)) == 20


def test_no_row_of_the_context_is_taken_from_the_batch(even: Dataset) -> None:
    """Of 80 transitions of a task, all in the pool."""
    shares = copies(StreamedBatches(even, meta_batch=16, batch=7, context=3, seed=0, memory=10**6), task=1)
    assert shares.shape == (7, 3)
    assert 0 < shares.max() < 0.1


# -- reads ---------------------------------------------------------------------------------------------------------


class CountingStore:
    """The episodes of another store, and the numbers of those that were asked for."""

    def __init__(self, store: EpisodeStore) -> None:
        self._store, self.shapes, self.asked = store, store.shapes, []

    def episode(self, number: int) -> Episode:
        self.asked.append(number)
        return self._store.episode(number)

    def columns(self, numbers: NDArray[np.int64]) -> Columns:
        return self._store.columns(numbers)


def reads(dataset: Dataset, steps: Iterable[int], **sizes: int) -> list[int]:
    """The episodes that are read until the batch of each of `steps` has been drawn, in turn."""
    store = CountingStore(dataset.store)
    batches = streamed(replace(dataset, store=store), **sizes)
    for step in steps:
        batches.at(step)
    batches._readers.shutdown(wait=True)
    return store.asked


@pytest.mark.parametrize(("refresh", "readers"), [(1, 1), (1, 2), (2, 2), (3, 4)])
def test_each_arrival_is_read_once_and_no_more_ahead_than_is_said(even: Dataset, refresh: int, readers: int) -> None:
    """6 slots, then one read an arrival: whatever else is read is a read of the network for nothing."""
    steps, ahead = 40, 2 * refresh + readers
    asked = reads(even, range(steps), refresh=refresh, readers=readers)
    assert len(asked) == 6 + refresh * (steps - 1) + ahead
    shown = np.bincount(asked, minlength=24).reshape(3, 8)  # tasks, their episodes
    assert (np.ptp(shown, axis=1) <= 1).all()  # an endless order of permutations shows none twice before all once


def test_a_step_that_is_drawn_again_reads_nothing(even: Dataset) -> None:
    assert len(reads(even, [5, 5, 5, 5])) == len(reads(even, [5]))


def test_a_jump_reads_one_pool_and_what_comes_next(even: Dataset) -> None:
    """Not the arrivals that came and went in between."""
    ahead = 4
    assert len(reads(even, [1000])) == 6 + ahead
    assert len(reads(even, [0, 1000])) <= 2 * (6 + ahead)


def test_what_is_in_the_pool_for_good_is_read_once(even: Dataset) -> None:
    assert sorted(reads(even, range(50), slots=100)) == list(range(24))


# -- mixing --------------------------------------------------------------------------------------------------------


def rewards_of(batch: MetaBatch) -> np.ndarray:
    return np.concatenate([batch.transitions.rewards.ravel(), batch.context.rewards.ravel()])


def test_the_pool_holds_as_many_episodes_as_memory_does_and_is_replaced_in_the_steps_it_says(even: Dataset) -> None:
    batches = streamed(even, slots=7)  # two for each of three tasks; the seventh slot would favour one
    assert (batches.pool_bytes, batches.steps_to_replace) == (6 * SLOT, 6)

    def held(steps: range) -> set[float]:
        """Episodes drawn when a step is asked for many times over, by samplers that differ in nothing but the batch."""
        many = StreamedBatches(even, meta_batch=500, batch=7, context=3, seed=0, memory=18 * SLOT)
        return {number for step in steps for number in episode_of(rewards_of(many.at(step))).tolist()}

    assert len(held(range(1))) == 6
    assert len(held(range(6))) == 11  # a newcomer at each step but the first
    assert not held(range(1)) & held(range(6, 7))


def test_every_round_brings_every_episode_once_and_in_another_order(even: Dataset) -> None:
    """One newcomer a step, under a seed that brings none back at once. Rounds end with turns 18, 42, 66."""
    batches = StreamedBatches(even, meta_batch=500, batch=7, context=3, seed=121, memory=18 * SLOT)
    held = [set(episode_of(rewards_of(batches.at(step))).tolist()) for step in range(18, 18 + 24 * 2 + 1)]
    newcomers = [after - before for before, after in itertools.pairwise(held)]
    assert [len(new) for new in newcomers] == [1] * 48
    first, second = ([new.pop() for new in part] for part in (newcomers[:24], newcomers[24:]))
    assert len(set(first)) == 24
    assert set(first) == set(second)
    assert first != second


def test_over_whole_rounds_batches_are_distributed_as_uniform_ones(even: Dataset) -> None:
    """By episode and by transition within it, against the expectation and against MetaBatches on the same steps.

    Of each drawn task one transition: the others are drawn from the same pool, hence not independently of it.
    """
    uniform = MetaBatches(even.transitions(), meta_batch=5, batch=7, context=3, seed=0)
    drawn = {"pool": streamed(even), "table": uniform}
    firsts = {
        name: np.concatenate([source.at(step).transitions.rewards[:, 0] for step in range(24 * 100)])
        for name, source in drawn.items()
    }
    np.testing.assert_array_equal(task_of(firsts["pool"]), task_of(firsts["table"]))
    counts = []
    for name, rewards in firsts.items():
        by_episode = np.unique(episode_of(rewards), return_counts=True)[1]
        by_transition = np.unique(rewards, return_counts=True)[1]
        assert (len(by_episode), len(by_transition)) == (24, 240), name
        assert stats.chisquare(by_episode).pvalue > 0.001, name
        assert stats.chisquare(by_transition).pvalue > 0.001, name
        counts.append(by_transition)
    assert stats.chi2_contingency(np.stack(counts)).pvalue > 0.001


def test_a_pool_that_is_never_renewed_would_fail_that(even: Dataset) -> None:
    """The control: the same chi-square on draws from one pool."""
    first_pool = StreamedBatches(even, meta_batch=500, batch=7, context=3, seed=0, memory=18 * SLOT).at(0)
    counts = np.unique(episode_of(first_pool.transitions.rewards[:, 0]), return_counts=True)[1]
    assert stats.chisquare(np.append(counts, [0] * (24 - len(counts)))).pvalue < 1e-6


# -- memory, failure -----------------------------------------------------------------------------------------------


def test_too_little_memory_is_refused_with_what_is_needed(even: Dataset) -> None:
    with pytest.raises(DatasetError, match="does not hold an episode of each of 3 tasks") as caught:
        StreamedBatches(even, meta_batch=5, batch=7, context=3, seed=0, memory=14 * SLOT)
    least = int(str(caught.value.hint).split("memory=")[1].split()[0])
    assert StreamedBatches(even, meta_batch=5, batch=7, context=3, seed=0, memory=least).pool_bytes == 3 * SLOT
    with pytest.raises(DatasetError, match="does not hold"):
        StreamedBatches(even, meta_batch=5, batch=7, context=3, seed=0, memory=least - 1)


def test_an_empty_selection_is_refused(even: Dataset) -> None:
    with pytest.raises(DatasetError, match="no episode"):
        StreamedBatches(even.select(max_return=-1.0), meta_batch=5, batch=7, context=3, seed=0, memory=10**6)


def test_memory_stays_within_its_bound_however_large_the_dataset(tmp_path: Path) -> None:
    """NumPy reports its buffers to tracemalloc. 4 tasks, 16 and 128 episodes of 60 steps, the same budget."""
    peaks = []
    for episodes in (4, 32):
        plans = tuple(Plan(task=task, length=60, ends="open") for task in range(4) for _ in range(episodes))
        dataset = open_dataset(exported(plans, tmp_path / str(episodes)))
        slot = 4 * 61 * 7
        tracemalloc.start()
        batches = StreamedBatches(dataset, meta_batch=2, batch=2, context=2, seed=0, memory=24 * slot, refresh=2)
        for step in range(100):
            batches.at(step)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert batches.pool_bytes <= 24 * slot
    assert peaks[1] < peaks[0] + 128 * 1000  # the shard index of each episode, and nothing of its rows


def test_damage_is_reported_at_the_step_that_needs_the_episode(tmp_path: Path) -> None:
    place = exported(EVEN, tmp_path)
    batches = streamed(open_dataset(place), refresh=1)
    batches.at(0)
    for task in range(3):
        shard = place / "observations" / "c" / str(task) / "0"
        shard.write_bytes(bytes(len(shard.read_bytes())))
    with pytest.raises(CorruptDatasetError, match=r"made.zarr, task \d, episode \d+: "):
        [batches.at(step) for step in range(1, 60)]


def test_readers_end_with_the_sampler(even: Dataset) -> None:
    batches = streamed(even)
    batches.at(0)
    readers = [thread for thread in threading.enumerate() if thread.name.startswith("episodes")]
    assert readers
    del batches
    gc.collect()
    for thread in readers:
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_over_http_batches_are_those_of_the_disk(even: Dataset, even_path: Path) -> None:
    with http_server(even_path.parent) as url:
        over_http, local = streamed(open_dataset(f"{url}/made.zarr")), streamed(even)
        for step in (0, 1, 2, 30):
            assert_same_batch(over_http.at(step), local.at(step))


def test_a_mapped_dataset_streams_too(made: Path, far: Dataset) -> None:
    """The sampler asks for episodes, whatever holds them."""
    sizes = {"meta_batch": 5, "batch": 7, "context": 3, "seed": 0, "memory": 18 * 4 * 34 * 7}
    near, distant = StreamedBatches(open_dataset(made), **sizes), StreamedBatches(far, **sizes)
    assert len(PLANS) * 4 * 34 * 7 > near.pool_bytes
    for step in range(20):
        assert_same_batch(near.at(step), distant.at(step))
