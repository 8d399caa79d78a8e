"""Checks of the values of episodes against what the documents say: digests, returns, ends, what no value may be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from idaq.core.digest import episode_digest
from idaq.core.errors import CorruptDatasetError
from idaq.core.types import REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode
from idaq.format import layout
from idaq.format.columns import StoredColumns, get_episode
from idaq.format.reader import StoredDataset
from idaq.format.spaces import Leaf

_BATCH, _TOLERANCE = 2**22, 5e-6
"""bytes of values checked together; half of what np.isclose allows, so that doubtful episodes go to it one by one"""


@dataclass(frozen=True)
class Checked:
    """What values are read from and held against."""

    columns: StoredColumns
    leaves: dict[str, Leaf]


def batches(stored: StoredDataset, lengths: list[int]) -> Iterator[range]:
    """Episodes in order, by as many as hold some megabytes together."""
    row = sum(map(layout.row_bytes, stored.manifest.columns.values()))
    first, size = 0, 0
    for number, length in enumerate(lengths):
        size += (length + 1) * row
        if size > _BATCH or number == len(lengths) - 1:
            yield range(first, number + 1)
            first, size = number + 1, 0


def are_intact(stored: StoredDataset, checked: Checked, numbers: range) -> bool:
    """Whether `check_episode` has nothing to say of any of these episodes; at worst says no where it has not."""
    table, mine = stored.episodes, slice(numbers.start, numbers.stop)
    lengths = table.length[mine].tolist()
    try:
        rows = {
            name: [column.rows(n, t) for n, t in zip(numbers, lengths, strict=True)]
            for name, column in checked.columns.items()
        }
    except CorruptDatasetError:  # a chunk that does not unpack
        return False
    episodes = [Episode.from_columns(dict(zip(rows, parts, strict=True))) for parts in zip(*rows.values(), strict=True)]
    seeds, indices, digests = map(table.seed_of, numbers), table.task_index[mine].tolist(), table.digest[mine].tolist()
    for episode, index, seed, digest in zip(episodes, indices, seeds, digests, strict=True):
        if episode_digest(episode, task_index=index, seed=seed) != digest:
            return False
    together = {name: np.concatenate(parts) for name, parts in rows.items()}
    if any(_value_faults(name, values, checked.leaves) for name, values in together.items()):
        return False
    last = np.cumsum(lengths) - 1
    ends = [(together[TERMINATIONS], table.terminated[mine]), (together[TRUNCATIONS], table.truncated[mine])]
    returns = np.add.reduceat(together[REWARDS].astype(np.float64), last + 1 - lengths)
    return (
        all((flags[last] == stated).all() for flags, stated in ends)
        and all(np.delete(flags, last).sum() == 0 for flags, _ in ends)
        and _are_returns(stored, together[REWARDS], returns, table.total_reward[mine])
    )


def _are_returns(stored: StoredDataset, rewards: Array, found: Array, stated: Array) -> bool:
    """Whether the returns are those stated; where rewards are not known, no return is, and all are 0."""
    if not stored.manifest.columns[REWARDS].known:
        return bool(np.isnan(stated).all() and not rewards.any())
    return np.allclose(found, stated, rtol=_TOLERANCE, atol=_TOLERANCE / 1000)


def _value_faults(name: str, values: Array, leaves: Mapping[str, Leaf]) -> list[str]:
    """What no value of a column may be. Extra columns may hold NaN and infinity."""
    faults = []
    if values.dtype == bool and (values.view(np.uint8) > 1).any():
        faults.append(f"{name} holds bytes other than 0 and 1")
    if not layout.is_extra(name) and not np.isfinite(values).all():
        faults.append(f"{name} holds NaN or infinity")
    leaf = leaves.get(name)
    if leaf is not None and leaf.kind != "Box" and ((values < leaf.low) | (values > leaf.high)).any():
        faults.append(f"{name} holds values that are not in its {leaf.kind} space")
    return faults


def check_episode(stored: StoredDataset, checked: Checked, number: int) -> Iterator[str]:
    """One episode's values against its row in episodes.parquet."""
    table = stored.episodes
    length = int(table.length[number])
    try:
        episode = get_episode(checked.columns, number, length)
    except CorruptDatasetError as error:
        yield error.message.removeprefix(f"{stored.hdf5}: ")
        return
    digest = episode_digest(episode, task_index=int(table.task_index[number]), seed=table.seed_of(number))
    if digest != table.digest[number]:
        yield f"values do not match their digest (stated {table.digest[number][:12]}…, found {digest[:12]}…)"
    for name, column in checked.columns.items():
        yield from _value_faults(name, column.rows(number, length), checked.leaves)
    if not _are_returns(
        stored, episode.rewards, np.array([episode.total_reward]), table.total_reward[number : number + 1]
    ):
        yield f"return is {episode.total_reward}, stated {table.total_reward[number]}"
    yield from _check_ends(episode, bool(table.terminated[number]), bool(table.truncated[number]))


def _check_ends(episode: Episode, terminated: bool, truncated: bool) -> Iterator[str]:
    if (episode.terminated[:-1] | episode.truncated[:-1]).any():
        yield "continues after it terminated or was truncated"
    if (bool(episode.terminated[-1]), bool(episode.truncated[-1])) != (terminated, truncated):
        yield "ends otherwise than stated (terminated, truncated)"
