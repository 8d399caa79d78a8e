"""OGBench's NumPy archives: trajectories of T + 1 rows one after the other, the last action of each without effect.

`observations`, `actions` and `terminals`, which mark the last row of each trajectory; often without rewards, and
with `qpos`, `qvel` or `button_states` a row. OGBench's tasks have no terminal: a trajectory ends by time limit, but
where `masks` say that its last transition reached the goal. N rows.
"""

from pathlib import Path

import numpy as np

from idaq.core.checks import as_column, as_flags, check_finite, check_returns
from idaq.core.errors import DatasetError
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug, unknown_rewards
from idaq.format.outside_columns import extra_columns
from idaq.share.importers.described import name_summary, refusal
from idaq.share.importers.members import Members, archive_names, read_archive

_NEEDED = {"observations", "actions", "terminals"}
_OF_IT = {"qpos", "qvel", "button_states", "masks"}
_OTHER_LAYOUTS = {"next_observations", "timeouts", "truncations", "truncated", "dones", "episode", "task_index"}


def is_ogbench(path: Path) -> bool:
    """Whether an archive has its members: those that it needs, and rewards only beside others of its own."""
    names = set(archive_names(path))
    ours = names >= _NEEDED and not names & _OTHER_LAYOUTS
    return ours and ("rewards" not in names or bool(names & _OF_IT))


def read_ogbench(path: Path) -> Import:
    """One task, an episode a trajectory. Raises DatasetError for another layout."""
    members = read_archive(path)
    if missing := _NEEDED - set(members.arrays):
        raise refusal(members, ", ".join(sorted(missing)))
    ends, size = as_flags("terminals", members.array("terminals"), str(path)), len(members.array("terminals"))
    short = {name: array.shape for name, array in members.arrays.items() if array.shape[:1] != (size,)}
    if short.keys() & {OBSERVATIONS, ACTIONS, REWARDS} or not size:
        raise DatasetError(f"{path}: these do not have one row for each of the {size} terminals: {short}"[:500])
    result = Import(tasks=[], origin=path.name)
    columns, extras = _columns(members, result, size)
    last = np.flatnonzero(ends)
    result.notes.add(
        path.name, "rows behind the last trajectory's end are left out", int(size - 1 - last[-1]) if len(last) else size
    )
    firsts = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    short_ones = int((last == firsts).sum())
    result.notes.add(path.name, "trajectories of one row, which is no transition, are left out", short_ones)
    said = "trajectories end by a time limit, as this layout means by its terminals"
    result.notes.add(path.name, said, len(last) - short_ones)
    spans = [(first, end) for first, end in zip(firsts.tolist(), last.tolist(), strict=True) if end > first]
    episodes = [ImportedEpisode(episode=_episode(columns, extras, first, end)) for first, end in spans]
    result.tasks.append(ImportedTask(name=slug(path.stem), episodes=episodes))
    return result


def _columns(members: Members, result: Import, size: int) -> tuple[dict[str, Array], dict[str, Array]]:
    where = str(members.path)
    columns = {name: members.array(name) for name in (OBSERVATIONS, ACTIONS)}
    if REWARDS in members.arrays:
        columns[REWARDS] = as_column(REWARDS, members.array(REWARDS), where)
        check_returns(columns[REWARDS], where)
    else:
        unknown_rewards(result)
        columns[REWARDS] = np.zeros(size, np.float32)
    for name, array in columns.items():
        check_finite(name, array, where)
    beside = {n: a for n, a in members.arrays.items() if n not in {*_NEEDED, REWARDS} and a.shape[:1] == (size,)}
    ignored = [name for name in members.names if name not in {*_NEEDED, REWARDS, *beside}]
    result.notes.add(members.path.name, f"members that are not read: {name_summary(ignored)}", len(ignored))
    extras = extra_columns(beside, result.notes, members.path.name)
    result.notes.add(members.path.name, f"members kept as extra columns: {name_summary(list(extras))}", len(extras))
    return columns, extras


def _episode(columns: dict[str, Array], extras: dict[str, Array], first: int, last: int) -> Episode:
    """Rows first..last, of which the last is s_T."""
    length = last - first
    ended = np.zeros(length, bool)
    reached = "masks" in extras and not np.ravel(extras["masks"][last - 1])[0]
    ended[-1] = True
    kept = {
        name: column[first:last] if name == "masks" else column[first : last + 1] for name, column in extras.items()
    }
    return Episode.from_columns(
        {OBSERVATIONS: columns[OBSERVATIONS][first : last + 1]}
        | {name: columns[name][first:last] for name in (ACTIONS, REWARDS)}
        | {TERMINATIONS: ended & reached, TRUNCATIONS: ended & (not reached)}
        | kept
    )
