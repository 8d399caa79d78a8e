"""policy-reuse: a posterior over a table of returns, worked out by hand; what it plays, and what it deploys."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from idaq.adapt.beliefs import best_belief
from idaq.adapt.between import points_between
from idaq.adapt.gaussian_process import expected_improvement
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import BeliefPolicy, RandomPolicy
from idaq.adapt.policy_reuse import (
    BestAverage,
    PolicyReuse,
    ReturnModel,
    expected_returns,
    library,
    mean_returns,
    remaining_variance,
    return_model,
    value_of_information,
)
from idaq.adapt.session import Session
from idaq.adapt.strategies import BestOfPrior
from idaq.adapt.strategy import Strategy
from idaq.core.errors import RunError
from idaq.core.seeds import generator
from idaq.learn.algorithm import Prior
from idaq.learn.cross_returns import CrossReturns
from tests.adapt.test_strategies import PRIOR, EchoAgent, episodes

NOTHING = np.zeros(0)
NO_ARM = np.zeros(0, np.int64)


def table(rows: list[list[float]]) -> CrossReturns:
    return CrossReturns(tasks=np.arange(len(rows)), returns=np.array(rows)[..., None])


def history(
    rows: list[list[float]], truth: list[float], strategy: Strategy, budget: int, played: int | None = None
) -> tuple[AdaptationHistory, list[int]]:
    """After `played` episodes on a task whose arm j, under belief [j], earns truth[j]; and the arms played."""
    prior = Prior(
        beliefs=np.arange(len(truth), dtype=np.float32)[:, None],
        task_indices=np.arange(len(rows)),
        offline_return=0.0,
        random_return=None,
        cross_returns=table(rows),
    )
    seen = AdaptationHistory(agent=EchoAgent(prior), problems=1, budget=budget, rng=generator(0))
    arms = list[int]()
    for _ in range(budget if played is None else played):
        arms.append(arm_of(strategy.explore(seen)))
        seen.add(seen.agent.policy(np.array([[arms[-1]]], np.float32)), episodes([[truth[arms[-1]]]]))
    return seen, arms


def arm_of(policy: object) -> int:
    assert isinstance(policy, BeliefPolicy)
    return int(policy.beliefs[0, 0])


# -- the model ---------------------------------------------------------------------------------------------------


def test_without_bandwidth_the_centres_are_the_rows_and_with_all_of_it_their_mean() -> None:
    rows = table([[1.0, 4.0], [3.0, 0.0]])
    np.testing.assert_allclose(return_model(rows, 0.0, 0.5).centres, [[1, 4], [3, 0]])
    np.testing.assert_allclose(return_model(rows, 1.0, 0.5).centres, [[2, 2], [2, 2]])
    deviation = 0.5 * np.std([1, 4, 3, 0])
    np.testing.assert_allclose(return_model(rows, 0.0, 0.5).covariance, deviation**2 * np.eye(2))
    np.testing.assert_allclose(
        return_model(rows, 1.0, 0.5).covariance, np.array([[1, -2], [-2, 4]]) + deviation**2 * np.eye(2)
    )


@pytest.mark.parametrize("bandwidth", [0.0, 0.3, 0.8, 1.0])
def test_the_mixture_has_the_mean_and_the_covariance_of_the_rows(bandwidth: float) -> None:
    rows = generator(3).normal(size=(6, 4)) @ np.diag([1, 2, 3, 4])
    model = return_model(table(rows.tolist()), bandwidth, 1e-6)
    np.testing.assert_allclose(model.centres.mean(0), rows.mean(0), atol=1e-9)
    whole = np.cov(model.centres.T, bias=True) + model.covariance
    np.testing.assert_allclose(whole, np.cov(rows.T, bias=True), atol=1e-9)


def test_weights_and_means_are_those_of_bayes_rule() -> None:
    """Two components and two arms, of which the first has earned 1.0: by hand."""
    model = ReturnModel(
        centres=np.array([[0.0, 10.0], [2.0, 20.0]]),
        covariance=np.array([[1.0, 0.5], [0.5, 2.0]]),
        noise=np.array([0.25, 9.0]),
    )
    weights, means = expected_returns(model, np.array([0]), np.array([[0.5]]))
    likelihood = np.exp(-0.5 * np.array([0.5, -1.5]) ** 2 / 1.25)
    np.testing.assert_allclose(weights[0], likelihood / likelihood.sum())
    np.testing.assert_allclose(means[0, 0], [0 + 1.0 / 1.25 * 0.5, 10 + 0.5 / 1.25 * 0.5])
    np.testing.assert_allclose(means[0, 1], [2 + 1.0 / 1.25 * -1.5, 20 + 0.5 / 1.25 * -1.5])


def test_several_cases_at_once_are_each_as_alone() -> None:
    model = return_model(table(generator(0).normal(size=(5, 4)).tolist()), 0.4, 0.3)
    arms, cases = np.array([2, 0]), generator(1).normal(size=(3, 2))
    weights, means = expected_returns(model, arms, cases)
    for i, case in enumerate(cases):
        alone = expected_returns(model, arms, case[None])
        np.testing.assert_allclose(weights[i], alone[0][0])
        np.testing.assert_allclose(means[i], alone[1][0])


def test_nothing_seen_leaves_every_row_as_likely() -> None:
    model = return_model(table([[1.0, 2.0], [3.0, 5.0]]), 0.0, 0.1)
    weights, means = expected_returns(model, NO_ARM, NOTHING[None])
    np.testing.assert_array_equal(weights, [[0.5, 0.5]])
    np.testing.assert_array_equal(means[0], model.centres)


def test_an_arm_that_was_played_is_expected_to_earn_what_it_earned_unless_returns_are_noisy() -> None:
    rows = generator(2).normal(size=(6, 4))
    quiet, noisy = (CrossReturns(tasks=np.arange(6), returns=rows[..., None] + shift) for shift in ([0.0], [-2.0, 2.0]))
    np.testing.assert_array_equal(quiet.noise, np.zeros(4))
    np.testing.assert_allclose(noisy.noise, np.full(4, np.sqrt(8)))
    for cross, sure in ((quiet, True), (noisy, False)):
        weights, means = expected_returns(return_model(cross, 0.3, 0.2), np.array([1]), np.array([[3.0]]))
        assert (abs((weights[0] @ means[0])[1] - 3.0) < 1e-4) == sure


def test_an_arm_is_as_noisy_as_it_was_on_the_training_tasks() -> None:
    """Arm 0 earned 1 more and 1 less, then 3 more and 3 less; arm 1 the same again."""
    returns = np.array([[[4.0, 6.0], [1.0, 1.0]], [[2.0, 8.0], [0.0, 0.0]]])
    cross = CrossReturns(tasks=np.arange(2), returns=returns)
    np.testing.assert_allclose(cross.noise, [np.sqrt((2 + 18) / 2), 0])
    model = return_model(cross, 1.0, 0.5)  # one Gaussian around (5, 0.5)
    assert abs(mean_returns(model, np.array([1]), np.array([[9.0]]))[0, 1] - 9) < 1e-4
    variance = model.covariance[0, 0]
    expected = 5 + variance / (variance + 10) * 4
    assert mean_returns(model, np.array([0]), np.array([[9.0]]))[0, 0] == pytest.approx(expected, rel=1e-5)


def test_what_remains_unknown_of_an_arm_is_by_hand() -> None:
    model = ReturnModel(
        centres=np.zeros((1, 2)), covariance=np.array([[1.0, 0.5], [0.5, 2.0]]), noise=np.array([0.25, 9.0])
    )
    np.testing.assert_allclose(remaining_variance(model, NO_ARM), [1, 2])
    np.testing.assert_allclose(remaining_variance(model, np.array([0])), [1 - 1 / 1.25, 2 - 0.25 / 1.25])


def test_information_is_worth_what_it_changes() -> None:
    """Arm 0 tells the two tasks apart and earns nothing; arms 1 and 2 each suit one of them; arm 3 tells nothing."""
    model = return_model(table([[-1.0, 10.0, 0.0, 4.0], [1.0, 0.0, 10.0, 4.0]]), 0.0, 0.001)
    values = [value_of_information(model, NO_ARM, NOTHING, arm) for arm in range(4)]
    np.testing.assert_allclose(values, [10, 10, 10, 5], atol=0.01)


def test_what_no_task_foresees_is_worth_a_try() -> None:
    """One row, so that an arm's return is normal around it: E max(3, 2 + 1.5 e), by three points of e."""
    model = ReturnModel(centres=np.array([[3.0, 2.0]]), covariance=np.diag([0.0, 1.5**2]), noise=np.full(2, 1e-12))
    by_hand = (max(3, 2 - 1.5 * np.sqrt(3)) + 4 * 3 + (2 + 1.5 * np.sqrt(3))) / 6
    assert value_of_information(model, NO_ARM, NOTHING, 1) == pytest.approx(by_hand)


