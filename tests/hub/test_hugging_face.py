"""huggingface_hub's own client, and plain Minari, against a small server that speaks what they ask."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
from etils import epath

from idaq.core.errors import (
    CorruptDatasetError,
    DatasetNotFoundError,
    IdaqError,
    ShareError,
    TransferError,
    UsageError,
)
from idaq.format.published import with_configs
from idaq.format.verify import verify
from idaq.hub.lookup import list_remote, look_up, open_remote
from idaq.hub.pull import Pulled, pull
from idaq.hub.push import Pushed, push
from tests.hub import servers
from tests.hub.conftest import MADE, visible
from tests.hub.hugging_face import sha_of

REPO = "me/idaq"
# huggingface_hub's own use of its HTTP client
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")


def send(dataset: Path, url: str = "hf://me") -> Pushed:
    with open_remote(url, timeout=1.0) as remote:
        return push(dataset, remote)


def fetch(root: Path, url: str = "hf://me", revision: str | None = None) -> Pulled:
    with open_remote(url, revision=revision, timeout=1.0) as remote:
        return pull(look_up(remote, MADE), root)


def test_there_and_back(hf: Any, made: Path, made_digest: str, tmp_path: Path) -> None:
    assert not send(made).existed
    assert send(made).existed
    assert len(hf.repos[REPO]) == 2  # the hub's own first commit, and one for the whole push
    files = hf.repos[REPO][-1]
    card = with_configs((made / "README.md").read_text())
    assert files["made/tagged-v0/README.md"].decode() == card
    assert files["README.md"].decode() == card.replace("data_files: ", "data_files: made/tagged-v0/")
    assert json.loads(files["namespace_metadata.json"]) == {"datasets": [MADE], "namespaces": ["idaq/made"]}
    assert files["made/namespace_metadata.json"] == b"{}\n"
    done = fetch(tmp_path)
    assert (done.content_digest, verify(done.path)) == (made_digest, [])


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")
def test_mlcroissant_reads_the_tables_from_the_hub(
    hf: Any, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlcroissant.constants, "DOWNLOAD_PATH", epath.Path(tmp_path))
    send(made)
    page = f"{hf.url}/datasets/{REPO}"
    found = mlcroissant.Dataset(f"{page}/resolve/main/made/tagged-v0/croissant.json")
    assert found.metadata.url == page
    assert len(list(found.records("tasks"))) == 3
    assert len(list(found.records("episodes"))) == 8


def test_plain_minari_downloads_what_was_pushed(hf: Any, made: Path, made_digest: str, tmp_path: Path) -> None:
    send(made)
    environment = {
        **os.environ,
        "MINARI_REMOTE": "hf://me",
        "MINARI_DATASETS_PATH": str(tmp_path / "minari"),
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    code = f"import minari; minari.download_dataset({MADE!r}); print(len(minari.load_dataset({MADE!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "8"
    assert verify(tmp_path / "minari" / MADE) == []


def test_a_second_dataset_is_registered_beside_the_first_and_peoples_text_is_kept(
    hf: Any, made: Path, made_root: Path, second_made: Path
) -> None:
    send(made)
    hf.repos[REPO].append({**hf.repos[REPO][-1], "README.md": b"written by hand"})
    send(second_made)
    files = hf.repos[REPO][-1]
    assert files["README.md"] == b"written by hand"
    assert json.loads(files["namespace_metadata.json"])["datasets"] == ["idaq/made/second-v0", MADE]
    with open_remote("hf://me") as remote:
        assert [listing.dataset_id for listing in list_remote(remote)] == ["idaq/made/second-v0", MADE]
    assert not any("main_data" in path for _, path, _ in hf.log if "resolve" in path)


def test_one_repository_may_be_named(hf: Any, made: Path, made_digest: str, tmp_path: Path) -> None:
    send(made, "hf://me/idaq")
    assert fetch(tmp_path / "a", "hf://me").content_digest == made_digest
    send(made, "hf://me/other")
    assert f"{MADE}/data/metadata.json" in hf.repos["me/other"][-1]
    assert fetch(tmp_path / "b", "hf://me/other").content_digest == made_digest
    with open_remote("hf://me/other") as remote:
        assert [listing.dataset_id for listing in list_remote(remote)] == [MADE]


@pytest.mark.parametrize("text", [b"[]", b"{", b"\xff"])
def test_a_broken_registry_is_told_and_left_alone(hf: Any, made: Path, text: bytes) -> None:
    hf.repos[REPO] = [{"namespace_metadata.json": text}]
    with pytest.raises(ShareError, match=r"namespace_metadata.json of idaq is not") as caught:
        send(made)
    assert caught.value.hint == "fix it on the hub: {} will do"
    assert len(hf.repos[REPO]) == 1


def test_a_revision_is_pinned(hf: Any, made: Path, other_made: Path, made_digest: str, tmp_path: Path) -> None:
    send(made)
    pinned = sha_of(REPO, hf.repos[REPO])
    hf.repos[REPO].append({})
    with pytest.raises(DatasetNotFoundError):
        fetch(tmp_path)
    send(other_made)
    assert fetch(tmp_path / "new").content_digest != made_digest
    assert fetch(tmp_path / "old", revision=pinned).content_digest == made_digest
    with pytest.raises(ShareError, match="revision nothing"):
        fetch(tmp_path, revision="nothing")
    with pytest.raises(UsageError, match="knows no revisions"), open_remote("s3://bucket", revision="main"):
        pass


def test_an_interrupted_push_shows_nothing_and_sends_no_file_twice(
    hf: Any, made: Path, made_digest: str, tmp_path: Path
) -> None:
    hf.commits_fail = True
    with pytest.raises(ShareError):
        send(made)
    with open_remote("hf://me") as remote:
        assert list_remote(remote) == []
    hf.commits_fail = False
    hf.log.clear()
    send(made)
    assert [path for method, path, _ in hf.log if method == "PUT"] == []
    assert fetch(tmp_path).content_digest == made_digest


def test_a_push_whose_last_answer_was_lost_finds_its_work_done(hf: Any, made: Path) -> None:
    hf.inject(servers.refuse(503), method="POST", path="/commit/")
    with pytest.raises(TransferError):
        send(made)
    assert send(made).existed


def test_a_commit_in_between_is_not_overwritten(hf: Any, made: Path, made_digest: str) -> None:
    def meanwhile(answer: servers.Answer) -> servers.Answer:
        hf.repos[REPO].append({**hf.repos[REPO][-1], "namespace_metadata.json": b'{"datasets": ["idaq/theirs-v0"]}'})
        return answer

    hf.inject(meanwhile, times=1, method="POST", path="/objects/batch")
    with pytest.raises(TransferError, match="commit has happened since") as caught:
        send(made)
    assert caught.value.hint == "run the same command again: it resumes"
    assert not send(made).existed
    registered = json.loads(hf.repos[REPO][-1]["namespace_metadata.json"])
    assert registered["datasets"] == [MADE, "idaq/theirs-v0"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (servers.cut(900), None),
        (servers.grown, None),
        (servers.flip(4000), CorruptDatasetError),
        (servers.hang_up, TransferError),
        (servers.stall(500), None),
        (servers.html(), ShareError),
        (servers.refuse(403), ShareError),
    ],
)
def test_faults_of_the_hubs_file_servers(
    hf: Any, made: Path, made_digest: str, tmp_path: Path, fault: servers.Fault, kind: type[IdaqError] | None
) -> None:
    send(made)
    hf.inject(fault, path="/cdn/", times=1 if fault.__qualname__.startswith("stall") else 1000)
    if kind is None:
        assert fetch(tmp_path).content_digest == made_digest
    else:
        with pytest.raises(kind):
            fetch(tmp_path)
        assert visible(tmp_path) == []
        hf.heal()
        assert fetch(tmp_path).content_digest == made_digest


def test_without_a_token_the_login_is_named(
    hf: Any, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(made)
    hf.private.add(REPO)
    assert fetch(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(DatasetNotFoundError) as private:
        fetch(tmp_path / "other")
    assert "hf auth login, or set HF_TOKEN" in str(private.value.hint)
    with pytest.raises(ShareError, match="wants credentials") as caught:
        send(made)
    assert "hf auth login, or set HF_TOKEN" in str(caught.value.hint)


@pytest.mark.parametrize("url", ["hf://", "hf://a/b/c", "hf:/me", "me", "nothing://x", "simplecache::s3://b"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(IdaqError) as caught, open_remote(url):
        pass
    assert caught.value.hint or "is not hf://" in str(caught.value)
