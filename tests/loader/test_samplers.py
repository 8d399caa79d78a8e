"""Support and query sets, segments, and samplers by name, on the hand-made dataset."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from idaq.core.errors import ConfigError, DatasetError, PluginError, UnknownNameError
from idaq.loader import Dataset, SegmentBatches, SupportQueryBatches, TransitionTable, open_dataset
from idaq.loader.samplers import make_sampler
from idaq.loader.segments import Within, returns_to_go
from tests.loader.test_sampling import task_of
from tests.loader.test_table import assert_bitwise


@pytest.fixture(scope="module")
def dataset(made: Path) -> Dataset:
    return open_dataset(made)


@pytest.fixture(scope="module")
def table(dataset: Dataset) -> TransitionTable:
    return dataset.select(tasks=[2, 9]).transitions("map")


def row_of(table: TransitionTable) -> dict[float, int]:
    """The number of each transition by its reward, which no other has."""
    rewards = table.gather(np.arange(len(table))).rewards.tolist()
    assert len(set(rewards)) == len(rewards)
    return {reward: row for row, reward in enumerate(rewards)}


def test_returns_to_go_are_discounted_sums_to_the_episodes_end(table: TransitionTable) -> None:
    rewards = table.gather(np.arange(len(table))).rewards.astype(np.float64)
    expected = np.concatenate(
        [
            [sum(0.9**k * r for k, r in enumerate(rewards[t:last])) for t in range(first, last)]
            for first, last in pairwise(table.episodes.edges.tolist())
        ]
    )
    np.testing.assert_allclose(returns_to_go(table, 0.9), expected, rtol=1e-6)


def support_query(table: TransitionTable, seed: int = 0) -> SupportQueryBatches:
    return SupportQueryBatches(table, meta_batch=3, support=5, query=4, discount=0.9, seed=seed)


def test_support_and_query_are_of_one_task_and_of_different_episodes(table: TransitionTable) -> None:
    rows, returns = row_of(table), returns_to_go(table, 0.9)
    seen: tuple[set[int], set[int]] = set(), set()
    for step in range(50):
        batch = support_query(table).at(step)
        assert (batch.support.rewards.shape, batch.query.rewards.shape) == ((3, 5), (3, 4))
        for task, support, query in zip(batch.tasks, batch.support.rewards, batch.query.rewards, strict=True):
            assert set(task_of(support)) == set(task_of(query)) == {task}
            apart = [set(table.episodes.of(np.array([rows[r] for r in part.tolist()]))) for part in (support, query)]
            assert not apart[0] & apart[1]
            for of_part, episodes in zip(seen, apart, strict=True):
                of_part |= episodes
        for transitions, given in ((batch.support, batch.support_returns), (batch.query, batch.query_returns)):
            there = [[returns[rows[r]] for r in part] for part in transitions.rewards.tolist()]
            np.testing.assert_array_equal(given, np.array(there))
    every = set(range(len(table.episodes)))
    assert seen == (every, every), "every episode has its turn in both"
    assert_bitwise(support_query(table).at(7).support, support_query(table).at(7).support)
    assert support_query(table).at(7).query.rewards.tobytes() != support_query(table, 1).at(7).query.rewards.tobytes()


def test_a_task_of_a_single_episode_has_no_query_set(dataset: Dataset) -> None:
    single = dataset.select(tasks=[2])
    one = Dataset(**{**single.__dict__, "numbers": single.numbers[:1]})
    with pytest.raises(DatasetError, match="task 2 has a single episode"):
        support_query(one.transitions("map"))


def test_two_episodes_are_one_for_support_and_one_for_query_and_each_step_is_drawn(dataset: Dataset) -> None:
    of_task = dataset.select(tasks=[9])
    two = Dataset(**{**of_task.__dict__, "numbers": of_task.numbers[:2]}).transitions("map")
    rows, seen = row_of(two), set[int]()
    for step in range(200):
        batch = support_query(two).at(step)
        for part in (batch.support, batch.query):
            drawn = np.array([[rows[reward] for reward in line] for line in part.rewards.tolist()])
            assert (np.ptp(two.episodes.of(drawn), axis=1) == 0).all()
            seen |= set(drawn.ravel().tolist())
    assert seen == set(range(len(two)))


@pytest.mark.parametrize("length", [1, 2, 5, 100])
@pytest.mark.parametrize("within", ["episode", "task"])
def test_segments_are_contiguous_steps(table: TransitionTable, length: int, within: Within) -> None:
    rows, begun, edges = row_of(table), set[int](), table.episodes.edges
    sampler = SegmentBatches(table, meta_batch=4, length=length, within=within, seed=0)
    for step in range(150):
        batch = sampler.at(step)
        for i, task in enumerate(batch.tasks.tolist()):
            valid = batch.valid[i]
            taken = np.array([rows[r] for r in batch.segments.rewards[i].tolist()])
            count = int(valid.sum())
            assert valid[:count].all()
            assert count >= 1
            assert (np.diff(taken[:count]) == 1).all()
            assert (taken[count:] == taken[count - 1]).all(), "what is not valid repeats the last step"
            assert set(task_of(batch.segments.rewards[i])) == {task}
            if within == "task":
                first, last = table.ranges[table.task_indices.tolist().index(task)]
            else:
                first, last = edges[table.episodes.of(taken[:1])[0] :][:2]
            assert first <= taken[0]
            assert taken[count - 1] < last
            assert count == min(length, last - first)
            starts = [bool(v and row in set(edges[:-1].tolist())) for row, v in zip(taken, valid, strict=True)]
            assert batch.starts[i].tolist() == starts
            begun.add(int(taken[0]))
    if length == 1:
        assert begun == set(range(len(table))), "every step is drawn"
    assert_bitwise(sampler.at(3).segments, sampler.at(3).segments)


@dataclass(frozen=True)
class Config:
    meta_batch: int = 2
    support: int = 3
    query: int = 3
    discount: float = 0.9
    length: int = 4
    within: str = "task"
    seed: int = 0
    pool: int = 0


def test_samplers_go_by_name_and_read_the_algorithms_config(dataset: Dataset) -> None:
    several = dataset.select(tasks=[2, 9])
    assert isinstance(make_sampler("support-query", several, Config()), SupportQueryBatches)
    assert isinstance(make_sampler("segments", several, Config()), SegmentBatches)
    with pytest.raises(PluginError, match="'meta-batches' reads the setting 'batch', which Config does not have"):
        make_sampler("meta-batches", several, Config())
    with pytest.raises(ConfigError, match="not from a pool"):
        make_sampler("support-query", several, Config(pool=1))
    with pytest.raises(UnknownNameError, match="unknown sampler 'segment'"):
        make_sampler("segment", several, Config())


def mine(dataset: Dataset, config: Config) -> SegmentBatches:
    """A sampler from outside."""
    table = dataset.transitions()
    return SegmentBatches(table, meta_batch=config.meta_batch, length=1, seed=config.seed)


def test_a_sampler_of_ones_own_is_named_by_module_and_attribute(dataset: Dataset) -> None:
    sampler = make_sampler("tests.loader.test_samplers:mine", dataset, Config())
    assert sampler.at(0).segments.rewards.shape == (2, 1)
