"""Which belief a policy leaves under: a task's, a training task's latent, or numbers of one's own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.core.errors import RunError, UnknownNameError, UsageError
from idaq.deploy.beliefs import belief_of_latent, belief_of_task, source_of
from idaq.learn.algorithm import Agent
from idaq.learn.checkpoint import load_agent
from idaq.learn.loop import train
from idaq.learn.prior import PRIOR, belief_size
from idaq.loader import open_dataset
from idaq.loader.contexts import task_contexts
from tests.deploy.made import an_agent
from tests.learn.test_loop import small_config


@pytest.fixture(scope="module")
def run(collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    train(open_dataset(collected.path), small_config(steps=5), out)
    return out


@pytest.fixture
def agent(run: Path) -> Agent:
    return load_agent(run)


def tasks_of(collected: Collected, split: str) -> list[tuple[str, int]]:
    return [(t.task_id, t.task_index) for t in open_dataset(collected.path).all_tasks if t.split == split]


def prior_of(agent: Agent, task_index: int) -> np.ndarray:
    assert agent.prior is not None
    return agent.prior.beliefs[agent.prior.task_indices.tolist().index(task_index)]


def test_a_training_tasks_belief_is_that_of_the_prior_with_or_without_the_dataset(
    run: Path, agent: Agent, collected: Collected, tmp_path: Path
) -> None:
    (task, index), (other, _) = tasks_of(collected, "train")[2:4]
    for root in (None, tmp_path / "nothing"):
        belief = belief_of_task(run, agent, task, root)
        np.testing.assert_array_equal(belief.numbers, prior_of(agent, index))
        assert belief.words == f"of training task {task}, as the run's prior has it"
        assert np.abs(belief.numbers - belief_of_task(run, agent, other, root).numbers).max() > 1e-4
    np.testing.assert_array_equal(belief_of_task(run, agent, str(index)).numbers, prior_of(agent, index))
    np.testing.assert_array_equal(belief_of_latent(agent, str(index)).numbers, prior_of(agent, index))


def test_another_tasks_belief_is_inferred_from_its_own_offline_data(
    run: Path, agent: Agent, collected: Collected
) -> None:
    task, index = tasks_of(collected, "test")[0]
    belief = belief_of_task(run, agent, task)
    size = agent.config.prior_context
    _, context = task_contexts(open_dataset(collected.path).select(tasks=[index]), size, 0)
    np.testing.assert_array_equal(belief.numbers, agent.infer(context)[0])
    assert belief.words == f"of task {task}, from {size} transitions of its offline data"


def test_without_prior_and_data_it_is_said_what_is_missing(
    run: Path, agent: Agent, collected: Collected, tmp_path: Path
) -> None:
    (test, _), (training, index) = tasks_of(collected, "test")[0], tasks_of(collected, "train")[0]
    with pytest.raises(RunError, match=f"{test} is no task of the agent's prior, and there is no offline data") as no:
        belief_of_task(run, agent, test, tmp_path / "nothing")
    assert "--root" in str(no.value.hint)
    stopped = Path(shutil.copytree(run, tmp_path / "stopped"))
    (stopped / PRIOR).unlink()
    without = load_agent(stopped)
    assert without.prior is None
    belief = belief_of_task(stopped, without, training)
    assert "transitions of its offline data" in belief.words
    np.testing.assert_allclose(belief.numbers, prior_of(agent, index), atol=0.5)
    with pytest.raises(RunError, match=f"there is no prior to take belief {index} from: the run was stopped"):
        belief_of_latent(without, str(index))


def test_names_that_there_are_not_get_near_ones(run: Path, agent: Agent, collected: Collected) -> None:
    (task, index), *_ = tasks_of(collected, "train")
    with pytest.raises(UnknownNameError, match=f"unknown task '{task}x'") as caught:
        belief_of_task(run, agent, f"{task}x")
    assert task in str(caught.value.hint)
    test = tasks_of(collected, "test")[0][1]
    with pytest.raises(UnknownNameError, match=f"unknown training task '{test}'"):
        belief_of_latent(agent, str(test))
    assert index != test


def test_numbers_of_ones_own_from_a_file(agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = belief_size(agent)
    numbers = np.linspace(-1, 1, size)
    np.save(tmp_path / "z.npy", numbers)
    (tmp_path / "z.json").write_text(json.dumps(numbers.tolist()))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("z.npy", "z.json"):
        belief = belief_of_latent(agent, f"~/{name}")
        assert belief.numbers.dtype == np.float32
        np.testing.assert_array_equal(belief.numbers, numbers.astype(np.float32))
        assert belief.words == f"the {size} numbers of {name}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[1, 2, 3, 4, 5]", r"holds int64 \(5,\), or NaN; a belief of focal-td3bc is 4 numbers"),
        (b"[[1, 2, 3, 4]]", r"holds int64 \(1, 4\)"),
        (b'["1", "2", "3", "4"]', "holds <U1"),
        (b"[1, 2, 3, 1e300]", "or NaN; a belief of"),
        (b"[1, 2, NaN, 4]", "is not valid JSON: NaN is not JSON"),
        (b"[1, [2], 3, 4]", "cannot be read: "),
        (b"[1, ", "is not valid JSON"),
        (None, "is missing"),
    ],
)
def test_what_is_no_belief_is_told(content: bytes | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "z.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=told):
        belief_of_latent(an_agent(), path)


@pytest.mark.parametrize("what", ["text", "objects", "pickle"])
def test_an_npy_file_of_something_else_is_told_and_nothing_is_unpickled(what: str, tmp_path: Path) -> None:
    path = tmp_path / "z.npy"
    if what == "objects":
        np.save(path, np.array([{}, 1, 2, 3], object), allow_pickle=True)
    elif what == "text":
        np.save(path, np.array(["a"] * 4))
    else:
        path.write_bytes(b"\x80\x04K\x01.")  # the number 1
    with pytest.raises(UsageError, match=r"z\.npy"):
        belief_of_latent(an_agent(), path)


def test_the_source_names_the_dataset(run: Path, collected: Collected) -> None:
    source, dataset = source_of(run, "of my own"), open_dataset(collected.path)
    assert dataset.manifest is not None
    assert (source.belief, source.dataset_id) == ("of my own", dataset.dataset_id)
    assert source.content_digest == dataset.manifest.content_digest