def test_the_spread_is_wide_where_no_task_foresees_another() -> None:
    related = [[-float(abs(i - j)) for j in range(12)] for i in range(12)]
    unrelated = generator(5).normal(size=(12, 12)).tolist()
    fitted = [float(np.diag(return_model(table(rows), 0.0, None).covariance)[0]) for rows in (related, unrelated)]
    scales = [np.array(rows).std() for rows in (related, unrelated)]
    narrow, wide = (np.sqrt(variance) / scale for variance, scale in zip(fitted, scales, strict=True))
    assert narrow <= 0.35 < 0.5 <= wide


def test_the_mean_over_components_is_that_of_each_component() -> None:
    rows = generator(4).normal(size=(7, 5))
    model, arms, earned = (
        return_model(table(rows.tolist()), 0.4, 0.2),
        np.array([3, 1]),
        generator(5).normal(size=(6, 2)),
    )
    weights, means = expected_returns(model, arms, earned)
    np.testing.assert_allclose(mean_returns(model, arms, earned), np.einsum("oh,ohm->om", weights, means))
    np.testing.assert_allclose(mean_returns(model, NO_ARM, np.zeros((1, 0)))[0], rows.mean(0))


# -- the strategy ------------------------------------------------------------------------------------------------

LINE = [[-float(abs(i - j)) for j in range(9)] for i in range(9)]
"""tasks on a line: arm j earns minus the distance to the task"""
LISTED = PolicyReuse(between=1)
"""no point between the arms, so that each choice is the number of an arm"""


