"""What a run directory remembers: its dataset, tasks, prior and weights; and what it says when one is off."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from idaq.collect.collect import Collected
from idaq.core.config import to_mapping
from idaq.core.errors import CheckpointError, ConfigError, DatasetError, DatasetNotFoundError, PluginError, RunError
from idaq.core.metrics import METRICS
from idaq.core.types import Floats, Task
from idaq.format.documents import TaskRecord
from idaq.format.reader import open_stored
from idaq.format.zarr.transfer import export_zarr
from idaq.learn.algorithm import BeliefPolicy, Prior
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.checkpoint import checkpoints, load_agent, step_of, weights_digest
from idaq.learn.config import ALGORITHMS, AgentSpec, training_config
from idaq.learn.loop import agent_spec, train
from idaq.learn.prior import PRIOR, infer_prior, read_prior, write_prior
from idaq.learn.run import TASKS, differences, read_run, run_dataset, run_tasks, task_set
from idaq.learn.state import load_modules, load_optimiser, module_state, optimiser_state
from idaq.loader import Dataset, Transitions, open_dataset
from idaq.loader.contexts import task_contexts
from tests.learn.test_loop import small_config

MADE = Prior(
    beliefs=np.array([[1.0, 2.0], [3.0, 4.0]], np.float32),
    task_indices=np.array([2, 5]),
    offline_return=-3.0,
    random_return=-40.0,
)


ACTOR = "agent.policy.actor.0.bias"


@pytest.fixture(scope="module")
def dataset(collected: Collected) -> Dataset:
    return open_dataset(collected.path)


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps with a checkpoint at 4, 6 and 8; no test may alter it."""
    out = tmp_path_factory.mktemp("run") / "finished"
    train(dataset, small_config(steps=8, checkpoint_every=2, seed=11, prior_context=50), out)
    return out


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "own"))


# -- the dataset and its tasks -------------------------------------------------------------------------------------


def test_a_run_finds_its_dataset_where_it_was_and_where_it_is_now(
    finished: Path, collected: Collected, datasets_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "nothing"))
    assert run_dataset(finished).path == collected.path
    assert run_dataset(finished, datasets_root).path == collected.path
    moved = tmp_path / "moved" / collected.path.relative_to(datasets_root)
    shutil.copytree(collected.path, moved)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "moved"))
    assert run_dataset(finished).path == moved
    with pytest.raises(DatasetNotFoundError):
        run_dataset(finished, tmp_path / "nothing")


def test_a_run_on_a_dataset_at_a_url_finds_it_there(own: Path, collected: Collected, tmp_path: Path) -> None:
    export_zarr(open_stored(collected.path), str(tmp_path / "x.zarr"))
    document = json.loads((own / "run.json").read_text())
    document |= {"dataset_id": "idaq/no/such-v0", "dataset_path": f"file://{tmp_path}/x.zarr"}
    (own / "run.json").write_text(json.dumps(document))
    found = run_dataset(own)
    assert (found.path, found.streamed) == (f"file://{tmp_path}/x.zarr", True)


def test_a_dataset_that_is_another_by_now_is_refused(own: Path, made: Path) -> None:
    document = json.loads((own / "run.json").read_text())
    document |= {"dataset_id": "idaq/no/such-v0", "dataset_path": str(made)}
    (own / "run.json").write_text(json.dumps(document))
    digest = document["content_digest"]
    with pytest.raises(RunError, match=f"was trained on idaq/no/such-v0 with content {digest[:12]}, found "):
        run_dataset(own)


def test_a_run_remembers_its_seed_and_what_it_was_made_with(finished: Path) -> None:
    record = read_run(finished)
    assert record.seed == 11
    assert record.versions.keys() == {"idaq", "python", "torch", "numpy", "safetensors"}
    assert record.versions["numpy"] == np.__version__
    assert replace(record, config={}).seed == 0


def test_a_run_directory_holds_what_its_documents_say(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        ".train.lock", "checkpoint", "metrics.jsonl", "prior.safetensors", "run.json", "tasks.json",
    ]  # fmt: skip


