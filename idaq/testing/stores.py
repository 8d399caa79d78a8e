"""What every EpisodeStore must do: give the episodes that were put into it, to the bit, to whoever asks."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from idaq.core.types import Episode
from idaq.format.columns import get_episode
from idaq.format.episodes import EpisodeStore
from idaq.format.writer import write_dataset
from idaq.testing.comparing import assert_aligned, assert_same_bits
from idaq.testing.examples import EXAMPLES, entries_of, example_source


class EpisodeStoreContract:
    """Subclass it, and say in `store_of` how your store comes to hold a dataset."""

    cannot_hold: ClassVar[Collection[str]] = ()
    """names of extra columns that your store leaves out, if it can hold some only"""

    def store_of(self, dataset: Path, scratch: Path) -> EpisodeStore:
        """A store of the episodes of the dataset in a folder, in their order; `scratch` is a folder to write in."""
        raise NotImplementedError

    @pytest.fixture
    def episodes(self) -> list[Episode]:
        """What the store must give, in order."""
        return [entry.episode for entry in entries_of()]

    @pytest.fixture
    def store(self, tmp_path: Path) -> EpisodeStore:
        """Your store of those episodes."""
        (tmp_path / "scratch").mkdir()
        return self.store_of(write_dataset(example_source(), tmp_path / "root", ""), tmp_path / "scratch")

    def test_it_knows_the_shape_of_a_row_of_each_column(self, store: EpisodeStore) -> None:
        expected = {"observations": (3,), "actions": (2,), "rewards": (), "terminations": (), "truncations": ()}
        assert {name: tuple(shape) for name, shape in store.shapes.items()} == expected

    def test_every_episode_comes_to_the_bit_in_any_order_and_again(
        self, store: EpisodeStore, episodes: list[Episode]
    ) -> None:
        for number in [5, 0, 7, 0, *range(len(episodes))]:
            found = store.episode(number)
            assert_aligned(found)
            assert_same_bits(found, episodes[number])

    @pytest.mark.parametrize("example", EXAMPLES)
    def test_every_space_and_every_extra_column_comes_to_the_bit(self, example: str, tmp_path: Path) -> None:
        source = EXAMPLES[example]()
        (tmp_path / "scratch").mkdir()
        store = self.store_of(write_dataset(source, tmp_path / "root", ""), tmp_path / "scratch")
        for number, entry in enumerate(source.entries):
            held = {n: values for n, values in entry.episode.columns.items() if n not in self.cannot_hold}
            assert_same_bits(store.episode(number), Episode.from_columns(held))

    def test_an_episode_is_a_copy(self, store: EpisodeStore, episodes: list[Episode]) -> None:
        store.episode(1).observations[:] = -1
        assert_same_bits(store.episode(1), episodes[1])

    @pytest.mark.parametrize("numbers", [[0], [7], [1, 2, 6], list(range(8))])
    def test_columns_hold_the_episodes_asked_for(
        self, store: EpisodeStore, episodes: list[Episode], numbers: list[int]
    ) -> None:
        columns = store.columns(np.array(numbers))
        assert {name: column.shape for name, column in columns.items()} == store.shapes
        for number in numbers:
            assert_same_bits(get_episode(columns, number, len(episodes[number])), episodes[number])

    def test_several_threads_may_read_at_once(self, store: EpisodeStore, episodes: list[Episode]) -> None:
        numbers = list(range(len(episodes))) * 8
        with ThreadPoolExecutor(4) as threads:
            for number, found in zip(numbers, threads.map(store.episode, numbers), strict=True):
                assert_same_bits(found, episodes[number])
