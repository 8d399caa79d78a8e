"""A web server that cuts, stalls, lies and damages: the identical dataset comes, or an error, and then the dataset."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from idaq.core.errors import CorruptDatasetError, DatasetNotFoundError, IdaqError, ShareError, TransferError, UsageError
from idaq.format.published import with_configs
from idaq.format.verify import verify
from idaq.hub.lookup import list_remote, look_up, open_remote
from idaq.hub.pull import Pulled, pull
from idaq.hub.push import push
from idaq.hub.tasks import pull_tasks
from tests.format.sealing import alter_hdf5, reseal
from tests.hub import servers
from tests.hub.conftest import MADE, visible

DATA = "main_data.hdf5"


def fetch(url: str, root: Path, timeout: float = 1.0, dataset_id: str = MADE) -> Pulled:
    with open_remote(url, timeout=timeout) as remote:
        return pull(look_up(remote, dataset_id), root)


def assert_whole(done: Pulled, digest: str) -> None:
    assert (done.content_digest, verify(done.path)) == (digest, [])


def test_a_dataset_comes_whole_and_only_once(web: Any, made_digest: str, made: Path, tmp_path: Path) -> None:
    done = fetch(web.url, tmp_path)
    assert_whole(done, made_digest)
    assert not done.existed
    assert (done.path / "README.md").read_text() == with_configs((made / "README.md").read_text())
    for name in (f"data/{DATA}", "data/metadata.json", "data/idaq/manifest.json"):
        assert (done.path / name).read_bytes() == (made / name).read_bytes()
    web.sent = 0
    assert fetch(web.url, tmp_path).existed
    assert web.sent < 20_000
    assert not any(DATA in path for _, path, _ in web.log[len(web.log) // 2 + 2 :])


Inject = Callable[[Any], None]
PASSING: dict[str, Inject] = {
    "every answer is cut after 700 bytes": lambda s: s.inject(servers.cut(700), path=DATA),
    "documents are cut as well": lambda s: s.inject(servers.cut(900), path="json"),
    "two connections are closed without an answer": lambda s: s.inject(servers.hang_up, times=2),
    "one stall in the middle": lambda s: s.inject(servers.stall(1000), times=1, path=DATA),
    "503, twice": lambda s: s.inject(servers.refuse(503), times=2, path=DATA),
    "429, twice": lambda s: s.inject(servers.refuse(429), times=2),
    "more bytes than asked for": lambda s: s.inject(servers.grown, path=DATA),
    "fewer bytes than asked for": lambda s: s.inject(servers.shrunk, path=DATA),
    "no ranges": lambda s: setattr(s, "ranges", False),
    "cut once and no ranges": lambda s: (setattr(s, "ranges", False), s.inject(servers.cut(1000), times=3, path=DATA)),
}


@pytest.mark.parametrize("inject", PASSING.values(), ids=PASSING)
def test_faults_that_pass_leave_the_identical_dataset(
    web: Any, made_digest: str, tmp_path: Path, inject: Inject
) -> None:
    inject(web)
    assert_whole(fetch(web.url, tmp_path), made_digest)


LASTING: dict[str, tuple[Inject, type[IdaqError], str]] = {
    "a wrong byte of data": (lambda s: s.inject(servers.flip(5000), path=DATA), CorruptDatasetError, "another sha256"),
    "a wrong byte of a table": (lambda s: s.inject(servers.flip(99), path="parquet"), CorruptDatasetError, "sha256"),
    "a wrong byte of the manifest": (lambda s: s.inject(servers.flip(99), path="manifest"), IdaqError, "manifest"),
    "a wrong byte of metadata": (lambda s: s.inject(servers.flip(30), path="/metadata"), IdaqError, "metadata"),
    "silence": (lambda s: s.inject(servers.stall(0), path=DATA), TransferError, "nothing came for 1 s"),
    "no answer": (lambda s: s.inject(servers.hang_up, path=DATA), TransferError, "connection broke"),
    "a web page": (lambda s: s.inject(servers.html()), ShareError, "a web page instead of a file"),
    "a web page that does not say so": (lambda s: s.inject(servers.html(stated=False)), IdaqError, "not valid JSON"),
    "a web page for the data": (lambda s: s.inject(servers.html(), path=DATA), ShareError, "a web page"),
    "an unnamed page for the data": (
        lambda s: s.inject(servers.html(stated=False), path=DATA),
        CorruptDatasetError,
        "has 4031 bytes, its manifest says",
    ),
    "a length that is a lie": (
        lambda s: s.inject(servers.state(Content_Range="bytes 0-0/99999999"), path=DATA),
        CorruptDatasetError,
        "has 99999999 bytes, its manifest says",
    ),
    "a document without end": (
        lambda s: s.inject(servers.state(Content_Range=f"bytes 0-0/{10**15}"), path="/metadata"),
        ShareError,
        "such documents have at most",
    ),
    "no length": (lambda s: s.inject(servers.state(Content_Range="")), ShareError, "does not say how long"),
    "another range": (
        lambda s: s.inject(servers.state(Content_Range="bytes 64-99/100"), path="tasks"),
        CorruptDatasetError,
        "has 100 bytes, its manifest says",
    ),
    "no data": (lambda s: s.inject(servers.refuse(404), path=DATA), CorruptDatasetError, "is missing"),
    "a login": (lambda s: s.inject(servers.refuse(401)), ShareError, "wants credentials"),
    "a teapot": (lambda s: s.inject(servers.refuse(418)), ShareError, "status 418"),
    "500 for ever": (lambda s: s.inject(servers.refuse(500)), TransferError, "status 500"),
    "a circle": (lambda s: s.inject(servers.refuse(302, Location="/round")), ShareError, "redirect"),
}


@pytest.mark.parametrize(("inject", "kind", "text"), LASTING.values(), ids=LASTING)
def test_faults_that_last_are_reported_and_once_fixed_the_same_pull_resumes(
    web: Any, made_digest: str, tmp_path: Path, inject: Inject, kind: type[IdaqError], text: str
) -> None:
    inject(web)
    with pytest.raises(kind, match=text) as caught:
        fetch(web.url, tmp_path)
    assert caught.value.hint
    assert visible(tmp_path) == []
    web.heal()
    assert_whole(fetch(web.url, tmp_path), made_digest)


RANGES = {
    "another start": ("bytes 1-999/1000", "bytes 99-999/1000"),
    "an end past what was asked for": ("bytes 0-1000/1001",),
    "an end before its start": ("bytes 0--1/1000", "bytes 0-/1000"),
    "a file that ends earlier": ("bytes 0-999/999", "bytes 0-99/100"),
    "another unit": ("items 0-999/1000", "0-999/1000", ""),
    "more than a range": ("bytes 0-999/1000, bytes 2-3/1000", "bytes 0-999/1000x"),
}


@pytest.mark.parametrize("stated", [stated for kind in RANGES.values() for stated in kind])
def test_bytes_of_another_range_than_was_asked_for_are_refused(web: Any, own_folder: Path, stated: str) -> None:
    (own_folder / "file").write_bytes(bytes(1000))
    web.inject(servers.state(Content_Range=stated))
    with open_remote(web.url) as remote, pytest.raises(ShareError, match="asked for bytes 0 to 999") as caught:
        b"".join(remote.read("file", 0, 1000))
    assert repr(stated) in str(caught.value)


@pytest.mark.parametrize("stated", ["bytes 100-899/1000", "bytes 100-899/*", "bytes 100-899/900", "bytes 100-100/1000"])
def test_the_range_that_was_asked_for_is_taken(web: Any, own_folder: Path, stated: str) -> None:
    """A server may stop short, and need not say how long the file is."""
    content = bytes(number % 251 for number in range(1000))
    (own_folder / "file").write_bytes(content)
    web.inject(servers.state(Content_Range=stated))
    with open_remote(web.url) as remote:
        assert b"".join(remote.read("file", 100, 900)) == content[100:900]


def test_what_came_before_a_lasting_cut_is_not_asked_for_again(web: Any, made_digest: str, tmp_path: Path) -> None:
    web.inject(servers.cut(3000), times=2, path=DATA)  # the first asks for the size
    web.inject(servers.hang_up, path=DATA)
    with pytest.raises(TransferError):
        fetch(web.url, tmp_path)
    web.heal()
    web.log.clear()
    assert_whole(fetch(web.url, tmp_path), made_digest)
    asked = [span for _, path, span in web.log if DATA in path]
    assert asked[1].startswith("bytes=3000-")


def test_a_partial_file_of_garbage_is_thrown_away_and_fetched_anew(web: Any, made_digest: str, tmp_path: Path) -> None:
    web.inject(servers.refuse(404), path="README")
    web.inject(servers.hang_up, path="parquet")
    with pytest.raises(TransferError):
        fetch(web.url, tmp_path)
    (kept,) = tmp_path.glob(f".idaq/pull/**/{DATA}")
    kept.write_bytes(bytes(5000))
    web.heal()
    assert_whole(fetch(web.url, tmp_path), made_digest)


def test_bytes_are_not_read_past_the_stated_end(web: Any, own_folder: Path, tmp_path: Path) -> None:
    """A file that grew on the server is refused by its size, and an endless answer is cut off by us."""
    with (own_folder / MADE / "data" / DATA).open("ab") as file:
        file.write(b"more")
    with pytest.raises(CorruptDatasetError, match="bytes, its manifest says"):
        fetch(web.url, tmp_path)


@pytest.mark.parametrize("evil", ["../../evil", "/etc/passwd", "main_data.hdf5/../../../x", "idaq/../../x"])
def test_a_manifest_cannot_name_files_elsewhere(web: Any, own_folder: Path, tmp_path: Path, evil: str) -> None:
    reseal(own_folder / MADE, lambda manifest: manifest["files"][1].update(path=evil))
    with pytest.raises(CorruptDatasetError, match="its manifest is of"):
        fetch(web.url, tmp_path / "root")
    assert not list(tmp_path.glob("root/**/evil"))
    assert visible(tmp_path / "root") == []


@pytest.mark.parametrize("evil", ["../x-v0", "/abs-v0", "a/../b-v0", "a/b/..-v0", "idaq/made/tagged-v0/../x-v0"])
def test_ids_cannot_leave_the_root(web: Any, tmp_path: Path, evil: str) -> None:
    with pytest.raises(UsageError):
        fetch(web.url, tmp_path, dataset_id=evil)
    with open_remote(web.url) as remote, pytest.raises(UsageError):
        pull_tasks(look_up(remote, MADE), range(9), tmp_path, new_id=evil)
    assert list(tmp_path.glob("*")) in ([], [tmp_path / "own"])


def test_a_dataset_of_another_id_is_refused(web: Any, own_folder: Path, tmp_path: Path) -> None:
    (own_folder / MADE).rename(own_folder / "idaq/made/other-v0")
    with pytest.raises(CorruptDatasetError, match="its manifest is of 'idaq/made/tagged-v0'"):
        fetch(web.url, tmp_path, dataset_id="idaq/made/other-v0")


def test_sound_hashes_of_an_unsound_dataset_do_not_help(web: Any, own_folder: Path, tmp_path: Path) -> None:
    def alter(file: h5py.File) -> None:
        file["episode_1/rewards"][0] = 77.0

    alter_hdf5(own_folder / MADE, alter)
    with pytest.raises(CorruptDatasetError, match="is corrupt"):
        fetch(web.url, tmp_path / "root")
    assert visible(tmp_path / "root") == []


def test_listing_needs_the_index_that_push_writes(web: Any, own_folder: Path) -> None:
    with open_remote(web.url) as remote:
        assert [listing.dataset_id for listing in list_remote(remote)] == [MADE]
        assert not any(DATA in path for _, path, _ in web.log)
        (own_folder / "datasets.json").write_text(json.dumps({"datasets": ["../../x-v0", 7, "no/such-v0", MADE]}))
        with pytest.warns(UserWarning, match=r"skipped (\.\./\.\./x-v0|no/such-v0) at http") as told:
            assert [listing.dataset_id for listing in list_remote(remote)] == [MADE]
        assert len(told) == 2
        (own_folder / "datasets.json").write_text("[1]")
        with pytest.raises(ShareError, match="not a list of datasets"):
            list_remote(remote)
        (own_folder / "datasets.json").unlink()
        with pytest.raises(ShareError, match="has no list of datasets"):
            list_remote(remote)
        with pytest.raises(DatasetNotFoundError, match="there is no dataset idaq/no/such-v0"):
            look_up(remote, "idaq/no/such-v0")


def test_a_web_server_cannot_be_pushed_to(web: Any, own_folder: Path, made: Path) -> None:
    (own_folder / MADE / "data/metadata.json").unlink()
    with open_remote(web.url) as remote, pytest.raises(ShareError, match="can only be read") as caught:
        push(made, remote)
    assert "hf://" in str(caught.value.hint)


def test_credentials_of_a_url_work_and_are_neither_shown_nor_stored(web: Any, tmp_path: Path) -> None:
    web.inject(servers.refuse(401))
    secret = web.url.replace("http://", "http://me:sesame@")
    with pytest.raises(ShareError) as caught:
        fetch(f"{secret}/?token=sesame", tmp_path)
    assert "sesame" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)
    web.heal()
    fetch(secret, tmp_path)
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("**/*") if path.is_file())
    assert b"sesame" not in stored


def test_push_leaves_no_secret_in_what_it_says(made: Path, tmp_path: Path) -> None:
    with open_remote("memory://me:sesame@hub") as remote:
        assert "sesame" not in push(made, remote).url
