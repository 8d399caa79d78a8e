"""The Gaussian process over beliefs: its posterior by value, what it plays, and what it deploys."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import multivariate_t

from idaq.adapt.gaussian_process import (
    DEGREES,
    LENGTHS,
    NOISES,
    Candidates,
    Fit,
    GaussianProcess,
    exactly_repeated,
    expected_improvement,
    fit,
    posterior,
    units,
)
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import BeliefPolicy
from idaq.adapt.session import Session
from idaq.adapt.strategies import BestOfPrior
from idaq.adapt.strategy import Strategy
from idaq.core.errors import RunError
from idaq.core.types import Doubles, Floats
from idaq.learn.algorithm import Agent, Prior
from idaq.tasks.systems import PlayedEpisode
from idaq.testing import StrategyContract
from idaq.testing.strategies import GOALS, PointAgent, play
from tests.adapt.kinds import MemoryPolicy, RecurrentAgent
from tests.adapt.test_strategies import EchoAgent, episodes, explored, history, record

KERNEL = np.array([[1.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 1.0]])
"""of three candidates, of which two are played"""
NOISE = 0.25
PLAYED, RETURNS = np.array([[0, 1], [2, 0]]), np.array([[1.0, -1.0], [2.0, 0.5]])
LINE = Prior(
    beliefs=np.linspace(0, 1, 21, dtype=np.float32)[:, None],
    task_indices=np.arange(21),
    offline_return=0.0,
    random_return=-1.0,
)
"""latents on a line"""


def line(best: float | Doubles) -> Callable[[Floats], Doubles]:
    """A return that falls off from a best latent."""
    return lambda z: -((z.astype(np.float64) - best) ** 2)


def adapted(
    strategy: Strategy, earned: Callable[[Floats], Doubles], prior: Prior = LINE, count: int = 10, problems: int = 1
) -> AdaptationHistory:
    """After so many episodes, in each of which a latent earns what the function says."""
    seen = history(problems, prior, count)
    for _ in range(count):
        z = explored(strategy, seen)[:, 0]
        record(seen, z.tolist(), earned(z)[:, None].tolist())
    return seen


def played(seen: AdaptationHistory) -> list[float]:
    return [float(z[0, 0]) for z in seen.beliefs]


def deployed(strategy: Strategy, seen: AdaptationHistory) -> float:
    policy = strategy.deploy(seen)
    assert isinstance(policy, BeliefPolicy)
    return float(policy.beliefs[0, 0])


# -- the posterior -----------------------------------------------------------------------------------------------


def test_one_episode_moves_each_candidate_by_its_kernel() -> None:
    """By hand: K + noise is 1.25, the return 1; so the misfit is 0.8 and the scale (4 + 0.8) / (4 + 1)."""
    one = fit(KERNEL, NOISE, np.array([[0]]), np.array([[1.0]]))
    assert_allclose(one.mean, [[0.8, 0.4, 0.08]], rtol=1e-5)
    assert_allclose(one.variance, [[0.96 * 0.2, 0.96 * 0.8, 0.96 * 0.992]], rtol=1e-5)


@pytest.mark.parametrize("problem", [0, 1])
def test_the_posterior_is_that_of_the_formula(problem: int) -> None:
    places, returns = PLAYED[problem], RETURNS[problem]
    inverse = np.linalg.inv(KERNEL[np.ix_(places, places)] + NOISE * np.eye(2))
    scale = (DEGREES + returns @ inverse @ returns) / (DEGREES + 2)
    covariance = scale * (KERNEL - KERNEL[:, places] @ inverse @ KERNEL[places])
    one = fit(KERNEL, NOISE, PLAYED, RETURNS)
    assert_allclose(one.mean[problem], KERNEL[:, places] @ inverse @ returns, rtol=1e-4)
    assert_allclose(one.variance[problem], np.diag(covariance), rtol=1e-4)
    draws = np.stack([one.drawn(problem, normal) for normal in np.random.default_rng(0).normal(size=(5_000, 3))])
    assert_allclose(draws.mean(0), one.mean[problem], atol=0.06)
    assert_allclose(np.cov(draws.T), covariance, atol=0.06)


def test_fits_are_compared_by_the_marginal_likelihood_of_a_student_process() -> None:
    fits = [fit(kernel, noise, PLAYED, RETURNS) for kernel, noise in [(KERNEL, NOISE), (np.eye(3), 1.0)]]
    for problem, (places, returns) in enumerate(zip(PLAYED, RETURNS, strict=True)):
        shapes = [one.kernel[np.ix_(places, places)] + one.noise * np.eye(2) for one in fits]
        expected = [multivariate_t.logpdf(returns, shape=cast(Any, shape), df=cast(Any, DEGREES)) for shape in shapes]
        found = [one.log_likelihood[problem] for one in fits]
        assert_allclose(found[0] - found[1], expected[0] - expected[1], atol=1e-4)


def distances(*places: float) -> Doubles:
    return np.abs(np.subtract.outer(places, places)).astype(np.float64)


@pytest.mark.parametrize(
    ("returns", "noises"), [([1.0, 0.9, 0.8, 0.3], (0.0,)), ([1.0, 0.9, 0.8, -1.0], NOISES)]
)  # the last is the first once more
def test_the_mixture_weighs_every_length_scale_and_noise_by_likelihood(
    returns: list[float], noises: tuple[float, ...]
) -> None:
    apart = distances(0, 1, 2, 4)
    seen = posterior(apart, np.array([[0, 1, 2, 3 if noises == (0.0,) else 0]]), np.array([returns]))
    lengths = np.array(LENGTHS) * 2.0  # the median of 1, 1, 2, 2, 3, 4
    assert [one.noise for one in seen.fits] == [*NOISES] * len(LENGTHS)
    for one, length in zip(seen.fits[:: len(NOISES)], lengths, strict=True):
        assert_allclose(one.kernel, np.exp(-(apart**2) / (2 * length**2)))
    likelihood = np.array([np.exp(one.log_likelihood[0]) * (one.noise in noises) for one in seen.fits])
    weights = likelihood / likelihood.sum()
    assert_allclose(seen.weights[:, 0], weights)
    means, variances = (np.stack([part(one)[0] for one in seen.fits]) for part in (_mean, _variance))
    assert_allclose(seen.mean[0], weights @ means)
    assert_allclose(seen.deviation[0] ** 2, weights @ (variances + (means - weights @ means) ** 2), atol=1e-9)


def _mean(one: Fit) -> Doubles:
    return one.mean


def _variance(one: Fit) -> Doubles:
    return one.variance


@pytest.mark.parametrize(
    ("places", "returns", "without_noise", "noisy"),
    [
        ([0, 1, 0], [1.0, 0.0, 1.0], True, False),
        ([0, 1, 0], [1.0, 0.0, -1.0], False, True),
        ([0, 1, 2], [1.0, 1.0, 1.0], False, False),
    ],
)
def test_noise_is_what_a_candidate_played_twice_shows(
    places: list[int], returns: list[float], without_noise: bool, noisy: bool
) -> None:
    assert exactly_repeated(np.array([places]), np.array([returns])).tolist() == [without_noise]
    seen = posterior(distances(0, 3, 9), np.array([places]), np.array([returns]))
    assert seen.noisy.tolist() == [noisy]
    with_noise = seen.weights[np.array([one.noise > 0 for one in seen.fits])]
    assert (with_noise > 0).any() == noisy


def test_what_is_rough_is_not_noise_where_a_candidate_earned_the_same_twice() -> None:
    rough = distances(0, 0.01, 9)
    told = [posterior(rough, np.array([places]), np.array([[1.0, -1.0, 1.0]])) for places in ([0, 1, 2], [0, 1, 0])]
    assert [bool(seen.noisy[0]) for seen in told] == [True, False]


def test_expected_improvement_by_hand() -> None:
    """Of a standard normal it is 1 / sqrt(2 pi); of what is certain, the gain, and nothing for a loss."""
    found = expected_improvement(np.array([[0.0, 3.0, -2.0, 1.0]]), np.array([[1.0, 0.0, 0.0, 2.0]]), np.array([[0.0]]))
    draws = np.random.default_rng(0).normal(1.0, 2.0, 400_000)
    assert_allclose(found[0], [0.398942, 3.0, 0.0, np.maximum(draws, 0).mean()], atol=0.01)


# -- what is played and deployed ---------------------------------------------------------------------------------


def test_the_first_episode_is_under_the_medoid() -> None:
    assert explored(GaussianProcess(), history(problems=3, prior=LINE)).tolist() == [[0.5]] * 3


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"beta": 0.0}, 0.8),  # between the best returns
        ({"beta": 50.0}, 0.0),  # as far from what was played as there is
        ({"acquisition": "ei"}, 0.8),
    ],
)
def test_an_acquisition_weighs_return_against_distance(settings: dict[str, Any], expected: float) -> None:
    seen = history(prior=LINE)
    for z, earned in [(0.5, 0.0), (0.7, 0.8), (0.9, 0.8), (1.0, 0.4)]:
        record(seen, [float(LINE.beliefs[round(20 * z), 0])], [[earned]])
    assert explored(GaussianProcess(**settings), seen)[0, 0] == pytest.approx(expected)


def test_a_draw_from_the_posterior_is_the_historys() -> None:
    seen = adapted(GaussianProcess(), line(0.8), count=3)
    draws = {float(explored(GaussianProcess(acquisition="thompson"), seen)[0, 0]) for _ in range(20)}
    assert len(draws) > 3
    assert not draws & set(played(seen))


@pytest.mark.parametrize("acquisition", ["ucb", "thompson", "ei"])
def test_it_finds_the_best_of_a_smooth_table_sooner_than_draws_from_the_prior(acquisition: Any) -> None:
    """In episodes until the best of 81 latents is played, or 20, of six problems."""
    latents = np.linspace(0, 1, 81, dtype=np.float32)
    prior, best = replace(LINE, beliefs=latents[:, None]), latents[[4, 16, 32, 52, 64, 76]]

    def needed(strategy: Strategy) -> float:
        seen = adapted(strategy, line(best.astype(np.float64)), prior, count=20, problems=6)
        hit = np.stack(seen.beliefs)[..., 0] == best
        return float(np.where(hit.any(0), hit.argmax(0), 20).mean())

    assert needed(GaussianProcess(acquisition=acquisition)) < needed(BestOfPrior()) / 1.5


@pytest.mark.parametrize("random_return", [-1.0, None])
def test_scale_and_shift_of_returns_change_nothing(random_return: float | None) -> None:
    prior = replace(LINE, random_return=random_return)
    moved = replace(prior, offline_return=1024.0, random_return=None if random_return is None else 512.0)
    plain = adapted(GaussianProcess(), line(0.35), prior)
    scaled = adapted(GaussianProcess(), lambda z: 512 * line(0.35)(z) + 1024, moved)
    assert played(plain) == played(scaled)
    assert_allclose(units(plain), units(scaled), atol=1e-5)


def test_units_are_those_of_the_training_tasks_where_they_are_known() -> None:
    seen = history()  # random actions earn -2, offline episodes 8
    for earned in (-2.0, 3.0, 8.0):
        record(seen, [0.0], [[earned]])
    assert_allclose(units(seen), [[0.0, 1.0, 2.0]])
    own = adapted(GaussianProcess(), line(0.5), replace(LINE, random_return=0.0), count=3)
    assert_allclose([units(own).mean(), units(own).std()], [0.0, 1.0], atol=1e-9)


def test_nothing_is_played_twice_until_nothing_is_left() -> None:
    search = GaussianProcess(features="latents")
    seen = adapted(search, line(0.35), count=24)
    assert len(set(played(seen)[:21])) == 21
    assert set(played(seen)[21:]) == {deployed(search, seen)}


def noisy_history() -> AdaptationHistory:
    """One belief earned 0.9 and then 0.1; another 0.6, twice almost."""
    seen = history(prior=LINE)
    for place, earned in [(0, 0.9), (20, 0.6), (0, 0.1), (20, 0.55)]:
        record(seen, [float(LINE.beliefs[place, 0])], [[earned]])
    return seen


def test_where_returns_are_noisy_it_deploys_the_best_mean_and_may_play_again() -> None:
    seen = noisy_history()
    assert deployed(GaussianProcess(), seen) == 1.0
    assert explored(GaussianProcess(beta=0), seen).tolist() == [[1.0]]
    assert deployed(BestOfPrior(), seen) == 0.0


def test_half_way_between_neighbours_in_the_principal_plane_are_candidates() -> None:
    flat = np.array([[0, 0, 0.1], [4, 0, -0.1], [0, 2, 0.1], [4, 2, -0.1], [2, 1, 0.0]], np.float32)
    found = Candidates.of_components(flat, 2)
    assert_allclose(found.beliefs[:5], flat)
    middles = {tuple(row) for row in ((flat[:, None] + flat) / 2).reshape(-1, 3).tolist()}
    assert {tuple(row) for row in found.beliefs.tolist()} == middles
    assert_allclose(found.distances[0, :3], [0, np.sqrt(16.04), 2.0], atol=1e-4)


def test_a_policy_that_does_not_say_its_belief_is_refused() -> None:
    seen = history(prior=LINE)
    seen.add(MemoryPolicy(1), episodes([[1.0]]))
    with pytest.raises(RunError, match="under which belief"):
        GaussianProcess().explore(seen)


class TestBetween(StrategyContract):
    """With candidates between latents, and draws."""

    def strategy(self) -> Strategy:
        return GaussianProcess(features="principal-components", acquisition="thompson")


@pytest.mark.parametrize("agent", [PointAgent(), RecurrentAgent()])
def test_a_session_chooses_as_lock_step_does(agent: Agent) -> None:
    together = AdaptationHistory(agent=agent, problems=len(GOALS), budget=5, rng=np.random.default_rng(0))
    for _ in range(5):
        policy = GaussianProcess().explore(together)
        together.add(policy, play(policy, GOALS))
    for problem, goal in enumerate(GOALS):
        session = Session(agent, "gaussian-process", 5)
        for beliefs in together.beliefs:
            policy = session.next_policy().policy
            assert np.array_equal(getattr(policy, "beliefs")[0], beliefs[problem])  # noqa: B009
            session.record(_one(play(policy, goal[None])))


def _one(batch: Any) -> PlayedEpisode:
    columns = batch.transitions[0]
    return PlayedEpisode(
        observations=np.concatenate([columns.observations, columns.next_observations[-1:]]),
        actions=columns.actions,
        rewards=columns.rewards,
        terminated=columns.terminated,
        truncated=np.arange(len(columns)) == len(columns) - 1,
    )


def test_it_is_found_by_name() -> None:
    assert Session(EchoAgent(LINE), "gaussian-process").strategy == GaussianProcess()
