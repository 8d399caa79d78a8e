"""No damage to a Zarr form goes unseen, by accident or by one who knows the format."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
from numcodecs import Zstd

from idaq.core.digest import dataset_digest, episode_digest
from idaq.core.errors import (
    CorruptDatasetError,
    FormatVersionError,
)
from idaq.core.types import FIXED_COLUMNS
from idaq.format.zarr import reader as zarr_reader
from idaq.format.zarr.layout import attributes_digest
from idaq.format.zarr.reader import open_zarr
from idaq.format.zarr.transfer import import_zarr
from tests.format.made import left_in
from tests.format.sealing import alter_document

COLUMNS = ("observations", *FIXED_COLUMNS)


def alter_attributes(exported: Path, alter: Callable[[Any], Any], *, sealed: bool = True) -> None:
    """Alter the attribute "idaq" as one who knows the format would, so that its sha256 is true."""

    def altered(group: Any) -> None:
        stated = group["attributes"]["idaq"]
        alter(stated)
        if sealed:
            stated["manifest"]["content_digest"] = dataset_digest(stated["episodes"]["digest"])
            stated["sha256"] = attributes_digest(stated)

    alter_document(exported / "zarr.json", altered)


def read_all(exported: Path, tmp_path: Path) -> None:
    """Both ways in: episode by episode, and by import. Each must refuse, and the import leave nothing behind."""
    root = tmp_path / "imported"
    with pytest.raises(CorruptDatasetError):
        import_zarr(str(exported), root)
    assert left_in(root) == []
    dataset = open_zarr(str(exported))
    for number in range(len(dataset.episodes)):
        dataset.episode(number)


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
        assert found > 0, position


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
        (lambda size, chunks: forged(bytes(10_000_000), chunks), "destination buffer too small"),
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
        (lambda stated: stated["episodes"]["behaviour"].__setitem__(0, "x" * 65), "behaviour"),
        (lambda stated: stated["episodes"]["behaviour"].__setitem__(0, "expert\0"), "behaviour"),
        (lambda stated: stated["episodes"]["digest"].pop(), "unlike lengths"),
        (lambda stated: [column.clear() for column in stated["episodes"].values()], "or empty"),
        (lambda stated: stated["tasks"].pop(), "number of tasks"),
        (lambda stated: stated["tasks"].append(stated["tasks"][0]), "number of tasks"),
        (_splits, "splits of tasks"),
        (lambda stated: stated["manifest"].update(dataset_id="idaq/other/set-v0"), "the id"),
        (lambda stated: stated["manifest"]["columns"].pop("rewards"), "its columns lack rewards"),
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
    with pytest.raises(CorruptDatasetError, match="is refused"):
        read_all(exported, tmp_path)


def test_what_verify_finds_is_not_imported(exported: Path, tmp_path: Path) -> None:
    alter_attributes(exported, lambda stated: stated["tasks"][1]["reference"]["behaviour"].update(mean=0.0))
    with pytest.raises(CorruptDatasetError, match=r"is corrupt: .*behaviour return"):
        import_zarr(str(exported), tmp_path / "root")
    assert left_in(tmp_path / "root") == []


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


def test_a_group_of_endless_length_is_read_to_a_bound_only(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (exported / "zarr.json").stat().st_size
    monkeypatch.setattr(zarr_reader, "LARGEST_TABLE", size)
    open_zarr(str(exported))
    with (exported / "zarr.json").open("ab") as file:
        file.truncate(2**40)
    with pytest.raises(CorruptDatasetError, match=f"more than {size} bytes"):
        open_zarr(str(exported))


def test_a_missing_array_is_refused(exported: Path, tmp_path: Path) -> None:
    shutil.rmtree(exported / "truncations")
    with pytest.raises(CorruptDatasetError, match=r"truncations/zarr.json is missing"):
        read_all(exported, tmp_path)
