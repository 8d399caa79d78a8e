"""Rehearsals by hand: which arm is deployed on a task that is left out, and what it earns; what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from idaq.adapt.between import points_between
from idaq.adapt.gaussian_process import GaussianProcess
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import Policy
from idaq.adapt.policy_reuse import PolicyReuse
from idaq.adapt.rehearsal import LISTED, leave_out, rehearse
from idaq.adapt.strategies import BestOfPrior
from idaq.adapt.strategy import AdaptPlan, Strategy, adaptation_plan
from idaq.core.config import config
from idaq.core.errors import RunError
from idaq.core.seeds import generator
from idaq.learn.algorithm import Agent, Prior
from idaq.learn.cross_returns import CrossReturns
from tests.adapt.test_strategies import EchoAgent

ROWS = [[100.0, 1.0, 2.0], [5.0, 100.0, 3.0], [4.0, 6.0, 100.0]]
"""each task's own arm would be the answer"""
INDICES = [7, 3, 5]


def agent(returns: Any, tasks: list[int] = INDICES, indices: list[int] = INDICES) -> Agent:
    """Belief j is of training task indices[j]; a row of returns for each of `tasks`."""
    table = np.array(returns)
    measured = CrossReturns(tasks=np.array(tasks), returns=table if table.ndim == 3 else table[..., None])
    prior = Prior(
        beliefs=np.arange(len(indices), dtype=np.float32)[:, None],
        task_indices=np.array(indices),
        offline_return=10.0,
        random_return=0.0,
        cross_returns=measured,
    )
    return EchoAgent(prior)


def plan(*names: str, budgets: tuple[int, ...] = (1, 2), **settings: Any) -> AdaptPlan:
    given = {"seeds": 2, **settings, "episodes": budgets[-1], "report_at": [*budgets]}
    return adaptation_plan(names, given, LISTED)


def test_row_and_arm_of_a_task_are_taken_away() -> None:
    left_out = leave_out(agent(ROWS), 1)
    assert left_out.task == 3
    cross = left_out.prior.cross_returns
    assert cross is not None
    np.testing.assert_array_equal(left_out.prior.beliefs, [[0], [2]])
    np.testing.assert_array_equal(left_out.prior.task_indices, [7, 5])
    np.testing.assert_array_equal(cross.tasks, [7, 5])
    np.testing.assert_array_equal(cross.means, [[100, 2], [4, 100]])
    np.testing.assert_array_equal(left_out.returns[..., 0], [5, 3])


def test_rows_need_not_be_in_the_order_of_the_arms_nor_of_every_task() -> None:
    left_out = leave_out(agent(ROWS[1:], [5, 3]), 0)
    cross = left_out.prior.cross_returns
    assert cross is not None
    np.testing.assert_array_equal(left_out.prior.task_indices, [7, 3])
    np.testing.assert_array_equal(cross.means, [[4, 6]])
    np.testing.assert_array_equal(left_out.returns[..., 0], [5, 100])
    done = rehearse(agent(ROWS[1:], [5, 3]), plan("best-average"))
    assert done.tasks.tolist() == [5, 3]


def test_best_average_goes_by_the_means_of_the_other_tasks() -> None:
    """Without 7: 53 of arm 3, 51.5 of arm 5. Without 3: 52 of 7, 51 of 5. Without 5: 52.5 of 7, 50.5 of 3."""
    done = rehearse(agent(ROWS), plan("best-average"))
    assert (done.tasks.tolist(), done.budgets, done.episodes) == (INDICES, (1, 2), 1)
    np.testing.assert_array_equal(done.returns["best-average"][..., 0], [[1, 5, 4], [2, 5, 6]])
    np.testing.assert_array_equal(done.returns["best-average"][..., 1], [[1, 5, 4], [2, 5, 6]])


