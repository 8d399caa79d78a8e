"""The tables below a report's figures hold the numbers that the figures draw."""

import numpy as np
import pytest

from idaq.core.types import TaskParams
from idaq.evaluate.data_tables import (
    beliefs_table,
    curves_table,
    data_table,
    paths_table,
    tasks_table,
    training_table,
    velocities_table,
)
from idaq.evaluate.protocol import summarise
from idaq.evaluate.trace_figures import principal_plane, velocities
from idaq.loader import Dataset
from tests.evaluate.factory import make_results, make_trace

PARAMS: dict[int, TaskParams] = {0: {"goal": [1.0, 0.0]}, 1: {"velocity": 1.25}}


def test_curves_have_mean_and_interval_after_each_budget() -> None:
    summary = summarise([make_results(train_seed=seed) for seed in range(2)])
    table = curves_table(summary)
    assert table.columns == ["strategy", "after 1", "after 2", "after 4"]
    rows = {row[0]: row[1:] for row in table.rows}
    last = summary.strategies["posterior"][-1].mean
    assert rows["posterior"][-1] == f"{last.value:.2f} ({last.low:.2f} to {last.high:.2f})"
    assert rows["idaq"][0].count("\N{DAGGER}") == 1
    assert "reference stage" in table.caption
    assert rows["random actions"] == ["-20.00"] * 3


def test_tasks_have_each_strategy_that_is_drawn() -> None:
    results = [make_results(train_seed=seed) for seed in range(2)]
    table = tasks_table(results)
    assert table.columns[:3] == ["test task", "random actions", "behaviour policies"]
    assert table.columns[-1] == "offline-context"  # references are drawn last
    place = table.columns.index("best-of-prior")
    means = np.mean([np.mean(r.strategies["best-of-prior"].returns[-1], axis=-1) for r in results], axis=0)
    assert [float(row[place]) for row in table.rows] == pytest.approx(means.tolist(), abs=0.006)


def test_paths_have_every_step_of_every_episode() -> None:
    trace = make_trace(tests=[0, 1], training=[2, 3, 4])
    trace["valid"][1, 2, 4:] = False
    table = paths_table(trace, 1)
    assert table.columns == ["step", "1 (reference)", "2 (reference)", "3 (iterative)", "4 (iterative)", "fresh"]
    assert len(table.rows) == 7
    x, y = trace["observations"][1, 4, 6]
    assert table.rows[6][5] == f"({x:.3g}, {y:.3g})"
    assert (table.rows[4][3] != "", table.rows[5][3]) == (True, "")  # the episode ended after 4 steps


def test_long_courses_are_thinned_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idaq.evaluate.data_tables._MOST_ROWS", 3)
    table = paths_table(make_trace(tests=[0], training=[2, 3]), 0)
    assert [row[0] for row in table.rows] == ["0", "3", "6"]
    assert "one of 3 steps is here" in table.caption
    logged = training_table({"seed 0": [{"step": i, "loss": 1.0 / (1 + i)} for i in range(7)]})
    assert [row[0] for row in logged.rows] == ["seed 0, step 0", "seed 0, step 3", "seed 0, step 6"]
    assert "One of 3 logged steps" in logged.caption


def test_velocities_are_those_of_the_figure() -> None:
    trace = make_trace(tests=[0, 1], training=[2, 3], size=3)
    table, figure = velocities_table(trace, 1), velocities(trace, 1, PARAMS[1])
    assert figure is not None
    last = [line for line in figure.axes[0].lines if line.get_linewidth() == 3][-1].get_ydata()
    assert [float(row[-1]) for row in table.rows] == pytest.approx(list(last), rel=0.01)  # type: ignore[arg-type]


def test_beliefs_are_on_the_figures_plane() -> None:
    trace = make_trace(tests=[0, 1], training=[2, 3, 4])
    table = beliefs_table(trace, 1, PARAMS)
    project, _ = principal_plane(trace["prior"])
    assert len(table.rows) == 5 + 2 + 3
    assert table.rows[4][:2] == ["deployed", "fresh episode"]
    assert [float(value) for value in table.rows[4][2:]] == pytest.approx(project(trace["z"][1, 4]), rel=1e-3)
    assert table.rows[5][:2] == ["task 0", "test task goal (1, 0)"]


def test_returns_of_the_data_are_by_task_and_behaviour(mixed: Dataset) -> None:
    table = data_table(mixed)
    assert len(table.rows) == 8 * 3
    task, split, behaviour, *quartiles = table.rows[0]
    mine = mixed.select(tasks=[task], behaviour=behaviour)
    returns = mixed.episodes.total_reward[mine.numbers]
    assert split == mixed.tasks[0].split
    assert [float(text) for text in quartiles[:5]] == pytest.approx(
        np.quantile(returns, [0, 0.25, 0.5, 0.75, 1]), abs=0.006
    )
    assert quartiles[5:] != ["unknown", "unknown"]


def test_training_has_a_row_a_logged_step_and_run() -> None:
    lines = [{"step": 0.0, "loss": 2.0}, {"step": 20.0, "loss": 1.0, "q": -3.0}]
    table = training_table({"seed 0": lines, "seed 1": lines})
    assert table.columns == ["run", "loss", "q"]
    assert table.rows[1] == ["seed 0, step 20", "1", "-3"]
    assert table.rows[2] == ["seed 1, step 0", "2", ""]
