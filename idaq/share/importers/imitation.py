"""Expert demonstrations of the imitation library and of Stable-Baselines' `generate_expert_traj`, as NumPy archives.

imitation: `obs` (T + 1 rows a trajectory), `acts`, `rews`, `terminal` (one a trajectory) and `indices`, where all but
the first begin among the actions; `infos` are pickled objects, which are left out. Stable-Baselines: `obs`, `actions`,
`rewards`, `episode_starts` (a row a transition) and `episode_returns` (one an episode).
"""

from pathlib import Path

import numpy as np

from idaq.core.checks import as_column, as_flags, as_indices, check_finite, check_returns
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug, unknown_rewards
from idaq.share.importers.described import name_summary, refusal
from idaq.share.importers.members import Members, archive_names, read_archive
from idaq.share.rows import Rows, episodes_of_rows

_IMITATION, _STABLE_BASELINES = {"obs", "acts", "terminal", "indices"}, {"obs", "actions", "episode_starts"}


def is_imitation(path: Path) -> bool:
    """Whether an archive has the members of imitation's trajectories."""
    return set(archive_names(path)) >= _IMITATION


def is_stable_baselines(path: Path) -> bool:
    """Whether an archive has the members of Stable-Baselines' expert trajectories."""
    return set(archive_names(path)) >= _STABLE_BASELINES


def read_imitation(path: Path) -> Import:
    """One task, an episode a trajectory. Raises DatasetError for another layout."""
    members, where = _members(path, _IMITATION), str(path)
    observations, actions = members.array("obs"), members.array("acts")
    ended = as_flags("terminal", members.array("terminal"), where)
    starts = as_indices("indices", members.array("indices"), where)
    edges = np.concatenate([[0], starts, [len(actions)]])
    lengths = np.diff(edges)
    if len(lengths) != len(ended) or (lengths < 1).any() or len(observations) != len(actions) + len(ended):
        said = f"{len(actions)} actions and {len(observations)} observations are no {len(ended)} trajectories"
        raise CorruptDatasetError(f"{where}: {said} that begin where indices say")
    result = Import(tasks=[], origin=path.name)
    rewards = _rewards(members, "rews", result, len(actions))
    for name, array in ((OBSERVATIONS, observations), (ACTIONS, actions)):
        check_finite(name, array, where)
    _tell_unread(members, {*_IMITATION, "rews"}, result)
    said = "trajectories end terminal, which here means a time-out too: they are taken as terminals"
    result.notes.add(path.name, said, int(ended.sum()))
    if ended.sum() > 1 and len(set(lengths[ended].tolist())) == 1:
        result.notes.add(path.name, f"all of them have {lengths[ended][0]} steps: it may well be a time limit")
    result.notes.add(
        path.name, "trajectories that end before their episode did are written as time-outs", int((~ended).sum())
    )
    episodes: list[ImportedEpisode] = []
    for number, (first, last) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        is_last = np.arange(last - first) == last - first - 1
        episode = Episode.from_columns(
            {
                OBSERVATIONS: observations[first + number : last + number + 1],
                ACTIONS: actions[first:last],
                REWARDS: rewards[first:last],
                TERMINATIONS: is_last & bool(ended[number]),
                TRUNCATIONS: is_last & (not ended[number]),
            }
        )
        episodes.append(ImportedEpisode(episode=episode))
    result.tasks.append(ImportedTask(name=slug(path.stem), episodes=episodes))
    return result


def read_stable_baselines(path: Path) -> Import:
    """One task, an episode from each start to the next. Raises DatasetError for another layout."""
    members, where = _members(path, _STABLE_BASELINES), str(path)
    observations, actions = members.array("obs"), members.array("actions")
    starts = as_flags("episode_starts", members.array("episode_starts"), where)
    sizes = {len(observations), len(actions), len(starts)}
    if len(sizes) > 1 or not len(starts):
        raise DatasetError(f"{where}: obs, actions and episode_starts are of unequal lengths: {sorted(sizes)}")
    result = Import(tasks=[], origin=path.name)
    rewards = _rewards(members, "rewards", result, len(actions))
    number = np.cumsum(starts, dtype=np.int64)
    _check_returns(members, rewards, number)
    _tell_unread(members, {*_STABLE_BASELINES, "rewards", "episode_returns"}, result)
    none = np.zeros(len(starts), bool)
    rows = Rows(
        observations={OBSERVATIONS: observations},
        actions=actions,
        rewards=rewards,
        terminated=none,
        truncated=none,
        episode=number,
    )
    episodes = [ImportedEpisode(episode=each) for each in episodes_of_rows(rows, result.notes, path.name)]
    result.tasks.append(ImportedTask(name=slug(path.stem), episodes=episodes))
    return result


def _members(path: Path, needed: set[str]) -> Members:
    members = read_archive(path)
    if missing := needed - set(members.names):
        raise refusal(members, ", ".join(sorted(missing)))
    return members


def _rewards(members: Members, name: str, result: Import, size: int) -> Array:
    if name not in members.names:
        unknown_rewards(result)
        return np.zeros(size, np.float32)
    rewards = as_column(name, members.array(name), str(members.path))
    if len(rewards) != size:
        raise DatasetError(f"{members.path}: {len(rewards)} {name} are not one for each of the {size} actions")
    check_finite(REWARDS, rewards, str(members.path))
    check_returns(rewards, str(members.path))
    return rewards


def _tell_unread(members: Members, read: set[str], result: Import) -> None:
    ignored = [name for name in members.names if name not in read]
    result.notes.add(members.path.name, f"members that are not read: {name_summary(ignored)}", len(ignored))


def _check_returns(members: Members, rewards: Array, number: Array) -> None:
    """The file states the return of each episode: they must be those of the rewards, or rows are missing."""
    if "episode_returns" not in members.arrays or "rewards" not in members.arrays:
        return
    stated = np.ravel(members.array("episode_returns")).astype(np.float64)
    found = np.bincount(number - number[0], rewards.astype(np.float64))
    if len(stated) != len(found) or not np.allclose(stated, found, rtol=1e-4, atol=1e-3):
        said = f"its {len(found)} episodes do not have the {len(stated)} episode_returns that it states"
        raise CorruptDatasetError(f"{members.path}: {said}")
