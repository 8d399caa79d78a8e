"""The Zarr form: there and back over every kind of store, read by plain zarr too, and no damage goes unseen."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import google_crc32c
import numpy as np
import pytest
import zarr
from numcodecs import Zstd

from idaq.core.config import to_mapping
from idaq.core.digest import dataset_digest, episode_digest
from idaq.core.errors import (
    CorruptDatasetError,
    DatasetError,
    DatasetExistsError,
    DatasetNotFoundError,
    FormatVersionError,
)
from idaq.format import layout, zarr_reader
from idaq.format.columns import get_episode, map_columns
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.format.zarr import export_zarr, import_zarr
from idaq.format.zarr_layout import Attributes, seal
from idaq.format.zarr_reader import open_zarr
from tests.format.made import PLANS, Plan, entries_of, made_source
from tests.serving import http_server, s3_server

COLUMNS = tuple(layout.COLUMNS)


@pytest.fixture(scope="module")
def stored(made: Path) -> StoredDataset:
    return open_stored(made)


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


@pytest.fixture
def exported(stored: StoredDataset, tmp_path: Path) -> Path:
    """An export of the hand-made dataset in a local folder, to be damaged."""
    export_zarr(stored, str(tmp_path / "made.zarr"))
    return tmp_path / "made.zarr"


def assert_same_episodes(found: zarr_reader.ZarrDataset, expected: StoredDataset) -> None:
    columns = map_columns(expected)
    for number, length in enumerate(expected.episodes.length.tolist()):
        a, b = found.episode(number), get_episode(columns, number, length)
        for name in layout.COLUMNS.values():
            left, right = getattr(a, name), getattr(b, name)
            assert (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


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
    for name, field in layout.COLUMNS.items():
        array: Any = group[name]
        row, last, shard = 0, None, -1
        for number, (task, length) in enumerate(
            zip(stated["episodes"]["task_index"], stated["episodes"]["length"], strict=True)
        ):
            if task != last:
                shard, last = shard + 1, task
                row = shard * array.shards[0]
            expected = columns[field].rows(number, length)
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


# -- damage --------------------------------------------------------------------------------------------------------


def alter_document(path: Path, alter: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    alter(value)
    path.write_text(json.dumps(value))


def alter_attributes(exported: Path, alter: Callable[[Any], Any], *, sealed: bool = True) -> None:
    """Alter the attribute "idaq" as one who knows the format would, so that its sha256 is true."""

    def altered(group: Any) -> None:
        stated = group["attributes"]["idaq"]
        alter(stated)
        if sealed:
            stated["manifest"]["content_digest"] = dataset_digest(stated["episodes"]["digest"])
            stated["sha256"] = seal(replace(Attributes(**{**stated, "sha256": "0" * 64})))

    alter_document(exported / "zarr.json", altered)


def read_all(exported: Path, tmp_path: Path) -> None:
    """Both ways in: episode by episode, and by import. Each must refuse, and the import leave nothing behind."""
    root = tmp_path / "imported"
    with pytest.raises(CorruptDatasetError) as first:
        dataset = open_zarr(str(exported))
        for number in range(len(dataset.episodes)):
            dataset.episode(number)
    with pytest.raises(CorruptDatasetError):
        import_zarr(str(exported), root)
    assert [path for path in root.rglob("*") if path.is_file()] == []
    raise first.value


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "index", "of another task"])
def test_a_damaged_shard_is_refused(exported: Path, tmp_path: Path, name: str, damage: str) -> None:
    shard = next(path for path in sorted((exported / name / "c").rglob("*")) if path.is_file())
    content = bytearray(shard.read_bytes())
    if damage == "missing":
        shard.unlink()
    elif damage == "of another task":
        other = Path(str(shard).replace("/c/0", "/c/2", 1))
        other.write_bytes(content)
    else:
        cut = {"empty": 0, "cut": len(content) - 1}.get(damage, len(content))
        content[{"flipped": 5, "index": -20}.get(damage, 0)] ^= 1
        shard.write_bytes(content[:cut])
    with pytest.raises(CorruptDatasetError, match=r"missing|bytes where|checksum|digest|not stored"):
        read_all(exported, tmp_path)


def test_every_flipped_byte_of_a_shard_is_found(exported: Path) -> None:
    shard = exported / "rewards" / "c" / "0"
    content = shard.read_bytes()
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 0x10
        shard.write_bytes(altered)
        dataset = open_zarr(str(exported))
        found = 0
        for number in np.flatnonzero(dataset.episodes.task_index == 2):
            try:
                dataset.episode(int(number))
            except CorruptDatasetError:
                found += 1
        unused = 0  # every chunk of this task's shard that is stored holds rows, so every byte counts
        assert found > unused, position


def test_damage_is_named_by_task_and_episode(exported: Path) -> None:
    (exported / "actions" / "c" / "1" / "0").unlink()
    with pytest.raises(CorruptDatasetError, match=r"made\.zarr, task 5, episode 3: .*actions/c/1/0 is missing"):
        open_zarr(str(exported)).episode(3)


def one_chunk_shard(content: bytes, entry: tuple[int, int], chunks: int) -> bytes:
    """A shard whose every index entry is `entry`, checksums true."""
    index = np.array([entry] * chunks, "<u8").tobytes()
    return content + index + google_crc32c.value(index).to_bytes(4, "little")


def forged(values: bytes, chunks: int) -> bytes:
    """A shard that holds `values` in each of its chunks, checksums true."""
    frame = bytes(Zstd(level=3).encode(values))
    chunk = frame + google_crc32c.value(frame).to_bytes(4, "little")
    return one_chunk_shard(chunk, (0, len(chunk)), chunks)


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (lambda size, chunks: forged(bytes(size), chunks), "digest"),
        (lambda size, chunks: forged(bytes(size // 2), chunks), "digest"),
        (lambda size, chunks: forged(bytes(200_000_000), chunks), "destination buffer too small"),
        (lambda size, chunks: one_chunk_shard(b"", (0, 2**50), chunks), "not stored, or too large"),
        (lambda size, chunks: one_chunk_shard(b"", (2**63, 2**63), chunks), "not stored, or too large"),
        (lambda size, chunks: one_chunk_shard(b"", (2**64 - 1, 2**64 - 1), chunks), "not stored, or too large"),
        (lambda size, chunks: one_chunk_shard(b"", (10**9, 40), chunks), "bytes where 40 belong"),
        (lambda size, chunks: one_chunk_shard(b"", (0, 0), chunks), "bytes where 0 belong"),
    ],
    ids=["zeros", "short", "bomb", "large", "far", "absent", "beyond", "empty"],
)
def test_a_forged_shard_is_refused(
    exported: Path, tmp_path: Path, forge: Callable[[int, int], bytes], problem: str
) -> None:
    grid = open_zarr(str(exported)).grids["rewards"]
    (exported / "rewards" / "c" / "0").write_bytes(forge(grid.chunk_bytes, grid.chunks))
    with pytest.raises(CorruptDatasetError, match=problem):
        read_all(exported, tmp_path)


def test_not_a_number_is_refused_even_with_a_true_digest(exported: Path, tmp_path: Path) -> None:
    dataset = open_zarr(str(exported))
    episode = dataset.episode(3)
    grid = dataset.grids["rewards"]
    rewards = np.full(3, np.nan)
    padded = np.zeros(grid.chunk_rows)
    padded[:3] = rewards
    (exported / "rewards" / "c" / "1").write_bytes(forged(padded.tobytes(), grid.chunks))
    digest = episode_digest(replace(episode, rewards=rewards), task_index=5, seed=2**64 - 4)
    alter_attributes(exported, lambda stated: stated["episodes"]["digest"].__setitem__(3, digest))
    with pytest.raises(CorruptDatasetError, match="NaN or infinity"):
        read_all(exported, tmp_path)


def test_altered_attributes_are_refused(exported: Path, tmp_path: Path) -> None:
    alter_attributes(exported, lambda stated: stated["episodes"]["success"].reverse(), sealed=False)
    with pytest.raises(CorruptDatasetError, match="another sha256"):
        read_all(exported, tmp_path)


def _splits(stated: Any) -> None:
    stated["tasks"][0]["split"] = "elsewhere"


@pytest.mark.parametrize(
    ("alter", "problem"),
    [
        (lambda stated: stated["episodes"]["length"].__setitem__(1, 8), "number of steps"),
        (lambda stated: stated["episodes"]["length"].__setitem__(slice(0, 2), [7, 1]), "digest"),
        (lambda stated: stated["episodes"]["length"].__setitem__(1, 2**39), "number of steps"),
        (lambda stated: stated["episodes"]["seed"].__setitem__(1, 5), "digest"),
        (lambda stated: stated["episodes"]["task_index"].reverse(), "order of episodes"),
        (lambda stated: stated["episodes"]["task_index"].__setitem__(7, 70), "tasks of episodes"),
        (lambda stated: stated["episodes"]["task_index"].__setitem__(3, 9), "another array"),
        (lambda stated: stated["episodes"]["digest"].pop(), "unlike lengths"),
        (lambda stated: [column.clear() for column in stated["episodes"].values()], "or empty"),
        (lambda stated: stated["tasks"].pop(), "number of tasks"),
        (lambda stated: stated["tasks"].append(stated["tasks"][0]), "number of tasks"),
        (_splits, "splits of tasks"),
        (lambda stated: stated["manifest"].update(dataset_id="idaq/other/set-v0"), "the id"),
        (lambda stated: stated["manifest"]["columns"].pop("rewards"), "its columns are"),
        (lambda stated: stated["manifest"]["columns"]["actions"].update(shape=[3]), "another array"),
        (lambda stated: stated["manifest"]["columns"]["actions"].update(shape=[10**15]), "cannot have"),
        (lambda stated: stated["manifest"]["columns"]["actions"].update(dtype="<f4"), "another array"),
        (lambda stated: stated["metadata"].update(author=["nobody"]), "digest of metadata"),
    ],
)
def test_documents_that_disagree_are_refused(
    exported: Path, tmp_path: Path, alter: Callable[[Any], Any], problem: str
) -> None:
    alter_attributes(exported, alter)
    with pytest.raises(CorruptDatasetError, match=problem):
        read_all(exported, tmp_path)


def test_a_gigantic_episode_is_not_believed_even_where_all_documents_agree(exported: Path, tmp_path: Path) -> None:
    def alter(stated: Any) -> None:
        stated["manifest"]["counts"]["steps"] += 2**39 - 7
        stated["episodes"]["length"][1] = 2**39

    alter_attributes(exported, alter)
    with pytest.raises(CorruptDatasetError, match="not believed"):
        read_all(exported, tmp_path)


def test_a_return_that_is_not_the_sum_of_rewards_is_not_imported(exported: Path, tmp_path: Path) -> None:
    alter_attributes(exported, lambda stated: stated["tasks"][1]["reference"]["behaviour"].update(mean=0.0))
    with pytest.raises(CorruptDatasetError, match="makes no sound dataset: .*behaviour return"):
        import_zarr(str(exported), tmp_path / "root")
    assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []


def test_an_unknown_version_is_refused(exported: Path) -> None:
    alter_attributes(exported, lambda stated: stated.update(zarr_version=2), sealed=False)
    with pytest.raises(FormatVersionError, match="Zarr form 2"):
        open_zarr(str(exported))


@pytest.mark.parametrize(
    ("alter", "problem"),
    [
        (lambda array: array["shape"].__setitem__(0, 10**15), "another array"),
        (lambda array: array.update(data_type="float32"), "another array"),
        (lambda array: array.update(data_type="pickle"), "does not describe an array"),
        (lambda array: array["codecs"].clear(), "does not describe an array"),
        (lambda array: array["codecs"][0]["configuration"].update(chunk_shape=[1]), "another array"),
        (lambda array: array["codecs"][0]["configuration"]["codecs"].pop(), "another array"),
        (lambda array: array.update(zarr_format=2), "does not describe an array"),
        (lambda array: array.clear(), "does not describe an array"),
    ],
)
def test_an_array_that_is_another_than_called_for_is_refused(
    exported: Path, tmp_path: Path, alter: Callable[[Any], Any], problem: str
) -> None:
    alter_document(exported / "rewards" / "zarr.json", alter)
    with pytest.raises(CorruptDatasetError, match=problem):
        read_all(exported, tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"attributes": 3}', '{"zarr_format": 3, "node_type": "group", "attributes": {}}', "\xff"]
)
def test_a_group_that_is_no_dataset_is_refused(exported: Path, tmp_path: Path, text: str) -> None:
    (exported / "zarr.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorruptDatasetError, match=r"is not|cannot be read"):
        read_all(exported, tmp_path)


def test_a_missing_array_is_refused(exported: Path, tmp_path: Path) -> None:
    shutil.rmtree(exported / "truncations")
    with pytest.raises(CorruptDatasetError, match=r"truncations/zarr.json is missing"):
        read_all(exported, tmp_path)
