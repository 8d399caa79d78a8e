"""The device is looked for before anything is written."""

from pathlib import Path

import pytest
import torch

from idaq.collect.collect import Collected
from idaq.core.errors import UsageError
from idaq.learn.checkpoint import load_agent
from idaq.learn.device import check_device
from idaq.learn.loop import train
from idaq.loader import open_dataset
from tests.learn.test_loop import small_config


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_cuda_is_taken_where_it_is_and_one_of_several_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 2)
    assert check_device(None) == "cuda"
    assert check_device("cuda:1") == "cuda:1"
    with_gpus(monkeypatch, 0)
    assert check_device(None) == check_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["cuda:2", "cuda:x", "tpu", "meta", ""])
def test_a_device_that_is_not_there_is_told_with_those_that_are(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with_gpus(monkeypatch, 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="there is no device") as caught:
        check_device(name)
    assert caught.value.hint == "--device cpu or cuda or cuda:0 or cuda:1"


def test_nothing_is_written_before_the_device_is_known(
    collected: Collected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, 0)
    with pytest.raises(UsageError, match="there is no device 'cuda'"):
        train(open_dataset(collected.path), small_config(), tmp_path / "run", device="cuda")
    assert list(tmp_path.iterdir()) == []


def test_an_agent_is_loaded_onto_a_device_that_is_there(
    collected: Collected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, 0)
    train(open_dataset(collected.path), small_config(steps=4), tmp_path / "run", device="cpu")
    with pytest.raises(UsageError, match="there is no device 'cuda:0'"):
        load_agent(tmp_path / "run", "cuda:0")
