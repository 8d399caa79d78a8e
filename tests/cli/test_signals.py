"""Commands that are interrupted, terminated, stopped and killed, or lose a worker, as users and batch queues do it."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from idaq.collect.collect import Collected, collect
from idaq.core.metrics import METRICS, read_metrics
from idaq.learn.checkpoint import checkpoints, step_of
from tests.cli.conftest import BRIEF, QUICK, Idaq, settings
from tests.processes import Command
from tests.recipes import SMALL, small_recipe

SAID = {signal.SIGINT: 130, signal.SIGTERM: 143}


def collecting(root: Path) -> Command:
    return Command("collect", "point-robot", "--workers", "2", "--root", root, *settings(SMALL))


def has_a_cell(root: Path) -> bool:
    return any("sha256" in journal.read_text() for journal in root.glob(".idaq/collect/*/journal.jsonl"))


def assert_resumes(root: Path, collected: Collected) -> None:
    """Into the same content, and nothing is left beside it."""
    assert collect(small_recipe(), root).content_digest == collected.content_digest
    assert list((root / ".idaq" / "collect").iterdir()) == []


@pytest.mark.parametrize(("number", "group"), [(signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGTERM, True)])
def test_a_parallel_collection_ends_with_its_workers(
    collected: Collected, tmp_path: Path, number: signal.Signals, group: bool
) -> None:
    """At a random moment between its workers' start and its end."""
    command = collecting(tmp_path)
    command.until(command.workers)
    time.sleep(random.Random(number + group).uniform(0, 1.0))
    code, err = command.end(number, group)
    assert "Traceback" not in err
    done = (tmp_path / "idaq" / "point-robot" / "expert-v0").exists()
    if code and not (done and code == -number):  # done, Python's own end takes a while, and a signal then just ends it
        assert code == SAID[number]
        assert "interrupted; finished cells are kept; the same command resumes from there" in err
    assert_resumes(tmp_path, collected)


def test_workers_of_a_killed_collection_end_by_themselves(collected: Collected, tmp_path: Path) -> None:
    command = collecting(tmp_path)
    command.until(lambda: has_a_cell(tmp_path))
    code, _ = command.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert_resumes(tmp_path, collected)


def test_a_lost_worker_is_told_with_what_is_kept(collected: Collected, tmp_path: Path) -> None:
    command = collecting(tmp_path)
    command.until(command.workers)
    os.kill(command.workers()[0], signal.SIGKILL)
    code, err = command.end()
    assert code == 1
    assert "a worker was lost" in err
    assert "SIGKILL" in err
    assert "finished cells are kept: run the same command again" in err
    assert "Traceback" not in err
    assert_resumes(tmp_path, collected)


def test_whoever_is_stopped_for_a_while_goes_on(collected: Collected, tmp_path: Path) -> None:
    command = collecting(tmp_path)
    command.until(command.workers)
    stopped = [command.workers()[0], command.process.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(0.5)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    code, err = command.end()
    assert code == 0, err
    assert_resumes(tmp_path, collected)


@pytest.mark.parametrize("number", SAID)
def test_a_training_that_is_interrupted_says_its_step_and_what_resumes_it(
    collected: Collected, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    changed = settings((*QUICK, "steps=100000", "log_every=2"))
    command = Command("train", "--dataset", collected.path, "--out", out, *changed)
    command.until(lambda: (out / METRICS).exists() and (out / METRICS).stat().st_size)
    code, err = command.end(number)
    assert code == SAID[number], err
    step = step_of(checkpoints(out)[-1])
    assert f"{out} has a checkpoint of step {step} of 100000; this resumes it: idaq train --dataset" in err
    assert "Traceback" not in err
    assert read_metrics(out)[-1]["step"] == (step - 1) // 2 * 2


def test_a_command_that_keeps_nothing_says_so(tmp_path: Path) -> None:
    """Before it has done anything, too."""
    command = Command("report", tmp_path)
    time.sleep(0.4)
    code, err = command.end(signal.SIGTERM)
    assert code in (143, -signal.SIGTERM, 1)  # in Python's own start it just ends, and the report may have failed
    assert code != 143 or "interrupted; nothing new is kept" in err


@pytest.mark.slow
def test_a_study_that_loses_a_worker_and_is_terminated_resumes(idaq: Idaq, tmp_path: Path) -> None:
    catalogue, out, root = tmp_path / "catalogue", tmp_path / "runs", tmp_path / "root"
    brief = (*BRIEF, "episodes=2", "reference=1", "report_at=[2]")
    changed = (*SMALL, *(f"train.{key}" for key in QUICK), *(f"adapt.{key}" for key in brief))
    arguments = ("reproduce", "point-robot/expert", "--seeds", "2", "--jobs", "2", "--catalogue", catalogue)
    arguments = (
        *arguments,
        "--out",
        out,
        "--root",
        root,
        *settings((*changed, "adapt.episodes=2", "adapt.reference=1", "adapt.report_at=[2]")),
    )
    kept = "of each training its last checkpoint: run the same command again to resume"
    command = Command(*arguments)
    command.until(lambda: any(out.glob("*/run.json")))
    os.kill(command.workers()[0], signal.SIGKILL)
    code, err = command.end()
    assert code == 1, err
    assert "a worker was lost" in err
    assert kept in err
    command = Command(*arguments)
    command.until(command.workers)
    code, err = command.end(signal.SIGTERM)
    assert code == 143, err
    assert kept in err
    assert "Traceback" not in err
    again = idaq(*arguments, "--jobs", "1")
    assert again.code == 0, again.err
    assert len(list(out.glob("*/results.json"))) == 2
    assert not list(tmp_path.rglob("*.tmp"))
