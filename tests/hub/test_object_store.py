"""S3 as moto speaks it, behind a proxy that cuts, stalls, refuses and damages, on the way up and on the way down."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idaq.core.errors import DatasetNotFoundError, IdaqError, ShareError
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.hub import object_store
from idaq.hub.lookup import list_remote, look_up, open_remote
from idaq.hub.pull import Pulled, pull
from idaq.hub.push import Pushed, push
from tests.hub import servers
from tests.hub.conftest import BUCKET, MADE, visible

DATA = "main_data.hdf5"


def send(s3: Any, dataset: Path) -> Pushed:
    return push(dataset, s3.remote)


def fetch(s3: Any, root: Path) -> Pulled:
    return pull(look_up(s3.remote, MADE), root)


def sent_files(server: Any) -> list[str]:
    return [path.rsplit("/", 1)[1].split("?")[0] for method, path, _ in server.log if method == "PUT"]


def failure_of(call: Callable[[], object]) -> IdaqError | None:
    try:
        call()
    except IdaqError as error:
        return error
    return None


def test_there_and_back(s3: Any, made: Path, made_digest: str, tmp_path: Path) -> None:
    done = send(s3, made)
    assert (done.existed, done.content_digest, done.url) == (False, made_digest, BUCKET)
    order = sent_files(s3)
    assert order[-2:] == ["datasets.json", "metadata.json"]  # the list, then what makes it visible
    assert send(s3, made).existed
    s3.log.clear()
    assert [listing.dataset_id for listing in list_remote(s3.remote)] == [MADE]
    assert look_up(s3.remote, MADE).manifest.content_digest == made_digest
    assert not any(DATA in path for _, path, _ in s3.log)
    pulled = fetch(s3, tmp_path)
    assert (pulled.content_digest, verify(pulled.path)) == (made_digest, [])


Inject = Callable[[Any], object]
DOWN: dict[str, Inject] = {
    "cut in the middle": lambda s: s.inject(servers.cut(1000), path=DATA),
    "cut at once": lambda s: s.inject(servers.hang_up, path=DATA),
    "stall": lambda s: s.inject(servers.stall(1000), path=DATA),
    "one stall": lambda s: s.inject(servers.stall(1000), times=1, path=DATA),
    "wrong byte": lambda s: s.inject(servers.flip(3000), path=DATA),
    "too few bytes": lambda s: s.inject(servers.shrunk, path=DATA),
    "too many bytes": lambda s: s.inject(servers.grown, path=DATA),
    "503": lambda s: s.inject(servers.refuse(503), path="manifest"),
    "403": lambda s: s.inject(servers.refuse(403), path=DATA),
    "web page": lambda s: s.inject(servers.html(), path="json"),
    "wrong length in HEAD": lambda s: s.inject(servers.state(Content_Length="7"), path=DATA, method="HEAD"),
}


@pytest.mark.parametrize("inject", DOWN.values(), ids=DOWN)
def test_faults_on_the_way_down(s3: Any, made: Path, made_digest: str, tmp_path: Path, inject: Inject) -> None:
    """The identical dataset or an error and nothing visible; once fixed, the same pull gives it."""
    send(s3, made)
    inject(s3)
    if failure := failure_of(lambda: fetch(s3, tmp_path)):
        assert failure.hint
        assert visible(tmp_path) == []
        s3.heal()
        fetch(s3, tmp_path)
    (path,) = (found.parents[1] for found in visible(tmp_path))
    assert verify(path) == []
    assert open_stored(path).manifest.content_digest == made_digest


UP: dict[str, servers.Fault] = {
    "cut in the middle": servers.cut(1000),
    "cut before the end, upstream sees nothing": servers.cut(0),
    "dropped": servers.hang_up,
    "503": servers.refuse(503),
    "403": servers.refuse(403),
    "507": servers.refuse(507),
    "success that is none": servers.refuse(200, ETag='"0"'),
}


@pytest.mark.parametrize(
    ("fault", "name", "times"),
    [
        *((fault, DATA, 1000) for fault in UP.values()),
        (UP["cut in the middle"], "/metadata.json", 1000),
        (UP["success that is none"], "/metadata.json", 1000),
        (UP["503"], "parquet", 2),
    ],
    ids=[*UP, "cut in metadata.json", "metadata.json is not there", "503 twice"],
)
def test_faults_on_the_way_up(
    s3: Any, made: Path, made_digest: str, tmp_path: Path, fault: servers.Fault, name: str, times: int
) -> None:
    """A push that says it is done is; one that failed shows no dataset, and sends only what is missing afterwards."""
    s3.uploads.append(servers.Injection(fault, times, "PUT", name))
    if failure := failure_of(lambda: send(s3, made)):
        assert failure.hint
        assert list_remote(s3.remote) == []
        with pytest.raises(DatasetNotFoundError):
            look_up(s3.remote, MADE)
        s3.heal()
        s3.log.clear()
        assert not send(s3, made).existed
        assert (DATA in sent_files(s3)) == (name == DATA)
    assert fetch(s3, tmp_path).content_digest == made_digest


def test_bytes_damaged_on_the_way_up_are_found_by_the_pull(s3: Any, made: Path, tmp_path: Path) -> None:
    """moto takes what it gets, the real S3 would refuse it; the checksum that went along tells on the way back."""
    s3.uploads.append(servers.Injection(servers.flip(9000), 1, "PUT", DATA))
    send(s3, made)
    with pytest.raises(IdaqError, match="checksum"):
        fetch(s3, tmp_path)
    assert visible(tmp_path) == []


def test_hide_credentials_the_variables_are_named(s3: Any, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with open_remote(BUCKET) as remote, pytest.raises(ShareError, match="credentials") as caught:
        push(made, remote)
    assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)


def test_a_bucket_that_is_not_there(s3: Any, made: Path) -> None:
    with open_remote("s3://other-bucket/x") as remote, pytest.raises(ShareError, match="other-bucket"):
        push(made, remote)


KILLED = """
import sys
from pathlib import Path
from idaq.hub.lookup import look_up, open_remote
from idaq.hub.pull import pull
from idaq.hub.push import push
with open_remote(sys.argv[2], timeout=20) as remote:
    push(Path(sys.argv[3]), remote) if sys.argv[1] == "push" else pull(look_up(remote, sys.argv[3]), sys.argv[4])
