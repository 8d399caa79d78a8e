from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.loader import Dataset, Transitions, TransitionTable
from idaq.loader.transitions import concatenate, from_episode

NAMES = [field.name for field in fields(Transitions)]


def assert_bitwise(found: Transitions, expected: Transitions) -> None:
    for name in NAMES:
        a, b = getattr(found, name), getattr(expected, name)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        assert a.tobytes() == b.tobytes(), name


@pytest.fixture(params=[{}, {"split": "train"}, {"behaviour": "random"}, {"split": "test", "behaviour": "expert"}])
def selected(mixed: Dataset, request: pytest.FixtureRequest) -> Dataset:
    return mixed.select(**request.param)


def test_map_ram_and_the_episodes_give_the_same_bits(selected: Dataset) -> None:
    expected = concatenate([from_episode(episode) for episode in selected])
    rows = np.arange(len(expected))
    for where in ("map", "ram", "auto"):
        table = selected.transitions(where)
        assert len(table) == len(expected)
        assert_bitwise(table.gather(rows), expected)


def test_rows_come_in_any_order_shape_and_number(selected: Dataset) -> None:
    table = selected.transitions("map")
    everything = table.gather(np.arange(len(table)))

    @given(st.lists(st.integers(0, len(table) - 1), max_size=12), st.sampled_from([(-1,), (1, -1), (-1, 1, 1)]))
    def gathers(rows: list[int], shape: tuple[int, ...]) -> None:
        chosen = np.array(rows, np.int64).reshape([len(rows) if n == -1 else n for n in shape])
        assert_bitwise(table.gather(chosen), everything[chosen])

    gathers()
    assert_bitwise(table.gather(np.array(3)), everything[3])


def test_each_task_has_a_range_of_rows_and_the_ranges_cover_the_table(selected: Dataset) -> None:
    table = selected.transitions("ram")
    assert table.task_indices.tolist() == [task.task_index for task in selected.tasks]
    np.testing.assert_array_equal(table.ranges[1:, 0], table.ranges[:-1, 1])
    assert (table.ranges[0, 0], table.ranges[-1, 1]) == (0, len(table))
    for position, task in enumerate(selected.tasks):
        own = selected.select(tasks=[task.task_id])
        assert_bitwise(table.gather(table.of_task(position)), concatenate([from_episode(e) for e in own]))


@pytest.mark.parametrize("rows", [[-1], [1440], [0, 5, 10**12], [[0], [-(2**62)]]])
def test_a_row_outside_the_table_is_refused(mixed: Dataset, rows: Any) -> None:
    with pytest.raises(IndexError, match=r"transition numbers must lie in \[0, 1440\), got "):
        mixed.transitions("map").gather(np.array(rows))


def test_statistics_are_numpys(selected: Dataset) -> None:
    table = selected.transitions("map")
    rows = concatenate([from_episode(episode) for episode in selected])
    found = table.statistics()
    observations, following = rows.observations.astype(np.float64), rows.next_observations.astype(np.float64)
    np.testing.assert_allclose(found.observation_mean, observations.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.observation_std, observations.std(0), rtol=1e-6)
    np.testing.assert_allclose(found.change_std, (following - observations).std(0), rtol=1e-6)
    assert found.reward_mean == pytest.approx(rows.rewards.mean(dtype=np.float64), rel=1e-9)
    assert found.reward_std == pytest.approx(max(rows.rewards.std(dtype=np.float64), 1e-3), rel=1e-6)
    assert found.observation_mean.dtype == found.observation_std.dtype == found.change_std.dtype == np.float32


def test_statistics_do_not_depend_on_the_chunks_they_are_read_in(
    mixed: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = mixed.transitions("map").statistics()
    monkeypatch.setattr("idaq.loader.table._CHUNK", 7)
    chunked = mixed.transitions("map").statistics()
    np.testing.assert_allclose(chunked.observation_std, whole.observation_std, rtol=1e-6)
    assert chunked.reward_mean == pytest.approx(whole.reward_mean, rel=1e-12)


def test_a_standard_deviation_is_never_too_small_to_divide_by(mixed: Dataset) -> None:
    """A behaviour that hardly ever sees a reward: the sparse family's random one, on a task far from the start."""
    quiet = mixed.select(behaviour="random", max_return=0.0)
    assert len(quiet) > 0
    found = quiet.transitions().statistics()
    assert (found.reward_mean, found.reward_std) == (0.0, 1e-3)


def test_a_table_in_ram_is_read_only_through_copies(mixed: Dataset) -> None:
    table: TransitionTable = mixed.transitions("ram")
    rows = table.gather(np.arange(4))
    rows.observations[:] = 99
    assert (table.gather(np.arange(4)).observations != 99).all()


def test_transitions_are_indexed_reshaped_and_joined_column_by_column(mixed: Dataset) -> None:
    rows = mixed.transitions("map").gather(np.arange(24))
    assert len(rows) == 24
    assert_bitwise(rows.reshape(4, 6)[1], rows[6:12])
    assert_bitwise(rows.reshape(4, 6).reshape(24), rows)
    assert_bitwise(concatenate([rows[:5], rows[5:]]), rows)
    assert rows.reshape(2, 3, 4).observations.shape == (2, 3, 4, 2)
