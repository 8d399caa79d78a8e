"""What every sampler must do: give the batch of a step, which follows from (seed, step) and from nothing else.

Samplers of segments must also tell which steps follow each other, and what stands beside them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from idaq.core.errors import DatasetError
from idaq.core.types import Array, Episode
from idaq.format.columns import Columns
from idaq.format.episodes import EpisodeStore
from idaq.format.writer import EpisodeEntry, write_dataset
from idaq.loader import Dataset, Sampler, SegmentBatch, open_dataset
from idaq.loader.segments import Within
from idaq.testing.examples import Plan, entries_of, example_source, task_of

STEPS = (3, 0, 25, 3, 1, 0, 24)
LENGTH, DISCOUNT = 6, 0.9
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
        """Tasks 2, 5 and 9 of 24, 7 and 47 transitions, whose numbers tell where they belong.

        Beside them the column `expert_action` of int8; each task has a learning history a behaviour, not in file order.
        """
        return open_dataset(write_dataset(example_source(_with_histories(entries_of(PLANS))), tmp_path / "root", ""))

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


class SegmentContract(SamplerContract):
    """For samplers of `SegmentBatch`. Subclass it and give `segments`."""

    def segments(self, dataset: Dataset, seed: int, within: Within, columns: tuple[str, ...]) -> Sampler[SegmentBatch]:
        """A sampler of segments of `LENGTH` steps within an episode, a task or a learning history, of several tasks a
        batch, with `columns` beside them and returns-to-go discounted by `DISCOUNT`."""
        raise NotImplementedError

    def sampler(self, dataset: Dataset, seed: int) -> Sampler[Any]:
        """As `SamplerContract.sampler`."""
        return self.segments(dataset, seed, "task", ("expert_action",))

    @pytest.mark.parametrize("within", get_args(Within))
    def test_steps_follow_each_other_to_the_end_of_what_holds_them(self, dataset: Dataset, within: Within) -> None:
        pieces, begun = _pieces(dataset, within), set[float]()
        sampler = self.segments(dataset, 0, within, ())
        for step in range(400):
            batch = sampler.at(step)
            for rewards, valid, starts in zip(batch.segments.rewards, batch.valid, batch.starts, strict=True):
                piece = next(piece for piece in pieces if rewards[0] in piece)
                place, count = piece.index(rewards[0]), int(valid.sum())
                assert count == min(LENGTH, len(piece)), "a segment is cut short by nothing but a short piece"
                assert valid[:count].all()
                assert rewards[:count].tolist() == piece[place : place + count]
                assert (rewards[count:] == rewards[count - 1]).all(), "what is not valid repeats the last step"
                np.testing.assert_array_equal(starts, valid & (rewards.astype(np.int64) // 16 % 64 == 0))
                begun.add(float(rewards[0]))
        ends = {reward for piece in pieces for reward in piece[max(1, len(piece) - LENGTH + 1) :]}
        assert begun == {reward for piece in pieces for reward in piece} - ends, "every first step has its turn"

    @pytest.mark.parametrize("within", get_args(Within))
    def test_columns_and_returns_are_those_of_the_step(self, dataset: Dataset, within: Within) -> None:
        names = ("expert_action", "observations", "rewards")
        sampler, discounted = self.segments(dataset, 0, within, names), dict[float, float]()
        for episode in dataset:
            for step, reward in enumerate(episode.rewards.tolist()):
                later = episode.rewards[step:]
                discounted[reward] = float((later * DISCOUNT ** np.arange(len(later))).sum())
        for step in range(20):
            batch = sampler.at(step)
            rewards, columns = batch.segments.rewards, batch.columns
            assert {name: column.dtype for name, column in columns.items()} == {
                "expert_action": np.int8, "observations": np.float32, "rewards": np.float64,
            }  # fmt: skip
            np.testing.assert_array_equal(columns["rewards"], rewards)
            np.testing.assert_array_equal(columns["observations"], batch.segments.observations)
            np.testing.assert_array_equal(columns["expert_action"], expert_action(rewards))
            assert batch.returns is not None
            np.testing.assert_allclose(
                batch.returns, [[discounted[r] for r in row] for row in rewards.tolist()], rtol=1e-6
            )

    def test_an_episode_without_a_place_in_a_history_is_named(self, tmp_path: Path) -> None:
        entries = _with_histories(entries_of(PLANS))
        entries[3] = replace(entries[3], history=None, policy_step=None)
        dataset = open_dataset(write_dataset(example_source(entries), tmp_path / "root", ""))
        with pytest.raises(DatasetError, match="1 of 8 episodes have no place in a learning history, episode 3"):
            self.segments(dataset, 0, "history", ())
        self.segments(dataset, 0, "task", ()).at(0)


def expert_action(rewards: Array) -> Array:
    """What the column `expert_action` holds beside tagged rewards."""
    return (rewards.astype(np.int64) // 16 % 101).astype(np.int8)


def _with_histories(entries: list[EpisodeEntry]) -> list[EpisodeEntry]:
    """Beside each entry's numbers `expert_action`, and its place in a history: the later ones had learned less."""
    return [
        replace(
            entry,
            episode=replace(entry.episode, extras={"expert_action": expert_action(entry.episode.rewards)}),
            history=0,
            policy_step=100 - number,
        )
        for number, entry in enumerate(entries)
    ]


def _pieces(dataset: Dataset, within: Within) -> list[list[float]]:
    """The rewards of all steps in what a segment never leaves, in the order in which they follow each other."""
    table, found = dataset.episodes, dict[tuple[Any, ...], list[float]]()
    order = dataset.numbers.tolist()
    if within == "history":
        order.sort(key=lambda number: table.policy_step[number])
    for number in order:
        task, behaviour = int(table.task_index[number]), str(table.behaviour[number])
        key = {"episode": (number,), "task": (task,), "history": (task, behaviour, int(table.history[number]))}[within]
        found.setdefault(key, []).extend(dataset.store.episode(number).rewards.tolist())
    return list(found.values())


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
