"""A random context of each task: what a belief is inferred from."""

import numpy as np
from numpy.typing import NDArray

from idaq.core.seeds import generator
from idaq.loader.dataset import Dataset
from idaq.loader.transitions import Transitions, concatenate, from_episode


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
