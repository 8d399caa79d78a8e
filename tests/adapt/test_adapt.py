"""The protocol on a really trained agent and real environments."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from idaq.adapt.adapt import Adapted, adapt, episodes_to_run, make_problems, new_history
from idaq.adapt.beliefs import in_distribution_return
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.lockstep import EpisodeBatch, Rollouts
from idaq.adapt.policy import Policy
from idaq.adapt.results import RESULTS, TRACE, read_results, write_results
from idaq.adapt.strategies import BestOfPrior
from idaq.adapt.strategy import STRATEGIES, AdaptPlan, adaptation_plan
from idaq.adapt.trace import has_trace, read_trace, write_trace
from idaq.collect.collect import Collected
from idaq.core.config import to_mapping
from idaq.core.errors import DatasetError, PluginError, RunError
from idaq.core.files import write_json
from idaq.core.seeds import episode_seed
from idaq.core.types import Array
from idaq.format.documents import TaskRecord, mean_random
from idaq.learn.algorithm import Agent
from idaq.learn.loop import train
from idaq.learn.run import task_set
from idaq.loader import Dataset, open_dataset
from idaq.tasks import get_family
from tests.learn.test_loop import small_config

SETTINGS = {
    "episodes": 5, "reference": 3, "candidates": 4, "context": 20, "report_at": [1, 3, 5], "seeds": 2,
    "offline_context": 30,
}  # fmt: skip


LATENT = [name for name in STRATEGIES.builtin if name != "in-context"]
"""what an agent of latents can run"""


def plan(*names: str, **settings: Any) -> AdaptPlan:
    return adaptation_plan(names or LATENT, {**SETTINGS, **settings})


CONFIG = plan().config


@pytest.fixture(scope="module")
def dataset(collected: Collected) -> Dataset:
    return open_dataset(collected.path)


@pytest.fixture(scope="module")
def agent(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return train(dataset, small_config(steps=300), tmp_path_factory.mktemp("runs") / "agent").agent


@pytest.fixture(scope="module")
def adapted(agent: Agent, dataset: Dataset) -> Adapted:
    return adapt(agent, dataset, plan())


def test_every_strategy_reports_every_task_and_seed(adapted: Adapted) -> None:
    assert set(adapted.results.strategies) == set(LATENT)
    for result in adapted.results.strategies.values():
        assert np.shape(result.returns) == np.shape(result.success) == (3, 2, 2)
        assert np.shape(result.explored) == (5, 2, 2)
        assert np.isfinite(result.returns).all()


def test_adaptation_is_reproducible_and_seeds_differ(agent: Agent, dataset: Dataset, adapted: Adapted) -> None:
    assert adapt(agent, dataset, plan()).results == adapted.results
    other = adapt(agent, dataset, plan("idaq", seed=1))
    assert other.results.strategies["idaq"] != adapted.results.strategies["idaq"]


def test_delta_may_be_calibrated_by_what_training_tasks_earned_offline(
    agent: Agent, dataset: Dataset, adapted: Adapted
) -> None:
    strict = adapt(agent, dataset, plan(offline_share=0.75))
    training = dataset.select(split="train")
    offline = np.mean([episode.rewards.sum() for episode in training])
    random = mean_random([task for task in training.tasks if isinstance(task, TaskRecord)])
    assert random is not None
    history = strict.histories["idaq-mixture"]
    assert in_distribution_return(history, 0.75) == pytest.approx(0.25 * random + 0.75 * offline)
    explored = {name: result.explored for name, result in adapted.results.strategies.items()}
    changed = {n for n, result in strict.results.strategies.items() if result.explored != explored[n]}
    assert changed <= {"idaq-mixture", "nearest-training-task"}, "other strategies ask for no threshold"


def test_success_is_unknown_on_tasks_that_do_not_say_what_it_is(agent: Agent, dataset: Dataset) -> None:
    tasks = task_set(dataset)
    first = next(task.task_index for task in tasks.tasks if task.split == "test")
    changed = [replace(task, success=None) if task.task_index == first else task for task in tasks.tasks]
    result = adapt(agent, replace(tasks, tasks=changed), plan("best-of-prior")).results.strategies["best-of-prior"]
    for unknown, known in result.success:
        assert unknown == [None, None]
        assert all(isinstance(one, bool) for one in known)


def test_results_tell_how_long_a_strategy_draws_from_the_prior_alone(adapted: Adapted) -> None:
    first = adapted.results.strategies["best-of-prior"].explored[:3]
    for name, result in adapted.results.strategies.items():
        if name.startswith(("idaq", "nearest")):
            assert result.reference == [3, 3, 3]
            assert result.explored[:3] == first
        else:
            assert result.reference == [0, 0, 0]


@pytest.mark.parametrize("reference", ["half", 2])
def test_a_budget_is_what_a_run_of_it_alone_gives(agent: Agent, dataset: Dataset, reference: int | str) -> None:
    """To the bit: of strategies that plan for the budget, and of those that one run serves for all budgets."""
    both = adapt(agent, dataset, plan(reference=reference, episodes=4, report_at=[2, 4]))
    for i, budget in enumerate((2, 4)):
        alone = adapt(agent, dataset, plan(reference=reference, episodes=budget, report_at=[budget]))
        for name, result in both.results.strategies.items():
            expected = alone.results.strategies[name]
            assert (result.returns[i], result.success[i]) == (expected.returns[0], expected.success[0]), name
            assert result.reference[i] == expected.reference[0], name
            assert result.explored[:budget] == expected.explored or (budget < 4 and not anytime(name, reference)), name
    assert {name for name, one in both.histories.items() if one.budget == 4} == set(LATENT)


def anytime(name: str, reference: int | str) -> bool:
    return plan(name, reference=reference).strategies[name].anytime


def test_what_is_anytime_is_run_once_and_every_other_strategy_for_each_budget(agent: Agent, dataset: Dataset) -> None:
    told = list[tuple[int, int]]()

    class Noting(BestOfPrior):
        def explore(self, history: AdaptationHistory) -> Policy:
            told.append((history.budget, len(history.episodes)))
            return super().explore(history)

    class Planning(Noting):
        anytime = False  # type: ignore[assignment]

    asked = plan("best-of-prior", episodes=3, report_at=[1, 3])
    ran = {}
    for strategy in (Noting(candidates=4), Planning(candidates=4)):
        ran[type(strategy)] = adapt(agent, dataset, replace(asked, strategies={"mine": strategy})).results
    once = [(3, number) for number in range(3)]
    assert told == [*once, (1, 0), *once]
    assert ran[Noting] == ran[Planning]


def test_older_results_are_read_and_claim_no_budgets_of_their_own(adapted: Adapted, tmp_path: Path) -> None:
    document = to_mapping(adapted.results)
    assert document.pop("each_budget")
    for strategy in document["strategies"].values():
        strategy["reference"] = strategy["reference"][0]
    write_json(tmp_path / RESULTS, document)
    assert read_results(tmp_path) == replace(adapted.results, each_budget=False)


def test_progress_counts_up_to_what_was_announced(agent: Agent, dataset: Dataset) -> None:
    """`offline-context` runs once through all budgets, `random-first` for each by itself."""
    counted, asked = list[int](), plan("offline-context", "random-first")
    adapt(agent, dataset, asked, progress=counted.append)
    announced = episodes_to_run(CONFIG, asked.strategies.values(), 2)
    assert sum(counted) == announced == 2 * CONFIG.seeds * ((5 + 3) + (1 + 3 + 5 + 3))


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
    history = adapted.histories["offline-context"]
    assert sorted(history.prior.task_indices.tolist()) == sorted(training)
    assert len(history.prior.beliefs) == len(training)
    offline = history.beliefs[0]
    np.testing.assert_array_equal(offline, adapted.problems.offline_beliefs(30, 0)[[0, 0, 1, 1]])
    assert not np.array_equal(offline[0], offline[-1])


def test_fresh_episodes_have_seeds_of_their_own(
    agent: Agent, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, really = list[int](), Rollouts.run

    def noted(self: Rollouts, tasks: Array, seeds: Array, policy: Policy, what: str) -> EpisodeBatch:
        seen.extend(seeds.tolist())
        return really(self, tasks, seeds, policy, what)

    monkeypatch.setattr(Rollouts, "run", noted)
    adapt(agent, dataset, plan("best-of-prior"))
    assert len(set(seen)) == len(seen) == (5 + 3) * 4


def test_random_actions_fill_the_bounds(adapted: Adapted) -> None:
    actions = adapted.histories["random-first"].episodes[0].transitions.actions
    assert -0.1 <= actions.min() < -0.08
    assert 0.08 < actions.max() <= 0.1


def test_lockstep_episodes_are_what_single_environments_give(agent: Agent, dataset: Dataset) -> None:
    family = get_family("point-robot-wind")
    tasks, z = np.array([3, 17, 42]), np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    batch = Rollouts(family).run(tasks, np.zeros(3, np.uint64), agent.policy(z))
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


def test_the_trace_tells_beliefs_tasks_and_what_is_where(adapted: Adapted, agent: Agent, tmp_path: Path) -> None:
    write_trace(tmp_path, adapted)
    assert has_trace(tmp_path)
    trace, history = read_trace(tmp_path), adapted.histories["idaq"]
    assert agent.prior is not None
    np.testing.assert_array_equal(trace["prior"], agent.prior.beliefs)
    np.testing.assert_array_equal(trace["prior_tasks"], agent.prior.task_indices)
    assert trace["test_tasks"].tolist() == [task.task_index for task in adapted.problems.tasks]
    assert trace["reference"].item() == 3
    np.testing.assert_array_equal(trace["z"][:, :5], np.stack(history.beliefs, 1)[[0, 2]])  # seed 0 of two tasks
    best = np.array(adapted.results.strategies["idaq"].explored)[:, :, 0].argmax(0)
    np.testing.assert_array_equal(trace["z"][:, 5], trace["z"][[0, 1], best])
    np.testing.assert_array_equal(trace["offline"], adapted.problems.offline_beliefs(400, 0))
    assert trace["place"].tolist() == list(get_family("point-robot").place or ())
    assert "velocity" not in trace
    assert trace["valid"].shape == (2, 6, get_family("point-robot").horizon)
    assert trace["valid"].all()
    last = adapted.final["idaq"].transitions
    np.testing.assert_array_equal(trace["observations"][:, 5, :-1], last.observations[[0, 2]])
    np.testing.assert_array_equal(trace["observations"][:, 5, -1], last.next_observations[[0, 2], -1])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda trace: {"z": trace["z"][..., :1]}, id="beliefs narrower than the prior's"),
        pytest.param(lambda trace: {"observations": trace["observations"][..., 0]}, id="flat observations"),
        pytest.param(lambda trace: {"prior_tasks": trace["prior_tasks"][1:]}, id="a training task too few"),
        pytest.param(lambda trace: {"place": np.array([0, 2])}, id="a column too far right"),
        pytest.param(lambda trace: {"velocity": np.array([-1])}, id="a column too far left"),
        pytest.param(lambda trace: {"reference": np.array([-1])}, id="a negative reference stage"),
        pytest.param(lambda trace: {"returns": None}, id="no returns"),
        pytest.param(lambda trace: {"valid": None}, id="no steps"),
    ],
)
def test_a_damaged_trace_is_refused(
    adapted: Adapted, tmp_path: Path, damage: Callable[[Any], dict[str, np.ndarray | None]]
) -> None:
    write_trace(tmp_path, adapted)
    trace = read_trace(tmp_path)
    changed = {
        name: np.ascontiguousarray(value) for name, value in (trace | damage(trace)).items() if value is not None
    }
    save_file(changed, tmp_path / TRACE)
    with pytest.raises(RunError, match="cannot be read"):
        read_trace(tmp_path)


def test_there_is_no_trace_of_other_strategies_or_of_a_policy_without_a_belief(
    adapted: Adapted, tmp_path: Path
) -> None:
    others = replace(adapted, histories={"posterior": adapted.histories["idaq"]})
    assert not write_trace(tmp_path, others)
    random_first = replace(adapted, histories={"idaq": adapted.histories["random-first"]})
    assert not write_trace(tmp_path, random_first)
    assert not has_trace(tmp_path)
    (tmp_path / "trace.safetensors").write_bytes(b"half")
    assert not has_trace(tmp_path)
    with pytest.raises(RunError, match="cannot be read") as caught:
        read_trace(tmp_path)
    assert caught.value.hint == f"idaq adapt {tmp_path} makes it anew"


def test_an_agent_of_other_observations_is_refused(agent: Agent, dataset: Dataset) -> None:
    wide: Any = copy.copy(agent)
    wide.spec = replace(agent.spec, observation_mean=[0.0] * 3)
    with pytest.raises(RunError, match=r"point-robot has observations of 2 numbers .*; the agent learned from 3 and 2"):
        adapt(wide, dataset, plan("idaq"))


def test_without_a_dataset_there_are_no_offline_beliefs(agent: Agent, dataset: Dataset) -> None:
    problems = make_problems(agent, task_set(dataset), CONFIG)
    assert problems.dataset is None
    with pytest.raises(RunError, match="no dataset at hand"):
        problems.offline_beliefs(30, 0)


def test_no_strategy_is_given_offline_data_that_it_does_not_declare(agent: Agent, dataset: Dataset) -> None:
    problems = make_problems(agent, dataset, CONFIG)
    histories = {name: new_history(problems, CONFIG, one, 5) for name, one in plan().strategies.items()}
    assert {name for name, history in histories.items() if history.offline is not None} == {"offline-context"}


def test_a_test_task_without_a_random_reference_cannot_be_scored(agent: Agent, dataset: Dataset) -> None:
    tasks = task_set(dataset)
    unmeasured = [replace(task, reference=replace(task.reference, random=None)) for task in tasks.tasks]
    with pytest.raises(DatasetError, match="has no random reference to score against"):
        adapt(agent, replace(tasks, tasks=unmeasured), plan("idaq"))


POINT = get_family("point-robot")
HERE = "tests.adapt.test_adapt:POINT"


def test_a_family_that_a_dataset_names_is_imported_only_where_the_user_says_so(
    agent: Agent, dataset: Dataset, adapted: Adapted
) -> None:
    tasks = replace(task_set(dataset), family=HERE)
    for allow in ([], ["tests.adapt.test_adapt:OTHER"]):
        with pytest.raises(PluginError, match="never imported because a document says so"):
            adapt(agent, tasks, plan("posterior"), allow=allow)
    found = adapt(agent, tasks, plan("posterior"), allow=[HERE])
    assert found.results.strategies["posterior"] == adapted.results.strategies["posterior"]
    elsewhere = replace(tasks, adapt={"uncertainty": HERE, "episodes": 1, "report_at": [1], "seeds": 1})
    with pytest.raises(PluginError, match="the adaptation settings"):
        adapt(agent, elsewhere)


def test_without_a_plan_every_strategy_runs_with_the_datasets_defaults(agent: Agent, dataset: Dataset) -> None:
    assert dataset.manifest is not None
    told = {"episodes": 2, "report_at": [2], "seeds": 1, "candidates": 2, "context": 4, "offline_context": 6}
    tasks = replace(task_set(dataset), adapt=told)
    without_data = adaptation_plan([name for name in LATENT if name != "offline-context"], {}, told)
    with pytest.warns(UserWarning, match="offline-context is left out"):
        alone = adapt(agent, tasks).results
    recipe = replace(dataset.manifest.recipe, adapt=told)
    whole = replace(dataset, manifest=replace(dataset.manifest, recipe=recipe))
    found = adapt(agent, whole).results
    assert list(found.strategies) == LATENT
    expected = adapt(agent, tasks, without_data).results
    assert alone == expected
    for name, result in expected.strategies.items():
        assert found.strategies[name] == result, name


def test_each_strategy_is_told_of_as_soon_as_it_is_done(agent: Agent, dataset: Dataset, adapted: Adapted) -> None:
    told: list[Adapted] = []
    both = adapt(agent, dataset, plan("posterior", "idaq"), finished=told.append)
    assert [list(one.results.strategies) for one in told] == [["posterior"], ["idaq"]]
    for one, name in zip(told, ("posterior", "idaq"), strict=True):
        assert one.results.strategies[name] == both.results.strategies[name] == adapted.results.strategies[name]
        assert (list(one.histories), list(one.final)) == ([name], [name])
        assert one.histories[name].budget == CONFIG.episodes
        result = both.results.strategies[name]
        assert result.returns[-1] == both.final[name].returns.reshape(2, 2).tolist()
        assert result.settings["context"] == 20
    assert (both.results.train_seed, both.results.train_steps) == (0, 300)
    assert both.results.content_digest == task_set(dataset).content_digest


def test_episodes_of_a_problem_have_seeds_of_its_task_its_seed_and_its_number(
    agent: Agent, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that they are the same whichever other tasks, seeds and reports there are."""
    asked, really = list[tuple[list[int], list[int]]](), Rollouts.run

    def noted(self: Rollouts, tasks: Array, seeds: Array, policy: Policy, what: str) -> EpisodeBatch:
        asked.append((tasks.tolist(), seeds.tolist()))
        return really(self, tasks, seeds, policy, what)

    monkeypatch.setattr(Rollouts, "run", noted)
    adapt(agent, dataset, plan("posterior", episodes=2, report_at=[2], seed=5))
    indices = [task.task_index for task in make_problems(agent, dataset, CONFIG).tasks]
    expected = [
        (
            [task for task in indices for _ in range(2)],
            [episode_seed(5, task, s, n) for task in indices for s in (0, 1)],
        )
        for n in (0, 1, 1_000_001)
    ]
    assert asked == expected


