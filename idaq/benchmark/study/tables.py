"""The tables of the study, in Markdown: each is calculated from results alone, and is empty where there are none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from idaq.benchmark.study.results import KeptResults
from idaq.benchmark.study.suites import (
    FEW,
    HEADLINE,
    SIMULATED,
    Means,
    Suite,
    beats_random,
    means,
    over_behaviour,
    over_sets,
    paired,
    references,
    returns,
    share,
    short,
    standing,
    success,
)
from idaq.benchmark.study.tried import Tried
from idaq.catalogue.suite_card import agrees, published_table
from idaq.evaluate.markdown import percent, table
from idaq.evaluate.protocol import OFFLINE, PRIOR, number
from idaq.evaluate.statistics import LEVEL, Estimate, mean

TOLD = "\N{DOUBLE DAGGER}"
"""marks strategies that are told a simulation of the training tasks"""
PARTS = {"train": "training", "adapt": "adapting"}
"""of a run, as its cost names them"""
LOW = 0.9
"""of the behaviour's return: a set that ends below it is named"""


def named(name: str) -> str:
    """A strategy as tables show it."""
    return f"`{name}` {TOLD}" if name in SIMULATED else f"`{name}`"


def headline_table(suite: Suite) -> str:
    """What the study is about: the headline, and the best without simulation, against the control at each budget."""
    pairs = [(name, PRIOR) for name in suite.compared]
    pairs += [(HEADLINE, suite.rival)] if suite.rival and HEADLINE in suite.compared else []
    rows = list[list[str]]()
    for name, other in pairs:
        if differences := paired(suite, name, other):
            cells = [_against(differences, report) for report in range(len(suite.budgets))]
            rows.append([f"{named(name)} minus {named(other)}", str(len(differences)), *cells])
    said = f"Sets ahead / tied / behind, and the mean difference of scores with its {LEVEL:.0%} interval over sets:\n\n"
    return said + table(["", "sets", *_after(suite)], rows) if rows else ""


def _against(differences: Mapping[str, Sequence[Estimate]], report: int) -> str:
    gap = over_sets(np.array([of_set[report].value for of_set in differences.values()]))
    value, low, high = (f"{round(one, 2) + 0.0:+.2f}" for one in (gap.value, gap.low, gap.high))
    interval = f" ({low} to {high})" if len(differences) > 2 else ""  # of one or two sets it would say nothing
    return f"{standing(differences, report)}; {value}{interval}"


def where(suite: Suite) -> str:
    """On how many sets the headline is ahead of the control within a few episodes, and where it is behind, and when."""
    differences = {short(suite.kept[name]): of for name, of in paired(suite, HEADLINE, PRIOR).items()}
    early = [i for i, budget in enumerate(suite.budgets) if budget <= FEW]
    ahead = sum(any(of_set[i].low > 0 for i in early) for of_set in differences.values())
    behind = [
        (min(one.value for one in of_set if one.high < 0), name, _behind(of_set, suite.budgets))
        for name, of_set in differences.items()
        if any(one.high < 0 for one in of_set)
    ]
    lines = [
        f"`{HEADLINE}` {TOLD} is ahead of `{PRIOR}` at a budget of at most {FEW} on {ahead} of"
        f" {count(len(differences), 'set')}; at any budget it is behind on {len(behind) or 'none'}"
        + (", the difference of scores beside the budget:\n" if behind else ".\n"),
        *(f"- {name}: {words}" for _, name, words in sorted(behind)),
    ]
    return "\n".join([*lines, ""] if behind else lines) if differences else ""


def _behind(of_set: Sequence[Estimate], budgets: Sequence[int]) -> str:
    there = [(one, budget) for one, budget in zip(of_set, budgets, strict=True) if one.high < 0]
    shown = [(*(_signed(value) for value in (one.value, one.low, one.high)), budget) for one, budget in there]
    return ", ".join(f"{value} ({low} to {high}) after {budget}" for value, low, high, budget in shown)


def _signed(value: float) -> str:
    """Two significant digits, never as a power of ten."""
    return np.format_float_positional(value, precision=2, fractional=False, trim="-", sign=True)


def mean_tables(suite: Suite) -> str:
    """Score, return over behaviour and success: means over sets, strategy by strategy and budget by budget."""
    parts = list[str]()
    measures = {"Score, mean": share, "Return / behaviour, mean / median": over_behaviour, "Success, mean": success}
    for what, measure in measures.items():
        found = means(suite, measure)
        ranked = sorted(found.by_strategy, key=lambda name: (suite.is_reference(name), -sum(found.by_strategy[name])))
        rows = [[named(name), *_cells(found, name, measure is success, "median" in what)] for name in ranked]
        if rows:
            parts += [f"{what} over {count(len(found.sets), 'set')}:\n", table(["strategy", *_after(suite)], rows)]
    return "\n".join(parts)


def _cells(found: Means, name: str, is_share: bool, with_median: bool) -> list[str]:
    values, medians = found.by_strategy[name], np.median(found.per_set[name], axis=0)
    if with_median:
        return [f"{value:.2f} / {median:.2f}" for value, median in zip(values, medians, strict=True)]
    return [percent(value) if is_share else f"{value:.2f}" for value in values]


def standing_table(suite: Suite) -> str:
    """On how many sets each strategy leads the control."""
    rows = list[list[str]]()
    for name in sorted(suite.strategies, key=suite.is_reference):
        if name != PRIOR and (differences := paired(suite, name, PRIOR)):
            cells = [str(standing(differences, report)) for report in range(len(suite.budgets))]
            rows.append([named(name), str(len(differences)), *cells])
    said = f"Sets ahead of / tied with / behind `{PRIOR}`:\n\n"
    return said + table(["strategy", "sets", *_after(suite)], rows) if rows else ""