@pytest.mark.parametrize("task", range(9))
def test_on_a_line_one_episode_tells_the_task(task: int) -> None:
    """An end of the line, where the return tells the place; what is deployed then was never played, but at that end."""
    seen, arms = history(LINE, LINE[task], LISTED, budget=1)
    assert arms[0] in (0, 8)
    assert arm_of(LISTED.deploy(seen)) == task


@pytest.mark.parametrize("task", range(9))
def test_with_episodes_to_come_it_plays_what_promises_the_most(task: int) -> None:
    seen, arms = history(LINE, LINE[task], LISTED, budget=4, played=1)
    assert arms == [4]  # the best on average
    model = return_model(seen.cross_returns, 0.25, None)
    weights, means = expected_returns(model, np.array([4]), -seen.scores("return").T)
    deviation = np.sqrt(remaining_variance(model, np.array([4])))
    gain = weights[0] @ expected_improvement(means[0], deviation[None], (weights[0] @ means[0])[4])
    gain[4] = -np.inf
    assert arm_of(LISTED.explore(seen)) == int(gain.argmax())


def test_no_arm_is_played_twice_before_all_were_played() -> None:
    _, arms = history(LINE, [0.0] * 9, LISTED, budget=11)
    assert sorted(arms[:9]) == [*range(9)]


