"""Hubs of the tests' own, and what a pull may come to."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from huggingface_hub import constants
from moto.server import ThreadedMotoServer

from idaq.format.reader import open_stored
from idaq.hub import fetch as hub_fetch
from idaq.hub.lookup import open_remote
from idaq.hub.push import push
from tests.hub import servers
from tests.hub.hugging_face import TOKEN, hub
from tests.hub.servers import Server, file_server

MADE, BUCKET = "idaq/made/tagged-v0", "s3://bucket/sets"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(hub_fetch, "PAUSES", (0.01, 0.01))


@pytest.fixture(scope="session")
def made_digest(made: Path) -> str:
    return open_stored(made).manifest.content_digest


@pytest.fixture(scope="session")
def published(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was pushed to; no test may alter it."""
    folder = tmp_path_factory.mktemp("published")
    with open_remote(f"file://{folder}") as remote:
        push(made, remote)
    return folder


@pytest.fixture
def own_folder(published: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(published, tmp_path / "own"))


@pytest.fixture
def web(own_folder: Path) -> Iterator[Any]:
    """A web server of that copy."""
    server: Server
    with file_server(own_folder) as server:
        yield server


@pytest.fixture(scope="module")
def front() -> Iterator[Any]:
    """A proxy in front of moto, and one remote for all tests: making an S3 client takes longer than most of them."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch, servers.proxy(f"http://{host}:{port}") as server:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        server.bucket = boto3.resource("s3", endpoint_url=f"http://{host}:{port}").Bucket("bucket")
        server.bucket.create()
        with open_remote(BUCKET, timeout=1.0) as server.remote:
            yield server
    moto.stop()


@pytest.fixture
def s3(front: Any) -> Iterator[Any]:
    """The proxy, an empty bucket behind it."""
    yield front
    front.heal()
    front.log.clear()
    front.stalled = False
    front.bucket.objects.all().delete()


@pytest.fixture
def hf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    with hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield server


def visible(root: Path) -> list[Path]:
    """Datasets that a reader would find."""
    return list(root.glob("idaq/**/metadata.json"))
