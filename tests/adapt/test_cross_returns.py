"""Cross returns: measured once in simulation, kept in the run folder, and told from another agent's."""

from pathlib import Path

import numpy as np
import pytest

from idaq.adapt.adapt import adapt, training_returns
from idaq.adapt.cross_returns import already_measured, measure_cross_returns, tasks_to_measure
from idaq.adapt.run import resume_adaptation
from idaq.adapt.strategy import AdaptPlan, adaptation_plan
from idaq.collect.collect import Collected
from idaq.core.errors import RunError
from idaq.learn.algorithm import Agent
from idaq.learn.checkpoint import load_agent, weights_digest
from idaq.learn.cross_returns import CROSS_RETURNS, CrossReturns, read_cross_returns, write_cross_returns
from idaq.learn.loop import train
from idaq.learn.run import task_set
from idaq.loader import Dataset, open_dataset
from idaq.tasks import get_family
from tests.learn.test_loop import small_config

FAMILY = get_family("point-robot")


def plan(*names: str, cross_tasks: int | None = 3, cross_episodes: int = 2) -> AdaptPlan:
    settings = {"episodes": 2, "report_at": [1, 2], "seeds": 2}
    return adaptation_plan(names, {**settings, "cross_tasks": cross_tasks, "cross_episodes": cross_episodes})


@pytest.fixture(scope="module")
def dataset(collected: Collected) -> Dataset:
    return open_dataset(collected.path)


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "agent"
    train(dataset, small_config(steps=20), out)
    return out


@pytest.fixture
def agent(run: Path) -> Agent:
    return load_agent(run)


def test_each_pair_is_what_the_policy_earns_on_the_task(agent: Agent) -> None:
    """Played alone, step by step, in the family's own environment."""
    assert agent.prior is not None
    counted = list[int]()
    measured = measure_cross_returns(agent, agent.prior, FAMILY, 3, 2, counted.append)
    arms = len(agent.prior.beliefs)
    assert measured.returns.shape == (3, arms, 2)
    assert sum(counted) == 3 * arms * 2
    np.testing.assert_allclose(measured.noise, np.zeros(arms), atol=1e-4)  # a point robot always starts at the origin
    env, row, arm = FAMILY.lockstep(), 1, arms - 1
    seen = env.reset(measured.tasks[[row]], np.array([0], np.uint64))
    policy, total = agent.policy(agent.prior.beliefs[[arm]]), 0.0
    for _ in range(FAMILY.horizon):
        step = env.step(policy.act(seen))
        seen, total = step.observations, total + float(step.rewards[0])
    assert measured.means[row, arm] == pytest.approx(total, rel=1e-4)


def test_fewer_tasks_are_the_first_of_more(agent: Agent) -> None:
    assert agent.prior is not None
    everything = tasks_to_measure(agent.prior, None)
    assert sorted(everything) == sorted(agent.prior.task_indices)
    np.testing.assert_array_equal(tasks_to_measure(agent.prior, 2), everything[:2])


def test_test_tasks_are_never_played(agent: Agent, dataset: Dataset) -> None:
    assert agent.prior is not None
    tests = {task.task_index for task in task_set(dataset).tasks if task.split == "test"}
    assert not tests & set(tasks_to_measure(agent.prior, None).tolist())


def test_they_are_measured_once_for_an_agent_and_kept(
    run: Path, agent: Agent, dataset: Dataset, tmp_path: Path
) -> None:
    (run / CROSS_RETURNS).unlink(missing_ok=True)
    asked = plan("policy-reuse", "best-average")
    first = resume_adaptation(tmp_path / "one", agent, dataset, asked, run=run)
    assert agent.prior is not None
    assert first.episodes_to_measure == 3 * len(agent.prior.beliefs) * 2
    counted = list[int]()
    first.run(counted.append)
    assert sum(counted) == first.episodes
    again = load_agent(run)
    assert again.prior is not None
    assert again.prior.cross_returns is not None
    second = resume_adaptation(tmp_path / "two", again, dataset, asked, run=run)
    assert second.episodes_to_measure == 0
    assert second.run().strategies == first.run().strategies
    more = resume_adaptation(tmp_path / "three", again, dataset, plan("policy-reuse", cross_tasks=4), run=run)
    assert more.episodes_to_measure == 4 * len(again.prior.beliefs) * 2
    assert already_measured(again.prior, FAMILY, 3, 2) is again.prior.cross_returns
    assert already_measured(again.prior, FAMILY, 3, 1) is None


def test_of_more_tasks_the_first_are_enough_and_all_stay(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    (run / CROSS_RETURNS).unlink(missing_ok=True)
    resume_adaptation(tmp_path / "four", load_agent(run), dataset, plan("best-average", cross_tasks=4), run=run).run()
    kept = (run / CROSS_RETURNS).read_bytes()
    fewer = resume_adaptation(tmp_path / "two", load_agent(run), dataset, plan("best-average", cross_tasks=2), run=run)
    assert fewer.episodes_to_measure == 0
    told = training_returns(fewer.agent, task_set(dataset), fewer.plan.config)
    assert len(told.tasks) == 2
    fewer.run()
    assert (run / CROSS_RETURNS).read_bytes() == kept


def test_strategies_that_use_none_cost_nothing(agent: Agent, dataset: Dataset, tmp_path: Path) -> None:
    planned = resume_adaptation(tmp_path, agent, dataset, plan("best-of-prior"))
    assert planned.episodes_to_measure == 0
    planned.run()
    assert not (tmp_path / CROSS_RETURNS).exists()


def test_without_a_run_folder_they_are_measured_on_the_way(agent: Agent, dataset: Dataset) -> None:
    measured = training_returns(agent, task_set(dataset), plan("policy-reuse").config)
    alone, given = (
        adapt(agent, dataset, plan("policy-reuse"), cross_returns=known).results.strategies
        for known in (None, measured)
    )
    assert alone == given


def test_those_of_another_agent_do_not_count(agent: Agent, tmp_path: Path) -> None:
    assert agent.prior is not None
    arms, mine = len(agent.prior.beliefs), weights_digest(agent)
    write_cross_returns(tmp_path, CrossReturns(tasks=np.arange(2), returns=np.zeros((2, arms, 1))), mine)
    assert read_cross_returns(tmp_path, arms, "0" * 64) is None
    there = read_cross_returns(tmp_path, arms, mine)
    assert there is not None
    assert there.returns.shape == (2, arms, 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-9],
        lambda content: b"",
        lambda content: content.replace(b"returns", b"returnz"),
        lambda content: content.replace(b'"F64"', b'"I64"'),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(damage: object, agent: Agent, tmp_path: Path) -> None:
    assert agent.prior is not None
    arms, mine = len(agent.prior.beliefs), weights_digest(agent)
    write_cross_returns(tmp_path, CrossReturns(tasks=np.arange(2), returns=np.ones((2, arms, 1))), mine)
    path = tmp_path / CROSS_RETURNS
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(RunError, match=r"cross-returns.safetensors cannot be read.*\n.*rm "):
        read_cross_returns(tmp_path, arms, mine)


@pytest.mark.parametrize("returns", [np.full((2, 3, 1), np.nan), np.zeros((2, 4, 1))])
def test_numbers_that_do_not_fit_are_refused(returns: object, tmp_path: Path) -> None:
    write_cross_returns(tmp_path, CrossReturns(tasks=np.arange(2), returns=np.asarray(returns)), "0" * 64)
    with pytest.raises(RunError, match="cannot be read"):
        read_cross_returns(tmp_path, 3, "0" * 64)
