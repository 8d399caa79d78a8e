"""Meta-batches, on the hand-made dataset: three tasks of 24, 3 and 48 transitions whose rewards tell them apart."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from idaq.loader import MetaBatches, StreamedBatches, TransitionTable, open_dataset
from idaq.loader.sampling import task_contexts
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


def test_a_batch_is_a_pure_function_of_seed_and_step(table: TransitionTable) -> None:
    first, second = batches(table), batches(table)
    drawn = {step: first.at(step) for step in (3, 0, 2, 3, 1, 0)}
    for step in sorted(drawn):
        again = second.at(step)
        np.testing.assert_array_equal(again.tasks, drawn[step].tasks)
        assert_bitwise(again.transitions, drawn[step].transitions)
        assert_bitwise(again.context, drawn[step].context)


def test_batches_of_other_seeds_and_steps_differ(table: TransitionTable) -> None:
    drawn = [batches(table, seed).at(step).transitions.rewards.tobytes() for seed in (0, 1) for step in range(20)]
    assert len(set(drawn)) == 40


def test_a_batch_comes_alike_from_map_and_ram(made: Path) -> None:
    for step in range(3):
        a, b = (batches(open_dataset(made).transitions(where)).at(step) for where in ("map", "ram"))
        np.testing.assert_array_equal(a.tasks, b.tasks)
        assert_bitwise(a.transitions, b.transitions)
        assert_bitwise(a.context, b.context)


def test_every_row_belongs_to_the_task_that_the_batch_names(table: TransitionTable) -> None:
    for step in range(50):
        batch = batches(table).at(step)
        assert (batch.tasks.shape, batch.transitions.rewards.shape) == ((5,), (5, 7))
        assert batch.context.rewards.shape == (5, 3)
        for rows in (batch.transitions, batch.context):
            np.testing.assert_array_equal(task_of(rows.rewards), np.tile(batch.tasks[:, None], rows.rewards.shape[1]))


def test_the_columns_of_a_batch_stay_aligned(table: TransitionTable) -> None:
    rows = batches(table).at(0).transitions
    np.testing.assert_array_equal(rows.observations[..., 0], rows.rewards - 8)
    np.testing.assert_array_equal(rows.actions[..., 0], rows.rewards - 4)
    np.testing.assert_array_equal(rows.next_observations[..., 0], rows.rewards - 8 + 16)


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


def test_contexts_of_tasks_are_their_own_and_pure_in_the_seed(table: TransitionTable) -> None:
    positions = np.array([2, 0, 2, 1])
    contexts = task_contexts(table, positions, 6, seed=3)
    assert contexts.observations.shape == (4, 6, 3)
    np.testing.assert_array_equal(task_of(contexts.rewards), np.tile([[9], [2], [9], [5]], 6))
    assert_bitwise(contexts, task_contexts(table, positions, 6, seed=3))
    assert_bitwise(contexts[0], contexts[2])
    assert_bitwise(contexts[1:2], task_contexts(table, positions[1:2], 6, seed=3))
    assert contexts.rewards.tobytes() != task_contexts(table, positions, 6, seed=4).rewards.tobytes()


def test_contexts_of_two_tasks_are_drawn_independently(table: TransitionTable) -> None:
    """One stream for all tasks would draw the same places of each."""
    contexts = task_contexts(table, np.array([0, 2]), 400, seed=3)
    places = [
        np.searchsorted(np.sort(table.gather(table.of_task(position)).rewards), rewards)
        for position, rewards in zip((0, 2), contexts.rewards, strict=True)
    ]
    assert abs(np.corrcoef(places)[0, 1]) < 0.2