def set_table(suite: Suite) -> str:
    """Set by set: what the numbers are of, and returns and success at the last budget."""
    shown = [name for name in (*suite.compared, PRIOR, OFFLINE) if name in suite.strategies]
    rows = [_set_row(suite, kept, shown) for kept in suite.kept.values() if suite.whole_runs(kept)]
    head = [
        "set",
        "seeds",
        "test tasks",
        "episodes of data",
        *map(named, shown),
        "behaviour",
        "random",
        "success, in this order",
    ]
    said = (
        f"Set by set: training x adaptation seeds, and returns of fresh episodes after {suite.budgets[-1]}, of the runs"
        " that hold every strategy:\n\n"
    )
    return said + table(head, rows) if rows else ""


def _set_row(suite: Suite, kept: KeptResults, shown: Sequence[str]) -> list[str]:
    seeds = suite.whole_runs(kept)
    reached = [float(mean(returns(kept, name, seeds)[-1])) for name in shown]
    random, behaviour = (float(np.mean(values)) for values in references(kept))
    facts = [f"{len(seeds)} x {kept.config.seeds}", str(len(kept.tasks)), str(kept.data.episodes)]
    solved = [success(kept, name, seeds) for name in shown]
    shares = " / ".join("-" if one is None else percent(one[-1]) for one in solved)
    return [short(kept), *facts, *map(number, (*reached, behaviour, random)), shares]


def missing(suite: Suite) -> str:
    """What the suite asks for and does not have; empty where it has all."""
    asked, there = len(suite.matrix.train_seeds), [kept for kept in suite.kept.values() if kept.runs]
    absent = [one.id for one in suite.matrix.datasets if one.id not in {kept.data.dataset_id for kept in there}]
    fewer = [f"{short(kept)} has {len(kept.runs)}" for kept in there if len(kept.runs) < asked]
    lines = [f"- no run yet: {', '.join(absent)}"] if absent else []
    lines += [f"- of {asked} training seeds: {', '.join(fewer)}"] if fewer else []
    for name in suite.matrix.strategies:
        without = [short(kept) for kept in there if any(name not in run.returns for run in kept.runs.values())]
        sets = ", ".join(without) if name in suite.strategies else "any set"
        lines += [f"- `{name}` has not run, or not with every seed, on {sets}"] if without else []
    lines += [
        f"- no score: on {short(kept)} the behaviour does not beat random actions"
        for kept in there
        if not beats_random(kept)
    ]
    diverged = [(kept, seed, words) for kept in suite.kept.values() for seed, words in kept.diverged.items()]
    lines += [f"- {short(kept)}, training seed {seed}, diverged: {words}" for kept, seed, words in diverged]
    return "\n".join(["Missing:\n", *lines, ""]) if lines else ""


def low_sets(suite: Suite, diagnosis: Mapping[str, str]) -> str:
    """Sets on which the headline ends below 0.9 of the behaviour's return, with what is known of each."""
    lines, known = list[str](), 0
    for kept in suite.kept.values():
        seeds = kept.seeds(HEADLINE)
        ratio = over_behaviour(kept, HEADLINE, seeds) if seeds else None
        known += ratio is not None
        if ratio is not None and ratio[-1] < LOW:
            why = diagnosis.get(short(kept), "why is not known.")
            lines.append(f"- **{short(kept)}**, {ratio[-1]:.2f} ({count(len(seeds), 'training seed')}): {why}")
    said = f"Sets on which `{HEADLINE}` ends below {LOW:.0%} of the behaviour's return, of {known}"
    return "\n".join([f"{said}:\n", *(lines or ["- none"]), ""]) if known else ""


def published_tables(suite: Suite, published: Mapping[str, Any]) -> str:
    """Beside published scores, over the sets whose data are like the published: first the strategy that, as the
    published methods, is told no simulation."""
    parts, data = list[str](), {short(kept): kept.data for kept in suite.kept.values()}
    for name in reversed(suite.compared):
        values = {
            short(kept): float(mean(returns(kept, name, seeds)[-1]))
            for kept in suite.kept.values()
            if (seeds := kept.seeds(name)) and short(kept) in published["sets"] and agrees(short(kept), data, published)
        }
        if values:
            parts += [f"{named(name)}:\n", published_table(values, data, published)]
    return "\n".join(parts)


def tried_table(tried: Tried) -> str:
    """What was tried, as it was noted."""
    head = ["what", "data", "split", "figures", "command"]
    rows = [
        [one.what, one.data, one.split, one.figures, f"`{one.command}`" if one.command else ""] for one in tried.tried
    ]
    return table(head, rows) if rows else ""


def cost_table(suites: Sequence[Suite]) -> str:
    """Processor time of each suite's runs, part by part."""
    rows = list[list[str]]()
    for suite in suites:
        runs = [run for kept in suite.kept.values() for run in kept.runs.values()]
        if runs:
            hours = [sum(run.cpu.get(part, 0.0) for run in runs) / 3600 for part in PARTS]
            machines = sorted({run.machine.processor or "unknown" for run in runs})
            shown = [*(f"{part:.1f}" for part in hours), f"{60 * sum(hours) / len(runs):.1f}", ", ".join(machines)]
            rows.append([suite.matrix.name, str(len(runs)), *shown])
    head = ["suite", "runs", *(f"{words}, hours" for words in PARTS.values()), "minutes a run", "machine"]
    return table(head, rows) if rows else ""


def count(number_of: int, what: str) -> str:
    """`1 set`, `2 sets`."""
    return f"{number_of} {what}{'' if number_of == 1 else 's'}"


def _after(suite: Suite) -> list[str]:
    return [f"after {budget}" for budget in suite.budgets]
