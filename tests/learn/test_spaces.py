"""Training on counted spaces, images and dictionaries, by way of the flat view; and on data without rewards: not."""

from pathlib import Path

import numpy as np
import pytest

from idaq.core.errors import DatasetError
from idaq.format.writer import write_dataset
from idaq.learn.checkpoint import load_agent
from idaq.learn.config import training_config
from idaq.learn.loop import agent_spec, train
from idaq.loader import Dataset, open_dataset
from idaq.testing.examples import EXAMPLES
from tests.corridor import write_corridor

SMALL = {"steps": 4, "meta_batch": 2, "batch": 4, "context": 4, "log_every": 2, "threads": 1, "prior_context": 8}


@pytest.fixture(scope="module", params=[False, True], ids=["discrete", "dict"])
def corridor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_corridor(tmp_path_factory.mktemp("corridor"), picture=request.param))


def test_the_spec_says_how_the_spaces_stand_as_numbers(corridor: Dataset) -> None:
    spec = agent_spec(corridor, corridor.transitions().statistics())
    assert spec.view == corridor.view
    assert (spec.action_centre, spec.action_scale) == ([0.5] * 3, [0.5] * 3), "one-hot numbers are 0 and 1"
    size = spec.observation_size
    assert size == (14 if "pixels" in str(corridor.view) else 7)
    assert (spec.observation_mean, spec.observation_std, spec.change_std) == ([0.0] * size, [1.0] * size, [1.0] * size)
    index = corridor.with_discrete("index")
    spec = agent_spec(index, index.transitions().statistics())
    assert (spec.action_centre, spec.action_scale) == ([0.0], [1.0]), "moves are -1, 0 and 1"
    assert spec.observation_mean[-1] == pytest.approx(index.transitions().statistics().observation_mean[-1])


@pytest.mark.parametrize("discrete", ["one-hot", "index"])
@pytest.mark.parametrize("pool", [0, 1])
def test_a_run_keeps_how_its_spaces_were_read(corridor: Dataset, tmp_path: Path, discrete: str, pool: int) -> None:
    config = training_config({**SMALL, "discrete": discrete, "pool": pool})
    agent = train(corridor, config, tmp_path / "run", device="cpu").agent
    again = load_agent(tmp_path / "run")
    assert again.spec == agent.spec
    assert again.spec.view is not None
    assert again.spec.view.action_size == (3 if discrete == "one-hot" else 1)
    assert again.prior is not None
    np.testing.assert_array_equal(again.prior.beliefs, agent.prior.beliefs if agent.prior else None)
    resumed = train(corridor, config, tmp_path / "run", device="cpu")
    assert resumed.resumed_at == config.steps


def test_arrays_of_numbers_need_no_view(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(EXAMPLES["mixed"](), tmp_path, ""))
    assert agent_spec(dataset, dataset.transitions().statistics()).view is None


def test_unknown_rewards_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(EXAMPLES["reward-free"](), tmp_path, ""))
    with pytest.raises(DatasetError, match=r"the rewards of idaq/examples/tagged-v0 are not known") as raised:
        train(dataset, training_config(SMALL), tmp_path / "run")
    assert "import the data again with rewards" in str(raised.value.hint)
    assert not (tmp_path / "run").exists()
    assert dataset.transitions().column("actions", np.array([0])).shape == (1, 2), "its columns can be read"
