"""What rehearsals of one or several runs say: means of each strategy at each budget, and paired differences.

Shapes: B budgets, R runs, N tasks left out.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from idaq.adapt.policy_reuse import PolicyReuse
from idaq.adapt.rehearsal import Rehearsal
from idaq.adapt.strategy import Strategy
from idaq.core.config import config, to_mapping
from idaq.core.errors import RunError
from idaq.core.types import AtLeastOne, Doubles, PlainData
from idaq.evaluate.protocol import PRIOR, interval, number
from idaq.evaluate.statistics import Estimate, estimate, mean, mean_difference


@config
class RehearsedReport:
    """What is deployed after a budget of episodes."""

    episodes: AtLeastOne
    """the budget"""
    mean: Estimate
    over_prior: Estimate | None
    """paired difference of returns to best-of-prior's, same runs and tasks; None for itself, and where it is not"""


@config
class RehearsalSummary:
    """Every strategy, on training tasks that were left out one at a time. Intervals are over runs and tasks."""

    runs: AtLeastOne
    tasks: AtLeastOne
    """left out"""
    seeds: AtLeastOne
    """of each run and task; averaged before any statistic"""
    repeats: AtLeastOne
    """episodes behind an entry of the table"""
    foretold: list[float]
    """of each run: the share of what a policy earns that the others foretell (R^2)"""
    settings: dict[str, PlainData]
    """of each strategy"""
    strategies: Annotated[dict[str, list[RehearsedReport]], Field(min_length=1)]


def summarise_rehearsals(rehearsals: Sequence[Rehearsal], strategies: Mapping[str, Strategy]) -> RehearsalSummary:
    """Statistics of rehearsals of several runs. Raises RunError where their tasks differ."""
    first = rehearsals[0]
    if any(not np.array_equal(one.tasks, first.tasks) or one.episodes != first.episodes for one in rehearsals):
        raise RunError(
            "the runs' cross returns are of other training tasks, or of another number of episodes",
            hint="rehearse them one by one, or measure them alike: --set cross_tasks=10 of idaq adapt",
        )
    scores = {name: np.stack([one.returns[name].mean(-1) for one in rehearsals], 1) for name in first.returns}
    return RehearsalSummary(
        runs=len(rehearsals),
        tasks=len(first.tasks),
        seeds=first.returns[next(iter(scores))].shape[-1],
        repeats=first.episodes,
        foretold=[one.foretold for one in rehearsals],
        settings={name: to_mapping(strategy) for name, strategy in strategies.items()},
        strategies={
            name: [_report(budget, scores, name, i) for i, budget in enumerate(first.budgets)] for name in scores
        },
    )


def _report(budget: int, scores: Mapping[str, Doubles], name: str, i: int) -> RehearsedReport:
    """The `i`-th report of a strategy, of scores (B, R, N)."""
    mine, beside = scores[name][i], None if name == PRIOR or PRIOR not in scores else scores[PRIOR][i]
    return RehearsedReport(
        episodes=budget,
        mean=estimate(mean, mine),
        over_prior=None if beside is None else estimate(mean_difference, mine, beside),
    )


def rehearsal_columns(summary: RehearsalSummary) -> list[str]:
    """Headings of both tables."""
    return ["strategy", *(f"after {report.episodes}" for report in next(iter(summary.strategies.values())))]


def rehearsal_rows(summary: RehearsalSummary) -> list[list[str]]:
    """Mean returns, the best strategy at the last budget first."""
    ranked = sorted(summary.strategies.items(), key=lambda item: -item[1][-1].mean.value)
    return [[name, *(number(report.mean.value) for report in reports)] for name, reports in ranked]


def difference_rows(summary: RehearsalSummary) -> list[list[str]]:
    """Paired differences to best-of-prior and their intervals, in the order of `rehearsal_rows`."""
    order = [row[0] for row in rehearsal_rows(summary) if row[0] != PRIOR]
    return [[name, *(_difference(report.over_prior) for report in summary.strategies[name])] for name in order]


def rehearsal_notes(summary: RehearsalSummary) -> list[str]:
    """What a reader of the rows must know: what was seen, and in which direction the numbers may be wrong."""
    shares = ", ".join(f"{one:.2f}" for one in summary.foretold)
    lucky = " So is a score: the mean of an entry, of which adaptation saw an episode." if summary.repeats > 1 else ""
    return [
        f"No validation or test task was seen: each of {summary.tasks} training tasks was left out in turn, with its"
        " row and its own arm.",
        "The table knows no point between beliefs, and none was played. On a new task policy-reuse plays some where its"
        f" `between` ({PolicyReuse().between} by default) is below R^2 = {shares}, the share of what a policy earns"
        " that the others foretell.",
        f"Optimistic: the agent has learned from the task that is left out.{lucky} Pessimistic: a strategy is told of"
        " one task less than on a new task.",
    ]


def _difference(estimated: Estimate | None) -> str:
    return "" if estimated is None else f"{number(estimated.value)} ({interval(estimated)})"
