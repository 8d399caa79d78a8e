"""A sampler: meta-batches of each task's better half of episodes. Reads `meta_batch`, `batch`, `context` and `seed`."""

from typing import Any

import numpy as np

import idaq


class BetterHalf:
    """Tasks with replacement, then transitions of their better episodes."""

    def __init__(self, dataset: idaq.Dataset, config: Any) -> None:
        self._table = dataset.select(quantiles=(0.5, 1.0)).transitions()
        self._config = config

    def at(self, step: int) -> idaq.MetaBatch:
        config, table, rng = self._config, self._table, idaq.generator(self._config.seed, step)
        positions = rng.integers(len(table.task_indices), size=config.meta_batch)
        first, last = table.ranges[positions].T[..., None]
        share = rng.random((config.meta_batch, config.batch + config.context))
        rows = first + (share * (last - first)).astype(np.int64)
        drawn = table.gather(rows)
        return idaq.MetaBatch(
            tasks=table.task_indices[positions],
            transitions=drawn[:, : config.batch],
            context=drawn[:, config.batch :],
        )

    def statistics(self) -> Any:
        return self._table.statistics()