def test_what_cannot_be_adapted_to_is_refused(agent: Agent, dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="no tasks in split 'tests'"):
        adapt(agent, dataset, plan(split="tests"))
    with pytest.raises(DatasetError, match="does not say what its tasks are"):
        adapt(agent, replace(dataset, manifest=None), plan())
    assert agent.prior is not None
    blind: Any = copy.copy(agent)
    blind.prior = replace(agent.prior, random_return=None)
    adapt(blind, dataset, plan("idaq-mixture"))
    with pytest.raises(DatasetError, match=r"not every training task has a random reference"):
        adapt(blind, dataset, plan("idaq-mixture", offline_share=0.5))


def test_a_dataset_whose_tasks_are_not_the_familys_is_refused(agent: Agent, dataset: Dataset) -> None:
    moved = tuple(replace(task, params={"goal": [0.0, 0.5]}) for task in dataset.all_tasks)
    with pytest.raises(DatasetError, match=r"the dataset has .*0\.5.*; the installed family point-robot has"):
        make_problems(agent, replace(dataset, all_tasks=moved), CONFIG)


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
    rollouts, policy = Rollouts(known), agent.policy(z)
    first, expected = rollouts.run(tasks, seeds, policy), Rollouts(plain).run(tasks, seeds, policy)
    assert sorted(played) == [3, 9]
    np.testing.assert_allclose(first.returns, expected.returns, rtol=1e-5)
    assert first.success.tolist() == expected.success.tolist()
    again = rollouts.run(tasks[::-1], seeds, agent.policy(z[[2, 0, 0]]))
    assert again.returns.tolist() == first.returns[[2, 0, 0]].tolist()
    assert sorted(played) == [3, 9]
    rollouts.run(np.array([9, 9]), seeds[:2], agent.policy(z[:2]))
    assert sorted(played) == [3, 9, 9]


