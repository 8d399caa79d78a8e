"""Statistics against hand computation, against SciPy's bootstrap, and against what an interval promises."""

import warnings

import numpy as np
import pytest
from scipy.stats import bootstrap

from idaq.evaluate.statistics import (
    LEVEL,
    RESAMPLES,
    Estimate,
    estimate,
    interquartile_mean,
    mean,
    mean_difference,
    share_of_way,
)


@pytest.mark.parametrize(
    ("scores", "expected_mean", "expected_iqm"),
    [
        ([[5.0]], 5, 5),
        ([[1.0, 3.0]], 2, 2),
        ([[1.0, 2.0, 9.0]], 4, 4),  # floor(3 / 4) = 0 cut from each end
        ([[0.0, 1.0, 3.0, 100.0]], 26, 2),
        ([[0.0, 1.0], [3.0, 100.0]], 26, 2),  # over runs and tasks together
        ([[-100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0]], 2.625, 3.5),
        ([[0.0, 1.0, 2.0, 3.0, 94.0]], 20, 2),  # floor(5 / 4) = 1
    ],
)
def test_mean_and_interquartile_mean(scores: list[list[float]], expected_mean: float, expected_iqm: float) -> None:
    assert mean(np.array(scores)) == pytest.approx(expected_mean)
    assert interquartile_mean(np.array(scores)) == pytest.approx(expected_iqm)


def test_statistics_take_batches() -> None:
    scores = np.random.default_rng(0).normal(size=(7, 3, 5))
    assert mean(scores) == pytest.approx([mean(s) for s in scores])
    assert interquartile_mean(scores) == pytest.approx([interquartile_mean(s) for s in scores])


def test_the_share_of_the_way_is_a_ratio_of_means() -> None:
    random, behaviour = np.array([-20.0, -10.0]), np.array([0.0, 0.0])
    assert share_of_way(random[None], random, behaviour) == 0
    assert share_of_way(behaviour[None], random, behaviour) == 1
    assert share_of_way(np.array([[-5.0, -10.0]]), random, behaviour) == pytest.approx((-7.5 + 15) / 15)
    assert share_of_way(np.array([[3.0, 3.0], [0.0, 0.0]]), random, behaviour) == pytest.approx(16.5 / 15), "no bound"


def test_there_is_no_share_where_the_behaviour_does_not_beat_random_actions() -> None:
    random = np.array([-20.0, -10.0])
    assert share_of_way(random[None], random, random) is None
    assert share_of_way(random[None], random, random - 1) is None


def test_differences_are_paired() -> None:
    hard = np.random.default_rng(0).normal(0, 100, (1, 20))
    found = estimate(mean_difference, hard + 1, hard)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_bootstrap_of_two_tasks_by_hand() -> None:
    """Resamples of (0, 1) have mean 0, 1/2, 1 with chance 1/4, 1/2, 1/4: the 95% interval is (0, 1)."""
    assert estimate(mean, np.array([[0.0, 1.0]])) == Estimate(value=0.5, low=0.0, high=1.0)


@pytest.mark.parametrize("statistic", [mean, interquartile_mean])
def test_one_run_agrees_with_scipy(statistic: object) -> None:
    scores = np.random.default_rng(3).normal(-5, 2, (1, 20))
    ours = estimate(statistic, scores)  # type: ignore[arg-type]
    theirs = bootstrap(
        (scores[0],),
        lambda x, axis: statistic(np.moveaxis(x, axis, -1)[..., None, :]),  # type: ignore[operator]
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.08)


def test_runs_are_resampled_too() -> None:
    """Runs that differ widen the interval; copies of one run leave it as it was."""
    one = np.random.default_rng(4).normal(size=(1, 20))
    alone, copied = estimate(mean, one), estimate(mean, one.repeat(4, 0))
    apart = estimate(mean, one + np.array([[-3.0], [-1.0], [1.0], [3.0]]))
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert apart.high - apart.low > 3 * (alone.high - alone.low)


def test_intervals_are_deterministic() -> None:
    scores = np.random.default_rng(5).normal(size=(3, 7))
    assert estimate(interquartile_mean, scores) == estimate(interquartile_mean, scores.copy())


@pytest.mark.parametrize("scores", [[[2.5]], [[0.1, 0.1, 0.1]], [[0.1] * 5] * 3, [[0.0]]])
def test_a_sample_that_cannot_vary_has_an_interval_of_no_width(scores: list[list[float]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for statistic in (mean, interquartile_mean):
            found = estimate(statistic, np.array(scores))
            assert found.low == found.value == found.high
            assert found.value == pytest.approx(scores[0][0])


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """400 experiments of 20 tasks, and of 5 runs x 20 tasks with a spread of both: 95% nominal."""
    rng = np.random.default_rng(6)
    for runs in (1, 5):
        hits = 0
        for _ in range(400):
            spread = rng.normal(0, 1, (1, 20)) + (rng.normal(0, 0.3, (runs, 1)) if runs > 1 else 0)
            found = estimate(mean, spread + rng.normal(0, 0.5, (runs, 20)))
            hits += found.low <= 0 <= found.high
        assert 0.88 <= hits / 400 <= 0.98, (runs, hits / 400)
    assert (LEVEL, RESAMPLES) == (0.95, 2000)
