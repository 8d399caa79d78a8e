"""What every sampler must do: give the batch of a step, which follows from (seed, step) and from nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from idaq.core.types import Array, Episode
from idaq.format.columns import Columns
from idaq.format.episodes import EpisodeStore
from idaq.format.writer import write_dataset
from idaq.loader import Dataset, Sampler, open_dataset
from idaq.testing.examples import Plan, entries_of, example_source, task_of

STEPS = (3, 0, 25, 3, 1, 0, 24)
PLANS = tuple(
    Plan(task=task, length=length, ends="truncated")
    for task, lengths in {2: (1, 7, 16), 5: (3, 4), 9: (2, 33, 12)}.items()
    for length in lengths
)


@dataclass(frozen=True)
class CountedReads:
    """A store, and which episodes were asked of it."""

    store: EpisodeStore
    numbers: set[int] = field(default_factory=set)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.store.shapes

    def episode(self, number: int) -> Episode:
        self.numbers.add(number)
        return self.store.episode(number)

    def columns(self, numbers: NDArray[np.int64]) -> Columns:
        self.numbers.update(numbers.tolist())
        return self.store.columns(numbers)


class SamplerContract:
    """Subclass it and give `sampler`."""

    def sampler(self, dataset: Dataset, seed: int) -> Sampler[Any]:
        """A sampler of the selected episodes: several tasks a batch, several transitions of each."""
        raise NotImplementedError

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Dataset:
        """Tasks 2, 5 and 9 of 24, 7 and 47 transitions, whose numbers tell where they belong."""
        return open_dataset(write_dataset(example_source(entries_of(PLANS)), tmp_path / "root", ""))

    def test_a_batch_follows_from_seed_and_step_however_it_is_asked_for(self, dataset: Dataset) -> None:
        straight = self.sampler(dataset, 7)
        expected = [contents(straight.at(step)) for step in range(max(STEPS) + 1)]
        anyhow, late = self.sampler(dataset, 7), self.sampler(dataset, 7)
        for step in STEPS:
            assert contents(anyhow.at(step)) == expected[step], f"step {step}, asked for out of order"
        assert contents(late.at(25)) == expected[25], "the first step of a resumed run"

    def test_seeds_and_steps_draw_differently(self, dataset: Dataset) -> None:
        drawn = [tuple(contents(self.sampler(dataset, seed).at(step))) for seed in (0, 1) for step in range(8)]
        assert len(set(drawn)) == len(drawn)

    def test_a_batch_may_be_altered(self, dataset: Dataset) -> None:
        sampler = self.sampler(dataset, 0)
        before = contents(sampler.at(0))
        for array in arrays(sampler.at(0)):
            if array.flags.writeable:
                array[:] = 0
        assert contents(sampler.at(0)) == before

    def test_rows_are_of_the_task_that_the_batch_names(self, dataset: Dataset) -> None:
        sampler, seen = self.sampler(dataset, 0), set[int]()
        for step in range(30):
            batch = sampler.at(step)
            seen.update(batch.tasks.tolist())
            for rows in transitions(batch):
                found = task_of(rows.rewards).reshape(len(batch.tasks), -1)
                np.testing.assert_array_equal(found, np.repeat(batch.tasks[:, None], found.shape[1], 1))
        assert seen == {2, 5, 9}

    def test_the_columns_stay_aligned(self, dataset: Dataset) -> None:
        """Observations hold parts 0-2 of a transition's tag, actions 4-5, the reward 8; a step is 16 further on."""
        sampler = self.sampler(dataset, 0)
        for step in range(10):
            for rows in transitions(sampler.at(step)):
                tag = rows.rewards[..., None] - 8
                np.testing.assert_array_equal(rows.observations, tag + np.arange(3))
                np.testing.assert_array_equal(rows.actions, tag + np.arange(4, 6))
                np.testing.assert_array_equal(rows.next_observations, tag + 16 + np.arange(3))

    def test_what_is_not_selected_is_neither_drawn_nor_read(self, dataset: Dataset) -> None:
        counted = CountedReads(dataset.store)
        selected = replace(dataset, store=counted).select(tasks=[5, 9])
        sampler = self.sampler(selected, 0)
        drawn = {number for step in range(20) for rows in transitions(sampler.at(step)) for number in episode_of(rows)}
        assert drawn <= set(selected.numbers.tolist())
        assert counted.numbers <= set(selected.numbers.tolist())

    def test_statistics_are_those_of_all_that_may_be_drawn(self, dataset: Dataset) -> None:
        sampler = self.sampler(dataset, 0)
        found, drawn = sampler.statistics(), dict[float, list[Array]]()
        for step in range(300):
            for rows in transitions(sampler.at(step)):
                columns = (rows.rewards, rows.observations, rows.next_observations - rows.observations)
                flat = [column.reshape(rows.rewards.size, -1) for column in columns]
                drawn |= dict(zip(flat[0].ravel().tolist(), zip(*flat, strict=True), strict=True))
        reward, seen, change = (np.array(column, np.float64) for column in zip(*drawn.values(), strict=True))
        np.testing.assert_allclose(found.observation_mean, seen.mean(0), rtol=1e-4)
        np.testing.assert_allclose(found.observation_std, seen.std(0), rtol=1e-4)
        np.testing.assert_allclose(found.change_std, np.maximum(change.std(0), 1e-3), rtol=1e-4)
        assert (found.reward_mean, found.reward_std) == pytest.approx((reward.mean(), reward.std()), rel=1e-4)


def arrays(value: Any) -> Iterator[Array]:
    """Every array of a batch, in a fixed order."""
    if isinstance(value, np.ndarray):
        yield value
    elif is_dataclass(value):
        for member in fields(value):
            yield from arrays(getattr(value, member.name))
    elif isinstance(value, dict | tuple | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from arrays(member)


def contents(batch: Any) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Dtype, shape and bytes of every array of a batch."""
    return [(array.dtype.str, array.shape, array.tobytes()) for array in arrays(batch)]


def transitions(value: Any) -> Iterator[Any]:
    """Every part of a batch that holds (s, a, r, s')."""
    if all(hasattr(value, name) for name in ("observations", "actions", "rewards", "next_observations")):
        yield value
    elif is_dataclass(value):
        for member in fields(value):
            yield from transitions(getattr(value, member.name))


def episode_of(rows: Any) -> set[int]:
    """The episodes that tagged transitions are of."""
    return set((rows.rewards.ravel().astype(np.int64) // (16 * 64) % 8).tolist())
