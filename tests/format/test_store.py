import os
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idaq.collect.collect import Collected
from idaq.core.errors import DatasetNotFoundError
from idaq.format.reader import open_stored
from idaq.format.store import delete_dataset, find_dataset, list_datasets

ID = "idaq/point-robot/expert-v0"


def test_datasets_are_listed_by_id_with_their_metadata(
    datasets_root: Path, collected: Collected, collected_mixed: Collected
) -> None:
    listings = {listing.dataset_id: listing for listing in list_datasets(datasets_root)}
    assert list(listings) == [ID, "idaq/point-robot-sparse/mixed-v0"]
    assert listings[ID].path == collected.path
    assert listings[ID].by_idaq
    assert listings[ID].metadata["total_episodes"] == 24


def test_a_root_that_is_not_there_holds_no_datasets(tmp_path: Path) -> None:
    assert list_datasets(tmp_path / "none") == []


def test_hidden_folders_and_files_are_not_listed(own_copy: Path) -> None:
    root = own_copy.parents[2]
    shutil.copytree(own_copy, root / ".idaq" / "building" / "half")
    (root / "idaq" / "file-v0").touch()
    assert [listing.path for listing in list_datasets(root)] == [own_copy]


@pytest.mark.parametrize("linked", ["idaq", "idaq/point-robot", ID])
def test_a_dataset_on_another_disk_is_listed_found_and_deleted_as_a_link(
    own_copy: Path, tmp_path: Path, linked: str
) -> None:
    root, disk = own_copy.parents[2], tmp_path / "disk"
    (root / linked).rename(disk)
    (root / linked).symlink_to(disk)
    (root / "circle").symlink_to(root)
    (root / "idaq" / "circle").symlink_to(root)
    (root / "aaa").symlink_to(root / "idaq")  # another name of the same folder does not hide its own
    with pytest.warns(UserWarning, match=f"is of dataset '{ID}', its folder is that of 'aaa"):
        assert [listing.dataset_id for listing in list_datasets(root)] == [ID]
    assert find_dataset(ID, root) == root / ID
    assert open_stored(root / ID).manifest.dataset_id == ID
    delete_dataset(root / ID)
    assert not os.path.lexists(root / ID)
    if linked == ID:
        assert open_stored(disk).manifest.dataset_id == ID


def test_a_folder_that_cannot_be_entered_is_skipped_with_a_warning(own_copy: Path) -> None:
    root = own_copy.parents[2]
    deep = root.joinpath(*["a"] * 300)
    deep.mkdir(parents=True)  # 300 levels: entered as far as an id can lead
    assert [listing.dataset_id for listing in list_datasets(root)] == [ID]


@pytest.mark.parametrize("content", ["{", "[]", '{"a": NaN}', "{}", "3"])
def test_a_dataset_that_cannot_be_read_is_skipped_with_a_warning_that_names_it(own_copy: Path, content: str) -> None:
    root = own_copy.parents[2]
    shutil.copytree(own_copy, root / "idaq" / "broken-v0")
    (root / "idaq" / "broken-v0" / "data" / "metadata.json").write_text(content)
    with pytest.warns(UserWarning, match=r"skipped .*broken-v0"):
        assert [listing.dataset_id for listing in list_datasets(root)] == [ID]


def test_a_dataset_is_found_by_id_and_by_path(own_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = own_copy.parents[2]
    assert find_dataset(ID, root) == own_copy
    assert find_dataset(own_copy) == find_dataset(str(own_copy)) == own_copy
    monkeypatch.chdir(root)
    assert find_dataset(f"./{ID}") == Path(ID)
    assert find_dataset(Path(ID)) == Path(ID)
    monkeypatch.setenv("HOME", str(root))
    assert find_dataset(f"~/{ID}") == own_copy
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    assert find_dataset(ID) == own_copy


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("idaq/point-robot/exprt-v0", "did you mean 'idaq/point-robot/expert-v0'?"),
        ("idaq/point-robot/expert-v1", "did you mean 'idaq/point-robot/expert-v0'?"),
        ("zzz", "one of: idaq/point-robot/expert-v0"),
        ("", "one of: idaq/point-robot/expert-v0"),
    ],
)
def test_an_unknown_id_is_answered_with_the_nearest_that_are_there(own_copy: Path, wrong: str, hint: str) -> None:
    root = own_copy.parents[2]
    with pytest.raises(DatasetNotFoundError) as caught:
        find_dataset(wrong, root)
    assert caught.value.message == f"there is no dataset {wrong!r} in {root}"
    assert caught.value.hint == hint


def test_in_an_empty_root_the_hint_says_how_to_make_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        find_dataset(ID, tmp_path)
    assert caught.value.hint == "idaq collect point-robot makes one"


def test_a_path_without_a_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=f"there is no dataset at {tmp_path}") as caught:
        find_dataset(tmp_path)
    assert caught.value.hint == "the folder that holds data/ is meant"


HOSTILE = [
    "..",
    "a/../..",
    "a\0b",
    "a\n",
    "~nobody-of-that-name",
    "a" * 5000,
    "a/" * 3000,
    "\\",
    "\ud800",
    "/",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a dataset beside it that only a hostile id could reach."""
    base = tmp_path_factory.mktemp("hostile")
    (base / "data").mkdir()
    (base / "root" / "a").mkdir(parents=True)
    return base / "root"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_id_finds_nothing(root: Path, hostile: str) -> None:
    with pytest.raises(DatasetNotFoundError, match="there is no dataset"):
        find_dataset(hostile, root)


@example("a/..")
@given(st.lists(st.sampled_from(["..", "a", "/", "~", "\0", "ü"])).map("".join))
def test_no_id_reaches_a_dataset_outside_the_root(root: Path, text: str) -> None:
    if text.startswith(("/", ".", "~")):
        return  # a path, which may lead anywhere
    with pytest.raises(DatasetNotFoundError):
        find_dataset(text, root)
