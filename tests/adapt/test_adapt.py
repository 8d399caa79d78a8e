"""The protocol on a really trained agent and real environments."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idaq.adapt.adapt import Adapted, adapt, episodes_to_run, pose
from idaq.adapt.config import AdaptConfig
from idaq.adapt.lockstep import EpisodeBatch, Rollouts
from idaq.adapt.results import read_results, write_results
from idaq.adapt.strategies import STRATEGIES
from idaq.adapt.trace import read_trace, write_trace
from idaq.collect.collect import Collected
from idaq.core.errors import DatasetError, RunError, UnknownNameError
from idaq.core.types import Array
from idaq.format.documents import TaskRecord, mean_random
from idaq.learn.agent import Agent
from idaq.learn.loop import train
from idaq.loader import Dataset, open_dataset
from idaq.loader.transitions import Floats
from idaq.tasks import get_family
from tests.learn.test_loop import small_config

CONFIG = AdaptConfig(
    episodes=5, reference=3, candidates=4, context=20, report_at=[1, 3, 5], seeds=2, offline_context=30
)


@pytest.fixture(scope="module")
def dataset(collected: Collected) -> Dataset:
    return open_dataset(collected.path)


@pytest.fixture(scope="module")
def agent(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return train(dataset, small_config(steps=300), tmp_path_factory.mktemp("runs") / "agent").agent


@pytest.fixture(scope="module")
def adapted(agent: Agent, dataset: Dataset) -> Adapted:
    return adapt(agent, dataset, CONFIG)


def test_every_strategy_reports_every_task_and_seed(adapted: Adapted) -> None:
    assert set(adapted.results.strategies) == set(STRATEGIES)
    for result in adapted.results.strategies.values():
        assert np.shape(result.returns) == np.shape(result.success) == (3, 2, 2)
        assert np.shape(result.explored) == (5, 2, 2)
        assert np.isfinite(result.returns).all()


def test_adaptation_is_reproducible_and_seeds_differ(agent: Agent, dataset: Dataset, adapted: Adapted) -> None:
    assert adapt(agent, dataset, CONFIG).results == adapted.results
    other = adapt(agent, dataset, AdaptConfig(**{**CONFIG.__dict__, "seed": 1}), strategies=["idaq"])
    assert other.results.strategies["idaq"] != adapted.results.strategies["idaq"]


def test_delta_may_be_calibrated_by_what_training_tasks_earned_offline(
    agent: Agent, dataset: Dataset, adapted: Adapted
) -> None:
    strict = adapt(agent, dataset, replace(CONFIG, offline_share=0.75), strategies=STRATEGIES)
    training = dataset.select(split="train")
    offline = np.mean([episode.rewards.sum() for episode in training])
    random = mean_random([task for task in training.tasks if isinstance(task, TaskRecord)])
    assert random is not None
    assert -strict.trials["idaq-mixture"].loosest == pytest.approx(0.25 * random + 0.75 * offline)
    changed = {n for n, result in strict.results.strategies.items() if result != adapted.results.strategies[n]}
    assert changed <= {"idaq-mixture", "nearest-training-task"}, "other strategies ask for no threshold"


def test_results_tell_how_long_a_strategy_draws_from_the_prior_alone(adapted: Adapted) -> None:
    first = adapted.results.strategies["best-of-prior"].explored[:3]
    for name, result in adapted.results.strategies.items():
        if name.startswith(("idaq", "nearest")):
            assert result.reference == 3
            assert result.explored[:3] == first
        else:
            assert result.reference == 0


def test_progress_counts_up_to_what_was_announced(agent: Agent, dataset: Dataset) -> None:
    counted: list[int] = []
    adapt(agent, dataset, CONFIG, strategies=["offline-context", "random-first"], progress=counted.append)
    assert sum(counted) == episodes_to_run(CONFIG, 2)


def test_idaq_deploys_what_its_best_episode_tried(adapted: Adapted) -> None:
    """Environment and policy are deterministic, so the fresh episode repeats the best one exactly."""
    for name in ("idaq", "best-of-prior"):
        result = adapted.results.strategies[name]
        np.testing.assert_allclose(result.returns[-1], np.max(result.explored, axis=0), rtol=1e-5)


def test_offline_context_does_not_learn_and_others_share_its_random_numbers(adapted: Adapted) -> None:
    offline = adapted.results.strategies["offline-context"].returns
    assert offline[0] == offline[-1]
    first = {name: adapted.results.strategies[name].explored[0] for name in ("idaq", "best-of-prior", "posterior")}
    assert first["idaq"] == first["best-of-prior"] == first["posterior"]


def test_the_prior_is_of_training_tasks_and_each_problem_has_its_own_tasks_offline_belief(
    dataset: Dataset, adapted: Adapted
) -> None:
    training = [task.task_index for task in dataset.select(split="train").tasks if isinstance(task, TaskRecord)]
    assert sorted(adapted.problems.prior_tasks.tolist()) == sorted(training)
    assert len(adapted.problems.prior) == len(training)
    offline = adapted.trials["offline-context"].tried[0]
    np.testing.assert_array_equal(offline, adapted.problems.offline[[0, 0, 1, 1]])
    assert not np.array_equal(offline[0], offline[-1])


def test_fresh_episodes_have_seeds_of_their_own(
    agent: Agent, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, really = list[int](), Rollouts.with_latents

    def noted(self: Rollouts, tasks: Array, seeds: Array, latents: Floats) -> EpisodeBatch:
        seen.extend(seeds.tolist())
        return really(self, tasks, seeds, latents)

    monkeypatch.setattr(Rollouts, "with_latents", noted)
    adapt(agent, dataset, CONFIG, strategies=["best-of-prior"])
    assert len(set(seen)) == len(seen) == (5 + 3) * 4


def test_random_actions_fill_the_bounds(adapted: Adapted) -> None:
    actions = adapted.trials["random-first"].episodes[0].transitions.actions
    assert -0.1 <= actions.min() < -0.08
    assert 0.08 < actions.max() <= 0.1


def test_lockstep_episodes_are_what_single_environments_give(agent: Agent, dataset: Dataset) -> None:
    family = get_family("point-robot-wind")
    tasks, z = np.array([3, 17, 42]), np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    batch = Rollouts(family, agent.acting()).with_latents(tasks, np.zeros(3, np.uint64), z)
    for row, task in enumerate(tasks.tolist()):
        env = family.make(task)
        observation, _ = env.reset()
        rewards, done = [], False
        while not done:
            action = batch.transitions.actions[row, len(rewards)]
            observation, reward, terminated, truncated, info = env.step(action)
            np.testing.assert_array_equal(observation, batch.transitions.next_observations[row, len(rewards)])
            rewards.append(reward)
            done = terminated or truncated
        assert batch.transitions.rewards[row].tolist() == rewards
        assert batch.success[row] == info["success"]


def test_results_tell_what_random_actions_and_the_behaviour_earn_on_each_test_task(
    dataset: Dataset, adapted: Adapted
) -> None:
    references = {task.task_id: task.reference for task in dataset.tasks if isinstance(task, TaskRecord)}
    for task in adapted.results.tasks:
        reference = references[task.task_id]
        assert reference.random is not None
        assert (task.random, task.behaviour) == (reference.random.mean, reference.behaviour.mean)
        assert task.random < task.behaviour


def test_results_survive_the_disk(adapted: Adapted, tmp_path: Path) -> None:
    write_results(tmp_path, adapted.results)
    assert read_results(tmp_path) == adapted.results
    (tmp_path / "results.json").write_text((tmp_path / "results.json").read_text()[:200])
    with pytest.raises(RunError, match="not valid JSON"):
        read_results(tmp_path)
    with pytest.raises(RunError, match="idaq adapt"):
        read_results(tmp_path / "nowhere")


def test_the_trace_holds_one_adaptation_in_full(adapted: Adapted, tmp_path: Path) -> None:
    assert write_trace(tmp_path, adapted)
    trace = read_trace(tmp_path)
    horizon = get_family("point-robot").horizon
    assert trace["observations"].shape == (2, 6, horizon + 1, 2)
    explored = np.array(adapted.results.strategies["idaq"].explored)[:, :, 0].T
    np.testing.assert_allclose(trace["returns"][:, :-1], explored)
    deployed = np.array(adapted.results.strategies["idaq"].returns)[-1, :, 0]
    np.testing.assert_allclose(trace["returns"][:, -1], deployed, err_msg="the last is the fresh one")
    goals = np.array([task.params["goal"] for task in adapted.problems.tasks])
    away = np.linalg.norm(trace["observations"][:, :, 1:] - goals[:, None, None], axis=-1)
    np.testing.assert_allclose(-away.sum(-1), trace["returns"], rtol=1e-4)  # the positions are the ones rewarded
    np.testing.assert_array_equal(trace["observations"][:, :, 0], 0)


def test_what_cannot_be_adapted_to_is_refused(agent: Agent, dataset: Dataset) -> None:
    with pytest.raises(UnknownNameError, match="unknown strategy 'idaq-mixtrue'") as caught:
        adapt(agent, dataset, CONFIG, strategies=["idaq-mixtrue"])
    assert "idaq-mixture" in str(caught.value)
    with pytest.raises(UnknownNameError, match="unknown split 'tests'"):
        adapt(agent, dataset, AdaptConfig(**{**CONFIG.__dict__, "split": "tests"}))
    with pytest.raises(DatasetError, match="does not say what its tasks are"):
        pose(agent, replace(dataset, manifest=None), CONFIG)
    unmeasured = tuple(
        replace(task, reference=replace(task.reference, random=None)) if task.split == "train" else task
        for task in dataset.all_tasks
        if isinstance(task, TaskRecord)
    )
    pose(agent, replace(dataset, all_tasks=unmeasured), CONFIG)
    with pytest.raises(DatasetError, match=r"not every training task .* has a random reference"):
        pose(agent, replace(dataset, all_tasks=unmeasured), replace(CONFIG, offline_share=0.5))


def test_a_dataset_whose_tasks_are_not_the_familys_is_refused(agent: Agent, dataset: Dataset) -> None:
    moved = tuple(replace(task, params={"goal": [0.0, 0.5]}) for task in dataset.all_tasks)
    with pytest.raises(DatasetError, match=r"the dataset has .*0\.5.*; the installed family point-robot has"):
        pose(agent, replace(dataset, all_tasks=moved), CONFIG)


def test_a_deterministic_family_runs_a_latent_on_a_task_once(agent: Agent) -> None:
    played: list[int] = []

    class Counting(type(get_family("point-robot-wind").lockstep())):
        def reset(self, task_indices: np.ndarray, seeds: np.ndarray) -> np.ndarray:
            played.extend(task_indices.tolist())
            return super().reset(task_indices, seeds)

    plain = get_family("point-robot-wind")
    known = replace(plain, deterministic=True, batched=lambda: Counting("point-robot-wind"))
    tasks, seeds = np.array([3, 3, 9]), np.zeros(3, np.uint64)
    z = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    z[1] = z[0]
    rollouts = Rollouts(known, agent.acting())
    first, expected = (
        rollouts.with_latents(tasks, seeds, z),
        Rollouts(plain, agent.acting()).with_latents(tasks, seeds, z),
    )
    assert sorted(played) == [3, 9]
    np.testing.assert_allclose(first.returns, expected.returns, rtol=1e-5)
    assert first.success.tolist() == expected.success.tolist()
    again = rollouts.with_latents(tasks[::-1], seeds, z[[2, 0, 0]])
    assert again.returns.tolist() == first.returns[[2, 0, 0]].tolist()
    assert sorted(played) == [3, 9]
    rollouts.with_latents(np.array([9, 9]), seeds[:2], z[:2])
    assert sorted(played) == [3, 9, 9]
