"""Contexts of tasks, on the hand-made dataset: the same transitions from a map, from RAM and from a Zarr form."""

from pathlib import Path

import numpy as np
import pytest

from idaq.format.reader import open_stored
from idaq.format.zarr.transfer import export_zarr
from idaq.loader import Dataset, open_dataset
from idaq.loader.contexts import task_contexts
from tests.loader.test_sampling import SIZES, task_of
from tests.loader.test_table import assert_bitwise


@pytest.fixture(scope="module")
def dataset(made: Path) -> Dataset:
    return open_dataset(made)


def test_contexts_are_of_their_own_tasks_and_follow_from_the_seed(dataset: Dataset) -> None:
    tasks, contexts = task_contexts(dataset, 6, seed=3)
    assert tasks.tolist() == list(SIZES)
    np.testing.assert_array_equal(task_of(contexts.rewards), tasks[:, None].repeat(6, 1))
    assert_bitwise(contexts, task_contexts(dataset, 6, seed=3)[1])
    assert contexts.rewards.tobytes() != task_contexts(dataset, 6, seed=4)[1].rewards.tobytes()


def test_every_transition_of_a_task_may_be_drawn(dataset: Dataset) -> None:
    _, contexts = task_contexts(dataset, 1000, seed=0)
    assert [len(np.unique(of_task)) for of_task in contexts.rewards] == list(SIZES.values())


def test_a_zarr_form_gives_the_same_from_the_episodes_that_hold_them(
    dataset: Dataset, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_zarr(open_stored(made), str(tmp_path / "made.zarr"))
    streamed, read = open_dataset(tmp_path / "made.zarr"), list[int]()
    really = type(streamed.store).episode
    monkeypatch.setattr(
        type(streamed.store), "episode", lambda self, number: read.append(number) or really(self, number)
    )
    tasks, contexts = task_contexts(streamed.select(tasks=[5, 9]), 4, seed=1)
    there = task_contexts(dataset.select(tasks=[5, 9]), 4, seed=1)
    assert tasks.tolist() == there[0].tolist() == [5, 9]
    assert_bitwise(contexts, there[1])
    assert len(read) == len(set(read)) <= 8


def test_contexts_of_two_tasks_are_drawn_independently(dataset: Dataset) -> None:
    """One stream for all tasks would draw the same places of each."""
    table = dataset.transitions("map")
    _, contexts = task_contexts(dataset, 400, seed=3)
    places = [
        np.searchsorted(np.sort(table.gather(table.of_task(position)).rewards), contexts.rewards[position])
        for position in (0, 2)
    ]
    assert abs(np.corrcoef(places)[0, 1]) < 0.2
