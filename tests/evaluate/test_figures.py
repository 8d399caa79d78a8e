"""Figures: what they show, that nothing squashes the rest, and that files come out whole."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from idaq.catalogue.entries import catalogue_recipe
from idaq.collect.collect import collect
from idaq.core.errors import DatasetError, UsageError
from idaq.core.types import Success
from idaq.evaluate.figures import adaptation_curves, apart, dataset_returns, training_losses
from idaq.evaluate.page import source
from idaq.evaluate.protocol import summarise
from idaq.evaluate.style import PAGE_COLOURS, save, svg_text
from idaq.evaluate.trace_figures import (
    beliefs,
    describe,
    principal_plane,
    ranges,
    task_values,
    trajectories,
    velocities,
)
from idaq.loader import Dataset, open_dataset
from tests.evaluate.factory import LEVELS, make_results, make_trace

WITHIN = Success(metric="distance_to_goal", op="<=", threshold=0.2, unit="m", when="last-step")
SMALL = ["episodes=3", "splits.sizes={train = 5, test = 3}", "reference.random_episodes=2"]


@pytest.fixture(scope="module", params=["point-robot/expert", "point-robot/mixed", "point-robot-wind/expert"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    recipe = catalogue_recipe(*request.param.split("/"), SMALL)
    return open_dataset(collect(recipe, tmp_path_factory.mktemp("data")).path)


def _texts(figure: Figure) -> str:
    """All text of a figure, axis labels and legends included."""
    return "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


def _drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def test_curves_draw_every_strategy_with_its_name_and_value() -> None:
    figure = _drawn(adaptation_curves(summarise([make_results()])))
    (axes,) = figure.axes
    assert len(axes.lines) == 3 + 2  # strategies without offline context; it and random as lines
    assert axes.get_xlabel()
    assert "return" in axes.get_ylabel()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["4", "2", "1"]
    for name in (*LEVELS, "random actions"):
        assert name in _texts(figure)


def test_a_very_bad_strategy_does_not_squash_the_others() -> None:
    """The distance between the two best on paper, with and without a strategy a thousand times worse than random."""
    gaps = []
    for posterior in (-12.0, -20_000.0):
        levels = {**LEVELS, "posterior": posterior}
        (axes,) = _drawn(adaptation_curves(summarise([make_results(levels=levels, noise=0)]))).axes
        to_axes = axes.transScale + axes.transLimits
        heights = [to_axes.transform((4, y))[1] for y in (-5.0, -4.0, posterior)]
        assert all(-0.01 <= height <= 1.01 for height in heights)
        gaps.append(heights[1] - heights[0])
    assert gaps[0] > 0.1
    assert gaps[1] > gaps[0] / 4


def test_curves_show_how_long_the_reference_stage_lasts() -> None:
    """To the middle, on the log axis, between the last budget that is nothing else and the next."""
    figure = adaptation_curves(summarise([make_results()]))
    assert "reference stage" in _texts(_drawn(figure))
    (shade,) = figure.axes[0].patches
    assert shade.get_extents().transformed(figure.axes[0].transData.inverted()).x1 == pytest.approx(np.sqrt(2 * 4))
    alone = adaptation_curves(summarise([make_results(levels={"posterior": -4.0})]))
    assert "reference stage" not in _texts(_drawn(alone))


@pytest.mark.parametrize(
    "levels", [{"posterior": -4.0}, {"offline-context": -4.0}, {"a$b^{$": -3.0, "\u6f22\U0001f600": -4.0}]
)
def test_curves_of_few_strategies_and_strange_names(levels: dict[str, float]) -> None:
    svg_text(adaptation_curves(summarise([make_results(levels=levels, tasks=1, seeds=1, noise=0)])))


def test_curves_of_one_report_and_no_spread() -> None:
    results = make_results(noise=0, levels={"idaq": 0.0, "offline-context": 0.0}, random=0.0)
    one = {name: replace(s, returns=s.returns[-1:], success=s.success[-1:]) for name, s in results.strategies.items()}
    config = replace(results.config, report_at=[4])
    svg_text(adaptation_curves(summarise([replace(results, config=config, strategies=one)])))


def test_labels_are_moved_apart_and_no_further() -> None:
    assert apart([0.1, 0.5, 0.9], 0.2) == pytest.approx([0.1, 0.5, 0.9])
    assert apart([0.5, 0.5], 0.2) == pytest.approx([0.4, 0.6])
    moved = apart([0.5, 0.51, 0.52, 0.9], 0.1)
    assert np.diff(moved).min() >= 0.1 - 1e-9
    assert moved[-1] == pytest.approx(0.9)


@pytest.mark.parametrize("params", [{"goal": [1.0, 0.0]}, {"wind": [0.03, -0.02]}, {"angle": 1.0}])
def test_trajectories(params: dict[str, float | list[float]]) -> None:
    trace = make_trace(tests=[4, 7], training=[0, 1, 2], episodes=4, reference=2)
    figure = _drawn(trajectories(trace, 7, params=params, success=WITHIN, offline=[np.zeros((7, 2))]))  # type: ignore[arg-type]
    axes = figure.axes[0]
    paths = [line for line in axes.lines if len(line.get_xdata()) == 7]
    assert len(paths) == 4 + 1 + 1  # adaptation, fresh, offline
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_aspect()) == ("x (m)", "y (m)", 1)
    said = _texts(figure)
    for text in ("reference stage, 2", "iterative stage, 2", "fresh episode", "own data, 1", "task 7"):
        assert text in said
    assert ("goal" in {line.get_label() for line in axes.lines}) == ("goal" in params)
    radii = [patch.get_radius() for patch in axes.patches if hasattr(patch, "get_radius")]
    assert radii == ([0.2] if "goal" in params else [])
    assert ("drift" in said) == ("wind" in params)


def test_trajectories_stop_where_the_episode_ended() -> None:
    trace = make_trace(tests=[0], training=[0, 1])
    trace["valid"][:, :, 2:] = False
    figure = trajectories(trace, 0, params={})
    assert figure is not None
    assert [len(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) > 1] == [3] * 5


def test_velocities_are_drawn_beside_the_one_asked_for() -> None:
    trace = make_trace(tests=[4, 7], training=[0, 1, 2], episodes=4, reference=2, size=3)
    trace["valid"][:, 1, 3:] = False
    figure = _drawn(velocities(trace, 7, {"velocity": 1.25}))  # type: ignore[arg-type]
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "velocity (m/s), mean of 10 steps")
    assert [line.get_ydata() for line in axes.lines if "asked for" in str(line.get_label())] == [[1.25, 1.25]]
    means = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 1]
    expected = [seen[: 4 if e == 1 else 7, 2].mean() for e, seen in enumerate(trace["observations"][1])]
    np.testing.assert_allclose(np.concatenate(means), expected, rtol=1e-5)
    for text in ("reference stage, 2", "iterative stage, 2", "fresh episode", "asked for: 1.25 m/s", "task 7"):
        assert text in _texts(figure)
    assert velocities(make_trace(tests=[0], training=[0, 1]), 0, {}) is None


def test_what_is_not_a_plane_is_not_drawn() -> None:
    assert trajectories(make_trace(tests=[0], training=[0, 1], size=3), 0, params={}) is None
    assert beliefs(make_trace(tests=[0], training=[0]), 0, {}) is None
    assert beliefs(make_trace(tests=[0], training=[0, 1], latent=1), 0, {}) is None


@pytest.mark.parametrize("reference", [2, 4, 9])
def test_beliefs(reference: int) -> None:
    """One panel more for the iterative stage, if there is one; numbers 1 to E once each."""
    trace = make_trace(tests=[4, 7], training=[0, 1, 2, 3], reference=reference)
    figure = beliefs(trace, 4, {task: {"goal": [np.cos(task), np.sin(task)]} for task in (0, 1, 2, 4)})
    assert figure is not None
    _drawn(figure)
    panels = [axes for axes in figure.axes if "component 1" in axes.get_xlabel()]
    assert len(panels) == (2 if reference < 4 else 1)
    assert "% of variance" in panels[0].get_ylabel()
    numbers = ", ".join(t.get_text() for axes in panels for t in axes.texts if t.get_text()[0].isdigit())
    assert {int(n) for n in numbers.replace("-", ", ").split(", ")} <= {1, 2, 3, 4}
    assert numbers[0] == "1"
    assert "goal: angle (degrees)" in _texts(figure)


def test_the_principal_plane_by_hand() -> None:
    """Points on a line of slope 1 in the first two of three dimensions, and a little across it."""
    points = np.array([[3.0, 3.0, 5.0], [-3.0, -3.0, 5.0], [1.0, -1.0, 5.0], [-1.0, 1.0, 5.0]])
    project, shares = principal_plane(points)
    assert shares == pytest.approx([0.9, 0.1])
    assert np.abs(project(points)[:, 0]) == pytest.approx([3 * 2**0.5, 3 * 2**0.5, 0, 0], abs=1e-9)
    assert project(points[:1])[0, 0] > 0


def test_task_values() -> None:
    circle = {i: {"goal": [2 * np.cos(a), 2 * np.sin(a)]} for i, a in enumerate([0, np.pi / 2, np.pi, 1.5 * np.pi])}
    values, label = task_values(circle)
    assert list(values.values()) == pytest.approx([0, 90, 180, 270])
    assert label == "goal: angle (degrees)"
    assert task_values({3: {"velocity": 2.5}, 4: {"velocity": 1.0}}) == ({3: 2.5, 4: 1.0}, "velocity")
    line, label = task_values({0: {"wind": [0.0, 0.0]}, 1: {"wind": [1.0, 1.0]}, 2: {"wind": [2.0, 2.0]}})
    assert np.abs(np.diff(list(line.values()))) == pytest.approx([2**0.5, 2**0.5])
    assert "first component" in label
    assert task_values({}) == ({}, "")
    assert describe({"goal": [0.12345, -1], "mass": 2}) == "goal (0.123, -1), mass 2"


def test_ranges() -> None:
    assert ranges([13, 15, 16, 17, 20]) == "13, 15-17, 20"
    assert ranges([4]) == "4"


def test_dataset_returns(dataset: Dataset) -> None:
    figure = _drawn(dataset_returns(dataset))
    data, random = figure.axes
    assert data.get_ylabel() == "return of an episode"
    assert random.get_xlabel() == "task index"
    behaviours = set(dataset.episodes.behaviour.tolist())
    assert len(data.lines) == 2 * len(behaviours)  # medians, for each split
    assert sum(len(line.get_xdata()) for line in data.lines) == 8 * len(behaviours)
    said = _texts(figure)
    for text in ("train, 5 tasks", "test, 3 tasks", "random actions", dataset.dataset_id):
        assert text in said
    if len(behaviours) > 1:
        assert all(name in said for name in behaviours)


def test_dataset_returns_of_a_selection(dataset: Dataset) -> None:
    assert "train" not in _texts(dataset_returns(dataset.select(split="test")))
    with pytest.raises(DatasetError, match="no episode"):
        dataset_returns(dataset.select(min_return=1e9))


def test_training_losses() -> None:
    lines = [{"step": i, "falls": 10.0**-i, "flat": 1.0, **({"rare": -1.0} if i == 1 else {})} for i in range(4)]
    figure = training_losses({"seed 0": lines, "seed 1": lines[:2]})
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["falls", "flat", "rare"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
    assert all(len(axes.lines) == 2 for axes in figure.axes)
    assert "seed 1" in _texts(figure)
    assert training_losses({"seed 0": []}) is None
    assert training_losses({"seed 0": [], "seed 1": lines}) is not None


def test_save_by_suffix(tmp_path: Path) -> None:
    figure = adaptation_curves(summarise([make_results()]))
    save(figure, tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").read_bytes()[:4] == b"\x89PNG"
    save(figure, tmp_path / "a.SVG")
    assert ElementTree.parse(tmp_path / "a.SVG").getroot().tag.endswith("svg")
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        save(figure, tmp_path / "a.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.SVG", "new"]


def test_figures_are_the_same_bytes_and_leave_matplotlib_as_it_was() -> None:
    before = json.dumps(dict(matplotlib.rcParams), default=str)
    summary = summarise([make_results()])
    assert svg_text(adaptation_curves(summary)) == svg_text(adaptation_curves(summary))
    assert json.dumps(dict(matplotlib.rcParams), default=str) == before


def test_a_page_has_every_colour_of_the_figures_and_another_for_the_dark() -> None:
    text = source("page.css")
    light, dark = text.split("prefers-color-scheme: dark", 1)
    for name, colour in PAGE_COLOURS.items():
        assert name == "muted" or f"--{name}: {colour};" in light  # darker there: it stands on washed ground too
        assert f"--{name}: " in dark
        assert f"--{name}: {colour};" not in dark