def test_policy_reuse_finds_the_neighbour_on_a_line() -> None:
    """Tasks in a row, arm j earns minus the distance to its task: one episode at an end tells the place, but the arm of
    the task itself, which would earn 0, is not there. To task 8, where arm 7 earns -1, task 6 is alike."""
    line = -np.abs(np.arange(9.0)[:, None] - np.arange(9.0))
    done = rehearse(agent(line, [*range(9)], [*range(9)]), plan("policy-reuse", budgets=(1,)))
    np.testing.assert_array_equal(
        done.returns["policy-reuse"], -np.array([1, 1, 1, 1, 1, 1, 1, 1, 2])[None, :, None].repeat(2, 2)
    )


def test_once_every_arm_was_played_all_strategies_deploy_the_best() -> None:
    names = ("best-average", "best-of-prior", "nearest-training-task", "gaussian-process", "policy-reuse")
    asked = plan(*names, budgets=(12,), features="latents", bandwidth=0.0)
    done = rehearse(agent(ROWS), asked)
    for name in names:
        np.testing.assert_array_equal(done.returns[name][0, :, 0], [2, 5, 6], err_msg=name)


@config
class ByBudget(BestOfPrior):
    """Deploys the arm of its budget's number, less one."""

    @property
    def anytime(self) -> bool:
        return False

    def deploy(self, history: AdaptationHistory) -> Policy:
        return history.agent.policy(history.prior.beliefs[[history.budget - 1] * history.problems])


def test_each_budget_is_planned_on_its_own() -> None:
    done = rehearse(agent(ROWS), replace(plan("best-of-prior"), strategies={"by-budget": ByBudget()}))
    np.testing.assert_array_equal(done.returns["by-budget"][..., 0], [[1, 5, 4], [2, 3, 6]])


@config
class ByChange(BestOfPrior):
    """Plays the first arm, and deploys the second one where the returns of its episodes differ."""

    def explore(self, history: AdaptationHistory) -> Policy:
        return history.agent.policy(history.prior.beliefs[[0] * history.problems])

    def deploy(self, history: AdaptationHistory) -> Policy:
        return history.agent.policy(history.prior.beliefs[(np.ptp(history.scores("return"), 0) > 0).astype(int)])


def test_each_episode_is_drawn_anew() -> None:
    table = np.array(ROWS)[..., None] + [-0.5, 0.5]
    asked = replace(plan("best-of-prior", seeds=40), strategies={"by-change": ByChange()})
    deployed = rehearse(agent(table), asked).returns["by-change"]
    assert set(deployed[0].ravel()) == {1, 5, 4}
    assert 8 <= np.count_nonzero(deployed[1, 0] == 2) <= 32


def test_an_episode_earns_one_of_an_entry_and_what_is_deployed_their_mean() -> None:
    """Two episodes of each pair, which decide for arm 5 or arm 3 on task 7: the seeds see one or the other."""
    table = np.array(ROWS)[..., None] + np.zeros(2)
    table[0, 1:] = [[0.0, 10.0], [4.0, 4.0]]
    done = rehearse(agent(table), plan("best-average", seeds=40))
    assert done.episodes == 2
    assert set(done.returns["best-average"][0, 0]) == {5.0}  # the first is arm 3, whatever it earned
    assert set(done.returns["best-average"][1, 0]) == {4.0, 5.0}
    assert 8 <= np.count_nonzero(done.returns["best-average"][1, 0] == 5) <= 32


