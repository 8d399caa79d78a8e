"""Metrics beside metrics.jsonl: what a log holds after interruptions is what it would hold without them."""

import csv
import logging
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from idaq.collect.collect import Collected
from idaq.core.errors import MissingExtraError, PluginError, RunError, UnknownNameError
from idaq.core.metrics import read_metrics
from idaq.learn.loggers import find_loggers, logging_to
from idaq.learn.loggers.csv import CSV, CsvLogger
from idaq.learn.loop import train
from idaq.loader import Dataset, open_dataset
from tests.learn.test_loop import small_config


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def dataset(collected: Collected) -> Dataset:
    return open_dataset(collected.path)


def stopped_and_resumed(dataset: Dataset, out: Path, name: str) -> dict[int, dict[str, float]]:
    """A training of 60 steps, stopped at step 33, resumed from its checkpoint of step 20; what metrics.jsonl holds."""
    seen = 0

    def stop(count: int) -> None:
        nonlocal seen
        seen += count
        if seen >= 33:
            raise Stop

    with pytest.raises(Stop):
        train(dataset, small_config(), out, log=[name], progress=stop)
    assert train(dataset, small_config(), out, log=[name]).resumed_at == 20
    return {
        int(line["step"]): {key: value for key, value in line.items() if key != "step"} for line in read_metrics(out)
    }


def test_csv(dataset: Dataset, tmp_path: Path) -> None:
    told = stopped_and_resumed(dataset, tmp_path / "run", "csv")
    with (tmp_path / "run" / CSV).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(told) == list(range(0, 60, 4))
    assert {int(r.pop("step")): {name: float(text) for name, text in r.items()} for r in rows} == told


def test_a_new_metric_becomes_a_column_and_a_torn_row_is_left_out(tmp_path: Path) -> None:
    logger = CsvLogger(tmp_path, {}, 0)
    logger.log(0, {"loss": 0.5})
    logger.log(1, {"loss": 0.25, "return": -1.0})
    assert (tmp_path / CSV).read_text() == "step,loss,return\n0,0.5,\n1,0.25,-1.0\n"
    with (tmp_path / CSV).open("a") as file:
        file.write("2,0.1")
    CsvLogger(tmp_path, {}, 10).log(3, {"return": 2.0})
    with (tmp_path / CSV).open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "1", "3"]


@pytest.mark.slow
def test_tensorboard(dataset: Dataset, tmp_path: Path) -> None:
    """Read back by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    told = stopped_and_resumed(dataset, tmp_path / "run", "tensorboard")
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    found.Reload()
    tags = found.Tags()["scalars"]
    assert set(tags) == set(told[0])
    for tag in tags:
        assert [event.step for event in found.Scalars(tag)] == list(told)
        assert [event.value for event in found.Scalars(tag)] == pytest.approx([one[tag] for one in told.values()])


@pytest.mark.slow
def test_wandb_offline(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step once, over both W&B runs that were one training, which share an id."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    told = stopped_and_resumed(dataset, tmp_path / "run", "wandb")
    logs = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(logs) == 2
    assert len({log.parent.name.split("-")[3] for log in logs}) == 1  # offline-run-<time>-<id>, and -1 within a second
    assert sorted(step for log in logs for step in wandb_steps(log)) == list(told)


def wandb_steps(log: Path) -> list[int]:
    """Steps of a W&B log: a LevelDB log of protobuf records, in blocks of 32 KiB behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, steps, record = log.read_bytes(), 7, [], b""
    while at + 7 <= len(data):
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        if (1 << 15) - at % (1 << 15) < 7 or kind == 0:
            at += (1 << 15) - at % (1 << 15)
            continue
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found = Record.FromString(record)
            steps += [found.history.step.num] if found.HasField("history") else []
            record = b""
    return steps


def test_a_missing_library_is_named_before_anything_is_written(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delitem(sys.modules, "idaq.learn.loggers.wandb", raising=False)
    with pytest.raises(MissingExtraError) as caught:
        train(dataset, small_config(), tmp_path / "run", log=["wandb"])
    assert caught.value.hint == "pip install 'idaq[wandb]'"
    assert list(tmp_path.iterdir()) == []


class Broken:
    """A logger of a user."""

    def __init__(self, run: Path, config: Mapping[str, Any], first: int) -> None:
        self.closed = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        raise KeyError("no such table")

    def close(self) -> None:
        self.closed = True


def test_a_logger_of_a_user_is_told_of_by_name_and_its_mistakes_too(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"logger {__name__}:Broken: KeyError"):
        train(dataset, small_config(), tmp_path / "run", log=[f"{__name__}:Broken"])
    with (
        pytest.raises(PluginError, match="lacks log, close"),
        logging_to({"mine": lambda *_arguments: object()}, tmp_path, {}, 0),  # type: ignore[arg-type, return-value]
    ):
        pass


def test_an_unknown_logger_is_told_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown logger 'tensorbord'") as caught:
        find_loggers(["tensorbord"])
    assert "tensorboard" in str(caught.value.hint)