def test_the_tasks_of_a_run_are_those_of_its_dataset(finished: Path, dataset: Dataset, own: Path) -> None:
    found = run_tasks(finished)
    assert found == task_set(dataset) == task_set(dataset.select(split="train"))
    assert found is not None
    assert found.tasks == list(dataset.all_tasks)
    assert (found.dataset_id, found.family) == (dataset.dataset_id, "point-robot")
    (own / TASKS).write_text("{")
    with pytest.raises(RunError, match="is not valid JSON") as caught:
        run_tasks(own)
    assert str(caught.value.hint).endswith(f"rm {own / TASKS}")
    (own / TASKS).unlink()
    assert run_tasks(own) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset_id": "me/other/some-v0"}, "is of another dataset than run.json"),
        ({"content_digest": "0" * 64}, "is of another dataset than run.json"),
        ({"tasks": 2}, "a task_id stands twice"),
    ],
)
def test_tasks_that_are_not_the_runs_are_refused(own: Path, change: dict[str, Any], words: str) -> None:
    tasks = json.loads((own / TASKS).read_text())
    if "tasks" in change:
        change = {"tasks": tasks["tasks"] * 2}
    (own / TASKS).write_text(json.dumps(tasks | change))
    with pytest.raises(RunError, match=words) as caught:
        run_tasks(own)
    assert str(caught.value.hint).endswith(f"rm {own / TASKS}")


@pytest.mark.parametrize("seed", ["abc", None, [1], True])
def test_a_record_whose_seed_is_no_integer_is_refused(own: Path, seed: object) -> None:
    record = json.loads((own / "run.json").read_text())
    (own / "run.json").write_text(json.dumps({**record, "config": {**record["config"], "seed": seed}}))
    with pytest.raises(RunError, match=r"config\.seed must be an integer"):
        read_run(own)


def test_a_dataset_of_another_maker_does_not_say_its_tasks(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="does not say what its tasks are"):
        task_set(replace(dataset, manifest=None))


def test_settings_that_differ_are_named_with_both_values() -> None:
    there, asked = {"a": 1, "b": {"c": 2, "d": 3}, "old": 4}, {"a": 1, "b": {"c": 5, "d": 3}, "new": 6}
    assert differences(there, asked) == ["b.c is 2, not 5", "new is None, not 6", "old is 4, not None"]
    assert differences(there, there) == []


def test_an_algorithm_is_a_training_config() -> None:
    with pytest.raises(PluginError, match="is not a class that extends"):
        ALGORITHMS.get("pathlib:Path")


def test_a_document_names_no_code_to_train_with() -> None:
    with pytest.raises(PluginError, match="the training settings"):
        training_config({}, {"algorithm": "os:getcwd"})
    assert training_config({"seed": 3}, {"seed": 2, "steps": 5}) == FocalTd3BcConfig(seed=3, steps=5)


def test_a_setting_that_contradicts_another_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"log_every must be a multiple of learner.policy_delay = 2"):
        training_config({"log_every": 3})
    with pytest.raises(ConfigError, match="context"):
        training_config({"context": 7})


def test_the_defaults_are_what_baselines_were_made_with() -> None:
    """A change of one changes what `idaq train` means."""
    told = {
        "algorithm": "focal-td3bc", "sampler": "meta-batches", "steps": 4000, "seed": 0, "split": "train", "pool": 0,
        "prior_context": 400, "checkpoint_every": 1000, "log_every": 100, "threads": 0, "meta_batch": 16, "batch": 64,
        "context": 100, "lr_end": 0.02, "discrete": "one-hot",
        "encoder": {"latent": 20, "hidden": 200, "layers": 3, "lr": 1e-3, "next_observation": False},
        "learner": {
            "kind": "td3bc", "hidden": 256, "layers": 2, "lr": 1e-3, "gamma": 0.99, "tau": 0.005, "alpha": 2.5,
            "policy_noise": 0.2, "noise_clip": 0.5, "policy_delay": 2,
        },
        "ensemble": {"members": 4, "hidden": 128, "layers": 2, "lr": 1e-3},
        "validation": {"every": 0, "patience": 0, "split": "val", "strategy": "best-of-prior", "episodes": 10},
    }  # fmt: skip
    assert to_mapping(training_config({})) == told