"""


def kill_while_stalled(server: Any, *arguments: str | Path) -> None:
    """Run a push or pull in a process of its own; kill -9 when it waits in the middle of the data."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, *map(str, arguments)])
    end = time.monotonic() + 60
    while not server.stalled and time.monotonic() < end:
        time.sleep(0.02)
    assert server.stalled
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_kill_in_the_middle_of_a_push(s3: Any, made: Path, made_digest: str, tmp_path: Path) -> None:
    s3.uploads.append(servers.Injection(servers.stall(0, seconds=20), 1, "PUT", "manifest"))
    kill_while_stalled(s3, "push", BUCKET, made)
    assert list_remote(s3.remote) == []
    s3.heal()
    s3.log.clear()
    send(s3, made)
    assert DATA not in sent_files(s3)
    assert "manifest.json" in sent_files(s3)
    assert fetch(s3, tmp_path).content_digest == made_digest


def test_kill_in_the_middle_of_a_pull(s3: Any, made: Path, made_digest: str, tmp_path: Path) -> None:
    send(s3, made)
    s3.inject(servers.stall(0, seconds=20), path="parquet")
    kill_while_stalled(s3, "pull", BUCKET, MADE, tmp_path)
    assert visible(tmp_path) == []
    s3.heal()
    s3.log.clear()
    assert fetch(s3, tmp_path).content_digest == made_digest
    assert not any(method == "GET" and DATA in path for method, path, _ in s3.log)


def test_a_cut_pull_goes_on_at_the_block_it_lost(
    s3: Any, made: Path, made_digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_BLOCK", 10_000)
    send(s3, made)
    s3.inject(lambda answer: answer, path=DATA, times=2)
    s3.inject(servers.hang_up, path=DATA)
    with pytest.raises(ShareError):
        fetch(s3, tmp_path)
    s3.heal()
    s3.log.clear()
    assert fetch(s3, tmp_path).content_digest == made_digest
    spans = [span for method, path, span in s3.log if method == "GET" and DATA in path]
    assert spans[0] == "bytes=20000-29999"
