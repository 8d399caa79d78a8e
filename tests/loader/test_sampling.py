"""Meta-batches, on the hand-made dataset: three tasks of 24, 3 and 48 transitions whose rewards tell them apart."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from idaq.loader import MetaBatches, StreamedBatches, TransitionTable, open_dataset
from tests.format.made import PLANS
from tests.loader.test_table import assert_bitwise

SIZES = {2: 24, 5: 3, 9: 48}


@pytest.fixture(scope="module")
def table(made: Path) -> TransitionTable:
    return open_dataset(made).transitions("map")


def batches(table: TransitionTable, seed: int = 0, meta_batch: int = 5) -> MetaBatches:
    return MetaBatches(table, meta_batch=meta_batch, batch=7, context=3, seed=seed)


def task_of(rewards: np.ndarray) -> np.ndarray:
    """The task that a tagged reward was paid in."""
    return rewards.astype(int) // (16 * 64 * 8)


def test_the_table_has_tasks_of_unlike_sizes(table: TransitionTable) -> None:
    assert {plan.task for plan in PLANS} == set(SIZES)
    assert table.task_indices.tolist() == list(SIZES)
    assert np.diff(table.ranges).ravel().tolist() == list(SIZES.values())


def test_a_batch_comes_alike_from_map_and_ram(made: Path) -> None:
    for step in range(3):
        a, b = (batches(open_dataset(made).transitions(where)).at(step) for where in ("map", "ram"))
        np.testing.assert_array_equal(a.tasks, b.tasks)
        assert_bitwise(a.transitions, b.transitions)
        assert_bitwise(a.context, b.context)


def test_tasks_are_drawn_alike_often_however_many_transitions_they_have(table: TransitionTable) -> None:
    tasks = np.concatenate([batches(table, meta_batch=16).at(step).tasks for step in range(250)])
    assert stats.chisquare([(tasks == task).sum() for task in SIZES]).pvalue > 0.001


@pytest.mark.parametrize("part", ["transitions", "context"])
def test_transitions_of_a_task_are_drawn_alike_often(table: TransitionTable, part: str) -> None:
    drawn = np.concatenate(
        [getattr(batches(table, meta_batch=16).at(step), part).rewards.ravel() for step in range(250)]
    )
    for task, size in SIZES.items():
        values, counts = np.unique(drawn[task_of(drawn) == task], return_counts=True)
        assert len(values) == size
        assert stats.chisquare(counts).pvalue > 0.001


def test_context_and_transitions_are_drawn_independently(table: TransitionTable) -> None:
    """Of the smallest task, the first row of each: all 9 pairs are alike likely."""
    pairs = np.zeros((3, 3), int)
    rewards = np.sort(table.gather(table.of_task(1)).rewards)
    for step in range(300):
        batch = batches(table).at(step)
        chosen = batch.tasks == 5
        firsts = batch.transitions.rewards[chosen, 0], batch.context.rewards[chosen, 0]
        np.add.at(pairs, tuple(np.searchsorted(rewards, first) for first in firsts), 1)
    assert pairs.sum() > 300
    assert stats.chisquare(pairs.ravel()).pvalue > 0.001


def copies(source: MetaBatches | StreamedBatches, task: int) -> np.ndarray:
    """How often in 100 steps each row of the context was each row of the batch: (B, K) shares, for one task."""
    equal = []
    for step in range(100):
        drawn = source.at(step)
        rows, context = (part.rewards[drawn.tasks == task] for part in (drawn.transitions, drawn.context))
        equal.append(rows[:, :, None] == context[:, None, :])
    return np.concatenate(equal).mean(0)


def test_no_row_of_the_context_is_taken_from_the_batch(table: TransitionTable) -> None:
    """Of 48 transitions, two drawn independently are the same one time in 48; a row in both would be so each time."""
    shares = copies(batches(table, meta_batch=16), task=9)
    assert shares.shape == (7, 3)
    assert 0 < shares.max() < 0.1
