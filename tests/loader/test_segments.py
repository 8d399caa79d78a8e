"""Segments against a model in plain Python: lists of steps, from the map, RAM, fetched, compressed and from Zarr."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any, get_args

import numpy as np
import pytest

from idaq.core.errors import UsageError
from idaq.core.types import Array
from idaq.format.reader import open_stored
from idaq.format.writer import EpisodeEntry, write_dataset
from idaq.format.zarr.transfer import export_zarr
from idaq.loader import Dataset, open_dataset
from idaq.loader.dataset import Where
from idaq.loader.segments import SegmentBatches, Within
from idaq.testing.examples import PLANS, Plan, entries_of, example_recipe, example_source

LENGTHS = (1, 2, 3, 7, 16, 33, 34, 40)
DISCOUNT = 0.5
COLUMNS = ("infos/mask", "expert_action", "actions")
MORE = (Plan(task=9, length=5, ends="truncated"), Plan(task=9, length=4, ends="truncated"))


@dataclass(frozen=True)
class Step:
    """One step of the model."""

    task: int
    number: int
    reward: float
    columns: Mapping[str, Array]
    following: Array
    """s'"""
    is_first: bool
    return_to_go: float


def learned() -> list[EpisodeEntry]:
    """Of each task two behaviours, the first with two histories; in the file the later episodes had learned less."""
    found: list[EpisodeEntry] = []
    for number, entry in enumerate(entries_of(PLANS + MORE)):
        rewards = entry.episode.rewards
        masks = (np.arange(len(rewards) * 9000).reshape(len(rewards), 9000) * 7 + number) % 251
        extras: dict[str, Array] = {"expert_action": (rewards % 97).astype(np.int8), "infos/mask": masks.astype("u1")}
        episode = replace(entry.episode, extras=extras)
        found.append(replace(entry, episode=episode, history=number // 2 % 2, policy_step=100 - number))
    return found


@pytest.fixture(scope="module", params=["plain", "compressed", "zarr"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("segments")
    packed = ["infos/mask", "observations"] if request.param == "compressed" else []
    path = write_dataset(example_source(learned(), replace(example_recipe(), compress=packed)), root, "")
    if request.param != "zarr":
        return open_dataset(path)
    export_zarr(open_stored(path), str(root / "form.zarr"))
    return open_dataset(root / "form.zarr")


def pieces(within: Within) -> list[list[Step]]:
    """What a segment never leaves, step by step, as the file's entries say."""
    order = list(enumerate(learned()))
    if within == "history":
        order.sort(key=lambda pair: pair[1].policy_step or 0)
    found: dict[Any, list[Step]] = {}
    for number, entry in order:
        key = {
            "episode": number,
            "task": entry.task_index,
            "history": (entry.task_index, entry.behaviour, entry.history),
        }[within]
        found.setdefault(key, []).extend(steps(number, entry))
    return list(found.values())


def steps(number: int, entry: EpisodeEntry) -> list[Step]:
    episode, made, later = entry.episode, list[Step](), 0.0
    for step in reversed(range(len(episode))):
        later = float(episode.rewards[step]) + DISCOUNT * later
        columns = {name: episode.columns[name][step] for name in COLUMNS}
        following = episode.observations[step + 1]
        made.append(Step(entry.task_index, number, float(episode.rewards[step]), columns, following, step == 0, later))
    return made[::-1]


@pytest.mark.parametrize("within", get_args(Within))
@pytest.mark.parametrize("where", ["auto", "ram", "fetch"])
def test_segments_of_any_length_are_those_of_the_model(dataset: Dataset, where: Where, within: Within) -> None:
    model = pieces(within)
    place = {step.reward: (piece, at) for piece in model for at, step in enumerate(piece)}
    table = dataset.transitions(where)
    for length in LENGTHS:
        batches = SegmentBatches(
            table, meta_batch=16, length=length, within=within, seed=3, columns=COLUMNS, discount=DISCOUNT
        )
        for batch in (batches.at(step) for step in range(12)):
            for n in range(16):
                piece, begin = place[float(batch.segments.rewards[n, 0])]
                expected = piece[begin : begin + length]
                count = len(expected)
                assert count == min(length, len(piece)), "cut short by nothing but a short piece"
                assert batch.valid[n].tolist() == [True] * count + [False] * (length - count)
                assert batch.starts[n].tolist() == [s.is_first for s in expected] + [False] * (length - count)
                expected += [expected[-1]] * (length - count)
                assert int(batch.tasks[n]) == expected[0].task
                assert batch.segments.rewards[n].tolist() == [step.reward for step in expected]
                np.testing.assert_array_equal(batch.segments.next_observations[n], [s.following for s in expected])
                assert batch.returns is not None
                assert batch.returns[n].tolist() == np.array([s.return_to_go for s in expected], np.float32).tolist()
                for name in COLUMNS:
                    np.testing.assert_array_equal(batch.columns[name][n], [s.columns[name] for s in expected])


@pytest.mark.parametrize("every", [2, 3])
def test_every_nth_episode_of_a_history_is_one_history(dataset: Dataset, every: int) -> None:
    """Steps follow each other from an episode to the n-th after it, whichever a segment begins in; none is left out."""
    followed, seen = dict[float, float](), set[float]()
    for piece in pieces("history"):
        episodes = [list(steps) for _, steps in groupby(piece, lambda step: step.number)]
        for turn in range(every):
            rewards = [step.reward for episode in episodes[turn::every] for step in episode]
            followed |= dict(pairwise(rewards))
            seen |= set(rewards)
    batches = SegmentBatches(dataset.transitions(), meta_batch=16, length=6, within="history", seed=3, every=every)
    drawn = set[float]()
    for step in range(60):
        batch = batches.at(step)
        for rewards, valid in zip(batch.segments.rewards.tolist(), batch.valid.sum(1).tolist(), strict=True):
            drawn |= set(rewards)
            assert all(followed[one] == after for one, after in pairwise(rewards[:valid]))
            assert valid == 6 or rewards[valid - 1] not in followed
    assert drawn == seen


def test_every_nth_episode_is_of_histories(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="every = 2 within 'task'"):
        SegmentBatches(dataset.transitions(), meta_batch=2, length=3, within="task", seed=0, every=2)
