"""From results.json of one or several runs to a summary: what baselines.json holds and every table shows."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from idaq.adapt.config import AdaptConfig, Role
from idaq.adapt.results import Results
from idaq.core.config import config, to_mapping
from idaq.core.errors import RunError
from idaq.core.types import AtLeastOne, Doubles, PlainData
from idaq.evaluate.markdown import percent, table
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

METHOD, PRIOR, OFFLINE = "idaq", "best-of-prior", "offline-context"
"""of the catalogue's strategies: the paper's; the control that searches without a belief; the reference that is given
offline data"""
REFERENCE_MARK = "\N{DAGGER}"
REFERENCE_NOTE = (
    f"{REFERENCE_MARK} nothing but its reference stage: within this budget the strategy has drawn from the prior alone,"
    f" the very episodes of {PRIOR}; its uncertainty chose which to deploy."
)


@config
class Report:
    """Fresh episodes after a budget of adaptation episodes."""

    episodes: AtLeastOne
    """the budget"""
    mean: Estimate
    iqm: Estimate
    success: Estimate | None
    """share of fresh episodes that solve their task; None where a task does not say what success is"""
    share: float | None
    """of the way from random actions to the behaviour policies on the same tasks: a ratio of means; None where the
    behaviour does not beat random actions"""
    over_prior: Estimate | None = None
    """paired difference of returns to best-of-prior's, same runs and tasks; None where it did not run, or where the
    results were kept without it"""
    reference_stage: bool = False
    """whether the strategy had drawn from the prior alone, as best-of-prior does"""


@config
class Measured:
    """What the numbers are of, and how the intervals were made."""

    runs: AtLeastOne
    train_seeds: list[int]
    train_steps: AtLeastOne
    tasks: AtLeastOne
    """test tasks"""
    adaptation_seeds: AtLeastOne
    """for each run and task; averaged before any statistic"""
    level: float = LEVEL
    resamples: AtLeastOne = RESAMPLES
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

    summary_version: Literal[2] = 2
    dataset_id: str
    content_digest: str
    measured: Measured
    config: AdaptConfig
    each_budget: bool = False
    """as in the results: whether each budget was planned and run on its own"""
    random: float
    """mean return of random actions over the test tasks"""
    behaviour: float
    """mean return of the test tasks' behaviour policies"""
    lead: Lead | None
    """None where no two strategies can be compared"""
    roles: dict[str, Role]
    """of each strategy: which one this is about, which ones it is compared with"""
    settings: dict[str, PlainData]
    """of each strategy"""
    reference_stage: Annotated[int, Field(ge=0)]
    """the largest budget of which a strategy has nothing but its reference stage"""
    strategies: Annotated[dict[str, list[Report]], Field(min_length=1)]
    """one report for each of the config's `report_at`"""


def summarise(results: Sequence[Results], commands: Sequence[str] = ()) -> Summary:
    """Statistics of one or several runs (training seeds) on the same dataset under the same protocol.

    Raises RunError for no results, for runs that differ in anything but their seed, and for damaged results.
    """
    _check_alike(results)
    first, names = results[0], results[0].strategies
    roles: dict[str, Role] = {name: strategy.role for name, strategy in names.items()}
    returns = {name: _scores([r.strategies[name].returns for r in results], first, name) for name in names}
    success = {name: _scores([r.strategies[name].success for r in results], first, name) for name in names}
    random, behaviour = (np.array([getattr(task, name) for task in first.tasks]) for name in ("random", "behaviour"))
    strategies = {
        name: [
            _report(results, name, i, returns, success[name][i], share_of_way(returns[name][i], random, behaviour))
            for i in range(len(first.config.report_at))
        ]
        for name in names
    }
    marked = [report.episodes for reports in strategies.values() for report in reports if report.reference_stage]
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
        each_budget=first.each_budget,
        random=float(random.mean()),
        behaviour=float(behaviour.mean()),
        lead=_lead({name: scores[-1] for name, scores in returns.items()}, roles),
        roles=roles,
        settings={name: strategy.settings for name, strategy in names.items()},
        reference_stage=max(marked, default=0),
        strategies=strategies,
    )


def _report(
    results: Sequence[Results], name: str, i: int, returns: Mapping[str, Doubles], success: Doubles, share: float | None
) -> Report:
    """The `i`-th report of a strategy."""
    scores, episodes = returns[name][i], results[0].config.report_at[i]
    beside = None if name == PRIOR or PRIOR not in returns else returns[PRIOR][i]
    return Report(
        episodes=episodes,
        mean=estimate(mean, scores),
        iqm=estimate(interquartile_mean, scores),
        success=None if np.isnan(success).any() else estimate(mean, success),
        share=share,
        over_prior=None if beside is None else estimate(mean_difference, scores, beside),
        reference_stage=any(episodes <= stage for r in results for stage in r.strategies[name].reference[i : i + 1]),
    )


def paired_with(results: Sequence[Results], others: Sequence[Results], name: str) -> list[Estimate] | None:
    """At each report, the difference of a strategy's returns to those of other agents, paired by seed and test task.

    None where no training seed is in both, or the strategy is not, with the same settings. Both are of one dataset and
    protocol. Raises RunError for damaged results.
    """
    mine, theirs = ({result.train_seed: result for result in runs} for runs in (results, others))
    both = [seed for seed in mine if seed in theirs]
    pairs = [(mine[seed].strategies.get(name), theirs[seed].strategies.get(name)) for seed in both]
    if not pairs or any(a is None or b is None or a.settings != b.settings for a, b in pairs):
        return None
    ours, rivals = (
        _scores([runs[seed].strategies[name].returns for seed in both], runs[both[0]], name) for runs in (mine, theirs)
    )
    return [estimate(mean_difference, a, b) for a, b in zip(ours, rivals, strict=True)]


