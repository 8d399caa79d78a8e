"""Transitions in a row, cut into episodes. S transitions, T of an episode, D observation, A action.

No transition is made up: rows are joined only where the file says that one follows the other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idaq.core.checks import check_finite, check_returns
from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import Array, Episode

_ROUNDING = 4.0
"""how many units in the last place of the coarser dtype s' may differ from the next s and still be it"""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Transitions as most formats have them, in the order in which they happened."""

    observations: Array
    """(S, D)"""
    actions: Array
    """(S, A)"""
    rewards: Array
    """(S,)"""
    terminated: NDArray[np.bool_]
    """(S,)"""
    truncated: NDArray[np.bool_]
    """(S,) time-outs: they never become terminals"""
    next_observations: Array | None = None
    """(S, D), where the format has them"""
    episode: NDArray[np.int64] | None = None
    """(S,) a number that changes from one episode to the next, where the format has one"""
    gaps: NDArray[np.bool_] | None = None
    """(S,) where the next row does not follow this one"""


def episodes_of_rows(rows: Rows, notes: Notes, where: str) -> list[Episode]:
    """Cut after every end, where the episode number changes, at gaps, and where s' is not the next s.

    Without `next_observations` the s' of an episode's last step is unknown. After a time-out that step is left out;
    after a terminal, whose s' no Bellman target reads, it stays and s' repeats s. All is noted, but ends that are
    flagged. Raises DatasetError for columns of unequal length, and for NaN or infinity.
    """
    _check(rows, where)
    ends = _ends(rows, notes, where)
    edges = np.concatenate([[0], np.flatnonzero(ends) + 1])
    following = rows.next_observations
    episodes, dropped, whole, repeated, unflagged = [], 0, 0, 0, 0
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if following is not None:
            episodes.append(_episode(rows, first, last, following[last - 1]))
            continue
        repeats = bool(rows.terminated[last - 1])
        repeated, dropped = repeated + repeats, dropped + (not repeats)
        if not repeats and last - first == 1:
            whole += 1
            continue
        unflagged += not (repeats or rows.truncated[last - 1])
        episodes.append(_episode(rows, first, last if repeats else last - 1, rows.observations[last - 1]))
    notes.add(where, "last steps left out: the file does not hold their next observation, nor a terminal", dropped)
    notes.add(where, "episodes of one step left out whole: it had no next observation", whole)
    notes.add(where, "ends that the file does not flag are written as time-outs", unflagged)
    notes.add(where, "terminal steps have no next observation; it repeats the last one", repeated)
    return episodes


def same_rows(one: Array, other: Array) -> NDArray[np.bool_]:
    """(S,) whether rows (S, D) are equal but for rounding: float64 beside what float32 makes of it."""
    kinds = [a.dtype for a in (one, other) if a.dtype.kind == "f"]
    if not kinds:
        return np.asarray((one == other).all(1))
    info = np.finfo(min([*kinds, np.dtype(np.float32)], key=lambda kind: kind.itemsize))
    a, b = one.astype(np.float64), other.astype(np.float64)
    allowed = _ROUNDING * (float(info.eps) * np.maximum(np.abs(a), np.abs(b)) + float(info.smallest_subnormal))
    with np.errstate(over="ignore"):
        return np.asarray((np.abs(a - b) <= allowed).all(1))


def _ends(rows: Rows, notes: Notes, where: str) -> NDArray[np.bool_]:
    """(S,) the last row of each episode."""
    notes.add(where, "steps are flagged both terminal and time-out", int((rows.terminated & rows.truncated).sum()))
    ends = rows.terminated | rows.truncated
    ends[-1:] = True
    if rows.episode is not None:
        same = rows.episode[1:] == rows.episode[:-1]
        notes.add(where, "ends amid the rows of one episode number: cut there", int((ends[:-1] & same).sum()))
        ends[:-1] |= ~same
    if rows.gaps is not None:
        ends |= rows.gaps
    following = rows.next_observations
    if following is not None:
        kinds = rows.observations.dtype, following.dtype
        if kinds[0] != kinds[1]:
            wider = np.result_type(*kinds)
            notes.add(where, f"observations are {kinds[0]}, next_observations {kinds[1]}: {wider} is written")
        cut = np.zeros(len(ends), bool)
        cut[:-1] = ~same_rows(following[:-1], rows.observations[1:]) & ~ends[:-1]
        notes.add(where, "rows whose s' is not the next row's s, with no end flagged: cut there", int(cut.sum()))
        ends |= cut
        rounded = (following[:-1] != rows.observations[1:]).any(1) & ~ends[:-1]
        notes.add(where, "rows whose s' is the next row's s but for rounding: the next s is kept", int(rounded.sum()))
    return ends


def _episode(rows: Rows, first: int, last: int, final: Array) -> Episode:
    """Transitions first..last-1, with `final` as s_T. A time-out whose last step is left out is still a time-out."""
    truncated = rows.truncated[first:last].copy()
    if rows.next_observations is None and not rows.terminated[last - 1]:
        truncated[-1] = True
    return Episode(
        observations=np.concatenate([rows.observations[first:last], final[None]]),
        actions=rows.actions[first:last],
        rewards=rows.rewards[first:last],
        terminated=rows.terminated[first:last],
        truncated=truncated,
    )


def _check(rows: Rows, where: str) -> None:
    columns = {name: value for name, value in vars(rows).items() if value is not None}
    lengths = {name: len(value) for name, value in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DatasetError(f"{where}: columns have unequal lengths: {lengths}")
    if rows.next_observations is not None and rows.next_observations.shape != rows.observations.shape:
        shapes = rows.observations.shape[1:], rows.next_observations.shape[1:]
        raise DatasetError(f"{where}: observations of shape {shapes[0]}, next_observations of {shapes[1]}")
    for name in ("observations", "actions", "rewards", "next_observations"):
        if name in columns:
            check_finite(name, columns[name], where)
    check_returns(rows.rewards, where)
