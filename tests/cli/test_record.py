"""`idaq record` as a user types it, kills it, and types it again."""

import functools
import json
import os
import pty
import random
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from idaq.format.recording import Folder
from tests.cli.conftest import Idaq
from tests.processes import PROGRAM, Command
from tests.share.pendulums import SOURCE

SLOW = (
    SOURCE.replace("    return env\n", "    return Slow(env)\n")
    + """

class Slow(gymnasium.Wrapper):
    def step(self, action):
        time.sleep(0.01)
        return super().step(action)
"""
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of the user's in it."""
    (tmp_path / "my_slow.py").write_text("import time\n" + SLOW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return tmp_path


def options(out: str, *more: str) -> tuple[str, ...]:
    named = ("--env", "my_slow:pendulum", "--env-arg", "limit=12", "--param", "mass=2", "--policy", "random")
    return ("record", *named, "--task", "heavy", "--episodes", "10", "--out", out, *more)


def has_more(folder: Path, before: int) -> bool:
    return len(list(folder.glob("episode*"))) > before


def content(folder: Path) -> dict[int, bytes]:
    recording = Folder(folder)
    return {n: recording.episode(n, "x")[0].episode.observations.tobytes() for n in recording.numbers()}


def test_kills_at_random_moments_lose_the_episode_under_way_and_no_other(here: Path, idaq: Idaq) -> None:
    there, out = dict[int, bytes](), here / "out"
    moments = random.Random(16)
    for _ in range(5):
        command = Command(*options("out"))
        command.until(functools.partial(has_more, out, len(there)))
        time.sleep(moments.uniform(0, 0.25))
        command.end(signal.SIGKILL)
        now = content(out)
        assert there.items() <= now.items()
        assert len(now) > len(there)
        there = now
        if len(there) >= 8:
            break
    done = json.loads(idaq(*options("out"), "--json").out)
    assert (done["episodes"], done["new"]) == (10, 10 - len(there))
    assert idaq(*options("whole")).code == 0
    assert content(out) == content(here / "whole")


def test_ctrl_c_says_what_is_kept_and_how_to_resume(here: Path) -> None:
    command = Command(*options("out"))
    command.until(lambda: (here / "out/episode-00001.npz").exists())
    code, err = command.end(signal.SIGINT)
    assert code == 130
    assert "Traceback" not in err
    kept = len(content(here / "out"))
    assert 2 <= kept < 10
    assert f"interrupted; out holds {kept} of 10 episodes; this records the others: idaq record --env" in err


def test_a_second_recorder_is_told_of_the_first(here: Path, idaq: Idaq) -> None:
    command = Command(*options("out"))
    command.until(lambda: (here / "out/episode-00000.npz").exists())
    second = idaq(*options("out"))
    assert second.code == 1
    assert "another recorder writes out" in second.err
    command.end(signal.SIGKILL)
    assert idaq(*options("out")).code == 0


def test_a_dataset_at_the_end(here: Path, idaq: Idaq) -> None:
    done = idaq(*options("out", "--id", "me/pendulum/heavy-v0", "--episodes", "2"))
    assert done.code == 0, done.err
    assert "out: 2 episodes of heavy, 2 of them recorded now" in done.out
    assert "me/pendulum/heavy-v0: 1 tasks, 2 episodes" in done.out
    assert idaq("dataset", "verify", "me/pendulum/heavy-v0").code == 0


def test_a_person_without_a_terminal_is_told_what_is_needed(here: Path, idaq: Idaq) -> None:
    done = idaq(*options("out"), "--policy", "human")
    assert done.code == 2
    assert "--policy human reads keys from a terminal, and there is none" in done.err
    assert "or --policy package.module:thing" in done.err


def test_a_person_at_a_terminal_records_and_stops_with_ctrl_c(here: Path) -> None:
    """In a terminal of its own, which is given back as it was."""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    arguments = [word for word in options("out") if word != "random"]
    arguments.insert(arguments.index("--policy") + 1, "human")
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    process = subprocess.Popen(
        [PROGRAM, *arguments], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    end = time.monotonic() + 60
    while not (here / "out/episode-00000.npz").exists() and process.poll() is None and time.monotonic() < end:
        os.write(ours, b"d")
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    after = termios.tcgetattr(theirs)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 130, err
    assert "episodes; this records the others: idaq record" in err
    assert after == before
    assert 2.0 in Folder(here / "out").episode(0, "human")[0].episode.actions


def test_an_id_that_cannot_be_is_told_before_anything_is_recorded(here: Path, idaq: Idaq) -> None:
    (here / "datasets/me/swings/there-v0").mkdir(parents=True)
    for bad, said in (("bad_id", "is not a dataset id"), ("me/swings/there-v0", "exists already")):
        done = idaq(*options("out", "--id", bad))
        assert (done.code > 0, said in done.err, (here / "out").exists()) == (True, True, False)
