"""idaq hub, from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from idaq.format.reader import open_stored
from tests.cli.conftest import Idaq
from tests.format.sealing import alter_metadata, reseal

MADE = "idaq/made/tagged-v0"


@pytest.fixture
def hub(idaq: Idaq, made: Path, made_root: Path, tmp_path: Path) -> str:
    """A hub that holds the hand-made dataset."""
    url = f"file://{tmp_path}/hub"
    done = idaq("hub", "push", MADE, url, "--root", made_root)
    assert (done.code, done.out.splitlines()[0]) == (0, f"{MADE} is at {url}")
    return url


def test_push_says_what_is_there_already(idaq: Idaq, hub: str, made: Path, other_made: Path) -> None:
    again = idaq("hub", "push", made, hub)
    assert (again.code, again.out) == (0, f"{MADE} is already at {hub}, with this very content\n")
    as_json = json.loads(idaq("hub", "push", made, hub, "--json").out)
    assert as_json == {
        "dataset_id": MADE,
        "url": hub,
        "content_digest": open_stored(made).manifest.content_digest,
        "existed": True,
        "notes": [],
    }
    other = idaq("hub", "push", other_made, hub)
    assert other.code == 1
    assert "what was published does not change" in other.err
    assert "fix: collect it under another version" in other.err


def test_list_and_show(idaq: Idaq, hub: str, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MADE in idaq("hub", "list", hub).out
    (row,) = json.loads(idaq("hub", "list", hub, "--json").out)
    assert (row["id"], row["format"], row["tasks"], row["episodes"], row["steps"]) == (MADE, "idaq 1", 3, 8, 75)
    manifest = open_stored(made).manifest
    assert manifest.content_digest in idaq("hub", "show", MADE, hub).out
    monkeypatch.setenv("MINARI_REMOTE", hub)
    shown = json.loads(idaq("hub", "show", MADE, "--json").out)
    assert (shown["content_digest"], shown["url"]) == (manifest.content_digest, hub)
    assert idaq("hub", "list", f"{hub}/idaq/made/none").out.startswith("no datasets at")


def test_text_of_strangers_does_not_steer_the_terminal(idaq: Idaq, hub: str, tmp_path: Path) -> None:
    there = tmp_path / "hub" / MADE

    def alter(manifest: dict[str, Any]) -> None:
        manifest["recipe"]["description"] = "harmless \x1b[2J\x07"

    reseal(there, alter)
    alter_metadata(there, lambda metadata: metadata.update(total_steps="\x1b[2J"))
    for command in (("list", hub), ("show", MADE, hub)):
        done = idaq("hub", *command)
        assert done.code == 0
        assert "\x1b[2J" not in done.out


def test_pull_whole_and_in_part(idaq: Idaq, hub: str, made: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    digest = open_stored(made).manifest.content_digest
    done = idaq("hub", "pull", MADE, hub, "--root", root)
    assert (done.code, done.out) == (0, f"{root / MADE}\ncontent digest {digest}\n")
    assert "pulling idaq/made/tagged-v0" in done.err
    assert "bytes/s" in done.err
    assert "is already here, with this very content" in idaq("hub", "pull", MADE, hub, "--root", root).out
    part = json.loads(idaq("hub", "pull", MADE, hub, "--root", root, "--tasks", "2:6", "--json").out)
    assert (part["dataset_id"], part["existed"]) == ("idaq/made/tagged-tasks-2-6-v0", False)
    named = idaq("hub", "pull", MADE, hub, "--root", root, "--tasks", "2:6", "--id", "me/few-v0")
    assert named.out.startswith(str(root / "me/few-v0"))
    assert idaq("dataset", "verify", "me/few-v0", "--root", root).code == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("pull", MADE), "which hub?"),
        (("pull", MADE, "elsewhere"), "is not the URL of a hub"),
        (("pull", "../x-v0", "HUB"), "is not a dataset id"),
        (("pull", MADE, "HUB", "--tasks", "6"), "unknown task '6'"),
        (("pull", MADE, "HUB", "--tasks", "5:5"), "no task has an index from 5:5"),
        (("pull", MADE, "HUB", "--tasks", "50:60"), "no task has an index from 50:60"),
        (("pull", MADE, "HUB", "--id", "a/b-v0"), "--id goes with --tasks"),
        (("pull", MADE, "HUB", "--revision", "main"), "knows no revisions"),
        (("list", "nothing://x"), "nothing"),
    ],
)
def test_requests_that_cannot_be_understood_exit_with_2(
    idaq: Idaq, hub: str, arguments: tuple[str, ...], text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MINARI_REMOTE", raising=False)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    done = idaq("hub", *(hub if argument == "HUB" else argument for argument in arguments))
    assert done.code == 2
    assert text in done.err
    assert "fix: " in done.err or "--id goes" in text


def test_what_is_not_there_exits_with_1(idaq: Idaq, hub: str) -> None:
    done = idaq("hub", "show", "idaq/no/such-v0", hub)
    assert done.code == 1
    assert f"there is no dataset idaq/no/such-v0 at {hub}" in done.err
    assert f"idaq hub list {hub} shows what is there" in done.err


@pytest.mark.parametrize("command", ["push", "pull", "list", "show"])
def test_help_gives_examples(idaq: Idaq, command: str) -> None:
    done = idaq("hub", command, "--help")
    assert done.code == 0
    assert f"idaq hub {command}" in done.out
    assert "Example" in done.out
