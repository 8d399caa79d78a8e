"""The figures show the numbers that they say, and tell a clear difference from a tie."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.colors import to_hex

from idaq.benchmark.study.figures import curves, curves_about, forest, forest_about
from idaq.evaluate.style import BLUE, ORANGE, PAPER, standalone
from tests.benchmark.study.conftest import PUSH, REACH, kept, level, suite

BOTH = suite(PUSH, REACH)


def test_the_forest_by_value() -> None:
    about = json.loads(forest_about(BOTH))
    assert about["policy-reuse"] == {
        "reach": {"1": [0.3, 0.3, 0.3], "10": [0.0, 0.0, 0.0]},
        "push": {"1": [-0.5, 0.0, 0.5], "10": [-0.05, 0.0, 0.05]},
    }
    assert about["posterior"] == {
        "reach": {"1": [0.1, 0.1, 0.1], "10": [-0.5, -0.5, -0.5]},
        "push": {"1": [0.0, 0.0, 0.0], "10": [-0.2, -0.2, -0.2]},
    }
    assert list(about["policy-reuse"]) == ["reach", "push"]  # the largest differences first


def test_a_marker_is_filled_where_the_interval_excludes_zero() -> None:
    figure = forest(BOTH)
    assert figure is not None
    first, last = figure.axes
    assert (first.get_title("left"), last.get_title("left")) == ("1 episode", "10 episodes")
    assert [label.get_text() for label in first.get_yticklabels()] == ["reach", "push"]
    drawn = [line for line in first.lines if to_hex(line.get_markeredgecolor()) == BLUE]
    places = [(str(line.get_markerfacecolor()), np.array(line.get_xydata()).tolist()) for line in drawn]
    assert places[:2] == [(PAPER, [[pytest.approx(0), pytest.approx(0.85)]]), (BLUE, [[pytest.approx(0.3), -0.15]])]
    behind = [line for line in last.lines if str(line.get_markerfacecolor()) == ORANGE]
    assert np.array(behind[0].get_xdata()) == pytest.approx([-0.5, -0.2])


def test_the_curves_by_value() -> None:
    about = json.loads(curves_about(BOTH))
    assert about["score"]["idaq"] == [0.45, 0.725]
    assert about["share of episodes that solve their task"]["idaq"] == [0.0, 0.5]
    figure = curves(BOTH)
    assert figure is not None
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert lines["idaq"].get_ydata() == pytest.approx([0.45, 0.725])
    assert lines["idaq"].get_xdata() == pytest.approx([1, 10])
    assert lines["offline-context"].get_linestyle() == "--"


def test_without_results_there_is_no_figure() -> None:
    alone = suite(kept("reach", {0: {"posterior": level(1, 2)}}))
    assert forest(alone) is None
    assert curves(alone) is not None
    assert curves(suite(kept("reach", {}), strategies=["posterior"])) is None


def test_a_file_holds_its_numbers_and_both_palettes() -> None:
    figure = forest(BOTH)
    assert figure is not None
    text = standalone(figure, forest_about(BOTH))
    root = ET.fromstring(text.encode())
    described = root.find("{http://www.w3.org/2000/svg}desc")
    assert described is not None
    assert described.text == forest_about(BOTH)
    assert "prefers-color-scheme: dark" in text
    assert "fill: var(--paper)" in text
    assert BLUE not in text.partition("</style>")[2]
    again = forest(BOTH)
    assert again is not None
    assert standalone(again, forest_about(BOTH)) == text


def test_the_forest_has_a_panel_for_each_of_its_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idaq.benchmark.study.figures.FOREST_AT", (10, 50))
    figure = forest(BOTH)
    assert figure is not None
    assert [axes.get_title("left") for axes in figure.axes] == ["10 episodes"]
    assert list(json.loads(forest_about(BOTH))["posterior"]["push"]) == ["10"]
