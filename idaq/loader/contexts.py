"""What a belief of a task is inferred from: a bag of its transitions, or whole episodes in order.

Shapes: P problems, M tasks, n episodes, T steps of the longest, L steps of all episodes of a problem.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from idaq.core.seeds import generator
from idaq.core.types import Array
from idaq.loader.dataset import Dataset
from idaq.loader.transitions import Transitions, concatenate, from_episode, map_columns


def task_contexts(dataset: Dataset, size: int, seed: int) -> tuple[NDArray[np.int64], Transitions]:
    """Task indices (M,) of a selection, and `size` transitions of each task: (M, size), drawn with replacement.

    The same transitions wherever the data lies; of a Zarr form only the episodes that hold them are fetched. Raises
    DatasetError for an empty selection.
    """
    if dataset.streamed:
        return _streamed(dataset, size, seed)
    table = dataset.transitions("map" if dataset.mapped else "auto")
    rows = [_draw(seed, position, first, last, size) for position, (first, last) in enumerate(table.ranges.tolist())]
    return table.task_indices, table.gather(np.stack(rows))


def _draw(seed: int, position: int, first: int, last: int, size: int) -> NDArray[np.int64]:
    return generator(seed, position).integers(first, last, size=size)


def _streamed(dataset: Dataset, size: int, seed: int) -> tuple[NDArray[np.int64], Transitions]:
    lengths, tasks = dataset.episodes.length[dataset.numbers], dataset.episodes.task_index[dataset.numbers]
    edges = np.append(0, lengths.cumsum())
    indices, starts = np.unique(tasks, return_index=True)
    bounds = edges[np.append(starts, len(tasks))]
    contexts = list[Transitions]()
    for position in range(len(indices)):
        rows = _draw(seed, position, int(bounds[position]), int(bounds[position + 1]), size)
        episode = np.searchsorted(edges, rows, side="right") - 1
        order = np.argsort(episode, kind="stable")
        parts = [
            from_episode(dataset.episode(int(number)), dataset.view)[rows[episode == number] - edges[number]]
            for number in np.unique(episode)
        ]
        contexts.append(concatenate(parts)[np.argsort(order, kind="stable")])
    stacked = concatenate(contexts)
    return indices, stacked.reshape(len(indices), size)


@dataclass(frozen=True, kw_only=True)
class Experience:
    """Whole episodes of P problems, those of one problem one after another in the order in which they were played.

    What is learned in a sequence, or needs returns-to-go, is inferred from this; a bag of transitions has no order.
    """

    transitions: Transitions
    """(P, L) of any finite numbers where not valid; L = 0: nothing was seen yet"""
    starts: NDArray[np.bool_]
    """(P, L) the first step of its episode"""
    valid: NDArray[np.bool_]
    """(P, L) false beyond the end of what a problem has; valid steps come first"""

    @classmethod
    def of_episodes(cls, transitions: Transitions, valid_PnT: NDArray[np.bool_]) -> "Experience":
        """Of n episodes of each problem: transitions (P, n, T), of which those that are not valid are left out."""
        problems, episodes, steps = valid_PnT.shape
        kept = valid_PnT.reshape(problems, episodes * steps)
        order = np.argsort(~kept, axis=1, kind="stable")[:, : int(kept.sum(1).max(initial=0))]
        rows = np.indices(order.shape)[0]
        valid = kept[rows, order]

        def taken(column: Array) -> Array:
            flat = column.reshape(problems, episodes * steps, *column.shape[3:])[rows, order]
            return flat * valid.reshape(*valid.shape, *[1] * (flat.ndim - 2)).astype(flat.dtype)

        return cls(
            transitions=map_columns(taken, transitions),
            starts=(order % steps == 0) & valid,
            valid=valid,
        )


def as_episode(context: Transitions) -> Experience:
    """A bag of transitions (P, K) as one episode of each problem, in the order given."""
    return Experience.of_episodes(context[:, None], np.ones((len(context), 1, context.rewards.shape[1]), bool))


def task_experience(dataset: Dataset, size: int, seed: int) -> tuple[NDArray[np.int64], Experience]:
    """Task indices (M,) of a selection, and whole episodes of each task, drawn without replacement in a random order
    until they hold `size` transitions, or there are no more.
    """
    tasks, lengths = dataset.episodes.task_index[dataset.numbers], dataset.episodes.length[dataset.numbers]
    indices, starts = np.unique(tasks, return_index=True)
    edges = np.append(starts, len(tasks)).tolist()
    chosen = list[NDArray[np.int64]]()
    for position, (first, last) in enumerate(pairwise(edges)):
        order = first + generator(seed, position).permutation(last - first)
        chosen.append(order[: int(np.searchsorted(lengths[order].cumsum(), size)) + 1])
    longest = max(int(lengths[order].max()) for order in chosen)
    played = [[_padded(dataset, int(number), longest) for number in order] for order in chosen]
    nothing = map_columns(np.zeros_like, played[0][0])
    most = max(map(len, played))
    stacked = Transitions.stack([Transitions.stack(of + [nothing] * (most - len(of))) for of in played])
    ends = np.stack([np.pad(lengths[order], (0, most - len(order))) for order in chosen])
    return indices, Experience.of_episodes(stacked, np.arange(longest) < ends[..., None])


def _padded(dataset: Dataset, position: int, steps: int) -> Transitions:
    """The transitions of an episode, and zeros up to so many steps."""
    episode = from_episode(dataset.episode(position), dataset.view)
    return map_columns(lambda c: np.pad(c, [(0, steps - len(c)), *[(0, 0)] * (c.ndim - 1)]), episode)
