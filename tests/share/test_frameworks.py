"""Open datasets as torch Datasets; tests/interop does the same with d3rlpy and TorchRL, which idaq does without."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from idaq.core.errors import DatasetError, UsageError
from idaq.format.writer import write_dataset
from idaq.loader import open_dataset
from idaq.share.frameworks import to_amago, to_d3rlpy, to_flashbax, to_jax, to_tensordict, to_torch_dataset, to_torchrl
from idaq.share.frameworks.rows import TransitionRows
from tests.share.everything import SPACES, source_of, transitions_of
from tests.share.tagged import COLUMNS, TRANSITIONS, assert_tagged, tagged_rows


def test_a_data_loader_gives_every_transition(made: Path) -> None:
    rows = to_torch_dataset(open_dataset(made))
    assert len(rows) == TRANSITIONS
    batches = list(DataLoader(rows, batch_size=16))
    assert_tagged({name: torch.cat([batch[name] for batch in batches]) for name in COLUMNS}, COLUMNS)
    assert (batches[0]["observation"].shape, batches[0]["reward"].shape) == ((16, 3), (16,))
    assert batches[0]["action"].dtype == batches[0]["reward"].dtype == torch.float32
    assert batches[0]["terminated"].dtype == batches[0]["truncated"].dtype == torch.bool


def test_a_selection_keeps_every_transition_in_its_place(made: Path) -> None:
    rows = to_torch_dataset(open_dataset(made).select(tasks=[5, "task-9"], behaviour="random"))
    expected = tagged_rows()
    keep = (expected["task_index"] != 2) & (expected["behaviour"] == "random")
    assert_tagged(rows.batch(np.arange(len(rows))), COLUMNS, keep)
    examples = list(rows)  # pyright: ignore[reportArgumentType]
    assert_tagged({name: torch.stack([example[name] for example in examples]) for name in COLUMNS}, COLUMNS, keep)


def test_a_loader_with_workers_reads_the_same(made: Path) -> None:
    loader = DataLoader(to_torch_dataset(open_dataset(made)), 20, num_workers=1, multiprocessing_context="fork")
    assert_tagged({"observation": torch.cat([batch["observation"] for batch in loader])}, ("observation",))


def test_a_transition_that_is_not_there_is_an_index_error(made: Path) -> None:
    with pytest.raises(IndexError, match=r"must lie in \[0, 75\)"):
        to_torch_dataset(open_dataset(made))[TRANSITIONS]


@pytest.mark.parametrize("name", [*SPACES])
def test_every_column_of_every_space_is_there(name: str, tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(source_of(name), tmp_path, "# everything\n"))
    rows, expected = to_torch_dataset(dataset, floats=None), transitions_of(name)
    batch = rows.batch(np.arange(len(rows)))
    assert len(batch) == len(expected) + 3
    whole = TransitionRows(dataset, None).all()
    for column, here in rows.names.items():
        for its, values in zip(here, (expected[column], expected.get(f"next/{column}")), strict=False):
            np.testing.assert_array_equal(batch[its].numpy(), values, err_msg=its)
            np.testing.assert_array_equal(whole[its], values, err_msg=its)
            assert batch[its].numpy().dtype == whole[its].dtype == values.dtype


def test_floats_are_cast_and_nothing_else(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(source_of("dict"), tmp_path, "# everything\n"))
    batch = to_torch_dataset(dataset).batch(np.arange(3))
    assert batch["observation/depth"].dtype == batch["reward"].dtype == batch["belief"].dtype == torch.float32
    assert batch["observation/camera"].dtype == torch.uint8
    assert (batch["observation/room"].dtype, batch["infos/contact"].dtype) == (torch.int64, torch.bool)


def test_an_empty_selection_is_refused(made: Path) -> None:
    with pytest.raises(DatasetError, match="no episode of idaq/made/tagged-v0 is selected"):
        to_torch_dataset(open_dataset(made).select(min_return=1e9))


@pytest.mark.skipif(find_spec("d3rlpy") is not None, reason="d3rlpy is installed")
def test_without_d3rlpy_the_error_says_how_to_get_it(made: Path) -> None:
    with pytest.raises(UsageError, match=r"this conversion needs d3rlpy\n.*pip install d3rlpy"):
        to_d3rlpy(open_dataset(made))


@pytest.mark.skipif(find_spec("tensordict") is not None, reason="TorchRL is installed")
def test_without_torchrl_the_error_says_how_to_get_it(made: Path) -> None:
    dataset = open_dataset(made)
    with pytest.raises(UsageError, match="pip install torchrl"):
        to_tensordict(dataset)
    with pytest.raises(UsageError, match="pip install torchrl"):
        to_torchrl(dataset, batch_size=4)


@pytest.mark.skipif(find_spec("jax") is not None, reason="JAX is installed")
def test_without_jax_the_error_says_how_to_get_it(made: Path) -> None:
    dataset = open_dataset(made)
    with pytest.raises(UsageError, match="pip install jax"):
        to_jax(dataset)
    with pytest.raises(UsageError, match="pip install flashbax"):
        to_flashbax(dataset, 4)


@pytest.mark.skipif(find_spec("amago") is not None, reason="AMAGO is installed")
def test_without_amago_the_error_says_where_it_is(made: Path) -> None:
    with pytest.raises(UsageError, match=r"this conversion needs AMAGO\n.*from its repository"):
        to_amago(open_dataset(made))
    with pytest.raises(UsageError, match="a trajectory of 0 episodes"):
        to_amago(open_dataset(made), episodes=0)
