"""Validation along a training: it changes no weight, and decides the same however often the training is killed."""

import math
import multiprocessing
import signal
import time
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.adapt.adapt import Adapted, adapt
from idaq.adapt.results import Results
from idaq.adapt.validation import validator
from idaq.collect.collect import Collected, collect
from idaq.core.errors import CheckpointError, ConfigError, DatasetError, NonFiniteError, UnknownNameError, UsageError
from idaq.core.metrics import METRICS, read_metrics
from idaq.learn.algorithm import Agent
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.checkpoint import checkpoints, load_agent, step_of, weights_digest
from idaq.learn.config import ValidationConfig
from idaq.learn.loop import Trained, train
from idaq.learn.run import BEST
from idaq.learn.validation import VALIDATION, Validations
from idaq.loader import Dataset, open_dataset
from idaq.share.importers import import_dataset
from tests.learn.test_loop import small_config
from tests.recipes import small_recipe
from tests.share.test_sources import archive


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """point-robot/expert with two tasks put aside."""
    sizes = "splits.sizes={train = 4, val = 2, test = 2}"
    return collect(small_recipe("point-robot", "expert", sizes), tmp_path_factory.mktemp("root")).path


@pytest.fixture(scope="module")
def dataset(path: Path) -> Dataset:
    return open_dataset(path)


def config(**changes: object) -> FocalTd3BcConfig:
    asked = {"every": 10, "episodes": 2, **changes}
    return small_config(validation=ValidationConfig(**asked))


def validated(out: Path) -> list[tuple[int, float]]:
    """Steps and returns of metrics.jsonl."""
    return [(int(line["step"]) + 1, line[VALIDATION]) for line in read_metrics(out) if VALIDATION in line]


def given(values: list[float]) -> object:
    """Validations that return these values, in turn."""
    left = iter(values)
    return lambda _agent: next(left)


def run(dataset: Dataset, out: Path, config: FocalTd3BcConfig) -> Trained:
    return train(dataset, config, out, validate=validator(dataset, config))


def test_returns_on_the_validation_tasks_stand_in_the_metrics(dataset: Dataset, tmp_path: Path) -> None:
    seen = list[int]()
    chosen = config(every=25)
    real = validator(dataset, chosen)
    assert real is not None

    def watched(agent: Agent) -> float:
        assert agent.prior is not None
        assert sorted(agent.prior.task_indices) == sorted(t.task_index for t in dataset.all_tasks if t.split == "train")
        return real(agent)

    done = train(dataset, chosen, tmp_path / "run", validate=watched, on_metrics=lambda step, v: seen.append(step))
    returns = validated(tmp_path / "run")
    assert [steps for steps, _ in returns] == [25, 50, 60]  # and the last
    assert all(-100 < value < 0 for _, value in returns)
    assert seen == [int(line["step"]) for line in read_metrics(tmp_path / "run")]
    assert done.best_at == max(returns, key=lambda one: one[1])[0]