# -- the prior -----------------------------------------------------------------------------------------------------


class MeanReward:
    """An agent that believes what it was paid."""

    config = small_config(prior_context=7)
    spec = AgentSpec(
        observation_mean=[0.0],
        observation_std=[1.0],
        change_std=[1.0],
        reward_mean=0.0,
        reward_std=1.0,
        action_centre=[0.0],
        action_scale=[1.0],
    )
    prior = None

    def infer(self, context: Transitions) -> Floats:
        return context.rewards.mean(1, keepdims=True)

    def policy(self, beliefs: Floats) -> BeliefPolicy:
        return BeliefPolicy(respond=lambda observations, of: of, beliefs=beliefs)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"b": torch.tensor([[1, 2]]), "a": torch.tensor([0.5, 1.5, 2.5])}


def test_the_prior_is_the_belief_of_each_training_task(dataset: Dataset) -> None:
    training = dataset.select(split="train")
    prior = infer_prior(MeanReward(), training)
    indices, contexts = task_contexts(training, 7, seed=0)
    np.testing.assert_array_equal(prior.task_indices, indices)
    np.testing.assert_array_equal(prior.beliefs, contexts.rewards.mean(1, keepdims=True))
    assert contexts.rewards.shape == (len(training.tasks), 7)
    assert prior.offline_return == pytest.approx(np.mean([episode.total_reward for episode in training]))
    records = [task for task in training.tasks if isinstance(task, TaskRecord)]
    assert prior.random_return == pytest.approx(np.mean([task.reference.random.mean for task in records]))  # type: ignore[union-attr]
    plain = tuple(Task(task_id=task.task_id, task_index=task.task_index, params={}) for task in training.tasks)
    assert infer_prior(MeanReward(), replace(training, all_tasks=plain)).random_return is None


@pytest.mark.parametrize("random_return", [-40.0, None])
def test_a_prior_is_read_as_it_was_written(tmp_path: Path, random_return: float | None) -> None:
    assert read_prior(tmp_path, 8) is None
    write_prior(tmp_path, replace(MADE, random_return=random_return), 8)
    found = read_prior(tmp_path, 8)
    assert found is not None
    np.testing.assert_array_equal(found.beliefs, MADE.beliefs)
    np.testing.assert_array_equal(found.task_indices, MADE.task_indices)
    assert (found.offline_return, found.random_return) == (-3.0, random_return)
    assert read_prior(tmp_path, 9) is None  # of the agent of another step


