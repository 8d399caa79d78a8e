"""A storage: episodes of any other store, each fetched once and kept."""

from dataclasses import replace
from typing import Any

import idaq


class CachingStore:
    """`replace(dataset, store=CachingStore(dataset.store))`."""

    def __init__(self, store: Any) -> None:
        self.shapes, self.columns, self._store = store.shapes, store.columns, store
        self._kept: dict[int, idaq.Episode] = {}

    def episode(self, number: int) -> idaq.Episode:
        if number not in self._kept:
            self._kept[number] = self._store.episode(number)
        kept = self._kept[number]
        names = ("observations", "actions", "rewards", "terminated", "truncated")
        return replace(kept, **{name: getattr(kept, name).copy() for name in names})  # what is given may be altered
