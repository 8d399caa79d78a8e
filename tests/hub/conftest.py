"""Hubs of the tests' own, and what a pull may come to."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idaq.format.reader import open_stored
from idaq.hub import fetch as hub_fetch
from idaq.hub.lookup import open_remote
from idaq.hub.push import push
from tests.hub.servers import Server, file_server

MADE = "idaq/made/tagged-v0"


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


def visible(root: Path) -> list[Path]:
    """Datasets that a reader would find."""
    return list(root.glob("idaq/**/metadata.json"))