def test_it_adapts_to_the_validation_tasks_as_asked(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To none of the test tasks: whoever chooses by those reports nothing."""
    seen = list[Results]()

    def watched(*given: Any, **more: Any) -> Adapted:
        seen.append((done := adapt(*given, **more)).results)
        return done

    monkeypatch.setattr("idaq.adapt.validation.adapt", watched)
    run(dataset, tmp_path / "run", config(every=60, episodes=3, strategy="posterior"))
    (results,) = seen
    assert {t.task_id for t in results.tasks} == {t.task_id for t in dataset.all_tasks if t.split == "val"}
    assert (results.config.episodes, results.config.seeds, list(results.strategies)) == (3, 1, ["posterior"])
    assert validated(tmp_path / "run") == [(60, np.mean(results.strategies["posterior"].returns))]


def test_weights_are_the_same_bits_with_and_without_validation(dataset: Dataset, tmp_path: Path) -> None:
    run(dataset, tmp_path / "with", config())
    train(dataset, small_config(), tmp_path / "without")
    ours, theirs = checkpoints(tmp_path / "with")[-1], checkpoints(tmp_path / "without")[-1]
    assert ours.read_bytes() == theirs.read_bytes()
    without = [{k: v for k, v in line.items() if k != VALIDATION} for line in read_metrics(tmp_path / "with")]
    assert [line for line in without if len(line) > 1] == read_metrics(tmp_path / "without")


@pytest.mark.parametrize(
    ("returns", "patience", "stopped_at", "best_at"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 60, 60),
        ([1.0, 3.0, 2.0, 2.9], 2, 40, 20),
        ([3.0, 2.0, 3.0], 2, 30, 10),  # an equal is no improvement
        ([3.0, 2.0, 4.0, 1.0, 1.0], 2, 50, 30),  # it counts again from each new best
        ([3.0, 2.0], 1, 20, 10),
        ([3.0, 2.0, 1.0, 0.0, 0.0, 0.0], 0, 60, 10),  # without patience it never stops early
    ],
)
def test_training_stops_when_patience_runs_out_and_gives_the_best(
    dataset: Dataset, tmp_path: Path, returns: list[float], patience: int, stopped_at: int, best_at: int
) -> None:
    out, chosen = tmp_path / "run", config(patience=patience)
    done = train(dataset, chosen, out, validate=given(returns))  # type: ignore[arg-type]
    assert (done.stopped_at, done.best_at) == (stopped_at, best_at)
    assert step_of(checkpoints(out)[-1]) == stopped_at
    assert [step_of(path) for path in checkpoints(out, BEST)] == [best_at]
    reference = train(dataset, small_config(), tmp_path / "to-the-end").agent if best_at == 60 else None
    agent = load_agent(out)
    assert weights_digest(agent) == weights_digest(done.agent)
    assert agent.prior is not None
    assert reference is None or weights_digest(reference) == weights_digest(agent)
    again = train(dataset, chosen, out, validate=given([]))  # type: ignore[arg-type]
    assert (again.resumed_at, again.stopped_at, again.best_at) == (stopped_at, stopped_at, best_at)


def train_it(path: Path, out: Path, started: Event) -> None:
    """What the killed processes run."""
    started.set()
    run(open_dataset(path), out, config(patience=2))


@pytest.mark.slow
def test_kills_change_neither_the_returns_nor_the_decision(path: Path, dataset: Dataset, tmp_path: Path) -> None:
    """SIGKILL at many moments of real processes, before, within and after validations."""
    reference = run(dataset, tmp_path / "reference", config(patience=2))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idaq.learn.loop", "idaq.adapt.validation"])
    kills, code = 0, None
    while code != 0:
        started = processes.Event()
        process = processes.Process(target=train_it, args=(path, tmp_path / "killed", started))
        process.start()
        if kills < 6:
            started.wait()
            time.sleep(0.15 * (kills + 1))
            process.kill()
        process.join()
        code, kills = process.exitcode, kills + (process.exitcode == -signal.SIGKILL)
        assert code in (0, -signal.SIGKILL)
    assert kills > 2
    assert (tmp_path / "killed" / METRICS).read_bytes() == (tmp_path / "reference" / METRICS).read_bytes()
    assert weights_digest(load_agent(tmp_path / "killed")) == weights_digest(reference.agent)
    assert [p.name for p in checkpoints(tmp_path / "killed", BEST)] == [
        p.name for p in checkpoints(tmp_path / "reference", BEST)
    ]


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop_at", [9, 10, 11, 25, 30, 39, 40])
def test_stopping_anywhere_changes_nothing(dataset: Dataset, tmp_path: Path, stop_at: int) -> None:
    """Also where a new best was found beyond the last checkpoint: the one before is still there."""
    returns, out, seen = {10: 1.0, 20: 2.0, 30: 5.0, 40: 3.0, 50: 1.0}, tmp_path / "run", 0

    def stop(count: int) -> None:
        nonlocal seen
        seen += count
        if seen >= stop_at:
            raise Stop

    def told(at: int) -> object:
        left = iter(value for steps, value in returns.items() if steps > at)
        return lambda _agent: next(left)

    chosen = config(patience=2)
    with pytest.raises(Stop):
        train(dataset, chosen, out, validate=told(0), progress=stop)  # type: ignore[arg-type]
    done = train(dataset, chosen, out, validate=told(stop_at // 20 * 20))  # type: ignore[arg-type]
    assert (done.stopped_at, done.best_at) == (50, 30)
    assert validated(out) == list(returns.items())


def test_a_dataset_without_such_tasks_is_refused_with_the_way_to_get_them(collected: Collected, tmp_path: Path) -> None:
    dataset = open_dataset(collected.path)
    with pytest.raises(
        DatasetError, match=r"no tasks in split 'val' to validate on; it has .*train \(6 tasks\)"
    ) as caught:
        validator(dataset, config())
    hint = str(caught.value.hint)
    assert "idaq dataset relabel idaq/point-robot/expert-v0 NEW --split val=" in hint
    aside = hint.partition("val=")[2].partition(";")[0].split(",")
    assert len(aside) == 1  # of six: the others are left to learn from
    assert set(aside) <= {str(task.task_index) for task in dataset.all_tasks if task.split == "train"}
    assert validator(dataset, small_config()) is None


@pytest.mark.parametrize(
    ("learned", "validation", "left"),
    [
        ("train+val", "val", "train"),
        ("val+train", "val", "train"),
        ("train+val", "test+val", "train"),
        ("train", "train", None),
        ("train+val", "train+val", None),
    ],
)
def test_tasks_that_are_learned_from_validate_nothing(
    dataset: Dataset, learned: str, validation: str, left: str | None
) -> None:
    chosen = replace(config(split=validation), split=learned)
    with pytest.raises(UsageError, match="is of tasks that are learned from: split is") as caught:
        validator(dataset, chosen)
    hint = str(caught.value.hint)
    if left is None:
        assert "--set validation.split=NAME" in hint
    else:
        assert hint == f"--set split={left}"
        assert validator(dataset, replace(chosen, split=left)) is not None


def test_several_splits_validate_together(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[Results]()

    def watched(*given: Any, **more: Any) -> Adapted:
        seen.append((done := adapt(*given, **more)).results)
        return done

    monkeypatch.setattr("idaq.adapt.validation.adapt", watched)
    done = train(dataset, small_config(steps=2), tmp_path / "run")
    validate = validator(dataset, config(split="val+test", episodes=1))
    assert validate is not None
    validate(done.agent)
    assert {task.task_index for task in seen[0].tasks} == {
        task.task_index for task in dataset.all_tasks if task.split in ("val", "test")
    }


def test_what_cannot_validate_is_refused_before_anything_is_written(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing validates"):
        train(dataset, config(), tmp_path / "run")
    with pytest.raises(UnknownNameError, match="best-of-priors"):
        validator(dataset, config(strategy="best-of-priors"))
    with pytest.raises((ConfigError, ValueError), match="patience counts validations"):
        config(every=0, patience=3)
    assert list(tmp_path.iterdir()) == []


def test_a_return_that_is_no_number_stops_the_training(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="the return on validation tasks is nan"):
        train(dataset, config(), tmp_path / "run", validate=lambda _agent: math.nan)


def test_a_best_checkpoint_that_is_gone_is_named(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(dataset, config(), out, validate=given([1.0, 3.0, 2.0, 2.0, 2.0, 2.0]))  # type: ignore[arg-type]
    checkpoints(out, BEST)[0].unlink()
    with pytest.raises(CheckpointError, match="no checkpoint of step 20, the best"):
        train(dataset, config(), out, validate=given([]))  # type: ignore[arg-type]


def test_the_best_is_the_first_of_equals() -> None:
    asked = config(patience=2)
    found = Validations(config=asked)
    assert (found.best, found.exhausted) == (None, False)
    assert [found.add(10 * i, value) for i, value in enumerate([1.0, 1.0, 2.0, 2.0], 1)] == [True, False, True, False]
    assert (found.best, found.exhausted) == (30, False)
    assert not found.add(50, 0.0)
    assert found.exhausted


def test_data_of_no_family_say_so_before_a_step_is_done(tmp_path: Path) -> None:
    """Their tasks can be acted on one at a time, by `idaq adapt --env`."""
    files = [archive(tmp_path / f"{name}.npz", number) for number, name in enumerate("ab")]
    made = import_dataset(files, "me/own/a-v0", splits={"val": "b"}, root=tmp_path)
    with pytest.raises(UsageError, match="the data are of no task family") as caught:
        validator(open_dataset(made.path), config())
    assert "idaq adapt RUN --env ENV takes one system" in str(caught.value.hint)
