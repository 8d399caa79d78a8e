"""From results.json of one or several runs to a summary: what baselines.json holds and every table shows."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from idaq.adapt.config import AdaptConfig
from idaq.adapt.results import Results
from idaq.core.config import config, to_mapping
from idaq.core.errors import RunError
from idaq.evaluate.statistics import (
    LEVEL,
    RESAMPLES,
    Estimate,
    Scores,
    estimate,
    estimate_share,
    interquartile_mean,
    mean,
    mean_difference,
)

ORACLE = "oracle"
METHOD = "idaq"
Count = Annotated[int, Field(ge=1)]


@config
class Report:
    """Fresh episodes after some adaptation episodes."""

    episodes: Count
    """adaptation episodes before"""
    mean: Estimate
    iqm: Estimate
    success: Estimate
    """share of fresh episodes that solve their task"""
    share: Estimate | None
    """of the way from random actions to the oracle; None if the oracle did not run or does not clearly beat random"""


@config
class Measured:
    """What the numbers are of, and how the intervals were made."""

    runs: Count
    train_seeds: list[int]
    train_steps: Count
    tasks: Count
    """test tasks"""
    adaptation_seeds: Count
    """for each run and task; averaged before any statistic"""
    level: float = LEVEL
    resamples: Count = RESAMPLES
    unit: str = "two-way bootstrap over runs and tasks, percentile interval"
    commands: list[str] = Field(default_factory=list)
    """what makes these numbers again"""


@config
class Lead:
    """The headline strategy against the best of its rivals, at the last report."""

    strategy: str
    rival: str
    difference: Estimate
    """of returns, paired by run and task; positive: the strategy is ahead"""


@config
class Summary:
    """baselines.json: every strategy of one dataset under one protocol."""

    summary_version: Literal[1] = 1
    dataset_id: str
    content_digest: str
    measured: Measured
    config: AdaptConfig
    random: float
    """mean return of random actions over the test tasks"""
    behaviour: float
    """mean return of the test tasks' behaviour policies"""
    lead: Lead | None
    """None where no two strategies can be compared"""
    strategies: Annotated[dict[str, list[Report]], Field(min_length=1)]
    """one report for each of the config's `report_at`"""


def summarise(results: Sequence[Results], commands: Sequence[str] = ()) -> Summary:
    """Statistics of one or several runs (training seeds) on the same dataset under the same protocol.

    Raises RunError for no results, for runs that differ in anything but their seed, and for damaged results.
    """
    _check_alike(results)
    first, names = results[0], results[0].strategies
    returns = {name: _scores([r.strategies[name].returns for r in results], first, name) for name in names}
    success = {name: _scores([r.strategies[name].success for r in results], first, name) for name in names}
    random = np.array([task.random for task in first.tasks])
    oracle = returns.get(ORACLE)
    return Summary(
        dataset_id=first.dataset_id,
        content_digest=first.content_digest,
        measured=Measured(
            runs=len(results),
            train_seeds=[r.train_seed for r in results],
            train_steps=first.train_steps,
            tasks=len(first.tasks),
            adaptation_seeds=first.config.seeds,
            commands=list(commands),
        ),
        config=first.config,
        random=float(random.mean()),
        behaviour=float(np.mean([task.behaviour for task in first.tasks])),
        lead=_lead({name: scores[-1] for name, scores in returns.items()}),
        strategies={
            name: _reports(first.config.report_at, returns[name], success[name], random, oracle) for name in names
        },
    )


def summary_columns(summary: Summary) -> list[str]:
    """Headings of `summary_rows`."""
    after = [f"after {episodes}" for episodes in summary.config.report_at]
    return ["strategy", *after, f"{LEVEL:.0%} interval", "IQM", "success", "random to oracle"]


def summary_rows(summary: Summary) -> list[list[str]]:
    """One row a strategy, best first: mean return at each report; interval, IQM, success and share at the last one."""
    ranked = sorted(summary.strategies.items(), key=lambda item: -item[1][-1].mean.value)
    return [[name, *(number(r.mean.value) for r in reports), *_last_cells(reports[-1])] for name, reports in ranked]


def markdown_table(summary: Summary) -> str:
    """`summary_rows` as a Markdown table, numbers to the right."""
    columns, rows = summary_columns(summary), summary_rows(summary)
    rule = ["---"] + ["---:"] * (len(columns) - 1)
    return "".join(f"| {' | '.join(_cell(text) for text in row)} |\n" for row in [columns, rule, *rows])


def verdict(summary: Summary) -> str:
    """What the numbers say of the headline strategy, in two or three sentences."""
    name, measured = headline(list(summary.strategies)), summary.measured
    last = summary.strategies[name][-1]
    said = (
        f"After {last.episodes} online episodes on each of {measured.tasks} new tasks, {name} reaches a return of"
        f" {number(last.mean.value)} ({LEVEL:.0%} interval {interval(last.mean)})"
    )
    if last.share is not None:
        oracle = summary.strategies[ORACLE][-1].mean.value
        said += (
            f": {last.share.value:.0%} of the way from random actions ({number(summary.random)}) to the oracle, which"
            f" is given each task's offline data ({number(oracle)})"
        )
    said += f". It solves {last.success.value:.0%} of the fresh episodes."
    return said if summary.lead is None else f"{said} {_compared(summary, summary.lead)}"