DAMAGES = {
    "float64 beliefs": {"beliefs": np.ones((2, 2))},
    "flat beliefs": {"beliefs": np.ones(2, np.float32)},
    "no beliefs": {"beliefs": np.ones((0, 2), np.float32), "task_indices": np.ones(0, np.int64)},
    "NaN": {"beliefs": np.full((2, 2), np.nan, np.float32)},
    "a task too few": {"task_indices": np.array([2])},
    "tasks that are no integers": {"task_indices": np.array([2.0, 5.0])},
    "an endless return": {"offline_return": np.array(np.inf)},
    "an endless random return": {"random_return": np.array(-np.inf)},
    "two returns": {"offline_return": np.array([1.0, 2.0])},
    "an endless step": {"step": np.array(np.inf)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_prior_is_refused(tmp_path: Path, damage: dict[str, np.ndarray]) -> None:
    write_prior(tmp_path, MADE, 8)
    save_file({**load_file(tmp_path / PRIOR), **damage}, tmp_path / PRIOR)
    with pytest.raises(RunError, match="cannot be read") as caught:
        read_prior(tmp_path, 8)
    assert str(caught.value.hint).endswith(f"rm {tmp_path / PRIOR}")


def test_a_file_that_is_no_prior_is_refused(tmp_path: Path) -> None:
    (tmp_path / PRIOR).write_bytes(b"not safetensors")
    with pytest.raises(RunError, match="cannot be read"):
        read_prior(tmp_path, 8)


def test_a_prior_of_other_beliefs_than_the_agents_is_refused(own: Path) -> None:
    write_prior(own, MADE, 8)
    with pytest.raises(RunError, match="holds beliefs of 2 numbers, not of 4"):
        load_agent(own)


def test_a_finished_run_keeps_its_prior_and_a_stopped_one_infers_it(
    finished: Path, own: Path, dataset: Dataset
) -> None:
    kept = load_agent(finished).prior
    assert kept is not None
    (own / PRIOR).unlink()
    assert load_agent(own).prior is None
    inferred = load_agent(own, dataset=dataset).prior
    assert inferred is not None
    np.testing.assert_array_equal(inferred.beliefs, kept.beliefs)
    np.testing.assert_array_equal(
        inferred.task_indices, [task.task_index for task in dataset.select(split="train").tasks]
    )
    assert (inferred.offline_return, inferred.random_return) == (kept.offline_return, kept.random_return)


def test_the_prior_of_an_older_agent_is_inferred_anew(finished: Path, own: Path, dataset: Dataset) -> None:
    write_prior(own, MADE, 6)
    train(dataset, small_config(steps=8, checkpoint_every=2, seed=11, prior_context=50), own)
    assert (own / PRIOR).read_bytes() == (finished / PRIOR).read_bytes()
    assert (own / METRICS).read_bytes() == (finished / METRICS).read_bytes()


# -- weights -------------------------------------------------------------------------------------------------------


def test_the_last_two_checkpoints_are_kept_and_the_newest_is_loaded(finished: Path, own: Path) -> None:
    assert [path.name for path in checkpoints(finished)] == ["step-00000006.safetensors", "step-00000008.safetensors"]
    newest = weights_digest(load_agent(finished))
    checkpoints(own)[-1].unlink()
    older = load_agent(own)
    assert weights_digest(older) != newest
    assert older.prior is None, "the prior is of the newest"


def test_a_checkpoint_under_another_name_is_not_taken(own: Path) -> None:
    """It would go on at another step than its own."""
    six, eight = checkpoints(own)
    eight.unlink()
    before = weights_digest(load_agent(own))
    shutil.copy(six, six.with_name("step-00000007.safetensors"))
    assert weights_digest(load_agent(own)) == before
    six.unlink()
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints"):
        load_agent(own)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda state: {ACTOR: torch.full_like(state[ACTOR], torch.nan)}, id="a NaN"),
        pytest.param(lambda state: {"optimiser.main.0.exp_avg": torch.ones(3, 9)}, id="a moment of another shape"),
        pytest.param(lambda state: {"optimiser.main.0.exp_avg": None}, id="a moment is missing"),
        pytest.param(lambda state: {"optimiser.main.0.none": torch.zeros(())}, id="a moment too many"),
        pytest.param(
            lambda state: {name.replace("main.0.", "main.999."): value.clone() for name, value in state.items()},
            id="moments of a parameter too many",
        ),
    ],
)
def test_a_damaged_checkpoint_is_not_taken(own: Path, damage: Callable[[Any], dict[str, torch.Tensor | None]]) -> None:
    six, eight = checkpoints(own)
    state = load_tensors(eight)
    changed = {name: value for name, value in (state | damage(state)).items() if value is not None}
    save_tensors(changed, eight, metadata={"step": "8"})
    found = weights_digest(load_agent(own))
    eight.unlink()
    assert weights_digest(load_agent(own)) == found
    assert six.is_file()


def test_files_that_are_no_checkpoints_are_passed_over(own: Path) -> None:
    folder = own / "checkpoint"
    (folder / "step-00000099.safetensors").mkdir()
    (folder / "step-9.safetensors").write_bytes(b"short")
    (folder / "step-00000099x.safetensors").write_bytes(b"odd")
    assert [path.name for path in checkpoints(own)] == ["step-00000006.safetensors", "step-00000008.safetensors"]


