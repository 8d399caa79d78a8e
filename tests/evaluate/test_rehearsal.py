"""What rehearsals say: means, paired differences, and no mixing of what does not belong together."""

from dataclasses import replace

import numpy as np
import pytest

from idaq.adapt.rehearsal import Rehearsal
from idaq.adapt.strategy import adaptation_plan
from idaq.core.errors import RunError
from idaq.core.seeds import generator
from idaq.evaluate.rehearsal import (
    difference_rows,
    rehearsal_columns,
    rehearsal_notes,
    rehearsal_rows,
    summarise_rehearsals,
)
from idaq.evaluate.statistics import estimate, mean, mean_difference

NAMES = ("best-of-prior", "policy-reuse")
STRATEGIES = adaptation_plan(NAMES).strategies


def rehearsal(seed: int = 0) -> Rehearsal:
    """Two budgets, five tasks, three seeds; policy-reuse is ahead."""
    returns = {name: generator(seed, i).normal(10.0 * i, 1, (2, 5, 3)) for i, name in enumerate(NAMES)}
    return Rehearsal(tasks=np.arange(5), budgets=(1, 4), returns=returns, episodes=1, foretold=0.75)


def test_means_and_differences_are_over_runs_and_tasks_with_seeds_averaged() -> None:
    runs = [rehearsal(0), rehearsal(1)]
    summary = summarise_rehearsals(runs, STRATEGIES)
    assert (summary.runs, summary.tasks, summary.seeds, summary.repeats) == (2, 5, 3, 1)
    assert summary.foretold == [0.75, 0.75]
    assert summary.settings["policy-reuse"]["bandwidth"] == STRATEGIES["policy-reuse"].bandwidth  # type: ignore[attr-defined]
    for i, report in enumerate(summary.strategies["policy-reuse"]):
        mine, prior = (np.stack([run.returns[name][i].mean(-1) for run in runs]) for name in reversed(NAMES))
        assert report.episodes == (1, 4)[i]
        assert report.mean == estimate(mean, mine)
        assert report.over_prior == estimate(mean_difference, mine, prior)
    assert [report.over_prior for report in summary.strategies["best-of-prior"]] == [None, None]


def test_without_best_of_prior_there_is_no_difference() -> None:
    alone = replace(rehearsal(), returns={"policy-reuse": np.zeros((2, 5, 3))})
    summary = summarise_rehearsals([alone], STRATEGIES)
    assert summary.strategies["policy-reuse"][0].over_prior is None
    assert difference_rows(summary) == [["policy-reuse", "", ""]]


def test_rows_name_the_best_first_and_differences_leave_out_the_control() -> None:
    returns = {name: np.full((2, 5, 3), value) for name, value in zip(NAMES, (1.0, 3.5), strict=True)}
    summary = summarise_rehearsals([replace(rehearsal(), returns=returns)], STRATEGIES)
    assert rehearsal_columns(summary) == ["strategy", "after 1", "after 4"]
    assert rehearsal_rows(summary) == [["policy-reuse", "3.50", "3.50"], ["best-of-prior", "1.00", "1.00"]]
    assert difference_rows(summary) == [["policy-reuse", "2.50 (2.50 to 2.50)", "2.50 (2.50 to 2.50)"]]


def test_it_is_said_what_was_seen_and_where_the_numbers_may_be_wrong() -> None:
    once, twice = (
        " ".join(rehearsal_notes(summarise_rehearsals([replace(rehearsal(), episodes=k)], STRATEGIES))) for k in (1, 2)
    )
    for words in ("No validation or test task was seen: each of 5 training tasks", "Optimistic:", "Pessimistic:"):
        assert words in once
    assert "plays some where its `between` (0.9 by default) is below R^2 = 0.75" in once
    assert "the mean of an entry" in twice
    assert "the mean of an entry" not in once


@pytest.mark.parametrize("change", [{"tasks": np.arange(1, 6)}, {"episodes": 2}])
def test_runs_that_were_measured_otherwise_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(RunError, match="of other training tasks"):
        summarise_rehearsals([rehearsal(), replace(rehearsal(1), **change)], STRATEGIES)  # type: ignore[arg-type]
