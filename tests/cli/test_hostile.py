"""What strangers wrote does not steer the terminal, stop a listing, or end in a traceback, whatever the command."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from idaq.cli.output import print_json, print_table, progress, say, working

from idaq.format.reader import open_stored
from tests.cli.conftest import Idaq
from tests.format.sealing import alter_document, alter_tasks, reseal
from tests.hostile.kinds import STEER

MADE, SECOND = "idaq/made/tagged-v0", "idaq/made/second-v0"
HARMFUL = ("\x1b[2J", "\x9b", "\u202e", "\u200b", "\x00", "\x07", "\r", "\u2028")


def steers(text: str) -> bool:
    """Whether text of `STEER` came through; rich's own colours and cursor moves are not meant."""
    return any(part in text for part in HARMFUL)


@pytest.fixture
def root(damaged: Path) -> Path:
    return damaged.parents[2]


def test_nothing_printed_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"a{STEER}b", f"c{STEER}", err=True)
    say(f"a{STEER}b")
    print_table(f"title{STEER}", [f"head{STEER}", "more"], [[f"cell{STEER}", "x"], ["\n", "\t"]])
    with progress(f"label{STEER}", 1, "bytes") as advance:
        advance(1)
    with working(f"label{STEER}"):
        pass
    shown = capsys.readouterr()
    assert not steers(shown.out + shown.err.replace("\r", ""))
    assert shown.out.splitlines()[0] == r"a\x1b[2J\x9b31m\u202e\u200b\x00\x07\r\n\u2028b"
    assert r"cell\x1b[2J" in shown.out


def test_json_keeps_every_character_as_an_escape(capsys: pytest.CaptureFixture[str]) -> None:
    value = {f"ü{STEER}\x7f\xa0\U000e0041": [f"{STEER}", "ü 中"]}
    print_json(value)
    shown = capsys.readouterr().out
    assert json.loads(shown) == value
    assert not steers(shown)
    assert "\x7f" not in shown
    assert "ü 中" in shown


@pytest.mark.filterwarnings("default")
def test_no_document_steers_the_terminal_in_any_command(idaq: Idaq, damaged: Path, root: Path, tmp_path: Path) -> None:
    def name(tasks: list[Any]) -> None:
        tasks[0]["success"]["unit"] = STEER

    def describe(manifest: dict[str, Any]) -> None:
        manifest["recipe"]["description"] = f"a{STEER}\x1b]0;owned\x07"
        manifest["provenance"]["created"] = f"a{STEER}"

    alter_tasks(damaged, name)
    reseal(damaged, describe)
    (root / f"idaq/ev{STEER.replace(chr(0), '')}il-v0/data").mkdir(parents=True)
    for command in (
        ("dataset", "show", MADE),
        ("dataset", "card", MADE),
        ("dataset", "verify", MADE),
        ("dataset", "verify", MADE, "--json"),
        ("dataset", "show", f"idaq/{STEER}"),
        ("dataset", "show", f"idaq/{STEER}", "--json"),
        ("dataset", "export", MADE, str(tmp_path / "a\x1b[2J.what")),
        ("hub", "show", MADE, f"file://{root}"),
        ("train", "--dataset", MADE, "--set", f"{STEER}=1"),
        ("dataset", f"\x1b[2J{STEER}"),
    ):
        done = idaq(*command, *(() if command[0] in ("hub",) or len(command) == 2 else ("--root", str(root))))
        assert not steers(done.out + done.err.replace("\r", "")), command


@pytest.mark.filterwarnings("default")
def test_one_bad_dataset_never_stops_a_listing(idaq: Idaq, second_made: Path, root: Path) -> None:
    shutil.copytree(second_made, root / SECOND)
    (root / MADE / "data/metadata.json").unlink()
    os.mkfifo(root / MADE / "data/metadata.json")
    done = idaq("dataset", "list", "--root", root)
    assert (done.code, SECOND in done.out, MADE in done.out) == (0, True, False)
    assert f"warning: skipped {root / MADE}" in done.err
    assert "a named pipe, not a file" in done.err
    assert idaq("dataset", "show", SECOND, "--root", root).code == 0
    there = idaq("hub", "list", f"file://{root}")
    assert (there.code, SECOND in there.out) == (0, True)
    assert f"warning: skipped {MADE} at file://{root}" in there.err


def test_a_listing_shows_what_is_of_no_known_type_as_unknown(idaq: Idaq, damaged: Path, root: Path) -> None:
    alter_document(damaged / "data/metadata.json", lambda m: m.update(total_steps={"a": 1}, idaq={"counts": [STEER]}))
    (row,) = json.loads(idaq("dataset", "list", "--root", root, "--json").out)
    assert (row["format"], row["tasks"], row["episodes"], row["steps"]) == ("idaq None", None, 8, None)


