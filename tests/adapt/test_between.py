"""Points between latents: where they lie, and what a table of returns tells of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from idaq.adapt.between import Process, distances, foretold, likeliest, points_between, told_by
from idaq.core.seeds import generator

LINE = np.arange(8, dtype=np.float32)[:, None]
GOALS = np.linspace(0.3, 6.8, 12)


def hills(places: NDArray[np.float32], width: float = 3.0) -> NDArray[np.float64]:
    """What places earn on tasks whose goals lie on the same line. (12, places)"""
    return np.exp(-(((places[:, 0] - GOALS[:, None]) / width) ** 2))


def test_they_lie_half_way_between_neighbours_each_once_and_none_where_a_belief_is() -> None:
    between = points_between(LINE, hills(LINE)).beliefs[:, 0]
    assert len(set(between.tolist())) == len(between)
    assert not {*between.tolist()} & {*LINE[:, 0].tolist()}
    assert {*between.tolist()} == {n + 0.5 for n in range(7)}, "half-way points of further neighbours are among these"


def test_beliefs_that_are_alike_count_once_as_places_and_each_as_what_was_played() -> None:
    twice = np.concatenate([LINE, LINE[:2]])
    between = points_between(twice, hills(twice))
    assert {*between.beliefs[:, 0].tolist()} == {n + 0.5 for n in range(7)}
    np.testing.assert_allclose(between.weights[:, 0], between.weights[:, 8], atol=1e-9)


@pytest.mark.parametrize("beliefs", [LINE[:1], np.zeros((3, 2), np.float32)])
def test_a_single_place_has_nothing_between(beliefs: NDArray[np.float32]) -> None:
    between = points_between(beliefs, np.ones((2, len(beliefs))))
    assert between.beliefs.shape == (0, beliefs.shape[1])
    assert between.weights.shape == (0, len(beliefs))


def test_where_returns_change_little_from_place_to_place_what_lies_between_is_foretold() -> None:
    between = points_between(LINE, hills(LINE))
    told = hills(LINE) @ between.weights.T
    np.testing.assert_allclose(told, hills(between.beliefs), atol=0.02)
    deviation = np.sqrt(np.diag(between.covariance))
    assert deviation.max() < 0.1
    assert (np.abs(told - hills(between.beliefs)) < 3 * deviation).all()


def test_where_no_place_tells_of_its_neighbour_it_is_the_level_with_all_of_the_doubt() -> None:
    rows = generator(1).normal(5, 2, size=(40, 8))
    between = points_between(LINE, rows)
    told = rows @ between.weights.T
    assert np.abs(told - rows.mean(1, keepdims=True)).max() < 0.8
    np.testing.assert_allclose(np.sqrt(np.diag(between.covariance)), 2, rtol=0.2)


def test_rows_may_lie_at_any_level_and_a_level_table_leaves_no_doubt() -> None:
    rows = hills(LINE)
    here, there = points_between(LINE, rows), points_between(LINE, rows + 1000 * GOALS[:, None])
    np.testing.assert_allclose(here.weights.sum(1), 1)
    np.testing.assert_allclose(here.weights, there.weights)
    np.testing.assert_allclose(here.covariance, there.covariance, rtol=1e-4)
    level = points_between(LINE, np.full((3, 8), 7.0))
    np.testing.assert_allclose(level.covariance, 0, atol=1e-200)


def test_what_is_told_is_the_conditional_normal_distribution_of_a_level_that_nothing_is_known_of() -> None:
    places = np.array([[0.0], [1.0], [3.0], [0.5], [4.0]], np.float32)
    process = Process(length=1.5, rough=0.2, scale=2.0)
    squares = (places - places.T).astype(np.float64) ** 2
    kernel = 2.0 * (np.exp(-squares / (2 * 1.5**2)) + 0.2 * np.eye(5)) + 1e5  # a level of a very wide distribution
    weights = kernel[3:, :3] @ np.linalg.inv(kernel[:3, :3])
    covariance = kernel[3:, 3:] - weights @ kernel[:3, 3:]
    told, unknown = told_by(process, distances(places), 3)
    np.testing.assert_allclose(told, weights, atol=1e-4)
    np.testing.assert_allclose(unknown, covariance, atol=1e-4)


@pytest.mark.parametrize(("share", "rough"), [(0.4, 0.01), (0.8, 0.3), (0.2, 1.0)])
def test_the_process_that_made_a_table_is_found_again(share: float, rough: float) -> None:
    places = generator(2).normal(size=(30, 2)).astype(np.float32)
    apart = distances(places)
    length = share * float(np.median(apart[apart > 0]))
    kernel = 9.0 * (np.exp(-((apart / length) ** 2) / 2) + rough * np.eye(30))
    rows = generator(3).multivariate_normal(np.full(30, -4.0), kernel, size=200)
    found = likeliest(apart, rows)
    assert (found.length, found.rough) == (pytest.approx(length), rough)
    assert found.scale == pytest.approx(9, rel=0.1)


def test_what_is_foretold_is_told_of_each_place_by_the_others_alone() -> None:
    rows = generator(4).normal(size=(5, 6)) + 3 * hills(LINE)[:5, :6]
    process, apart = Process(length=2.0, rough=0.3, scale=1.0), distances(LINE[:6])
    off = np.zeros((5, 6))
    for one in range(6):
        others = [place for place in range(6) if place != one]
        order = [*others, one]
        weights, _ = told_by(process, apart[np.ix_(order, order)], 5)
        off[:, one] = rows[:, one] - rows[:, others] @ weights[0]
    assert foretold(process, apart, rows) == pytest.approx(1 - (off**2).mean() / rows.var(1).mean())


@pytest.mark.parametrize("rows", [np.ones((3, 8)), np.ones((3, 1))])
def test_where_nothing_varies_nothing_is_foretold(rows: NDArray[np.float64]) -> None:
    assert points_between(LINE[: rows.shape[1]], rows).foretold == 0
