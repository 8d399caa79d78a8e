"""Rows of a task or an episode that lie apart in the file are joined only where something says that they follow."""

from pathlib import Path

import numpy as np
import pytest

from tests.share.importers.test_transitions import STEPS, as_npz, observed


def test_a_task_that_comes_back_is_never_joined_over_the_gap(tmp_path: Path) -> None:
    none = {"terminals": STEPS < 0, "timeouts": STEPS < 0}
    imported = as_npz(tmp_path, **none, next_observations=None, task_index=np.repeat([0, 1, 0], [4, 3, 3]))
    assert observed(imported) == [[0, 1, 2, 3], [7, 8, 9], [4, 5, 6]]
    said = "x.npz, task 0: 1 gaps between rows: cut there, for nothing says that those after it follow"
    assert said in list(imported.notes)
    assert [task.name for task in imported.tasks] == ["x.000", "x.001"]


INTERLEAVED = {
    "observations": np.array([[0], [50], [1], [51], [2], [52]], np.float32),
    "next_observations": np.array([[1], [51], [2], [52], [3], [53]], np.float32),
    "episode": np.array([7, 3, 7, 3, 7, 3]),
    "terminals": np.zeros(6),
    "actions": np.zeros((6, 1)),
    "rewards": np.zeros(6),
    "timeouts": np.zeros(6),
}


def test_interleaved_episodes_whose_next_observations_join_them(tmp_path: Path) -> None:
    imported = as_npz(tmp_path, **INTERLEAVED)
    assert observed(imported) == [[0, 1, 2, 3], [50, 51, 52, 53]]
    assert "x.npz: 4 gaps between rows of one episode number: joined across them" in list(imported.notes)


def test_interleaved_episodes_whose_ends_are_flagged(tmp_path: Path) -> None:
    """Without s' a number that returns is the same episode where the file flags an end after it, and cut elsewhere."""
    flagged = INTERLEAVED | {"next_observations": None, "timeouts": np.array([0, 0, 0, 0, 1, 0])}
    imported = as_npz(tmp_path, **flagged)
    assert observed(imported) == [[0, 1, 2]]
    assert "x.npz: 2 gaps between rows of one episode number: joined across them" in list(imported.notes)
    assert "x.npz: 2 gaps between rows: cut there, for nothing says that those after it follow" in list(imported.notes)
    assert any("4 last steps left out" in note for note in imported.notes)


@pytest.mark.parametrize("following", [True, False])
def test_numbers_that_begin_again_are_other_episodes(following: bool, tmp_path: Path) -> None:
    """Two collections written one behind the other, each numbering from 0."""
    after = np.array([1, 2, 11, 12, 21, 22, 31, 32])[:, None]
    imported = as_npz(
        tmp_path,
        observations=after - 1,
        next_observations=after if following else None,
        episode=np.repeat([0, 1, 0, 1], 2),
        terminals=np.zeros(8),
        timeouts=np.zeros(8),
        actions=np.zeros((8, 1)),
        rewards=np.zeros(8),
    )
    found = sorted(observed(imported))
    assert found == (
        [[0, 1, 2], [10, 11, 12], [20, 21, 22], [30, 31, 32]] if following else [[0, 1], [10, 11], [20, 21], [30, 31]]
    )


def test_without_time_outs_a_terminal_does_not_join_what_lies_apart(tmp_path: Path) -> None:
    """The first rows of number 0 may have ended in a time-out that the file does not flag."""
    imported = as_npz(
        tmp_path,
        next_observations=None,
        timeouts=None,
        terminals=STEPS == 9,
        episode=np.array([0, 0, 0, 1, 1, 1, 0, 0, 0, 0]),
    )
    assert observed(imported) == [[0, 1, 2], [6, 7, 8, 9, 9], [3, 4, 5]]