def test_checkpoints_come_in_the_order_of_their_steps(own: Path) -> None:
    """Which is that of their names as long as those have eight digits."""
    for step in (100_000_000, 99_999_999):
        (own / "checkpoint" / f"step-{step}.safetensors").write_bytes(b"")
    assert [step_of(path) for path in checkpoints(own)] == [6, 8, 99_999_999, 100_000_000]


def test_the_digest_of_weights_is_of_names_types_shapes_and_bytes() -> None:
    told = b"a:<f4:3;" + np.array([0.5, 1.5, 2.5], "<f4").tobytes() + b"b:<i8:1,2;" + np.array([1, 2], "<i8").tobytes()
    assert weights_digest(MeanReward()) == hashlib.sha256(told).hexdigest()


def test_state_comes_back_whole_or_is_refused() -> None:
    torch.manual_seed(0)
    first, second, other = (
        torch.nn.Linear(2, 3),
        torch.nn.ModuleDict({"x": torch.nn.Linear(1, 1)}),
        torch.nn.Linear(2, 3),
    )
    state = {**module_state("n.", first, second), "unrelated": torch.zeros(1)}
    assert state.keys() == {"n.weight", "n.bias", "n.x.weight", "n.x.bias", "unrelated"}
    load_modules(state, "n.", other, second)
    torch.testing.assert_close(other.weight, first.weight)
    with pytest.raises(ValueError, match=r"2 tensors belong to no network, the first is n\.x\."):
        load_modules(state, "n.", other)
    del state["n.bias"]
    with pytest.raises(KeyError):
        load_modules(state, "n.", other, second)


def test_optimisers_go_on_where_they_were() -> None:
    torch.manual_seed(0)
    straight, cut = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    load_modules(module_state("", straight), "", cut)

    def step(network: torch.nn.Linear, optimiser: torch.optim.Adam) -> None:
        optimiser.zero_grad()
        network(torch.ones(1, 2)).square().sum().backward()
        optimiser.step()

    one = torch.optim.Adam(straight.parameters(), lr=0.1)
    step(straight, one)
    state = optimiser_state("o.", one)
    assert {name.rpartition(".")[2] for name in state} == {"step", "exp_avg", "exp_avg_sq"}
    assert {name.split(".")[1] for name in state} == {"0", "1"}
    load_modules(module_state("", straight), "", cut)
    two = torch.optim.Adam(cut.parameters(), lr=0.1)
    load_optimiser({**{name: value.clone() for name, value in state.items()}, "p.0.step": torch.zeros(1)}, "o.", two)
    step(straight, one)
    step(cut, two)
    torch.testing.assert_close(cut.weight, straight.weight, rtol=0, atol=0)


# -- policies of an agent ------------------------------------------------------------------------------------------


def test_a_policy_of_some_problems_acts_under_their_beliefs() -> None:
    policy = BeliefPolicy(
        respond=lambda observations, beliefs: observations + beliefs, beliefs=np.eye(3, dtype=np.float32)
    )
    some = policy.of_problems(np.array([2, 0]))
    np.testing.assert_array_equal(some.act(np.zeros((2, 3))), [[0, 0, 1], [1, 0, 0]])


def test_actions_without_width_or_bounds_are_named(dataset: Dataset) -> None:
    statistics = dataset.transitions().statistics()
    low, high = np.float32([-1, 2, -np.inf, 0]), np.float32([3, 2, 1, np.inf])
    odd = replace(dataset, action_low=low, action_high=high)
    with pytest.raises(DatasetError, match=r"chosen: 1 in \[2, 2\], 2 in \[-inf, 1\](, 3 in \[0, inf\])\n"):
        agent_spec(odd, statistics)
    spec = agent_spec(replace(dataset, action_low=low[:1], action_high=high[:1]), statistics)
    assert (spec.action_centre, spec.action_scale) == ([1.0], [2.0])
    assert spec.reward_mean == statistics.reward_mean
    assert spec.change_std == statistics.change_std.tolist()
