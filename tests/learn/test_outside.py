"""What goes wrong in an algorithm or a sampler of a user's own is told in one error, and nothing of it is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import idaq
from idaq.collect.collect import Collected
from idaq.core.errors import IdaqError, PluginError, RunError
from idaq.learn.checkpoint import load_agent, weights_digest
from idaq.learn.config import training_config
from idaq.learn.loop import train
from idaq.learn.prior import PRIOR
from idaq.loader import Dataset, Sampler, open_dataset

HERE = "tests.learn.test_outside"
SIZES = {"steps": 2, "checkpoint_every": 1, "prior_context": 4}


def broken(*_given: Any, **_named: Any) -> Any:
    raise ValueError("my own mistake")


@idaq.config
class Mine(idaq.TrainConfig):
    """Learns nothing; `wrong` names what it does wrongly, and how."""

    algorithm: str = f"{HERE}:Mine"
    sampler: str = "meta-batches"
    meta_batch: int = 2
    batch: int = 4
    context: int = 4
    wrong: str = ""
    """a key of WRONG"""

    def create(self, spec: idaq.AgentSpec, device: str) -> Any:
        if self.wrong == "create":
            return None
        return Learner(self, spec)


@idaq.config
class Abstract(idaq.TrainConfig):
    """It forgot `create`."""

    algorithm: str = f"{HERE}:Abstract"
    sampler: str = "meta-batches"


WRONG: dict[str, dict[str, Any]] = {
    "init": {"__init__": broken},
    "update raises": {"update": broken},
    "update gives a vector": {"update": lambda *_: {"loss": torch.zeros(3)}},
    "state": {"state": lambda _: {"n": 3}},
    "agent": {"agent": lambda *_: None},
    "infer raises": {"infer": broken},
    "infer of one axis": {"infer": lambda _, context: np.zeros(len(context.rewards), np.float32)},
    "infer of doubles": {"infer": lambda _, context: np.zeros((len(context.rewards), 1))},
    "infer of NaN": {"infer": lambda _, context: np.full((len(context.rewards), 1), np.nan, np.float32)},
    "infer of torch": {"infer": lambda _, context: torch.zeros(len(context.rewards), 1)},
    "load": {"load_state": broken},
    "tensors": {"tensors": lambda _: {"weight": np.zeros(1)}},
}


class Learner:
    """The algorithm and its agent in one."""

    prior = None

    def __new__(cls, config: Mine, spec: idaq.AgentSpec) -> "Learner":
        return object.__new__(type("Wrong", (Learner,), WRONG.get(config.wrong, {})))

    def __init__(self, config: Mine, spec: idaq.AgentSpec) -> None:
        self.config, self.spec = config, spec

    def update(self, *_: Any) -> Any:
        return {"loss": torch.zeros(())}

    def state(self) -> Any:
        return {"weight": torch.zeros(1)}

    def load_state(self, state: Any) -> None:
        pass

    def agent(self, prior: Any) -> Any:
        return self

    def infer(self, context: Any) -> Any:
        return np.zeros((len(context.rewards), 1), np.float32)

    def policy(self, beliefs: Any) -> Any:
        raise NotImplementedError

    def tensors(self) -> Any:
        return {"weight": torch.zeros(1)}


class WithoutStatistics:
    """It forgot `statistics`."""

    def at(self, step: int) -> int:
        return step


class BrokenBatches:
    """Raises when it is asked for a batch."""

    def __init__(self, there: Sampler[Any]) -> None:
        self.statistics, self.at = there.statistics, broken


def half_sampler(_dataset: Dataset, _config: Any) -> Any:
    return WithoutStatistics()


def broken_batches(dataset: Dataset, config: Any) -> Any:
    from idaq.loader.samplers import make_sampler

    return BrokenBatches(make_sampler("meta-batches", dataset, config))


@pytest.fixture(scope="module")
def dataset(collected: Collected) -> Dataset:
    return open_dataset(collected.path)


def run(dataset: Dataset, out: Path, **settings: Any) -> None:
    train(dataset, training_config({"algorithm": f"{HERE}:Mine", **SIZES, **settings}), out, device="cpu")


@pytest.mark.parametrize(
    ("wrong", "kind", "told"),
    [
        ("create", PluginError, r"create of .*:Mine gave None, which lacks update, state, load_state, agent"),
        ("init", PluginError, "creating .*:Mine: ValueError: my own mistake\n  - raised by broken, line"),
        (
            "update raises",
            RunError,
            "step 0 of .*:Mine on meta-batches: ValueError: my own mistake\n  - raised by",
        ),
        ("update gives a vector", PluginError, "update of .*:Mine gave .*; numbers to log"),
        ("state", PluginError, "state of .*:Mine: n is of type int; tensors by name were expected"),
        ("agent", PluginError, "agent of .*:Mine gave None, which lacks"),
        ("infer raises", RunError, "infer of .*:Mine: ValueError: my own mistake"),
        ("infer of one axis", RunError, r"infer of .*:Mine gave beliefs of float32 \(\d+,\), or NaN for contexts"),
        ("infer of doubles", RunError, "beliefs of float64"),
        ("infer of NaN", RunError, "or NaN for contexts"),
        ("infer of torch", RunError, "infer of .*:Mine gave a Tensor"),
    ],
)
def test_a_wrong_algorithm_is_told_of(
    dataset: Dataset, tmp_path: Path, wrong: str, kind: type[IdaqError], told: str
) -> None:
    with pytest.raises(kind) as caught:
        run(dataset, tmp_path / "run", wrong=wrong)
    assert (caught.type, caught.match(told)) == (kind, True)
    assert not (tmp_path / "run" / PRIOR).exists()


def test_a_config_that_creates_nothing_is_no_algorithm() -> None:
    with pytest.raises(PluginError, match="Abstract is no algorithm: it does not define create"):
        training_config({"algorithm": f"{HERE}:Abstract"})


def test_a_checkpoint_that_its_algorithm_does_not_take_says_why(dataset: Dataset, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", wrong="load")
    with pytest.raises(RunError, match=r"none of the 2 .*\n  - step-00000002.*: ValueError: my own mistake"):
        load_agent(tmp_path / "run", allow=[f"{HERE}:Mine"])


def test_what_has_no_tensors_has_no_digest(dataset: Dataset, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", wrong="tensors")
    with pytest.raises(PluginError, match=r"tensors of .*:Mine: weight is of type ndarray"):
        weights_digest(load_agent(tmp_path / "run", allow=[f"{HERE}:Mine"]))


@pytest.mark.parametrize(
    ("sampler", "told"),
    [
        ("half_sampler", "half_sampler' gave .*, which lacks statistics"),
        ("broken", "making the sampler .*:broken': ValueError: my own mistake"),
        ("broken_batches", "step 0 of .*:Mine on .*:broken_batches: ValueError: my own mistake"),
    ],
)
def test_a_wrong_sampler_is_told_of(dataset: Dataset, tmp_path: Path, sampler: str, told: str) -> None:
    with pytest.raises(IdaqError, match=told):
        run(dataset, tmp_path / "run", sampler=f"{HERE}:{sampler}")