class Remembering:
    """A policy that writes down what it is told, and pushes in the direction of its last reward."""

    def __init__(self, problems: int) -> None:
        self.problems, self.told, self.resets = problems, list[tuple[Array, Array, Array, Array]](), 0

    def reset(self) -> None:
        self.resets += 1

    def act(self, observations: Array) -> Array:
        push = self.told[-1][1][:, None] if self.told else np.zeros((self.problems, 1))
        return np.repeat(push, 2, 1).astype(np.float32) * 0.01

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: Array) -> None:
        self.told.append((actions.copy(), rewards.copy(), next_observations.copy(), ended.copy()))


def test_a_policy_with_a_memory_is_fed_every_step() -> None:
    family, policy = get_family("point-robot-wind"), Remembering(2)
    batch = Rollouts(replace(family, deterministic=True)).run(np.array([3, 17]), np.zeros(2, np.uint64), policy)
    actions, rewards, following, ended = (np.stack(column, 1) for column in zip(*policy.told, strict=True))
    assert policy.resets == 1
    assert len(policy.told) == family.horizon
    np.testing.assert_array_equal(actions, batch.transitions.actions)
    np.testing.assert_allclose(rewards, batch.transitions.rewards, rtol=1e-6)
    np.testing.assert_allclose(following, batch.transitions.next_observations, rtol=1e-6)
    assert ended[:, -1].all()
    assert not ended[:, :-1].any()
    assert len(np.unique(batch.transitions.actions[0], axis=0)) > 2, "what it remembers decides what it does"
