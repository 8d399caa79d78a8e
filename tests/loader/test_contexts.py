"""Contexts of tasks, on the hand-made dataset: the same transitions from a map, from RAM and from a Zarr form."""

from pathlib import Path

import numpy as np
import pytest

from idaq.format.reader import open_stored
from idaq.format.zarr.transfer import export_zarr
from idaq.loader import Dataset, Transitions, open_dataset
from idaq.loader.contexts import Experience, task_contexts, task_experience
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


# -- whole episodes ----------------------------------------------------------------------------------------------


def played(rewards: list[list[list[float]]], lengths: list[list[int]]) -> Experience:
    """Episodes (P, n, T) by their rewards, and how many steps of each are valid."""
    paid = np.array(rewards, np.float32)
    seen = np.stack([paid, -paid], -1)
    columns = Transitions(
        observations=seen, actions=seen[..., :1], rewards=paid, next_observations=seen + 1, terminated=paid > 100
    )
    return Experience.of_episodes(columns, np.arange(paid.shape[2]) < np.array(lengths)[..., None])


def test_episodes_follow_one_another_and_what_is_not_valid_is_left_out() -> None:
    """Two problems: the first has episodes of 2 and 3 steps, the second of 1 and none (it was not accepted)."""
    experience = played([[[1, 2, 9], [3, 4, 5]], [[6, 9, 9], [9, 9, 9]]], [[2, 3], [1, 0]])
    assert experience.transitions.rewards.tolist() == [[1, 2, 3, 4, 5], [6, 0, 0, 0, 0]]
    assert experience.transitions.observations[0, :, 1].tolist() == [-1, -2, -3, -4, -5]
    assert experience.transitions.next_observations[1, :, 0].tolist() == [7, 0, 0, 0, 0]
    assert experience.valid.tolist() == [[True] * 5, [True] + [False] * 4]
    assert experience.starts.tolist() == [[True, False, True, False, False], [True] + [False] * 4]


def test_an_episode_left_out_between_two_leaves_no_gap() -> None:
    experience = played([[[1, 2], [9, 9], [3, 4]]], [[2, 0, 1]])
    assert experience.transitions.rewards.tolist() == [[1, 2, 3]]
    assert experience.starts.tolist() == [[True, False, True]]


def test_nothing_seen_yet_has_no_steps() -> None:
    experience = played([[[9, 9]], [[9, 9]]], [[0], [0]])
    assert experience.transitions.observations.shape == (2, 0, 2)
    assert experience.valid.shape == experience.starts.shape == (2, 0)


def test_whole_episodes_of_a_task_hold_at_least_so_many_transitions(dataset: Dataset) -> None:
    """Each as it lies in the dataset, none twice, no more of them than are needed; all where that is too few."""
    for size in (1, 4, 10**6):
        tasks, experience = task_experience(dataset, size, seed=2)
        assert tasks.tolist() == list(SIZES)
        assert experience.valid.shape[1] == experience.valid.sum(1).max()
        for task, row, valid, starts in zip(
            tasks, experience.transitions.rewards, experience.valid, experience.starts, strict=True
        ):
            steps = int(valid.sum())
            assert valid[:steps].all()
            parts = np.split(row[:steps], np.flatnonzero(starts[:steps])[1:])
            own = [episode.rewards.tolist() for episode in dataset.select(tasks=[int(task)])]
            found = [part.tolist() for part in parts]
            assert all(part in own for part in found)
            assert len({tuple(part) for part in found}) == len(found)
            assert steps >= min(size, SIZES[int(task)])
            assert steps - len(parts[-1]) < size


def test_which_episodes_follows_from_the_seed(dataset: Dataset) -> None:
    first, again, other = (task_experience(dataset, 4, seed)[1] for seed in (0, 0, 1))
    assert_bitwise(first.transitions, again.transitions)
    assert first.transitions.rewards.tobytes() != other.transitions.rewards.tobytes()
