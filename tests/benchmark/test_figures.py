"""Budget curves show the means of every row that has the strategy, and no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from idaq.benchmark.figures import budget_curves, write_curves
from tests.benchmark.conftest import STRATEGIES, Ran


def test_a_line_for_each_row_through_its_means(ran: Ran, tmp_path: Path) -> None:
    (table,) = ran.tables
    lost = replace(table.rows["cloning"], summary=None)
    figure = budget_curves(replace(table, rows={**table.rows, "lost": lost}), "posterior")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert set(lines) == {"behaviour policies", "random actions", "focal-td3bc", "cloning"}
    for label, row in table.rows.items():
        assert row.summary is not None
        means = [report.mean.value for report in row.summary.strategies["posterior"]]
        assert list(lines[label].get_ydata()) == pytest.approx(means)
        assert list(lines[label].get_xdata()) == pytest.approx([1, 2], rel=0.03)
        assert lines["random actions"].get_ydata()[0] == row.summary.random
    written = write_curves(table, tmp_path)
    assert sorted(path.name for path in written) == sorted(f"idaq-point-robot-expert-v0-{s}.png" for s in STRATEGIES)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