@pytest.mark.parametrize(("name", "repeats"), [("best-of-prior", 1), ("best-average", 2)])
def test_the_same_seed_gives_the_same_and_another_does_not(name: str, repeats: int) -> None:
    """Of what a strategy draws alone, and of what its episodes earn alone."""
    rows = generator(0).normal(size=(3, 3, repeats))
    first, again, other = (rehearse(agent(rows), plan(name, seeds=16, seed=seed)).returns[name] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_tasks_are_drawn_apart() -> None:
    drawn = rehearse(agent(generator(0).normal(size=(3, 3, 1))), plan("best-of-prior", seeds=16)).returns
    same_as_first = drawn["best-of-prior"][0] == drawn["best-of-prior"][0, :, :1]
    assert (same_as_first[0] != same_as_first[1]).any()


def test_so_many_tasks_are_left_out_and_progress_counts_them() -> None:
    counted = list[int]()
    done = rehearse(agent(ROWS), plan("best-average", "best-of-prior"), 2, counted.append)
    assert done.tasks.tolist() == INDICES[:2]
    assert sum(counted) == 4
    whole = rehearse(agent(ROWS), plan("best-average", "best-of-prior"))
    for name, returns in done.returns.items():
        np.testing.assert_array_equal(returns, whole.returns[name][:, :2])


@pytest.mark.parametrize(
    ("name", "does"),
    [
        ("idaq", "gave a policy under no training task's belief"),
        ("posterior", "gave a policy under no training task's belief"),
        ("random-first", "gave a policy under no training task's belief"),
        ("in-context", "cannot be rehearsed: an agent of focal-td3bc is no EpisodicAgent"),
        ("offline-context", "cannot be rehearsed: it looks at the test tasks' offline data"),
    ],
)
def test_what_does_more_than_choose_among_arms_is_refused_by_name(name: str, does: str) -> None:
    with pytest.raises(RunError, match=rf"strategy {name}.*{does}(.|\n)*policy-reuse with between=1"):
        rehearse(agent(np.arange(9.0).reshape(3, 3)), plan(name, budgets=(4,)))


@pytest.mark.parametrize("strategy", [PolicyReuse(between=0), GaussianProcess()])
def test_a_point_between_two_beliefs_is_refused_and_none_is_played_by_default(strategy: Strategy) -> None:
    hills = np.exp(-(((np.arange(6.0) - np.arange(6.0)[:, None]) / 3) ** 2))
    measured, asked = agent(hills, [*range(6)], [*range(6)]), plan("policy-reuse", "gaussian-process", budgets=(4,))
    rehearse(measured, asked)
    with pytest.raises(RunError, match="gave a policy under no training task's belief"):
        rehearse(measured, replace(asked, strategies={"one": strategy}))


def test_it_says_how_much_of_what_a_policy_earns_the_others_foretell() -> None:
    """On the whole table: what policy-reuse goes by on a new task."""
    smooth = np.exp(-(((np.arange(6.0) - np.arange(6.0)[:, None]) / 3) ** 2))
    rough = generator(0).normal(size=(6, 6))
    found = [
        rehearse(agent(table, [*range(6)], [*range(6)]), plan("best-average"), 2).foretold for table in (smooth, rough)
    ]
    assert found[0] > PolicyReuse().between > 0.5 > found[1]
    beliefs = np.arange(6, dtype=np.float32)[:, None]
    assert found == [points_between(beliefs, table).foretold for table in (smooth, rough)]


@config
class HalfWay(BestOfPrior):
    """Deploys what it has not played."""

    def deploy(self, history: AdaptationHistory) -> Policy:
        return history.agent.policy(np.full((history.problems, 1), 0.5, np.float32))


def test_what_is_deployed_must_be_an_arm_too() -> None:
    asked = replace(plan("best-of-prior"), strategies={"half-way": HalfWay()})
    with pytest.raises(RunError, match="deploy of strategy half-way gave a policy under no training task's belief"):
        rehearse(agent(ROWS), asked)


def test_without_cross_returns_the_command_that_measures_them_is_told() -> None:
    with pytest.raises(RunError, match=r"nobody has measured.*\n.*idaq adapt RUN --strategies policy-reuse"):
        rehearse(EchoAgent(), plan("best-of-prior"))


def test_one_row_leaves_nothing() -> None:
    with pytest.raises(RunError, match="leave no row"):
        rehearse(agent(ROWS[:1], [7]), plan("best-of-prior"))
