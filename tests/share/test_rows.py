"""Transitions become episodes, and none that is not in the file."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import Array
from idaq.share.rows import Rows, episodes_of_rows, same_rows


def tagged(size: int, **columns: Any) -> Rows:
    """Row t observes t, acts 100 + t and earns 200 + t; s' is t + 1. Observations are given as one array."""
    steps = np.arange(size, dtype=np.float64)
    standard: dict[str, Any] = {
        "observations": steps[:, None],
        "actions": steps[:, None] + 100,
        "rewards": steps + 200,
        "terminated": np.zeros(size, bool),
        "truncated": np.zeros(size, bool),
    }
    given_or_not = standard | columns
    for name in ("observations", "next_observations"):
        if given_or_not.get(name) is not None:
            given_or_not[name] = {"observations": given_or_not[name]}
    return Rows(**given_or_not)


flags = st.lists(st.booleans(), min_size=12, max_size=12).map(np.array)


@given(terminated=flags, truncated=flags, gaps=flags, following=st.booleans(), jumps=flags)
def test_every_transition_is_one_of_the_file_and_each_is_kept_or_counted(
    terminated: Array, truncated: Array, gaps: Array, following: bool, jumps: Array
) -> None:
    after = np.arange(12.0)[:, None] + 1 + 50 * jumps[:, None]  # where it jumps, s' is not the next row's s
    rows = tagged(
        12, terminated=terminated, truncated=truncated, gaps=gaps, next_observations=after if following else None
    )
    notes = Notes()
    seen = []
    for episode in episodes_of_rows(rows, notes, "x"):
        for t in range(len(episode)):
            s, a, r, following_s = (
                float(v)
                for v in (
                    episode.observations[t, 0],
                    *episode.actions[t],
                    episode.rewards[t],
                    episode.observations[t + 1, 0],
                )
            )
            assert (a, r) == (s + 100, s + 200)
            row = int(s)
            last_terminal = t + 1 == len(episode) and bool(terminated[row]) and not following
            assert following_s == (s if last_terminal else float(after[row, 0] if following else row + 1))
            assert bool(episode.terminated[t]) == bool(terminated[row])
            if following_s == row + 1 and t + 1 < len(episode):
                assert not gaps[row]
            seen.append(row)
    assert seen == sorted(set(seen))
    left_out = sum(int(note.split()[1]) for note in notes if "last steps left out" in note)
    assert len(seen) + left_out == 12
    assert following <= (left_out == 0)


def test_a_terminal_and_a_time_out_at_once_is_told() -> None:
    both = np.array([False, True, True])
    notes = Notes()
    episodes_of_rows(tagged(3, terminated=both, truncated=both), notes, "x")
    assert "x: 2 steps are flagged both terminal and time-out" in list(notes)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_rounded_next_observation_is_the_next_observation(kind: Any) -> None:
    s = np.random.default_rng(0).normal(size=(31, 3))
    ends = np.arange(30) % 10 == 9
    for after in (
        s[1:].astype(kind),
        s[1:].astype(kind).astype(np.float64) if kind is np.float32 else s[1:].astype(kind),
    ):
        notes = Notes()
        rows = tagged(30, observations=s[:-1], next_observations=after, truncated=ends)
        episodes = episodes_of_rows(rows, notes, "x")
        assert [len(episode) for episode in episodes] == [10, 10, 10]
        np.testing.assert_array_equal(episodes[1].observations[:-1], s[10:20])
        np.testing.assert_array_equal(episodes[1].observations[-1], after[19])
        assert "x: 27 rows whose s' is the next row's s but for rounding: the next s is kept" in list(notes)


