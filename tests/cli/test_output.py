"""What commands print with takes any label as it is, and says where it stands, on a terminal and in a log."""

import os
import pty
import re
import subprocess
import sys
import time

import pytest
from idaq.cli import output
from idaq.cli.output import Progress, progress, working

LABEL = "training runs/[bold]/[/x]"


def test_a_log_says_count_total_rate_time_left_and_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    counted = Progress(LABEL, 4000, "steps")
    now += 3
    assert counted.line() == f"{LABEL}: 0 of 4,000 steps, 3 s so far"
    counted(1000)  # of an earlier run
    now += 10
    counted(200)
    counted.tell("loss 0.5")
    assert counted.line() == f"{LABEL}: 1,200 of 4,000 steps, 20 steps/s, 2 min 20 s left; loss 0.5"
    counted(2800)
    assert counted.line() == f"{LABEL}: 4,000 of 4,000 steps, 300 steps/s, took 13 s; loss 0.5"


@pytest.mark.parametrize("show", [lambda: progress(LABEL, 2, "steps"), lambda: working(LABEL)])
def test_a_log_is_never_silent_for_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, show: object
) -> None:
    """Whatever takes so long, counted or not; here in hundredths of the real times."""
    for name in ("_FIRST", "_OFTEN", "_SELDOM"):
        monkeypatch.setattr(output, name, getattr(output, name) / 100)
    with show():  # type: ignore[operator]
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 4
    assert all(line.startswith(LABEL) for line in lines)


def test_the_real_times_are_those_promised() -> None:
    """The first line within 5 seconds, then at least every 30."""
    assert output._FIRST <= 5
    assert output._OFTEN <= output._SELDOM <= 30


def test_the_end_is_always_said(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(LABEL, 2, "steps") as advance:
        advance(2)
    assert re.fullmatch(rf"{re.escape(LABEL)}: 2 of 2 steps, took 0 s\n", capsys.readouterr().err)


SHOWN = """
from idaq.cli.output import progress, working
with working({label!r}):  # raises MarkupError where brackets are read as markup
    pass
with progress({label!r}, 2, "steps") as advance:
    advance(2)
    advance.tell("loss [0.5]")
"""


def test_a_terminal_gets_a_bar_with_the_losses_beside_it() -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "160", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", SHOWN.format(label=LABEL)], stderr=theirs, env=environment, check=True)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
    except OSError:  # all is read
        pass
    os.close(ours)
    plain = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).split())
    assert LABEL in plain
    assert "2/2" in plain
    assert "loss [0.5]" in plain
