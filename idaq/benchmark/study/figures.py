"""Figures of the study: a forest plot of paired differences, and budget curves."""

import itertools
import json

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from idaq.benchmark.study.suites import (
    HEADLINE,
    Means,
    Suite,
    means,
    over_sets,
    paired,
    share,
    short,
    success,
)
from idaq.core.types import Doubles
from idaq.evaluate.protocol import PRIOR
from idaq.evaluate.statistics import LEVEL, Estimate
from idaq.evaluate.style import BLUE, INK, MUTED, ORANGE, PALETTE, PAPER, RED, shown, styled

FOREST_AT = (1, 3, 5, 10)
"""budgets of the forest plot"""
MEASURES = {"score": share, "share of episodes that solve their task": success}
"""of the budget curves"""
_LOWEST = -0.25
"""score: strategies below leave the figure of curves; the tables have them"""
_SPARE = [colour for colour in PALETTE if colour not in (BLUE, ORANGE, RED)]
_ROW = 0.3
"""inches of a set in the forest plot"""


def _looks(suite: Suite) -> dict[str, tuple[str, str]]:
    """Colour and marker of each strategy, the same in every figure; those that the study is about come first."""
    about = {HEADLINE: (BLUE, "o"), suite.rival: (ORANGE, "s"), PRIOR: (RED, "D")}
    fixed = {name: look for name, look in about.items() if name in suite.strategies}
    spare = zip(itertools.cycle(_SPARE), itertools.cycle("^vPX<>*"), strict=False)
    others = (name for name in suite.strategies if name not in fixed)
    return fixed | {name: (INK, "") if suite.is_reference(name) else next(spare) for name in others}


def forest_rows(suite: Suite) -> dict[str, dict[str, list[Estimate]]]:
    """By strategy and dataset, at each of the suite's budgets: the difference to best-of-prior that the forest plot
    shows, the sets of the headline's largest differences first."""
    rows = {name: of_set for name in suite.compared if (of_set := paired(suite, name, PRIOR))}
    first = next(iter(rows.values()), {})
    datasets = dict.fromkeys(dataset for of_set in rows.values() for dataset in of_set)
    order = sorted(datasets, key=lambda one: -sum(gap.value for gap in first[one]) if one in first else np.inf)
    return {name: {dataset: of_set[dataset] for dataset in order if dataset in of_set} for name, of_set in rows.items()}


@styled
def forest(suite: Suite) -> Figure | None:
    """Differences to best-of-prior at equal budget, set by set, with intervals; filled where these exclude zero.

    None where nothing can be compared.
    """
    rows = forest_rows(suite)
    order = list(dict.fromkeys(dataset for of_set in rows.values() for dataset in of_set))
    reports = [i for i, budget in enumerate(suite.budgets) if budget in FOREST_AT]
    if not order:
        return None
    figure = Figure(figsize=(9.6, 1.5 + _ROW * len(order)), layout="constrained")
    panels = figure.subplots(1, len(reports), sharex=True, sharey=True, squeeze=False)[0]
    for axes, report in zip(panels, reports, strict=True):
        axes.axvline(0, color=INK, lw=1)
        for series, (name, of_set) in enumerate(rows.items()):
            places = np.array([order.index(dataset) for dataset in of_set]) + 0.3 * (series - (len(rows) - 1) / 2)
            _bars(axes, places, [one[report] for one in of_set.values()], _looks(suite)[name], shown(name))
        episodes = suite.budgets[report]
        axes.set_title(f"{episodes} episode{'s' if episodes > 1 else ''}", fontsize=10.5)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(order)), [shown(short(suite.kept[dataset])) for dataset in order])
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    panels[0].set_xlim(*_limits([one for of_set in rows.values() for some in of_set.values() for one in some]))
    figure.supxlabel(f"score minus that of {PRIOR}, {LEVEL:.0%} interval; filled: it excludes zero", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _bars(axes: Axes, places: Doubles, differences: list[Estimate], look: tuple[str, str], label: str) -> None:
    colour, marker = look
    axes.hlines(places, [one.low for one in differences], [one.high for one in differences], color=colour, lw=1.3)
    clear = np.array([one.low > 0 or one.high < 0 for one in differences])
    values = np.array([one.value for one in differences])
    axes.plot(values[~clear], places[~clear], marker, ms=4.5, mfc=PAPER, mec=colour, ls="")
    axes.plot(values[clear], places[clear], marker, ms=4.5, color=colour, ls="")
    axes.plot([], [], marker, ms=5, color=colour, ls="-", label=label)  # in the legend whatever is clear


def _limits(differences: list[Estimate]) -> tuple[float, float]:
    """All values, and the intervals as far as they reach half as far again: a wide one may not press the others."""
    values = [0.0, *(one.value for one in differences)]
    room = 0.5 * (max(values) - min(values)) or 1.0
    low, high = min(one.low for one in differences), max(one.high for one in differences)
    return max(min(values) - room, min(low, 0) - 0.03 * room), min(max(values) + room, max(high, 0) + 0.03 * room)


def forest_about(suite: Suite) -> str:
    """The numbers of the forest plot: low end, value and high end, by strategy, set and budget."""
    return json.dumps({
        name: {
            short(suite.kept[dataset]): {
                str(budget): [round(x, 3) for x in (one.low, one.value, one.high)]
                for budget, one in zip(suite.budgets, of_set, strict=True) if budget in FOREST_AT
            }
            for dataset, of_set in rows.items()
        }
        for name, rows in forest_rows(suite).items()
    })  # fmt: skip


def curves_about(suite: Suite) -> str:
    """The numbers of the curves: means by quantity and strategy, at each budget."""
    found = {what: means(suite, measure).by_strategy for what, measure in MEASURES.items()}
    return json.dumps({
        what: {name: [round(value, 3) for value in values] for name, values in by_strategy.items()}
        for what, by_strategy in found.items()
    })  # fmt: skip


@styled
def curves(suite: Suite) -> Figure | None:
    """Mean over the suite's sets against the budget, strategy by strategy: score, and success where it is known.

    None where no set holds every strategy.
    """
    drawn = {what: found for what, measure in MEASURES.items() if (found := means(suite, measure)).sets}
    if not drawn:
        return None
    figure = Figure(figsize=(4.2 * len(drawn) + 2.6, 4.4), layout="constrained")
    for axes, (what, found) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        if what == "score":
            axes.axhline(1, color=MUTED, ls=":", lw=1.3, label="behaviour policies")
        for name in _looks(suite):
            _curve(axes, suite, found, name)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, _LOWEST), high)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(suite.budgets))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set(xlabel="adaptation episodes on the new task (log scale)", ylabel=what)
        axes.set_title(f"mean over {len(found.sets)} sets, {LEVEL:.0%} intervals over sets", fontsize=10.5)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _curve(axes: Axes, suite: Suite, found: Means, name: str) -> None:
    """One strategy's line; bars, intervals over sets, for those that the study is about: many would hide each other."""
    bold, dashed = name in (*suite.compared, PRIOR), suite.is_reference(name)
    colour, marker = _looks(suite)[name]
    x = np.array(suite.budgets) * (1.02 ** (suite.strategies.index(name) - 5) if bold else 1)
    if bold:
        spread = [over_sets(values) for values in found.per_set[name].T]
        axes.vlines(x, [one.low for one in spread], [one.high for one in spread], color=colour, lw=1.2)
    look = {"lw": 2.4 if bold else 1.2, "ms": 5 if bold else 3.5, "ls": "--" if dashed else "-"}
    axes.plot(x, found.by_strategy[name], marker=marker, color=colour, label=shown(name), **look)
