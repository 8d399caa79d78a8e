"""Bytes that were altered, cut off, swapped or lost: verify finds all of it, and neither raises nor hangs."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetNotFoundError, FormatVersionError
from idaq.format import layout
from idaq.format.columns import map_columns
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.loader import open_dataset
from tests.format.made import PLANS
from tests.format.sealing import flip, problems, reseal

FILES = ("metadata.json", "main_data.hdf5", "idaq/manifest.json", "idaq/tasks.jsonl", "idaq/episodes.parquet")


def is_harmless(path: Path, before: bytes) -> bool:
    """Whether metadata.json, the one file without a hash of its own, still has the value it had."""
    return path.name == "metadata.json" and json.loads(path.read_bytes()) == json.loads(before)


@pytest.mark.parametrize("name", FILES)
def test_any_altered_byte_is_found_unless_it_alters_no_value(damaged: Path, name: str) -> None:
    path, rng = damaged / "data" / name, random.Random(name)
    whole = path.read_bytes()
    harmless = 0
    for position in [0, len(whole) - 1, *rng.sample(range(len(whole)), 120)]:
        flip(path, position, mask := rng.choice([1, 2, 32, 128, rng.randrange(1, 256)]))
        found = verify(damaged)
        if not found:
            assert is_harmless(path, whole), f"byte {position} ^ {mask}"
            harmless += 1
        elif name != "metadata.json":
            assert str(path) in problems(damaged)
        path.write_bytes(whole)
    assert verify(damaged) == []
    assert harmless == 0 or name == "metadata.json"


def test_any_altered_letter_or_digit_of_metadata_is_found_unless_it_alters_no_value(damaged: Path) -> None:
    """By the flip that is likeliest to give another valid JSON: the lowest bit."""
    path = damaged / "data" / "metadata.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), 5):
        flip(path, position, 1)
        assert verify(damaged) or is_harmless(path, whole)
        path.write_bytes(whole)


def test_an_altered_value_is_found_with_file_task_and_episode(damaged: Path) -> None:
    stored, rng = open_stored(damaged), random.Random(0)
    for number, plan in enumerate(PLANS):
        for name, column in stored.manifest.columns.items():
            size = layout.rows_of(column, plan.length) * layout.row_bytes(column)
            position = int(stored.episodes.offsets[name][number]) + rng.randrange(size)
            mask = 1 << rng.randrange(8)
            flip(stored.hdf5, position, mask)
            first, *_, last = verify(damaged)
            assert first.where == f"{stored.hdf5}, task task-{plan.task}, episode {number}"
            assert first.what.startswith("values do not match their digest (stated ")
            assert str(last) == f"{stored.hdf5}: has another sha256 than the manifest says"
            flip(stored.hdf5, position, mask)


def test_damage_between_the_columns_is_told_from_damage_to_values(damaged: Path) -> None:
    flip(damaged / "data" / "main_data.hdf5", 8, 1)
    (problem,) = verify(damaged)
    assert "every episode's values are intact, so HDF5's own structure is damaged" in problem.what


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_or_grown_is_found_and_named(damaged: Path, name: str) -> None:
    path = damaged / "data" / name
    whole = path.read_bytes()
    for content in (b"", whole[:1], whole[: len(whole) // 2], whole[:-2], whole + b"\0", whole + whole):
        path.write_bytes(content)
        assert str(path) in problems(damaged), len(content)
        with pytest.raises(DatasetError):
            open_dataset(damaged)
    path.write_bytes(whole)
    assert verify(damaged) == []


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found_and_named(damaged: Path, name: str) -> None:
    path = damaged / "data" / name
    path.unlink()
    assert f"{path} is missing" in problems(damaged)
    with pytest.raises(CorruptDatasetError, match="is missing"):
        open_dataset(damaged)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_is_found_and_named(damaged: Path, name: str) -> None:
    path = damaged / "data" / name
    path.unlink()
    path.mkdir()
    assert str(path) in problems(damaged)


def test_a_missing_dataset_is_a_problem_too(tmp_path: Path) -> None:
    assert problems(tmp_path / "none") == f"{tmp_path}/none: there is no dataset at {tmp_path}/none"
    with pytest.raises(DatasetNotFoundError) as caught:
        open_stored(tmp_path / "none")
    assert caught.value.hint == "idaq dataset list shows what is here"


@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_of_another_dataset_is_found(damaged: Path, own_copy: Path, name: str) -> None:
    shutil.copy(own_copy / "data" / name, damaged / "data" / name)
    assert str(damaged / "data" / name) in problems(damaged)


def test_a_whole_dataset_under_another_name_is_found(damaged: Path) -> None:
    other = damaged.with_name("other-v0")
    damaged.rename(other)
    assert "dataset id (folder): stated idaq/made/tagged-v0, found idaq/made/other-v0" in problems(other)


def test_a_dataset_verifies_from_inside_its_folder_too(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(damaged)
    assert verify(Path()) == []
    assert verify(Path("../tagged-v0")) == []


def test_swapped_files_are_found(damaged: Path) -> None:
    tasks, episodes = damaged / "data/idaq/tasks.jsonl", damaged / "data/idaq/episodes.parquet"
    tasks.rename(tasks.with_suffix(".swap"))
    episodes.rename(tasks)
    tasks.with_suffix(".swap").rename(episodes)
    found = problems(damaged)
    assert str(tasks) in found
    assert str(episodes) in found


@pytest.mark.parametrize("version", ["2", '"1"', "true", "1.0", "null", "[]", None])
def test_another_format_version_is_refused_by_its_number(damaged: Path, version: str | None) -> None:
    path = damaged / "data" / "metadata.json"
    whole = path.read_text()
    assert whole.count('"format_version": 1,') == 1
    path.write_text(whole.replace('"format_version": 1,', "" if version is None else f'"format_version": {version},'))
    with pytest.raises(FormatVersionError, match=r"is written in format .*; this idaq reads format 1") as caught:
        open_dataset(damaged)
    assert caught.value.hint == ("pip install --upgrade idaq" if version == "2" else "it may not be an idaq dataset")
    assert "this idaq reads format 1" in problems(damaged)


@pytest.mark.parametrize("version", [2, True, 1.0, "1", None])
def test_another_format_version_in_the_manifest_is_refused(damaged: Path, version: object) -> None:
    reseal(damaged, lambda manifest: manifest.update(format_version=version))
    assert "manifest.json: format_version: " in problems(damaged)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"total_steps": 75', '"total_steps": NaN', "NaN is not JSON"),
        ('"total_steps": 75', '"total_steps": 1e999', "1e999 is too large for a number"),
        ('"total_steps": 75', '"total_steps": 75, "total_steps": 75', "a key stands twice in one object"),
        ('"total_steps": 75', '"total_steps": "\\ud800"', "surrogates not allowed"),
        ('"total_steps": 75', '"total_steps": ' + "[" * 950 + "]" * 950, "metadata.json"),
        ('"total_steps": 75', '"total_steps": ' + "9" * 5000, "Exceeds the limit"),
        ('"total_steps": 75', '"total_steps": 76', "disagrees with the manifest"),
        ('"idaq": {', '"idaq": {"more": 1, ', "idaq"),
        ('"tasks": 3', '"tasks": 4', "disagrees with the manifest"),
        ('"tasks": 3', '"tasks": -3', "counts.tasks: Input should be greater than or equal to 0"),
    ],
)
def test_metadata_that_is_not_sound_json_or_another_value_is_found(
    damaged: Path, old: str, new: str, text: str
) -> None:
    path = damaged / "data" / "metadata.json"
    whole = path.read_text()
    assert whole.count(old) == 1
    path.write_text(whole.replace(old, new))
    assert text in problems(damaged)
    with pytest.raises(CorruptDatasetError):
        open_dataset(damaged)


@pytest.mark.parametrize("depth", range(100, 1000, 50))
def test_nesting_of_any_depth_is_refused_and_never_overflows(damaged: Path, depth: int) -> None:
    path = damaged / "data" / "metadata.json"
    path.write_text(path.read_text().replace('"total_steps": 75', f'"total_steps": {"[" * depth}{"]" * depth}'))
    with pytest.raises(CorruptDatasetError):
        open_stored(damaged)
    assert verify(damaged)


Altering = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("name", "alter", "text"),
    [
        ("idaq/manifest.json", lambda b: b.replace(b'"steps": 75', b'"steps": 76'), "manifest.json has another sha256"),
        ("idaq/tasks.jsonl", lambda b: b.replace(b'"speed":2.0', b'"speed":3.0', 1), "tasks.jsonl has another sha256"),
        ("idaq/tasks.jsonl", lambda b: b.replace(b"task-5", b"task-55"), "bytes, the manifest says"),
    ],
)
def test_opening_checks_what_is_cheap_and_says_how_to_go_on(
    damaged: Path, name: str, alter: Altering, text: str
) -> None:
    path = damaged / "data" / name
    before = path.read_bytes()
    path.write_bytes(alter(before))
    assert path.read_bytes() != before
    with pytest.raises(CorruptDatasetError) as caught:
        open_dataset(damaged)
    assert text in caught.value.message
    assert caught.value.hint == (
        f"idaq dataset verify {damaged} lists all problems; then collect or fetch the dataset again"
    )


def test_opening_does_not_read_the_data(damaged: Path) -> None:
    """The HDF5's own hash is verify's to check: a flip there is seen by verify, not by opening."""
    flip(damaged / "data" / "main_data.hdf5", 4000, 255)
    assert len(map_columns(open_stored(damaged))) == 5
    assert verify(damaged) != []


def test_at_most_limit_problems_are_listed(damaged: Path) -> None:
    path = damaged / "data" / "main_data.hdf5"
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert [len(verify(damaged, limit=limit)) for limit in (1, 5)] == [1, 5]
    assert len(verify(damaged, limit=1000)) > 8


@pytest.mark.parametrize(("text", "what"), [(b"exp\xff\xfet", "UTF-?8"), (b"exper\0", "holds NUL")])
def test_texts_that_other_readers_would_read_otherwise_are_refused(damaged: Path, text: bytes, what: str) -> None:
    path = damaged / "data" / layout.EPISODES
    pq.write_table(pq.read_table(path), path, compression="none", write_statistics=False)
    content = path.read_bytes()
    assert b"expert" in content
    path.write_bytes(content.replace(b"expert", text))
    reseal(damaged)
    with pytest.raises(CorruptDatasetError, match=what):
        open_stored(damaged)
    assert re.search(what, problems(damaged))