def test_deleting_a_linked_dataset_removes_the_link_alone(idaq: Idaq, second_made: Path, root: Path) -> None:
    os.symlink(second_made, root / SECOND)
    done = idaq("dataset", "delete", SECOND, "--root", root, "--yes")
    assert (done.code, done.out) == (0, f"removed the link {root / SECOND}; {second_made} is as it was\n")
    assert (second_made / "data/metadata.json").is_file()
    assert not (root / SECOND).is_symlink()


def test_pull_takes_the_content_that_is_expected_and_no_other(
    idaq: Idaq, made: Path, root: Path, tmp_path: Path
) -> None:
    digest, hub, there = open_stored(made).manifest.content_digest, f"file://{root}", tmp_path / "there"
    for wrong, code in (("0" * 64, 1), (digest[:12] + "0", 1), (digest[:11], 2), (digest.upper(), 2), ("", 2)):
        done = idaq("hub", "pull", MADE, hub, "--root", there, "--expect", wrong)
        assert (done.code, there.exists()) == (code, False), wrong
        assert code == 2 or (digest in done.err.replace("\n", "") and wrong in done.err.replace("\n", ""))
    part = idaq("hub", "pull", MADE, hub, "--root", there, "--tasks", "2:6", "--expect", digest)
    whole = idaq("hub", "pull", MADE, hub, "--root", there, "--expect", digest[:12])
    again = idaq("hub", "pull", MADE, hub, "--root", there, "--expect", digest)
    assert (part.code, whole.code, again.code) == (0, 0, 0)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["collect", "point-robot", "--workers", "1000000000"], "1000000000 worker processes on this machine"),
        (["collect", "humanoid-dir", "--set", "episodes=1000000"], "take 118 GB while they are collected"),
        (["collect", "point-robot", "--set", "episodes=1000000000000"], "less than or equal to 1000000"),
        (["hub", "list", "file:///nowhere", "--timeout", "nan"], "greater than or equal to 0.1"),
        (["hub", "list", "file:///nowhere", "--timeout", "inf"], "a timeout of inf s"),
        (["dataset", "subset", MADE, "a/b-v0", "--tasks", "0:" + "9" * 5000], "unknown task"),
        (["dataset", "subset", MADE, "a/b-v0", "--quantiles", "nan:inf"], "quantiles nan to inf"),
        (["train", "--dataset", MADE, "--set", "learner.hidden=100000000"], "less than or equal to 16384"),
        (["train", "--dataset", MADE, "--set", "batch=100000000000"], "there is not enough memory"),
        (["collect", "--recipe", "/dev/zero"], "a device, not a file"),
        (["adapt", "/dev"], "is not a run directory"),
        (["report", "/dev/null"], "is not a run directory"),
    ],
)
def test_absurd_numbers_and_files_are_refused_in_words(
    idaq: Idaq, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    done = idaq(*command)
    assert done.code in (1, 2)
    assert text in " ".join(done.err.split()), done.err[-2000:]


def test_no_encoding_of_the_terminal_ends_in_a_traceback(root: Path) -> None:
    """Half a surrogate pair is what Python makes of a file name that is no UTF-8."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "-c", "from idaq.cli import main; main()", "dataset"]
    shown = subprocess.run([*command, "list", "--root", root], capture_output=True, env=environment, check=False)
    assert (shown.returncode, MADE.encode() in shown.stdout) == (0, True)
    wrong = [*command, "show", b"idaq/\xff\x1b[2J", "--root", root]
    refused = subprocess.run(wrong, capture_output=True, env=environment, check=False)
    assert (refused.returncode, b"Traceback" in refused.stderr, b"\x1b[2J" in refused.stderr) == (1, False, False)


@pytest.mark.parametrize("target", ["/etc/passwd", "../nowhere"])
def test_a_card_that_links_out_leaves_the_machine_by_no_command(
    idaq: Idaq, damaged: Path, root: Path, tmp_path: Path, target: str
) -> None:
    (damaged / "README.md").unlink()
    (damaged / "README.md").symlink_to(target)
    out = tmp_path / "out"
    for command in (
        ("hub", "push", MADE, f"file://{out}"),
        *(("dataset", "export", MADE, f"{out}.{ending}") for ending in ("npz", "parquet", "zarr")),
        *(("dataset", "export", MADE, str(out), "--to", to) for to in ("focal-npy", "minari-per-task", "lerobot")),
        *(("dataset", verb, MADE) for verb in ("card", "verify", "show")),
        ("dataset", "explore", MADE, "--out", str(out)),
    ):
        done = idaq(*command, "--root", root)
        assert (done.code, "leads out of the dataset" in " ".join(done.err.split())) == (1, True), command
        assert "root:" not in done.out
    assert list(tmp_path.glob("out*")) == []
