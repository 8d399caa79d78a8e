"""Which episodes a page can draw, and their numbers packed for it. Shapes: T steps, C numbers a row."""

import base64
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from idaq.core.types import ACTIONS, REWARDS, Array, Episode, is_observation, leaves_of
from idaq.loader import Dataset

BUDGET = 12_000_000
"""characters of packed episodes that a page holds unless it is told otherwise"""
MOST_ROWS, MOST_NUMBERS = 2000, 64
_MEASURED = 16
"""episodes that are packed to learn what one takes"""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Which numbers of a row are packed."""

    observations: list[int]
    actions: list[int]

    @classmethod
    def of(cls, dataset: Dataset, needed: Sequence[int] = ()) -> "Kept":
        """The first MOST_NUMBERS of each, those of pictures last, and those `needed` of an observation."""
        seen, acted = widths(dataset)
        first = {*_telling(dataset)[:MOST_NUMBERS], *(number for number in needed if number < seen)}
        return cls(observations=sorted(first), actions=list(range(min(acted, MOST_NUMBERS))))


def widths(dataset: Dataset) -> tuple[int, int]:
    """Numbers in one observation, all leaves of a Dict one after the other, and in one action."""
    shapes = dataset.store.shapes
    seen = sum(math.prod(shape) for name, shape in shapes.items() if is_observation(name))
    return seen, math.prod(shapes[ACTIONS])


def _telling(dataset: Dataset) -> list[int]:
    """Numbers of an observation, in their order; those of pictures come after all others."""
    shapes = {name: shape for name, shape in dataset.store.shapes.items() if is_observation(name)}
    pictures = np.concatenate([np.full(math.prod(shape), len(shape) > 1) for shape in shapes.values()])
    return np.argsort(pictures, kind="stable").tolist()


def stride(length: int) -> int:
    """How many steps lie between two rows that are kept of an episode of `length` steps."""
    return max(1, math.ceil(length / MOST_ROWS))


def packed(episode: Episode, kept: Kept) -> str:
    """Little-endian float32: each kept number's course of observations, then of actions, then the rewards.

    Bytes of equal weight stand together, deflated (zlib), in base64: what changes slowly packs to a third.
    """
    every = stride(len(episode))
    leaves = [_rows(leaf) for leaf in leaves_of(episode.observations).values()]
    columns = [
        (leaves[0] if len(leaves) == 1 else np.concatenate(leaves, 1), kept.observations),
        (_rows(episode.actions), kept.actions),
        (_rows(episode.rewards), [0]),
    ]
    with np.errstate(over="ignore"):  # infinity is drawn as a gap
        courses = [column[::every, chosen].T.astype("<f4").ravel() for column, chosen in columns]
    by_weight = np.concatenate(courses).view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(zlib.compress(by_weight.tobytes(), 6)).decode()


def _rows(column: Array) -> Array:
    return column.reshape(len(column), -1)


def cast(dataset: Dataset) -> list[str]:
    """Which columns float32 may not hold as they are, and their dtype: `rewards (float64)`."""
    drawn = {
        n: np.dtype(c.dtype) for n, c in dataset.column_info.items() if is_observation(n) or n in (ACTIONS, REWARDS)
    }
    return [f"{name} ({dtype})" for name, dtype in drawn.items() if not np.can_cast(dtype, np.float32)]


def spread(count: int) -> list[int]:
    """0 to `count` - 1 in an order whose every beginning is spread evenly: last, first, middle, quarters."""
    order, parts = dict.fromkeys([count - 1, 0]), 1
    while len(order) < count:
        parts *= 2
        order |= dict.fromkeys(part * (count - 1) // parts for part in range(parts + 1))
    return list(order)


def in_turn(dataset: Dataset) -> list[int]:
    """The selected episodes in the order in which a page takes them: tasks take turns, and each of them gives its best
    return first, then its worst, its median, its quartiles and so on."""
    numbers, table = dataset.numbers, dataset.episodes
    _, starts = np.unique(table.task_index[numbers], return_index=True)
    by_task = np.split(numbers, starts[1:])
    queues = []
    for task in spread(len(by_task)):
        ranked = by_task[task][np.argsort(table.total_reward[by_task[task]], kind="stable")]
        queues.append(ranked[spread(len(ranked))].tolist())
    return [number for turn in zip_longest(*queues) for number in turn if number is not None]


def within_budget(dataset: Dataset, order: Sequence[int], kept: Kept) -> list[int]:
    """As many episodes of `order` as BUDGET holds: all, or whole turns, so that each task gives as many, but for the
    first turn."""
    few = [order[i] for i in spread(len(order))[:_MEASURED]]
    each = float(np.mean([len(packed(dataset.store.episode(number), kept)) for number in few]))
    fitting = max(1, int(BUDGET / each))
    if fitting >= len(order):
        return list(order)
    turns = fitting // len(dataset.tasks)
    return per_task(dataset, order, turns) if turns else list(order[:fitting])


def per_task(dataset: Dataset, order: Sequence[int], most: int) -> list[int]:
    """The episodes of the first `most` turns."""
    taken: dict[int, int] = {}
    chosen = []
    for number in order:
        task = int(dataset.episodes.task_index[number])
        if taken.get(task, 0) < most:
            taken[task] = taken.get(task, 0) + 1
            chosen.append(number)
    return chosen