def test_what_is_no_rounding_is_cut_and_counted() -> None:
    notes = Notes()
    after = np.arange(6.0)[:, None] + 1
    after[2] += 1e-4
    episodes = episodes_of_rows(tagged(6, next_observations=after), notes, "x")
    assert [e.observations.ravel().tolist() for e in episodes] == [[0, 1, 2, 3.0001], [3, 4, 5, 6]]
    assert list(notes) == ["x: 1 rows whose s' is not the next row's s, with no end flagged: cut there"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (np.array([[0.1]]), np.array([[0.1]], np.float32), True),
        (np.array([[0.1]]), np.array([[0.1001]], np.float32), False),
        (np.array([[0.0]]), np.array([[-0.0]]), True),
        (np.array([[0.0]]), np.array([[1e-300]]), True),
        (np.array([[1e-3]]), np.array([[0.0]]), False),
        (np.array([[1e300]]), np.array([[-1e300]]), False),
        (np.array([[3]]), np.array([[3]]), True),
        (np.array([[3]]), np.array([[4]]), False),
        (np.array([[1, 2]]), np.array([[1.0, 2.5]]), False),
    ],
)
def test_rows_are_the_same_but_for_rounding(one: Array, other: Array, same: bool) -> None:
    assert same_rows(one, other).tolist() == same_rows(other, one).tolist() == [same]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"actions": np.zeros((2, 1))}, "unequal lengths"),
        ({"next_observations": np.zeros((3, 2))}, r"observations of shape \(1,\), next_observations of \(2,\)"),
        ({"observations": np.array([[0.0], [1], [np.inf]])}, "observations holds NaN or infinity in row 2"),
        ({"next_observations": np.array([[1.0], [np.nan], [3]])}, "next_observations holds NaN or infinity in row 1"),
        ({"rewards": np.full(3, 1e154)}, r"rewards of up to 1e\+154 have no standard deviation in float64"),
    ],
)
def test_what_cannot_be_is_refused(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        episodes_of_rows(tagged(3, **columns), Notes(), "x")


def test_an_end_amid_an_episode_number_is_told() -> None:
    rows = tagged(
        4,
        next_observations=np.arange(1.0, 5)[:, None],
        terminated=np.array([0, 1, 0, 0], bool),
        truncated=np.array([0, 0, 0, 1], bool),
        episode=np.zeros(4, np.int64),
    )
    notes = Notes()
    assert [len(episode) for episode in episodes_of_rows(rows, notes, "here")] == [2, 2]
    assert list(notes) == ["here: 1 ends amid the rows of one episode number: cut there"]


def test_leaves_and_extra_columns_are_cut_with_the_rows() -> None:
    """A Dict of a picture and a number, and a column beside them, in two episodes and one gap."""
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    rows = Rows(
        observations={"observations/image": images, "observations/x": np.arange(6.0)[:, None]},
        actions=np.arange(6),
        rewards=np.arange(6.0),
        terminated=np.arange(6) == 5,
        truncated=np.arange(6) == 2,
        extras={"infos/speed": np.arange(6) * 10},
    )
    first, second = episodes_of_rows(rows, Notes(), "x")
    assert first.observations["image"][:, 0, 0].tolist() == [0, 1, 2]
    assert (first.actions.tolist(), first.extras["infos/speed"].tolist()) == ([0, 1], [0, 10])
    assert second.observations["x"].ravel().tolist() == [3, 4, 5, 5]
    assert (second.actions.tolist(), second.extras["infos/speed"].tolist()) == ([3, 4, 5], [30, 40, 50])


def test_a_leaf_whose_next_is_another_ends_the_episode() -> None:
    steps = np.arange(4.0)[:, None]
    after = {"observations/a": steps + 1, "observations/b": np.array([[1.0], [9], [3], [4]])}
    rows = Rows(
        observations={"observations/a": steps, "observations/b": steps},
        actions=steps,
        rewards=np.zeros(4),
        terminated=np.zeros(4, bool),
        truncated=np.arange(4) == 3,
        next_observations=after,
    )
    assert [len(episode) for episode in episodes_of_rows(rows, Notes(), "x")] == [2, 2]
