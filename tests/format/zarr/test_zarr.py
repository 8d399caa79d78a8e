"""The Zarr form: there and back over every kind of store, read by plain zarr too, and no damage goes unseen."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from idaq.core.config import to_mapping
from idaq.core.errors import (
    CorruptDatasetError,
    DatasetError,
    DatasetExistsError,
    DatasetNotFoundError,
)
from idaq.core.types import FIXED_COLUMNS
from idaq.format.columns import get_episode, map_columns
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.format.zarr import reader as zarr_reader
from idaq.format.zarr.layout import create_array, grids
from idaq.format.zarr.reader import open_zarr
from idaq.format.zarr.transfer import encode_shard, export_zarr, import_zarr
from idaq.testing.examples import EXAMPLES
from tests.format.made import PLANS, Plan, entries_of, made_source
from tests.format.sealing import alter_document
from tests.serving import BrokenHandler, FlakyHandler, http_server, s3_server

COLUMNS = ("observations", *FIXED_COLUMNS)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["path", "file", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where nothing is yet, on each kind of store that can be written."""
    name = f"{tmp_path.name}.zarr"
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/{name}"
    folders = {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": "memory://sets"}
    return f"{folders[request.param]}/{name}"


def assert_same_episodes(found: zarr_reader.ZarrDataset, expected: StoredDataset) -> None:
    columns = map_columns(expected)
    for number, length in enumerate(expected.episodes.length.tolist()):
        a, b = found.episode(number), get_episode(columns, number, length)
        for left, right in zip(a.columns.values(), b.columns.values(), strict=True):
            assert (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


def test_dimensions_of_one_name_are_of_one_length(exported: Path) -> None:
    """What xarray asks for; tests/interop opens it with xarray itself."""
    sizes: dict[str, set[int]] = {}
    for _, array in zarr.open_group(exported, mode="r").arrays():
        for name, size in zip(array.metadata.dimension_names or (), array.shape, strict=True):
            sizes.setdefault(str(name), set()).add(size)
    assert {"rows:T", "rows:T+1", "observations:0", "actions:0"} == set(sizes)
    assert all(len(found) == 1 for found in sizes.values())


# -- there and back ------------------------------------------------------------------------------------------------


def test_there_and_back_on_every_store(stored: StoredDataset, place: str, tmp_path: Path) -> None:
    finished: list[int] = []
    size = export_zarr(stored, place, finished.append)
    assert sum(finished) == len(PLANS)
    files, path = fsspec.url_to_fs(place)
    assert sum(files.size(file) for file in files.find(path)) == size
    dataset = open_zarr(place)
    assert (dataset.manifest, dataset.tasks) == (stored.manifest, stored.tasks)
    assert_same_episodes(dataset, stored)
    back = open_stored(import_zarr(place, tmp_path / "root", finished.append))
    assert sum(finished) == 2 * len(PLANS)
    assert back.manifest.content_digest == stored.manifest.content_digest
    assert verify(back.path) == []


def test_what_comes_back_is_the_dataset_that_went(made: Path, exported: Path, tmp_path: Path) -> None:
    back = open_stored(import_zarr(str(exported), tmp_path / "root"))
    there = open_stored(made)
    ours, theirs = to_mapping(back.manifest), to_mapping(there.manifest)
    assert {name for name in ours if ours[name] != theirs[name]} <= {"files"}
    assert back.metadata == there.metadata
    assert (back.path / "README.md").read_bytes() == (made / "README.md").read_bytes()
    assert back.hdf5.read_bytes() == there.hdf5.read_bytes()


def test_over_http(stored: StoredDataset, exported: Path, tmp_path: Path) -> None:
    with http_server(exported.parent) as url:
        assert_same_episodes(open_zarr(f"{url}/made.zarr"), stored)
        back = import_zarr(f"{url}/made.zarr/", tmp_path / "root")
        assert open_stored(back).manifest.content_digest == stored.manifest.content_digest
        with pytest.raises(DatasetError, match="cannot be written"):
            export_zarr(stored, f"{url}/other.zarr")
        with pytest.raises(DatasetNotFoundError, match="no Zarr group"):
            open_zarr(f"{url}/other.zarr")


def test_over_a_network_that_fails_now_and_then(stored: StoredDataset, exported: Path) -> None:
    with http_server(exported.parent, FlakyHandler) as url:
        assert_same_episodes(open_zarr(f"{url}/made.zarr"), stored)


def test_a_server_that_keeps_failing_is_named(exported: Path) -> None:
    with http_server(exported.parent, BrokenHandler) as url:
        dataset = open_zarr(f"{url}/made.zarr")
        with pytest.raises(CorruptDatasetError, match=r"made\.zarr, task 2, episode 0: .* cannot be read: .*503"):
            dataset.episode(0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=8))
@settings(max_examples=30)
def test_any_episodes_come_back(shapes: list[tuple[int, int]]) -> None:
    """Against an in-memory twin: the episodes that were written."""
    plans = [Plan(task=task, length=length, ends="open") for task, length in sorted(shapes, key=lambda s: s[0])]
    entries = entries_of(plans)
    place = "memory://sets/any.zarr"
    with tempfile.TemporaryDirectory() as root:
        export_zarr(open_stored(write_dataset(made_source(entries), Path(root), "")), place)
    dataset = open_zarr(place)
    for number, entry in enumerate(entries):
        for name, column in entry.episode.columns.items():
            np.testing.assert_array_equal(dataset.episode(number).columns[name], column)
    fsspec.filesystem("memory").rm("/sets/any.zarr", recursive=True)


@pytest.mark.parametrize(
    "plans",
    [
        (Plan(task=0, length=1, ends="open"),),
        tuple(Plan(task=task, length=5, ends="truncated") for task in (0, 0, 3, 3)),
        tuple(Plan(task=task, length=length, ends="terminated") for task, length in ((0, 60), (1, 1), (1, 1), (1, 2))),
    ],
    ids=["one row", "alike", "one long"],
)
def test_episodes_of_any_lengths(plans: tuple[Plan, ...], tmp_path: Path) -> None:
    made = open_stored(write_dataset(made_source(entries_of(plans)), tmp_path / "root", ""))
    export_zarr(made, str(tmp_path / "x.zarr"))
    assert_same_episodes(open_zarr(str(tmp_path / "x.zarr")), made)


@pytest.mark.parametrize("example", EXAMPLES)
def test_shards_are_the_bytes_that_zarr_writes(tmp_path: Path, example: str) -> None:
    stored = open_stored(write_dataset(EXAMPLES[example](), tmp_path, ""))
    columns = map_columns(stored)
    for grid in grids(stored.manifest.columns, stored.episodes).values():
        for shard in range(grid.shards):
            episodes = np.flatnonzero(grid.shard == shard)
            lengths = stored.episodes.length[episodes].tolist()
            rows = np.concatenate(
                [columns[grid.name].rows(n, t) for n, t in zip(episodes.tolist(), lengths, strict=True)]
            )
            by_zarr: dict[str, Any] = {}
            first = shard * grid.shard_rows
            create_array(MemoryStore(by_zarr), grid)[first : first + len(rows)] = rows
            assert encode_shard(grid, columns, stored, episodes) == by_zarr[grid.key(shard)].to_bytes()


def test_episodes_of_one_length_are_a_chunk_each(tmp_path: Path) -> None:
    plans = tuple(Plan(task=task, length=5, ends="truncated") for task in (0, 0, 0, 3))
    made = open_stored(write_dataset(made_source(entries_of(plans)), tmp_path / "root", ""))
    export_zarr(made, str(tmp_path / "x.zarr"))
    for grid in open_zarr(str(tmp_path / "x.zarr")).grids.values():
        assert (grid.shards, grid.chunks, grid.chunk_rows) == (2, 3, 6 if grid.name == "observations" else 5)
        assert [list(grid.chunks_of(number, 5)) for number in range(4)] == [[0], [1], [2], [0]]


def test_plain_zarr_reads_it(stored: StoredDataset, exported: Path) -> None:
    """A second reader, from FORMAT.md alone: rows of a task follow each other from the start of its shard."""
    group = zarr.open_group(str(exported), mode="r")
    assert sorted(group.array_keys()) == sorted(COLUMNS)
    stated: Any = group.attrs["idaq"]
    assert stated["manifest"] == to_mapping(stored.manifest)
    columns = map_columns(stored)
    for name in COLUMNS:
        array: Any = group[name]
        row, last, shard = 0, None, -1
        for number, (task, length) in enumerate(
            zip(stated["episodes"]["task_index"], stated["episodes"]["length"], strict=True)
        ):
            if task != last:
                shard, last = shard + 1, task
                row = shard * array.shards[0]
            expected = columns[name].rows(number, length)
            np.testing.assert_array_equal(array[row : row + len(expected)], expected)
            row += len(expected)


# -- what is there already -----------------------------------------------------------------------------------------


def test_an_export_never_overwrites(stored: StoredDataset, place: str) -> None:
    export_zarr(stored, place)
    files, path = fsspec.url_to_fs(place)
    before = {file: files.cat_file(file) for file in files.find(path)}
    with pytest.raises(DatasetExistsError, match="exists already"):
        export_zarr(stored, place)
    assert {file: files.cat_file(file) for file in files.find(path)} == before


def test_an_export_keeps_off_what_is_not_its_own(stored: StoredDataset, place: str) -> None:
    files, path = fsspec.url_to_fs(place)
    files.makedirs(path, exist_ok=True)
    files.pipe_file(f"{path}/thesis.tex", b"years of work")
    with pytest.raises(DatasetExistsError, match="other files"):
        export_zarr(stored, place)
    assert [files.cat_file(file) for file in files.find(path)] == [b"years of work"]


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2])
def test_an_export_that_broke_off_is_refused_and_can_be_finished(stored: StoredDataset, place: str, after: int) -> None:
    calls: list[int] = []

    def interrupt(count: int) -> None:
        calls.append(count)
        if len(calls) == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        export_zarr(stored, place, interrupt)
    with pytest.raises(CorruptDatasetError, match="unfinished export"):
        open_zarr(place)
    export_zarr(stored, place)
    assert_same_episodes(open_zarr(place), stored)


def test_an_export_keeps_off_the_unfinished_export_of_another(stored: StoredDataset, exported: Path) -> None:
    alter_document(exported / "zarr.json", lambda group: group.update(attributes={"idaq": {"unfinished": "0" * 64}}))
    with pytest.raises(DatasetExistsError, match="exists already"):
        export_zarr(stored, str(exported))


def test_an_import_never_overwrites(made: Path, made_root: Path, exported: Path) -> None:
    before = sorted(made_root.rglob("*"))
    with pytest.raises(DatasetExistsError, match="exists already"):
        import_zarr(str(exported), made_root)
    assert sorted(made_root.rglob("*")) == before


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no Zarr group"):
        open_zarr(str(tmp_path / "none.zarr"))
