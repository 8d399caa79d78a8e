"""Two processes that make or remove a dataset of one id at once, every writer beside every writer."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import idaq
from idaq.core.errors import DatasetError, DatasetLockedError, DatasetNotFoundError
from idaq.core.ids import parse_id
from idaq.format import lock
from idaq.format.lock import locked
from idaq.format.reader import open_stored
from idaq.format.store import delete_dataset, list_datasets
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.loader import open_dataset
from tests.format.made import PLANS, entries_of, left_in, made_source
from tests.writers import ID, PAIRS, Pair, Shared, attempt, pair

REFUSED = {"DatasetExistsError", "DatasetLockedError"}
FINDS = {"collect", "pull", "pull --tasks"}
"""these are content with a dataset that is there already, if it is the one that they were to make"""


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(Shared(tmp_path_factory.mktemp("shared")).make()) as processes:
        yield processes


@pytest.mark.parametrize("names", PAIRS, ids=" and ".join)
def test_two_writers_at_once_make_one_sound_dataset(writers: Pair, names: tuple[str, str], tmp_path: Path) -> None:
    outcomes, wrong = attempt(writers, names, tmp_path)
    assert wrong == []
    if "delete" not in names:
        assert "done" in outcomes
        assert set(outcomes) <= REFUSED | {"done"}
        assert outcomes != ["done", "done"] or FINDS & set(names)


HOLDS = """
import sys, time
from pathlib import Path
from idaq.format.lock import locked
with locked(Path(sys.argv[1]), sys.argv[2], "subset: the better half") as work:
    (work / "made").mkdir()
    (work / "made" / "half.hdf5").write_bytes(b"half")
    print(flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock of ID below `tmp_path`, and has begun to write."""
    environment = {**os.environ, "PYTHONPATH": str(Path(idaq.__file__).parents[1])}
    command = [sys.executable, "-c", HOLDS, str(tmp_path), ID]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_the_second_writer_is_told_who_holds_the_id(
    holder: "subprocess.Popen[str]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    with pytest.raises(DatasetLockedError) as caught:
        write_dataset(made_source(), tmp_path, "")
    assert f"{ID} is being written by subset: the better half, process {holder.pid} on " in caught.value.message
    assert caught.value.hint == "wait for it to end"


def test_a_killed_writer_holds_nothing_and_the_next_of_any_id_removes_what_it_left(
    holder: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    with locked(tmp_path, "idaq/made/other-v0", "test"):
        assert [path.name for path in left_in(tmp_path)].count("half.hdf5") == 1  # its writer is alive
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path, "idaq/made/other-v0", "test"):
        pass
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", [".idaq", ".idaq/building"])
def test_a_root_whose_working_folder_is_a_link_out_is_refused_and_nothing_is_cleared(tmp_path: Path, name: str) -> None:
    """As a root that was downloaded may have it."""
    root, other = tmp_path / "root", tmp_path / "mine"
    (other / "building/work").mkdir(parents=True)
    (root / name).parent.mkdir(parents=True)
    (root / name).symlink_to(other)
    with pytest.raises(DatasetError, match="through a link"):
        write_dataset(made_source(), root, "")
    assert (other / "building/work").is_dir()


def test_a_link_or_file_left_in_place_of_unfinished_work_is_removed_and_not_followed(tmp_path: Path) -> None:
    building, mine = tmp_path / "root/.idaq/building", tmp_path / "mine"
    building.mkdir(parents=True)
    mine.mkdir()
    (building / ID.replace("/", "--")).symlink_to(mine)
    write_dataset(made_source(), tmp_path / "root", "")
    assert mine.is_dir()


def test_the_longest_id_can_be_locked_below_any_root(tmp_path: Path) -> None:
    longest = "/".join([*"abcdef", "g" * 64, "h" * 64, "i" * 55]) + "-v0"
    assert len(str(parse_id(longest))) == 200
    with locked(tmp_path, longest, "test"):
        pass


def test_a_thread_that_holds_an_id_takes_it_again_and_another_thread_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    refused: list[str] = []

    def other() -> None:
        with pytest.raises(DatasetLockedError), locked(tmp_path, ID, "test"):
            refused.append("not")
        refused.append("yes")

    with locked(tmp_path, ID, "test") as work, locked(tmp_path, ID, "test") as again:
        assert work == again
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert refused == ["yes"]


def test_a_reader_beside_deletions_sees_the_old_whole_the_new_whole_or_nothing(tmp_path: Path) -> None:
    """Two contents of equal size take turns under one id, while it is opened again and again."""
    versions = [made_source(entries_of(PLANS)[:7]), made_source(entries_of(PLANS)[1:])]
    digests = set()
    for number, version in enumerate(versions):
        path = write_dataset(version, tmp_path / str(number), "")
        digests.add(open_stored(path).manifest.content_digest)
    root, over = tmp_path / "root", threading.Event()

    def take_turns() -> None:
        try:
            for turn in range(30):
                path = write_dataset(versions[turn % 2], root, "")
                time.sleep(0.03)  # long enough to be seen
                delete_dataset(path)
        finally:
            over.set()

    thread, seen = threading.Thread(target=take_turns), []
    thread.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while not over.is_set():
            list_datasets(root)
            try:
                dataset = open_dataset(root / ID)
                assert [len(episode) for episode in dataset] == dataset.episodes.length.tolist()
                assert dataset.manifest
                seen.append(dataset.manifest.content_digest)
            except DatasetNotFoundError:
                seen.append("")
    thread.join()
    assert set(seen) == {*digests, ""}


def test_of_two_deletions_the_second_finds_nothing(damaged: Path) -> None:
    (damaged / "data" / "metadata.json").write_text("{")  # what cannot be read can be deleted
    delete_dataset(damaged)
    assert not damaged.exists()
    with pytest.raises(DatasetNotFoundError, match="there is no dataset"):
        delete_dataset(damaged)


def test_a_check_that_fails_leaves_nothing_visible(tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        assert folder.as_posix().endswith(f"/{ID}")
        assert verify(folder) == []
        raise DatasetError("no")

    with pytest.raises(DatasetError, match="no"):
        write_dataset(made_source(), tmp_path, "", check=check)
    assert left_in(tmp_path) == []
