"""Trajectories of whole episodes, on the hand-made dataset: tasks of unlike sizes, told apart by their rewards."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from idaq.loader import Dataset, open_dataset
from idaq.loader.trajectories import TrajectoryBatches


@pytest.fixture(scope="module")
def dataset(made: Path) -> Dataset:
    return open_dataset(made)


def trajectories(dataset: Dataset, episodes: int, count: int) -> list[tuple[int, list[list[float]]]]:
    """Task and episodes of each trajectory, cut where the sampler says that an episode starts."""
    sampler, found = TrajectoryBatches(dataset.transitions(), meta_batch=8, episodes=episodes, seed=3), []
    for step in range(count):
        batch = sampler.at(step)
        seen = batch.experience
        assert seen.valid.shape[1] == seen.valid.sum(1).max()
        for task, rewards, starts, valid in zip(
            batch.tasks.tolist(), seen.transitions.rewards, seen.starts, seen.valid, strict=True
        ):
            length = int(valid.sum())
            assert valid[:length].all()
            assert not starts[length:].any()
            assert (rewards[length:] == rewards[length - 1]).all(), "what is not valid repeats the last step"
            parts = np.split(rewards[:length], np.flatnonzero(starts[:length]))
            assert len(parts[0]) == 0, "it begins with an episode"
            found.append((task, [part.tolist() for part in parts[1:]]))
    return found


def own(dataset: Dataset) -> dict[int, list[list[float]]]:
    return {t.task_index: [e.rewards.tolist() for e in dataset.select(tasks=[t.task_index])] for t in dataset.tasks}


@pytest.mark.parametrize("episodes", [1, 2, 3, 10])
def test_whole_episodes_of_the_task_none_twice_and_no_more_than_there_are(dataset: Dataset, episodes: int) -> None:
    for task, parts in trajectories(dataset, episodes, 20):
        there = own(dataset)[task]
        assert all(part in there for part in parts)
        assert len(parts) == len({tuple(part) for part in parts}) == min(episodes, len(there))


def test_tasks_are_drawn_alike_often_and_their_episodes_in_any_order(dataset: Dataset) -> None:
    found = trajectories(dataset, 2, 200)
    tasks = Counter(task for task, _ in found)
    assert stats.chisquare(list(tasks.values())).pvalue > 0.001
    largest = max(own(dataset), key=lambda task: len(own(dataset)[task]))
    pairs = Counter(tuple(map(tuple, parts)) for task, parts in found if task == largest)
    count = len(own(dataset)[largest])
    assert len(pairs) == count * (count - 1)
    assert stats.chisquare(list(pairs.values())).pvalue > 0.001