def summary_columns(summary: Summary) -> list[str]:
    """Headings of `summary_rows`."""
    after = [f"after {episodes}" for episodes in summary.config.report_at]
    return ["strategy", *after, f"{LEVEL:.0%} interval", f"minus {PRIOR}", "IQM", "success", "random to behaviour"]


def summary_rows(summary: Summary) -> list[list[str]]:
    """One row a strategy, best first: mean return at each report; the other columns speak of the last one.

    A return that a strategy reached in its reference stage is marked.
    """
    ranked = sorted(summary.strategies.items(), key=lambda item: -item[1][-1].mean.value)
    return [[name, *(_return(report) for report in reports), *_last_cells(reports[-1])] for name, reports in ranked]


def summary_notes(summary: Summary) -> list[str]:
    """What a reader of the rows must know: how budgets were run, marks, and a latent that does not steer."""
    marked = any(report.reference_stage for reports in summary.strategies.values() for report in reports)
    steering = steering_note(summary)
    older = not summary.each_budget and len(summary.config.report_at) > 1
    budgets = [one_run_note(summary.config)] if older else []
    return [*budgets, *([REFERENCE_NOTE] if marked else []), *([steering] if steering else [])]


def one_run_note(config: AdaptConfig) -> str:
    """What older documents are of, where budgets were not run on their own."""
    return f"One adaptation, planned for {config.episodes} episodes, went through all budgets."


def steering_note(summary: Summary) -> str | None:
    """The warning that best-of-prior beats the belief from the task's own offline data; None where it does not.

    Where the paired interval was not kept, the means alone are compared, and the warning says so.
    """
    if OFFLINE not in summary.strategies or PRIOR not in summary.strategies:
        return None
    offline, prior = summary.strategies[OFFLINE][-1], summary.strategies[PRIOR][-1]
    if offline.over_prior is None:
        loses, does, how = offline.mean.value < prior.mean.value, "may", "by the means; no paired interval was kept"
    else:
        loses, does = offline.over_prior.high < 0, "does"
        how = f"difference {number(offline.over_prior.value)}, {LEVEL:.0%} interval {interval(offline.over_prior)}"
    if not loses:
        return None
    return (
        f"The latent {does} not steer here: {OFFLINE} ({number(offline.mean.value)}) loses to {PRIOR}"
        f" ({number(prior.mean.value)}; {how})."
    )


def markdown_table(summary: Summary) -> str:
    """`summary_rows` as a Markdown table, numbers to the right, and its notes below."""
    notes = "".join(f"\n{note}\n" for note in summary_notes(summary))
    return table(summary_columns(summary), summary_rows(summary)) + notes


def verdict(summary: Summary) -> str:
    """What the numbers say of the headline strategy, in two or three sentences."""
    name, measured = headline(summary.roles), summary.measured
    last = summary.strategies[name][-1]
    said = (
        f"After {last.episodes} online episodes on each of {measured.tasks} new tasks, {name} reaches a return of"
        f" {number(last.mean.value)} ({LEVEL:.0%} interval {interval(last.mean)})"
    )
    if last.share is not None:
        said += (
            f": {last.share:.0%} of the way from random actions ({number(summary.random)}) to the behaviour policies"
            f" of the same tasks ({number(summary.behaviour)})"
        )
    said += "." if last.success is None else f". It solves {last.success.value:.0%} of the fresh episodes."
    if last.reference_stage:
        said += f" That is nothing but its reference stage, in which it does what {PRIOR} does."
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
    """`low to high`."""
    return f"{number(estimated.low)} to {number(estimated.high)}"


def _return(report: Report) -> str:
    return number(report.mean.value) + (REFERENCE_MARK if report.reference_stage else "")


def _last_cells(report: Report) -> list[str]:
    over = "" if report.over_prior is None else f"{number(report.over_prior.value)} ({interval(report.over_prior)})"
    share = "" if report.share is None else f"{report.share:.0%}"
    return [interval(report.mean), over, number(report.iqm.value), solved(report), share]


def solved(report: Report) -> str:
    """The share of fresh episodes that solve their task, in words."""
    return percent(None if report.success is None else report.success.value)


def headline(roles: Mapping[str, Role]) -> str:
    """The strategy that a report is about: the method, else a variant of it, else the first that is no reference."""
    order = {"method": 0, "variant": 1, "rival": 2, "control": 2, "reference": 3}
    return min(roles, key=lambda name: order[roles[name]])


def _lead(last: dict[str, Doubles], roles: Mapping[str, Role]) -> Lead | None:
    """The headline strategy against the best of its rivals; variants of the method and references are none."""
    strategy = headline(roles)
    rivals = [name for name in last if name != strategy and roles[name] in ("rival", "control")]
    if not rivals:
        return None
    rival = max(rivals, key=lambda name: float(mean(last[name])))
    return Lead(strategy=strategy, rival=rival, difference=estimate(mean_difference, last[strategy], last[rival]))


def _scores(
    runs: Sequence[list[list[list[float]]]] | Sequence[list[list[list[bool | None]]]], of: Results, name: str
) -> Doubles:
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
            hint="idaq adapt RUN --force makes results.json anew",
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
    if not results[0].strategies:
        raise RunError(f"results of {results[0].dataset_id} hold no strategy", hint="idaq adapt RUN adds strategies")
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
        "how budgets were run": results.each_budget,
        "test tasks": results.tasks,
        "strategies": {name: (one.role, one.settings) for name, one in sorted(results.strategies.items())},
    }
