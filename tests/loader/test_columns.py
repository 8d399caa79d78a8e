"""Columns by name and the flat view, of every kind of dataset: what the episodes hold, from map, RAM and fetched."""

from pathlib import Path

import numpy as np
import pytest

from idaq.core.errors import UnknownNameError
from idaq.format.reader import open_stored
from idaq.format.writer import write_dataset
from idaq.format.zarr.transfer import export_zarr
from idaq.loader import Dataset, open_dataset
from idaq.loader.dataset import Where
from idaq.loader.transitions import concatenate, from_episode
from idaq.testing.examples import EXAMPLES
from tests.loader.test_table import assert_bitwise

WHERE: tuple[Where, ...] = ("map", "ram", "fetch")


@pytest.fixture(scope="module", params=sorted(EXAMPLES))
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_dataset(EXAMPLES[request.param](), tmp_path_factory.mktemp("columns"), ""))


@pytest.mark.parametrize("where", WHERE)
def test_any_column_is_gathered_by_row_in_its_own_dtype(dataset: Dataset, where: Where) -> None:
    table, rng = dataset.transitions(where), np.random.default_rng(0)
    rows = rng.integers(len(table), size=(5, 7))
    for name, column in dataset.column_info.items():
        every = np.concatenate([episode.columns[name][: len(episode)] for episode in dataset])
        found = table.column(name, rows)
        assert (found.dtype, found.shape) == (every.dtype, (5, 7, *column.shape)), name
        assert found.tobytes() == every[rows].tobytes(), name


@pytest.mark.parametrize("where", WHERE)
def test_windows_are_the_rows_that_follow_each_other(dataset: Dataset, where: Where) -> None:
    table = dataset.transitions(where)
    for begin, length in ((np.array([3, 0, 11]), 1), (np.array([0, 1, 8, 8]), 5), (np.array([0, 12]), 33)):
        rows = begin[:, None] + np.arange(length)
        assert_bitwise(table.windows(begin, length), table.gather(rows))
        for name in dataset.column_info:
            expected = table.column(name, rows)
            assert table.column_windows(name, begin, length).tobytes() == expected.tobytes(), name
    with pytest.raises(IndexError, match="transition numbers must lie in"):
        table.windows(np.array([len(table) - 4]), 5)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("discrete", ["one-hot", "index"])
def test_transitions_are_those_of_the_episodes_in_the_flat_view(dataset: Dataset, where: Where, discrete: str) -> None:
    viewed = dataset.with_discrete("index" if discrete == "index" else "one-hot")
    expected = concatenate([from_episode(episode, viewed.view) for episode in viewed])
    table = viewed.transitions(where)
    assert_bitwise(table.gather(np.arange(len(table))), expected)
    assert expected.observations.shape[1] == viewed.view.observation_size
    assert expected.actions.shape[1] == viewed.view.action_size


def test_a_column_that_is_not_there_is_named(dataset: Dataset) -> None:
    with pytest.raises(UnknownNameError, match="unknown column 'rewrads'") as raised:
        dataset.transitions("map").column("rewrads", np.array([0]))
    assert "rewards" in str(raised.value.hint)


def test_few_bytes_of_fetched_episodes_are_kept_and_the_rows_stay_the_same(dataset: Dataset) -> None:
    rows = np.random.default_rng(0).integers(50, size=40)
    assert_bitwise(dataset.transitions("fetch", memory=1).gather(rows), dataset.transitions("map").gather(rows))


def test_a_zarr_form_gives_the_same_rows(dataset: Dataset, tmp_path: Path) -> None:
    export_zarr(open_stored(Path(dataset.path)), str(tmp_path / "far.zarr"))
    far, near = open_dataset(tmp_path / "far.zarr"), dataset.transitions("map")
    rows = np.random.default_rng(0).integers(len(near), size=40)
    for where in ("auto", "fetch"):
        table = far.transitions(where)
        assert_bitwise(table.gather(rows), near.gather(rows))
        for name in dataset.column_info:
            assert table.column(name, rows).tobytes() == near.column(name, rows).tobytes(), name
