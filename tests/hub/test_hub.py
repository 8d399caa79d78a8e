"""Push and pull as such, over a folder: what is checked before, what a full disk, a kill or a second process leave."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import idaq
from idaq.core.errors import (
    CorruptDatasetError,
    DatasetExistsError,
    DatasetLockedError,
    IdaqError,
    MissingExtraError,
    ShareError,
)
from idaq.format.croissant import validate
from idaq.format.published import with_configs
from idaq.format.store import list_datasets
from idaq.format.verify import verify
from idaq.hub.lookup import look_up, open_remote
from idaq.hub.pull import partial_folder, pull
from idaq.hub.push import push
from idaq.hub.remote import hide_credentials
from idaq.hub.tasks import pull_tasks
from tests.format.sealing import flip, reseal
from tests.hub import servers
from tests.hub.conftest import MADE, visible

DATA = "main_data.hdf5"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(idaq.__file__).parents[1])}


def test_a_damaged_dataset_is_not_sent(damaged: Path, tmp_path: Path) -> None:
    flip(damaged / "data" / DATA, 5000, 1)
    with open_remote(f"file://{tmp_path}/hub") as remote, pytest.raises(CorruptDatasetError, match="was not sent"):
        push(damaged, remote)
    assert not (tmp_path / "hub").exists()


def test_a_folder_that_was_pushed_to_is_a_root_for_every_reader(published: Path) -> None:
    (listing,) = list_datasets(published)
    assert (listing.dataset_id, verify(listing.path)) == (MADE, [])
    for folder in ("idaq", "idaq/made"):
        assert json.loads((published / folder / "namespace_metadata.json").read_text()) == {}


def test_a_push_carries_what_people_and_catalogues_read(published: Path, made: Path) -> None:
    folder = published / MADE
    beside = {path.name for path in folder.iterdir() if path.is_file()}
    assert beside == {"README.md", "croissant.json", "tasks.parquet"}
    assert (folder / "README.md").read_text() == with_configs((made / "README.md").read_text())
    described = json.loads((folder / "croissant.json").read_text())
    validate(described)
    assert described["datePublished"].startswith(str(datetime.now(UTC).year))
    for file in described["distribution"]:
        content = (folder / file["contentUrl"]).read_bytes()
        assert (file["contentSize"], file["sha256"]) == (f"{len(content)} B", hashlib.sha256(content).hexdigest())


def test_nothing_is_sent_without_the_library_that_writes_them(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    with open_remote(f"file://{tmp_path}/hub") as remote, pytest.raises(MissingExtraError) as caught:
        push(made, remote)
    assert caught.value.hint == "pip install 'idaq[croissant]'"
    assert not (tmp_path / "hub").exists()


def test_a_dataset_without_a_card_is_pushed_with_one(damaged: Path, tmp_path: Path) -> None:
    (damaged / "README.md").unlink()
    with open_remote(f"file://{tmp_path}/hub") as remote:
        push(damaged, remote)
    assert f"# {MADE}\n" in (tmp_path / "hub" / MADE / "README.md").read_text()


@pytest.mark.parametrize("cut", [2, 100, 2000])
def test_the_torso_of_a_push_is_finished_by_the_next(own_folder: Path, made: Path, made_digest: str, cut: int) -> None:
    path = own_folder / MADE / "data/metadata.json"
    path.write_bytes(path.read_bytes()[:-cut])
    with open_remote(f"file://{own_folder}") as remote:
        with pytest.raises(CorruptDatasetError):
            look_up(remote, MADE)
        assert not push(made, remote).existed
    assert verify(own_folder / MADE) == []


def test_what_is_whole_but_wrong_is_not_overwritten(own_folder: Path, made: Path) -> None:
    path = own_folder / MADE / "data/metadata.json"
    path.write_text('{"dataset_id": "somebody else\'s"}')
    with open_remote(f"file://{own_folder}") as remote, pytest.raises(DatasetExistsError, match="corrupt there"):
        push(made, remote)
    assert "somebody" in path.read_text()


def test_a_file_lost_on_the_hub_is_sent_again(own_folder: Path, made: Path) -> None:
    (own_folder / MADE / "data/idaq/tasks.jsonl").unlink()
    with open_remote(f"file://{own_folder}") as remote:
        assert not push(made, remote).existed
    assert verify(own_folder / MADE) == []


def test_a_taken_id_is_left_alone(published: Path, other_made: Path, tmp_path: Path) -> None:
    target = tmp_path / MADE
    shutil.copytree(other_made, target)
    before = (target / "data" / DATA).read_bytes()
    with open_remote(f"file://{published}") as remote, pytest.raises(DatasetExistsError, match="another content"):
        pull(look_up(remote, MADE), tmp_path)
    assert (target / "data" / DATA).read_bytes() == before


def test_two_pulls_of_one_id_do_not_mix(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idaq.format.lock.PATIENCE", 0.1)
    with open_remote(f"file://{published}") as remote:
        found = look_up(remote, MADE)
        with partial_folder(found, MADE, "whole", tmp_path), ThreadPoolExecutor() as second:
            error = second.submit(pull, found, tmp_path).exception()
    assert isinstance(error, DatasetLockedError)
    assert f"is being written by pull from file://{published}, process" in error.message


SWEEP = """
import json, resource, sys
from pathlib import Path
from idaq.format.verify import verify
from idaq.hub.lookup import look_up, open_remote
from idaq.hub.pull import pull
from idaq.hub.tasks import pull_tasks
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
with open_remote(sys.argv[1]) as remote:
    found = look_up(remote, sys.argv[2])
    for limit in map(int, sys.argv[4:]):
        for run in (pull, lambda found, root: pull_tasks(found, range(9), root)):
            root = Path(sys.argv[3]) / f"{limit}-{run.__name__[0]}"
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                failure = run(found, root) and None
            except OSError as error:
                failure = str(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            left = [str(path) for path in root.glob("idaq/**/metadata.json")]
            print(json.dumps([failure, left, verify(run(found, root).path) == []]))
"""


def test_a_full_disk_is_told_and_what_came_is_kept(published: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse what goes past a limit."""
    size = (published / MADE / "data" / DATA).stat().st_size
    limits = [str(limit) for limit in (0, 100, 2500, 8000, size // 2, size - 1)]
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, f"file://{published}", MADE, str(tmp_path), *limits],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) == 12
    for failure, left, sound_afterwards in outcomes:
        assert "File too large" in failure
        assert (left, sound_afterwards) == ([], True)


def test_too_small_a_disk_is_told_before_anything_comes(
    web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=1000))
    with open_remote(web.url) as remote, pytest.raises(ShareError, match="are to come, the disk of"):
        pull(look_up(remote, MADE), tmp_path)
    assert not any(DATA in path for _, path, _ in web.log)


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_pull_goes_on(
    web: Any, made_digest: str, tmp_path: Path, sign: signal.Signals, code: int
) -> None:
    web.inject(lambda answer: answer, times=1, path=DATA)
    web.inject(servers.stall(20_000, seconds=20), path=DATA)
    command = [sys.executable, "-c", "from idaq.cli import main; main()", "hub", "pull", MADE, web.url]
    process = subprocess.Popen(
        [*command, "--root", str(tmp_path)],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background
    )
    end = time.monotonic() + 60
    while not (web.stalled and list(tmp_path.glob(f".idaq/**/{DATA}"))) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(sign)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert visible(tmp_path) == []
    assert "Traceback" not in told
    web.heal()
    web.log.clear()
    with open_remote(web.url) as remote:
        assert pull(look_up(remote, MADE), tmp_path).content_digest == made_digest


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("s3://key:se/same@bucket/x", "s3://key:se/same@bucket/x"),  # no URL: a password cannot hold a slash
        ("https://me:p@ss@host/a", "https://host/a"),
        ("GET https://host/a?X-Amz-Signature=12&b=3 failed", "GET https://host/a failed"),
        ("hf://me/idaq", "hf://me/idaq"),
    ],
)
def test_scrub(text: str, clean: str) -> None:
    assert hide_credentials(text) == clean


def test_an_unknown_scheme_names_what_is_missing() -> None:
    with pytest.raises(IdaqError) as caught, open_remote("nothing://x"):
        pass
    assert caught.value.hint


def test_a_hub_that_only_states_the_expected_digest_is_found_out(own_folder: Path, tmp_path: Path) -> None:
    lie = "ab" * 32
    reseal(own_folder / MADE, lambda manifest: manifest.update(content_digest=lie))
    with open_remote(f"file://{own_folder}") as remote:
        found = look_up(remote, MADE, expect=lie)
        with pytest.raises(CorruptDatasetError, match=f"content digest: stated {lie}"):
            pull(found, tmp_path / "root")
        with pytest.raises(CorruptDatasetError, match=f"do not make its content digest, {lie}"):
            pull_tasks(found, range(6), tmp_path / "root")
    assert visible(tmp_path / "root") == []