def _compared(summary: Summary, lead: Lead) -> str:
    rival, gap = summary.strategies[lead.rival][-1].mean.value, lead.difference
    against = f"the best rival, {lead.rival} ({number(rival)})"
    if gap.low <= 0 <= gap.high:
        return f"It cannot be told apart from {against}: the difference is {number(gap.value)} ({interval(gap)})."
    near, far = sorted((abs(gap.low), abs(gap.high)))
    by = f"{number(abs(gap.value))} ({number(near)} to {number(far)})"
    return f"It is {by} {'ahead of' if gap.value > 0 else 'behind'} {against}."


def number(value: float) -> str:
    """A return to two decimals; three or more digits before the point need fewer."""
    decimals = max(0, 2 - max(0, len(f"{abs(value):.0f}") - 2))
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def interval(estimated: Estimate) -> str:
    return f"{number(estimated.low)} to {number(estimated.high)}"


def _last_cells(report: Report) -> list[str]:
    share = "" if report.share is None else f"{report.share.value:.0%} ({_percent(report.share)})"
    return [interval(report.mean), number(report.iqm.value), f"{report.success.value:.0%}", share]


def _percent(estimated: Estimate) -> str:
    return f"{estimated.low * 100:.0f} to {estimated.high * 100:.0f}"


def _cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def _reports(
    report_at: Sequence[int], returns: Scores, success: Scores, random: Scores, oracle: Scores | None
) -> list[Report]:
    """`returns`, `success` and `oracle` (reports, R, N), `random` (N,)."""
    wide = np.broadcast_to(random, returns.shape[1:])
    return [
        Report(
            episodes=episodes,
            mean=estimate(mean, returns[i]),
            iqm=estimate(interquartile_mean, returns[i]),
            success=estimate(mean, success[i]),
            share=None if oracle is None else estimate_share(returns[i], wide, oracle[i]),
        )
        for i, episodes in enumerate(report_at)
    ]


def headline(names: Sequence[str]) -> str:
    """The strategy that a report is about: the first of the method's own, else the first that is no oracle."""
    rivals = [name for name in names if name != ORACLE]
    return next((name for name in names if name.startswith(METHOD)), (rivals or list(names))[0])


def _lead(last: dict[str, Scores]) -> Lead | None:
    strategy = headline(list(last))
    rivals = [name for name in last if name not in (strategy, ORACLE) and not name.startswith(METHOD)]
    if not rivals:
        return None
    rival = max(rivals, key=lambda name: float(mean(last[name])))
    return Lead(strategy=strategy, rival=rival, difference=estimate(mean_difference, last[strategy], last[rival]))


def _scores(
    runs: Sequence[list[list[list[float]]]] | Sequence[list[list[list[bool]]]], of: Results, name: str
) -> Scores:
    """(reports, runs, tasks) of one strategy, adaptation seeds averaged."""
    shape = (len(runs), len(of.config.report_at), len(of.tasks), of.config.seeds)
    try:
        scores = np.array(runs, np.float64)
    except ValueError:
        scores = np.empty(0)  # ragged
    if scores.shape != shape:
        raise RunError(
            f"results of {of.dataset_id}: strategy {name!r} does not hold {shape[1]} reports x {shape[2]} tasks x"
            f" {shape[3]} seeds in every run",
            hint="idaq adapt RUN makes results.json anew",
        )
    return scores.mean(-1).swapaxes(0, 1)


def _check_alike(results: Sequence[Results]) -> None:
    if not results:
        raise RunError("there are no results to summarise", hint="name at least one run directory")
    seeds = [r.train_seed for r in results]
    if len(set(seeds)) != len(seeds):
        raise RunError(
            f"training seeds {seeds}: a seed stands twice, and the same run twice tells nothing new",
            hint="idaq train --set seed=N makes another run",
        )
    first = _common(results[0])
    for other in results[1:]:
        differing = [name for name, value in _common(other).items() if value != first[name]]
        if differing:
            raise RunError(
                f"the runs of training seeds {seeds[0]} and {other.train_seed} differ in {', '.join(differing)}:"
                " one summary takes runs that differ in their seed alone",
                hint="summarise them apart, or adapt them again under one protocol",
            )


def _common(results: Results) -> dict[str, object]:
    """What runs of one summary share."""
    return {
        "dataset": (results.dataset_id, results.content_digest),
        "training steps": results.train_steps,
        "adaptation config": {**to_mapping(results.config), "threads": None},
        "test tasks": results.tasks,
        "strategies": sorted(results.strategies),
    }
