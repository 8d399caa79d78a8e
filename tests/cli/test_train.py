"""idaq train as users see it: in a log, several seeds at a time, on devices, beside other loggers, with validation."""

import itertools
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from cli.train import _kept
from idaq.adapt.training import TrainJob
from idaq.collect.collect import Collected
from idaq.core.metrics import METRICS, read_metrics
from idaq.learn.checkpoint import checkpoints
from idaq.learn.loggers.csv import CSV
from idaq.learn.run import read_run
from tests.cli.conftest import QUICK, Idaq, settings
from tests.processes import PROGRAM, Command

TINY = settings((*QUICK, "steps=20", "log_every=2", "checkpoint_every=6"))


@pytest.mark.slow
def test_a_piped_training_says_where_it_stands_from_the_start(collected: Collected, tmp_path: Path) -> None:
    """Its first line within 5 s, then more than every 30 s: for the eight seconds that this is watched, every five."""
    changed = settings((*QUICK, "steps=1000000", "log_every=2"))
    start = time.monotonic()
    process = subprocess.Popen(
        [PROGRAM, "train", "--dataset", collected.path, "--out", tmp_path / "run", *changed],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lines: list[tuple[float, str]] = []

    def read() -> None:
        assert process.stderr is not None
        with process.stderr as pipe:
            lines.extend((time.monotonic() - start, line.rstrip()) for line in pipe)

    reader = threading.Thread(target=read)
    reader.start()
    while time.monotonic() < start + 60 and not (lines and lines[-1][0] > 8 and "loss" in lines[-1][1]):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    reader.join()
    times, said = [at for at, _ in lines], [line for _, line in lines]
    assert times[0] < 5
    assert said[0] == f"training on {collected.path}"
    assert max(after - before for before, after in itertools.pairwise(times)) < 10
    (*_, last) = [line for line in said if line.startswith(f"training {tmp_path / 'run'}:")]
    for part in ("of 1,000,000 steps", "steps/s", "left", "critic_loss", "actor_loss"):
        assert part in last


@pytest.fixture(scope="module")
def one_after_the_other(collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds with --jobs 1."""
    folder = tmp_path_factory.mktemp("one")
    arguments = ["train", "--dataset", collected.path, "--out", folder / "run", "--seeds", "2", "--jobs", "1"]
    subprocess.run([PROGRAM, *map(str, [*arguments, *TINY])], check=True, capture_output=True)
    return folder


def same(ours: Path, theirs: Path) -> bool:
    """Whether two runs have the same loss trace and weights."""
    pairs = [(ours / METRICS, theirs / METRICS), (checkpoints(ours)[-1], checkpoints(theirs)[-1])]
    return all(mine.read_bytes() == other.read_bytes() for mine, other in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["joblib", "ray"])
def test_several_seeds_are_trained_side_by_side_to_the_same_bits(
    idaq: Idaq, collected: Collected, one_after_the_other: Path, tmp_path: Path, executor: str
) -> None:
    seeds = ("--seeds", "2", "--jobs", "2", "--executor", executor)
    done = idaq("train", "--dataset", collected.path, "--out", tmp_path / "run", *seeds, *TINY, "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert [fact["run"] for fact in facts] == [str(tmp_path / f"run-seed{seed}") for seed in range(2)]
    assert "training 2 runs: 40 of 40 steps" in done.err
    assert "2 of 2 runs done" in done.err
    for seed in range(2):
        run = tmp_path / f"run-seed{seed}"
        assert (read_run(run).seed, read_run(run).config["threads"]) == (seed, 1)
        assert same(run, one_after_the_other / run.name)


@pytest.mark.slow
def test_an_interrupted_batch_resumes(collected: Collected, one_after_the_other: Path, tmp_path: Path) -> None:
    arguments = ("train", "--dataset", collected.path, "--out", tmp_path / "run", "--seeds", "2", "--jobs", "2", *TINY)
    command = Command(*arguments)
    command.until(lambda: list(tmp_path.glob("*/checkpoint/step-*")))
    code, err = command.end(signal.SIGTERM)
    done = "2 of 2 runs done" in err
    assert code == 143 or (done and code in (0, -signal.SIGTERM)), err  # a signal just ends Python's own end
    assert "Traceback" not in err
    again = Command(*arguments)
    assert again.end()[0] == 0
    for seed in range(2):
        assert same(tmp_path / f"run-seed{seed}", one_after_the_other / f"run-seed{seed}")


def test_a_seed_that_fails_is_named_and_the_others_finish(idaq: Idaq, collected: Collected, tmp_path: Path) -> None:
    arguments = ("train", "--dataset", collected.path, "--out", tmp_path / "run", *TINY)
    assert idaq(*arguments, "--seed", "1", "--set", "batch=4").code == 0
    (tmp_path / "run").rename(tmp_path / "run-seed1")
    done = idaq(*arguments, "--seeds", "2", "--jobs", "1")
    assert done.code == 1
    assert "1 of 2 failed; the others are finished" in done.err
    assert (
        f"{tmp_path / 'run-seed1'}: {tmp_path / 'run-seed1'} holds a run with another config: batch is 4"
        in " ".join(done.err.split())
    )
    assert len(checkpoints(tmp_path / "run-seed0")) == 2


def test_a_device_that_is_not_there_is_told_before_anything_is_written(
    idaq: Idaq, collected: Collected, tmp_path: Path
) -> None:
    done = idaq("train", "--dataset", collected.path, "--out", tmp_path / "run", "--device", "cuda:77")
    assert done.code == 2
    assert "there is no device 'cuda:77' here" in done.err
    assert "fix: --device cpu" in done.err
    assert not (tmp_path / "run").exists()


def test_metrics_go_where_log_says(idaq: Idaq, collected: Collected, tmp_path: Path) -> None:
    arguments = ("train", "--dataset", collected.path, "--out", tmp_path / "run", *TINY, "--device", "cpu")
    assert idaq(*arguments, "--log", "csv").code == 0
    assert len((tmp_path / "run" / CSV).read_text().splitlines()) == 1 + len(read_metrics(tmp_path / "run"))
    done = idaq(*arguments, "--log", "csw")
    assert (done.code, "unknown logger 'csw'" in done.err, "'csv'" in done.err) == (2, True, True)


def test_validation_stops_early_and_says_so(idaq: Idaq, collected: Collected, tmp_path: Path) -> None:
    asked = ("--validate-every", "4", "--patience", "1", "--validation-episodes", "1", *TINY, "--device", "cpu")
    without = idaq("train", "--dataset", collected.path, "--out", tmp_path / "run", *asked)
    assert without.code == 1  # until `idaq dataset split --validation` puts some aside
    assert "has no tasks in split 'val' to validate on; it has" in without.err
    assert "idaq dataset relabel" in without.err
    assert not (tmp_path / "run").exists()
    root = ("--root", tmp_path / "root")
    aside = "".join(without.err.partition("--split val=")[2].partition(";")[0].split())
    assert idaq("dataset", "split", collected.path, "--val", aside, "--id", "me/point/aside-v0", *root).code == 0
    arguments = ("train", "--dataset", "me/point/aside-v0", *root, "--out", tmp_path / "run", *asked)
    done = idaq(*arguments, "--set", "steps=200")
    assert done.code == 0, done.err
    assert "validation.return" in done.err
    assert ", stopped early; its agent is that of step" in done.out
    fact = json.loads(idaq(*arguments, "--set", "steps=200", "--json").out)
    assert fact["early"]
    assert fact["best_at"] < fact["steps"] == fact["resumed_at"] < 200


def test_an_interruption_of_several_runs_names_each_and_the_command_once(
    collected: Collected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["idaq", "train", "--seeds", "2"])
    runs = [
        TrainJob(dataset=str(collected.path), settings={"steps": 9}, out=tmp_path / name).open() for name in ("a", "b")
    ]
    (tmp_path / "a/checkpoint").mkdir(parents=True)
    (tmp_path / "a/checkpoint/step-00000006.safetensors").touch()
    a, b = tmp_path / "a", tmp_path / "b"
    said = f"{a} has a checkpoint of step 6 of 9; {b} has no checkpoint yet; this resumes them: idaq train --seeds 2"
    assert _kept(runs) == said
