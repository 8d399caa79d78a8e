"""Every (s, a, r, s') comes back in its place, through every way to read it. Values tell where they belong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.format.reader import open_stored
from idaq.loader import Transitions, open_dataset
from idaq.loader.transitions import from_episode
from tests.format.made import PLANS, entries_of, tag, tagged_episode

ENTRIES = entries_of()


def test_the_tags_tell_all_values_apart() -> None:
    values = [getattr(entry.episode, name) for entry in ENTRIES for name in ("observations", "actions", "rewards")]
    flat = np.concatenate([value.ravel() for value in values])
    assert len(np.unique(flat)) == flat.size
    assert (flat.astype(np.float32) == flat).all()


def expected_transitions() -> dict[str, np.ndarray]:
    """Of all episodes end to end, from the tags alone."""
    rows = [(plan.task, n, step) for n, plan in enumerate(PLANS) for step in range(plan.length)]
    task, number, step = np.array(rows).T[..., None]
    ends = [plan.ends in ("terminated", "both") for plan in PLANS]
    return {
        "observations": tag(task, number, step, [0, 1, 2]),
        "actions": tag(task, number, step, [4, 5]),
        "rewards": tag(task, number, step, 8)[:, 0],
        "next_observations": tag(task, number, step + 1, [0, 1, 2]),
        "terminated": np.array([ends[n] and s == PLANS[n].length - 1 for _, n, s in rows]),
    }


def assert_transitions(found: Transitions, expected: dict[str, np.ndarray]) -> None:
    for name, values in expected.items():
        assert getattr(found, name).dtype == (bool if name == "terminated" else np.float32), name
        np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)


@pytest.mark.parametrize("where", ["map", "ram", "auto"])
def test_the_transition_table_pairs_every_state_with_its_action_reward_and_next_state(made: Path, where: Any) -> None:
    table = open_dataset(made).transitions(where)
    expected = expected_transitions()
    assert len(table) == len(expected["rewards"])
    assert_transitions(table.gather(np.arange(len(table))), expected)
    rows = np.random.default_rng(0).integers(len(table), size=(5, 40))
    assert_transitions(table.gather(rows), {name: values[rows] for name, values in expected.items()})


@pytest.mark.parametrize("where", ["map", "ram"])
@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ({"split": "train"}, lambda plan, number: plan.task == 2),
        ({"split": "test"}, lambda plan, number: plan.task in (5, 9)),
        ({"tasks": [9]}, lambda plan, number: plan.task == 9),
        ({"behaviour": "random"}, lambda plan, number: number % 2 == 1),
        ({"tasks": ["task-2", 9], "behaviour": "expert"}, lambda plan, number: plan.task != 5 and number % 2 == 0),
    ],
)
def test_a_selection_keeps_every_transition_in_its_place(
    made: Path, where: Any, condition: dict[str, Any], chosen: Callable[..., bool]
) -> None:
    selected = open_dataset(made).select(**condition)
    numbers = [number for number, plan in enumerate(PLANS) if chosen(plan, number)]
    table = selected.transitions(where)
    keep = np.concatenate([np.full(plan.length, number in numbers) for number, plan in enumerate(PLANS)])
    expected = {name: values[keep] for name, values in expected_transitions().items()}
    assert_transitions(table.gather(np.arange(len(table))), expected)
    for position, task in enumerate(table.task_indices):
        rows = table.gather(table.of_task(position))
        assert set((rows.rewards.astype(int) // 16 // 64 // 8).tolist()) == {task}


def test_transitions_of_an_episode_are_those_of_the_table(made: Path) -> None:
    dataset = open_dataset(made)
    start, table = 0, dataset.transitions("map")
    for episode in dataset:
        rows = table.gather(np.arange(start, start + len(episode)))
        for name in ("observations", "actions", "rewards", "next_observations", "terminated"):
            np.testing.assert_array_equal(getattr(from_episode(episode), name), getattr(rows, name))
        start += len(episode)
    assert start == len(table)


def test_a_time_limit_is_not_an_end_of_the_task(made: Path) -> None:
    """Truncated or open episodes bootstrap; one that terminated at its time limit does not."""
    dataset = open_dataset(made)
    last = [from_episode(episode).terminated[-1] for episode in dataset]
    assert last == [plan.ends in ("terminated", "both") for plan in PLANS]
    table = open_stored(made).episodes
    assert table.terminated.tolist() == last
    assert table.truncated.tolist() == [plan.ends in ("truncated", "both") for plan in PLANS]


def test_offsets_in_the_episode_table_point_at_the_bytes_of_each_column(made: Path) -> None:
    content, stored = (made / "data" / "main_data.hdf5").read_bytes(), open_stored(made)
    for number, plan in enumerate(PLANS):
        for name, column in tagged_episode(plan, number).columns.items():
            start, raw = int(stored.episodes.offsets[name][number]), column.tobytes()
            assert content[start : start + len(raw)] == raw
