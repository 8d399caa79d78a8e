"""The runs of a matrix: resumed, shared between commands, measured beforehand; what fails is named, NaN is a row."""

import json
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idaq.adapt.run_job import JOB, Phase, timed
from idaq.core.errors import RunError, UsageError
from tests.benchmark.conftest import CLONING, FOCAL, ID, QUICK, Ran, mapping, matrix
from tests.processes import Command

NAMES = ("metrics.jsonl", "prior.safetensors", "results.json", "tasks.json")


def same_bits(run: Path, other: Path) -> None:
    files = [*NAMES, *(f"checkpoint/{path.name}" for path in (other / "checkpoint").iterdir())]
    for name in files:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


def document(value: object) -> str:
    """As TOML: JSON but for its colons."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {document(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(document, value)) + "]"
    return json.dumps(value)


def write(path: Path, *algorithms: dict[str, Any], **changes: Any) -> Path:
    text = mapping(*algorithms, **changes)
    path.write_text("".join(f"{key} = {document(value)}\n" for key, value in text.items()))
    return path


def test_every_run_is_a_run_directory_in_its_place(ran: Ran) -> None:
    out = ran.bench.place.out
    folders = sorted(path.name for path in (out / "idaq-point-robot-expert-v0").iterdir())
    assert folders == ["cloning-seed0", "cloning-seed1", "focal-td3bc-seed0", "focal-td3bc-seed1"]
    assert ran.failed is None
    for folder in folders:
        run = out / "idaq-point-robot-expert-v0" / folder
        assert {"run.json", "job.json", *NAMES} <= {path.name for path in run.iterdir()}
        assert json.loads((run / "run.json").read_text())["config"]["steps"] == QUICK["steps"]
        job = json.loads((run / JOB).read_text())
        assert job["train"]["count"] == 12
        assert job["adapt"]["count"] == 3 * 2 * 2 * (2 + 2)  # strategies, tasks, seeds, episodes
        assert 0 < job["train"]["counting"] < job["train"]["cpu"]
    assert [(cell.row.label, cell.seed) for cell in ran.estimate.cells] == [
        ("focal-td3bc", 0), ("cloning", 0), ("focal-td3bc", 1), ("cloning", 1),
    ]  # fmt: skip


def test_a_run_of_before_budgets_were_run_on_their_own_is_not_taken_for_finished(ran: Ran, tmp_path: Path) -> None:
    there, run = ran.rows[0].jobs[0], tmp_path / "run"
    shutil.copytree(there.out, run)
    job = replace(there, train=replace(there.train, out=run), adapt=replace(there.adapt, run=run, out=run))
    assert job.finished()
    for name, inside in ((JOB, "asked"), ("results.json", None)):
        document = json.loads((run / name).read_text())
        del (document[inside] if inside else document)["each_budget"]
        (run / name).write_text(json.dumps(document))
    assert job.finished() is None
    with pytest.raises(RunError, match="each_budget is False, not True"):
        job.run()


def test_what_is_finished_is_not_run_again_and_tells_its_own_time(ran: Ran, root: Path) -> None:
    again = Ran(matrix(), ran.bench.place.out, root)
    assert again.estimate.to_run == ()
    assert again.estimate.hours == 0
    cost = again.estimate.cells[0].cost
    assert cost is not None
    assert cost.measured
    jobs = [json.loads((job.out / JOB).read_text()) for job in again.rows[0].jobs.values()]
    spent = [job["train"]["cpu"] + job["adapt"]["cpu"] for job in jobs]
    assert cost.total == pytest.approx(sum(spent) / 2)
    probed = ran.estimate.cells[0].cost
    assert probed is not None
    assert not probed.measured
    assert (probed.steps, probed.episodes) == (12, 48)


def test_another_strategy_is_added_and_other_settings_are_refused(ran: Ran, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = Ran(matrix(FOCAL, seeds=1), out, root).run()
    (job,) = first.rows[0].jobs.values()
    same_bits(job.out, ran.rows[0].jobs[0].out)
    before = (job.out / "checkpoint/step-00000012.safetensors").stat().st_mtime_ns
    more = Ran(matrix(FOCAL, seeds=1, strategies=["random-first"]), out, root)
    assert [cell.state for cell in more.estimate.cells] == ["started"]
    more.run()
    assert set(json.loads((job.out / "results.json").read_text())["strategies"]) == {
        "best-of-prior", "posterior", "offline-context", "random-first",
    }  # fmt: skip
    assert (job.out / "checkpoint/step-00000012.safetensors").stat().st_mtime_ns == before
    other = Ran(matrix({**FOCAL, "train": {"steps": 16}}, seeds=1), out, root).run()
    assert other.failed is not None
    assert "steps is 12, not 16" in other.failed.details[0]


def test_one_that_fails_is_named_while_the_others_finish(root: Path, tmp_path: Path) -> None:
    broken = {**FOCAL, "label": "broken", "train": {"validation.every": 4}}
    done = Ran(matrix(broken, CLONING, seeds=1), tmp_path / "out", root)
    assert done.estimate.unknown == (f"{ID}/broken",)
    assert any("not measured" in note and "no tasks in split 'val'" in note for note in done.notes)
    done.run()
    assert done.failed is not None
    assert done.failed.message == "1 of 2 runs failed; the others are finished"
    assert done.failed.details[0].startswith(f"{ID}/broken-seed0: {ID} has no tasks in split 'val'")
    (table,) = done.tables
    assert list(table.rows) == ["cloning"]


def test_a_loss_that_is_nan_is_a_row_that_says_so(root: Path, tmp_path: Path) -> None:
    wild = {**FOCAL, "label": "wild", "train": {"learner.lr": 1e30, "encoder.lr": 1e30}}
    done = Ran(matrix(wild, seeds=1), tmp_path / "out", root).run()
    assert done.failed is None
    (row,) = done.tables[0].rows.values()
    assert row.summary is None
    assert row.diverged[0].startswith("step ")
    assert Ran(matrix(wild, seeds=1), tmp_path / "out", root).estimate.to_run == ()


def test_strategies_that_an_agent_cannot_run_are_left_out(root: Path, tmp_path: Path) -> None:
    maml = {
        "algorithm": "tests.plugins.idaq_maze.maml:MamlConfig", "label": "maml", "train": {"steps": 4, "log_every": 2},
    }  # fmt: skip
    asked = matrix(maml, seeds=1, datasets=[{"id": ID}], strategies=["posterior", "idaq-prediction-error"])
    done = Ran(asked, tmp_path / "out", root).run()
    assert done.failed is None, done.failed
    row = done.tables[0].rows["maml"]
    assert row.cannot == ["idaq-prediction-error"]
    assert row.summary is not None
    assert list(row.summary.strategies) == ["posterior"]
    record = done.rows[0].jobs[0].record()
    assert record is not None
    assert record.left_out[0].startswith("idaq-prediction-error is left out: an agent of tests.plugins.idaq_maze.maml")


def test_more_hours_than_allowed_are_refused_beforehand(root: Path, tmp_path: Path) -> None:
    asked = matrix(FOCAL, hours=1e-6)
    done = Ran(asked, tmp_path / "out", root)
    with pytest.raises(
        UsageError, match=r"2 runs would take about .* hours of processor time; the matrix allows 1e-06"
    ):
        done.bench.check_budget(done.estimate)
    assert not (tmp_path / "out/idaq-point-robot-expert-v0").exists()
    steps = {**FOCAL, "train": {"steps": 40_000}}
    long = Ran(matrix(steps), tmp_path / "other", root)
    cost = long.estimate.cells[0].cost
    assert cost is not None
    assert cost.steps == 40_000
    assert cost.total - cost.setup == pytest.approx(40_000 * cost.step + cost.episodes * cost.episode)


def test_time_is_counted_from_the_first_call_on() -> None:
    kept = list[Phase]()

    def busy(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    with timed(Phase(count=5, wall=10.0, cpu=9.0, counting=8.0), kept.append) as advance:
        busy(0.2)
        advance(100)
        busy(0.1)
        advance(3)
        advance(4)
        busy(0.15)
    (phase,) = kept
    assert phase.count == 12
    assert phase.counting == pytest.approx(8.1, abs=0.05)
    assert phase.cpu == pytest.approx(9.45, abs=0.1)
    assert phase.wall > 10.44


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Callable[..., Command]:
    """Starts `idaq bench` on a file of one row, two seeds, of several hundred steps."""
    long = {**QUICK, "steps": 400, "checkpoint_every": 20}
    path = write(tmp_path / "long.toml", FOCAL, datasets=[{"id": ID, "train": long}])

    def started(out: str, *words: str, jobs: Sequence[str] = ("--jobs", "2")) -> Command:
        return Command("bench", path, "--out", tmp_path / out, "--root", root, *jobs, *words)

    return started


@pytest.mark.slow
def test_killed_in_the_middle_it_ends_in_the_same_bits(start: Callable[..., Command], tmp_path: Path) -> None:
    folder = tmp_path / "killed/idaq-point-robot-expert-v0"
    killed = start("killed")
    killed.until(lambda: len(list(folder.glob("*/checkpoint/*.safetensors"))) > 1, 200)
    killed.end(signal.SIGKILL)
    assert not list(folder.glob("*/results.json"))
    there = set(folder.glob("*/checkpoint/*"))
    stopped = start("killed", jobs=("--jobs", "1"))
    stopped.until(lambda: set(folder.glob("*/checkpoint/*")) - there, 200)  # it trains: it can be interrupted now
    code, err = stopped.end(signal.SIGINT)
    assert code == 130, err
    assert "what is finished is kept" in err
    assert start("killed").end()[0] == 0
    assert start("whole", jobs=("--jobs", "1")).end()[0] == 0
    for seed in (0, 1):
        same_bits(
            folder / f"focal-td3bc-seed{seed}", tmp_path / f"whole/idaq-point-robot-expert-v0/focal-td3bc-seed{seed}"
        )
    boards = [json.loads((tmp_path / name / "leaderboard.json").read_text()) for name in ("killed", "whole")]
    for board in boards:
        board["tables"][0]["rows"]["focal-td3bc"].pop("compute")
    assert boards[0] == boards[1]


@pytest.mark.slow
def test_two_at_once_share_the_runs(start: Callable[..., Command], tmp_path: Path) -> None:
    first, second = start("shared", jobs=("--jobs", "1")), start("shared", jobs=("--jobs", "1"))
    for command in (first, second):
        code, err = command.end()
        assert code == 0, err
    jobs = [json.loads(path.read_text()) for path in tmp_path.glob("shared/*/*/job.json")]
    assert [job["train"]["count"] for job in jobs] == [400, 400]  # none did again what the other had done
