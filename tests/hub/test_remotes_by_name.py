"""Which remote opens a URL: by its scheme, or by the name that the user gives."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from idaq.core.errors import PluginError, UnknownNameError, UsageError
from idaq.hub import lookup
from idaq.hub.http import HttpRemote
from idaq.hub.lookup import REMOTES, look_up, open_remote
from idaq.hub.object_store import FsspecRemote
from idaq.hub.push import push
from tests.hub.folder_hub import FOLDER_HUB


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.org/sets", HttpRemote),
        ("http://example.org", HttpRemote),
        ("memory://sets", FsspecRemote),
        ("file:///sets", FsspecRemote),
    ],
)
def test_the_scheme_chooses(url: str, kind: type) -> None:
    with open_remote(url) as remote:
        assert type(remote) is kind


def test_an_installed_package_brings_a_scheme(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_hub_module.py").write_text(FOLDER_HUB)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint(name="theirs", value="their_hub_module:FolderHub", group=REMOTES.group)
    monkeypatch.setattr("idaq.core.registry.entry_points", lambda group: [point] if group == REMOTES.group else [])
    with open_remote(f"theirs://{tmp_path}/hub") as remote:
        assert not push(made, remote).existed
        assert push(made, remote).existed
        assert look_up(remote, "idaq/made/tagged-v0").manifest.counts.episodes == 8
    del sys.modules["their_hub_module"]


def test_a_scheme_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile_hub.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError), open_remote("hostile_hub:thing://x"):
        pass


@pytest.mark.parametrize(
    ("url", "name", "error", "said"),
    [
        ("s4://bucket", None, UnknownNameError, r"unknown kind of hub 's4://'"),
        ("theirs://x", "http2", UnknownNameError, "did you mean 'http'"),
        ("theirs://x", "tempfile:mkdtemp", PluginError, "is no hub: got an unexpected keyword argument"),
        ("theirs://x", "builtins:dict", PluginError, "is no hub: no signature found"),
        ("theirs://x", "json:__name__", PluginError, "is no hub: it cannot be called"),
        ("theirs://x", f"{__name__}:nothing", PluginError, "what it opens has no url, login, dataset_ids"),
        ("https://example.org", "https", UsageError, "knows no revisions"),
    ],
)
def test_what_opens_no_hub_is_refused(url: str, name: str | None, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said), open_remote(url, remote=name, revision="v1" if name == "https" else None):
        pass


def nothing(_url: str, *, revision: str | None, timeout: float) -> object:
    return lookup
