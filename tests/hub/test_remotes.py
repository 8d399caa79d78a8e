"""Every hub passes the exported suite: a folder, memory, a web server, S3 as moto plays it, Hugging Face as we do."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idaq.hub.lookup import open_remote
from idaq.hub.push import push
from idaq.hub.remote import Remote
from idaq.testing import ReadOnlyRemoteContract, RemoteContract
from tests.hub import servers
from tests.hub.folder_hub import FOLDER_HUB


class TestFolder(RemoteContract):
    @pytest.fixture
    def remote(self, tmp_path: Path) -> Iterator[Remote]:
        (tmp_path / "hub").mkdir()
        with open_remote(f"file://{tmp_path / 'hub'}") as remote:
            yield remote


class TestMemory(RemoteContract):
    @pytest.fixture
    def remote(self, tmp_path: Path) -> Iterator[Remote]:
        with open_remote(f"memory://{tmp_path}") as remote:
            yield remote


class TestWeb(ReadOnlyRemoteContract):
    @pytest.fixture
    def remote(self, tmp_path: Path) -> Iterator[Remote]:
        self.folder = tmp_path / "served"
        self.folder.mkdir()
        self.server: Any
        with servers.file_server(self.folder) as self.server, open_remote(self.server.url) as remote:
            yield remote

    def publish(self, dataset: Path, remote: Remote) -> None:
        with open_remote(f"file://{self.folder}") as folder:
            push(dataset, folder)

    def interrupt(self, remote: Remote) -> None:
        self.server.inject(servers.cut(1000), times=1, path="main_data.hdf5")


class TestObjectStore(RemoteContract):
    @pytest.fixture
    def remote(self, s3: Any) -> Remote:
        self.s3 = s3
        return s3.remote

    def interrupt(self, remote: Remote) -> None:
        self.s3.inject(servers.cut(1000), times=1, path="main_data.hdf5")


# huggingface_hub's own use of its HTTP client
@pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")
class TestHuggingFace(RemoteContract):
    @pytest.fixture
    def remote(self, hf: Any) -> Iterator[Remote]:
        self.hf = hf
        with open_remote("hf://me") as remote:
            yield remote

    def interrupt(self, remote: Remote) -> None:
        self.hf.inject(servers.cut(1000), times=1, path="/cdn/")


class TestFromOutside(RemoteContract):
    """What a plug-in brings, opened by its name."""

    @pytest.fixture
    def remote(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
        (tmp_path / "theirs.py").write_text(FOLDER_HUB)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "theirs", raising=False)
        with open_remote(f"folder://{tmp_path / 'hub'}", remote="theirs:FolderHub") as remote:
            yield remote
