"""Transitions in a row, cut into episodes. S transitions, T of an episode.

No transition is made up: rows are joined only where the file says that one follows the other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from idaq.core.checks import check_finite, check_returns
from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode

_ROUNDING = 4.0
"""how many units in the last place of the coarser dtype s' may differ from the next s and still be it"""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Transitions as most formats have them, in the order in which they happened."""

    observations: Mapping[str, Array]
    """(S, ...) each, by the name of the column: `observations`, or its leaves, `observations/a/b`"""
    actions: Array
    """(S, ...)"""
    rewards: Array
    """(S,)"""
    terminated: NDArray[np.bool_]
    """(S,)"""
    truncated: NDArray[np.bool_]
    """(S,) time-outs: they never become terminals"""
    next_observations: Mapping[str, Array] | None = None
    """as `observations`, where the format has them"""
    extras: Mapping[str, Array] = field(default_factory=dict[str, Array])
    """(S, ...) each: other columns, which are kept"""
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
    finals = rows.next_observations or rows.observations
    episodes, dropped, whole, repeated, unflagged = list[Episode](), 0, 0, 0, 0
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        final = {name: column[last - 1 : last] for name, column in finals.items()}
        if rows.next_observations is not None:
            episodes.append(_episode(rows, first, last, final))
            continue
        repeats = bool(rows.terminated[last - 1])
        repeated, dropped = repeated + repeats, dropped + (not repeats)
        if not repeats and last - first == 1:
            whole += 1
            continue
        unflagged += not (repeats or rows.truncated[last - 1])
        episodes.append(_episode(rows, first, last if repeats else last - 1, final))
    notes.add(where, "last steps left out: the file does not hold their next observation, nor a terminal", dropped)
    notes.add(where, "episodes of one step left out whole: it had no next observation", whole)
    notes.add(where, "ends that the file does not flag are written as time-outs", unflagged)
    notes.add(where, "terminal steps have no next observation; it repeats the last one", repeated)
    return episodes


def same_rows(one: Array, other: Array) -> NDArray[np.bool_]:
    """(S,) whether rows (S, ...) are equal but for rounding: float64 beside what float32 makes of it."""
    one, other = _flat(one), _flat(other)
    kinds = [a.dtype for a in (one, other) if a.dtype.kind == "f"]
    if not kinds:
        return np.asarray((one == other).all(1))
    info = np.finfo(min([*kinds, np.dtype(np.float32)], key=lambda kind: kind.itemsize))
    a, b = one.astype(np.float64), other.astype(np.float64)
    allowed = _ROUNDING * (float(info.eps) * np.maximum(np.abs(a), np.abs(b)) + float(info.smallest_subnormal))
    with np.errstate(over="ignore"):
        return np.asarray((np.abs(a - b) <= allowed).all(1))


def _flat(rows: Array) -> Array:
    """(S, numbers), of no rows too."""
    return rows.reshape(len(rows), math.prod(rows.shape[1:]))


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
    if rows.next_observations is not None:
        ends |= _breaks(rows.observations, rows.next_observations, ends, notes, where)
    return ends


def _breaks(
    observations: Mapping[str, Array],
    following: Mapping[str, Array],
    ends: NDArray[np.bool_],
    notes: Notes,
    where: str,
) -> NDArray[np.bool_]:
    """(S,) where s' is not the next row's s, though no end is flagged."""
    joined, exact = np.ones(len(ends) - 1, bool), np.ones(len(ends) - 1, bool)
    for name, rows in observations.items():
        after = following[name]
        if rows.dtype != after.dtype:
            wider = np.result_type(rows.dtype, after.dtype)
            said = f"observations are {rows.dtype}, next_observations {after.dtype}: {wider} is written"
            notes.add(where, said)
        joined &= same_rows(after[:-1], rows[1:])
        exact &= _flat(after[:-1] == rows[1:]).all(1)
    cut = np.zeros(len(ends), bool)
    cut[:-1] = ~joined & ~ends[:-1]
    notes.add(where, "rows whose s' is not the next row's s, with no end flagged: cut there", int(cut.sum()))
    rounded = ~exact & joined & ~ends[:-1]
    notes.add(where, "rows whose s' is the next row's s but for rounding: the next s is kept", int(rounded.sum()))
    return cut


def _episode(rows: Rows, first: int, last: int, final: Mapping[str, Array]) -> Episode:
    """Transitions first..last-1, with `final` (1, ...) as s_T.

    A time-out whose last step is left out is still a time-out.
    """
    truncated = rows.truncated[first:last].copy()
    if rows.next_observations is None and not rows.terminated[last - 1]:
        truncated[-1] = True
    seen = {name: np.concatenate([column[first:last], final[name]]) for name, column in rows.observations.items()}
    return Episode.from_columns(
        seen
        | {ACTIONS: rows.actions[first:last], REWARDS: rows.rewards[first:last]}
        | {TERMINATIONS: rows.terminated[first:last], TRUNCATIONS: truncated}
        | {name: column[first:last] for name, column in rows.extras.items()}
    )


def _check(rows: Rows, where: str) -> None:
    following = rows.next_observations
    if following is not None and following.keys() != rows.observations.keys():
        said = f"observations are {', '.join(rows.observations)}, next_observations {', '.join(following)}"
        raise DatasetError(f"{where}: {said}"[:500])
    after = {f"next_{name}": column for name, column in (following or {}).items()}
    numbers = {**rows.observations, **after, ACTIONS: rows.actions, REWARDS: rows.rewards}
    others = {"terminated": rows.terminated, "truncated": rows.truncated, "episode": rows.episode, "gaps": rows.gaps}
    every = numbers | {name: column for name, column in others.items() if column is not None} | dict(rows.extras)
    lengths = {name: len(column) for name, column in every.items()}
    if len(set(lengths.values())) > 1:
        raise DatasetError(f"{where}: columns have unequal lengths: {lengths}"[:500])
    for name, column in rows.observations.items():
        if following is not None and following[name].shape != column.shape:
            shapes = column.shape[1:], following[name].shape[1:]
            raise DatasetError(f"{where}: {name} of shape {shapes[0]}, next_{name} of {shapes[1]}")
    for name, column in numbers.items():
        check_finite(name, column, where)
    check_returns(rows.rewards, where)