def test_returns_shifted_and_scaled_change_no_choice() -> None:
    rows, truth = generator(7).normal(size=(10, 10)), generator(8).normal(size=10)
    there = history(rows.tolist(), truth.tolist(), LISTED, budget=6)
    other = history((1000 * rows - 5e4).tolist(), (1000 * truth - 5e4).tolist(), LISTED, budget=6)
    assert there[1] == other[1]
    assert arm_of(LISTED.deploy(there[0])) == arm_of(LISTED.deploy(other[0]))


def test_problems_are_told_apart_by_what_they_earned() -> None:
    seen, _ = history(LINE, LINE[0], LISTED, budget=3, played=0)
    seen = replace(seen, problems=3)
    seen.add(seen.agent.policy(np.full((3, 1), 8, np.float32)), episodes([[-8.0], [0.0], [-5.0]]))
    policy = LISTED.deploy(seen)
    assert isinstance(policy, BeliefPolicy)
    np.testing.assert_array_equal(policy.beliefs[:, 0], [0, 8, 3])


def test_it_needs_fewer_episodes_than_best_of_prior() -> None:
    """On tasks between those known, over a smooth family of returns."""
    places = np.linspace(0, 1, 20)

    def returns(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.abs(at[:, None] - places)

    rows, truths = returns(places).tolist(), returns(generator(0).random(12)).tolist()
    regret = dict[str, float]()
    for name, strategy in (("reuse", LISTED), ("prior", BestOfPrior())):
        runs = [(truth, history(rows, truth, strategy, budget=3)[0]) for truth in truths]
        regret[name] = float(np.mean([max(truth) - truth[arm_of(strategy.deploy(seen))] for truth, seen in runs]))
    assert regret["reuse"] < 0.25 * regret["prior"]


def test_nothing_is_drawn() -> None:
    seen, _ = history(LINE, LINE[3], LISTED, budget=4)
    LISTED.deploy(seen)
    assert seen.rng.bit_generator.state == generator(0).bit_generator.state


# -- points between the policies ---------------------------------------------------------------------------------

PLACES = np.arange(9, dtype=np.float32)
HILLS = [[np.exp(-(((place - goal) / 3) ** 2)) for place in PLACES] for goal in np.linspace(0.2, 7.8, 15)]
"""what the policies under places on a line earn on tasks with goals between them"""


def place_of(policy: object) -> float:
    assert isinstance(policy, BeliefPolicy)
    return float(policy.beliefs[0, 0])


def on_the_line(goal: float, strategy: PolicyReuse, budget: int) -> tuple[float, list[float]]:
    """The place that is deployed, and those that were played; any place can be."""
    seen, _ = history(HILLS, [0.0] * 9, strategy, budget, played=0)
    places = list[float]()
    for _ in range(budget):
        policy = strategy.explore(seen)
        places.append(place_of(policy))
        seen.add(policy, episodes([[float(np.exp(-(((places[-1] - goal) / 3) ** 2)))]]))
    return place_of(strategy.deploy(seen)), places


@pytest.mark.parametrize("goal", [1.5, 4.5, 6.5])
def test_a_point_between_two_policies_is_found_where_it_earns_more_than_both(goal: float) -> None:
    assert on_the_line(goal, PolicyReuse(), budget=4)[0] == goal
    assert abs(on_the_line(goal, LISTED, budget=4)[0] - goal) == 0.5


def test_no_point_is_played_where_policies_say_little_of_each_other() -> None:
    rough = generator(6).normal(size=(15, 9)).tolist()
    told = [points_between(PLACES[:, None], np.array(rows)).foretold for rows in (rough, HILLS)]
    assert told[0] < 0.5 < 0.99 < told[1]
    seen, _ = history(rough, [0.0] * 9, PolicyReuse(), budget=17, played=0)
    for _ in range(17):
        seen.add(PolicyReuse().explore(seen), episodes([[0.0]]))
    assert not any(float(played[0, 0]) % 1 for played in seen.beliefs)


def test_no_point_is_played_twice_before_all_were_played() -> None:
    _, places = on_the_line(3.0, PolicyReuse(), budget=17)
    assert len({*places}) == 17 == 9 + 8


def test_a_library_with_points_between_is_the_same_normal_distribution_seen_from_more_places() -> None:
    shaken = np.array(HILLS)[..., None] + np.linspace(0, 0.4, 9)[:, None] * [-1, 1]
    model = return_model(CrossReturns(tasks=np.arange(15), returns=shaken), 0.5, 0.1)
    between = points_between(PLACES[:, None], np.array(HILLS) + generator(1).normal(0, 0.1, size=(15, 9)))
    larger = library(PLACES[:, None], model, between)
    arms, earned = np.array([2, 6]), np.array([[0.9, 0.2]])
    few, more = mean_returns(model, arms, earned), mean_returns(larger.model, arms, earned)
    np.testing.assert_allclose(more[:, :9], few)
    np.testing.assert_allclose(more[:, 9:], few @ between.weights.T)
    seen, across = model.covariance[np.ix_(arms, arms)] + np.diag(model.noise[arms]), model.covariance[arms]
    left = model.covariance - across.T @ np.linalg.solve(seen, across)
    told = between.weights @ left @ between.weights.T + between.covariance
    by_hand = np.concatenate([np.diag(left), np.diag(told)])
    np.testing.assert_allclose(remaining_variance(larger.model, arms), by_hand, atol=1e-12)
    np.testing.assert_array_equal(larger.beliefs[9:], between.beliefs)
    noise = np.maximum(between.weights @ model.noise, model.noise.min())
    np.testing.assert_array_equal(larger.model.noise, np.append(model.noise, noise))
    assert noise.max() > 0.2


def test_policies_without_a_belief_have_nothing_between() -> None:
    prior = Prior(beliefs=np.zeros((9, 0), np.float32), task_indices=np.arange(9), offline_return=0.0,
                  random_return=None, cross_returns=table(LINE))  # fmt: skip
    seen = AdaptationHistory(agent=EchoAgent(prior), problems=1, budget=2, rng=generator(0))
    policy = PolicyReuse().explore(seen)
    assert isinstance(policy, BeliefPolicy)
    assert policy.beliefs.shape == (1, 0)


# -- the control, and what is missing ----------------------------------------------------------------------------


def test_best_average_goes_down_the_means_and_deploys_the_best_it_saw() -> None:
    rows = [[1.0, 5.0, 3.0], [1.0, 5.0, 4.0]]
    seen, arms = history(rows, [9.0, 0.0, 2.0], BestAverage(), budget=4)
    assert arms == [1, 2, 0, 1]
    assert arm_of(BestAverage().deploy(seen)) == int(best_belief(seen, "return")[0, 0]) == 0


def test_a_policy_that_does_not_say_its_belief_is_refused_not_guessed() -> None:
    seen, _ = history(LINE, LINE[3], PolicyReuse(), budget=3, played=1)
    seen.policies[0] = RandomPolicy(seen.agent.spec, 1, generator(0))
    with pytest.raises(RunError, match="does not say under which belief"):
        PolicyReuse().deploy(seen)


@pytest.mark.parametrize("strategy", [PolicyReuse(), BestAverage()])
def test_without_cross_returns_it_is_said_how_to_measure_them(strategy: Strategy) -> None:
    seen = AdaptationHistory(agent=EchoAgent(PRIOR), problems=1, budget=2, rng=generator(0))
    with pytest.raises(RunError, match=r"nobody has measured.*\n.*idaq adapt RUN measures it"):
        strategy.explore(seen)


def test_a_session_of_an_agent_that_was_not_measured_is_refused_at_once() -> None:
    with pytest.raises(RunError, match=r"policy-reuse cannot run.*\n.*idaq adapt RUN measures it"):
        Session(EchoAgent(PRIOR), "policy-reuse", 3)
