"""Budget curves: what each algorithm reaches with one strategy, against the episodes that it adapts for."""

import re
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from idaq.benchmark.leaderboard import BASELINE, BoardRow, BoardTable
from idaq.evaluate.statistics import LEVEL
from idaq.evaluate.style import MARKERS, MUTED, PALETTE, blank, entitle, save, shown, styled


@styled
def budget_curves(table: BoardTable, strategy: str) -> Figure:
    """Mean return of fresh episodes at each report: a line for each row that has the strategy, bars for intervals."""
    summaries = {label: row.summary for label, row in _ordered(table).items() if row.summary is not None}
    summaries = {label: summary for label, summary in summaries.items() if strategy in summary.strategies}
    figure, axes = blank(7.6, 4.8)
    first = next(iter(summaries.values()))
    axes.axhline(first.behaviour, color=MUTED, ls="--", lw=1.3, label="behaviour policies")
    axes.axhline(first.random, color=MUTED, ls=":", lw=1.3, label="random actions")
    for i, (label, summary) in enumerate(summaries.items()):
        means = [report.mean for report in summary.strategies[strategy]]
        x = [episodes * 1.015 ** (i - len(summaries) / 2) for episodes in table.config.report_at]
        colour, bold = PALETTE[i % len(PALETTE)], label == BASELINE
        axes.vlines(x, [m.low for m in means], [m.high for m in means], color=colour, lw=1, alpha=0.8)
        dashed = i // len(PALETTE) % 2 == 1  # a second round of the colours
        look = {"marker": MARKERS[i % len(MARKERS)], "lw": 2.4 if bold else 1.4, "ms": 5, "ls": "--" if dashed else "-"}
        axes.plot(x, [m.value for m in means], color=colour, label=shown(label), **look)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(table.config.report_at))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(xlabel="adaptation episodes on the new task (log scale)", ylabel="return of a fresh episode")
    figure.legend(loc="outside right center")
    entitle(axes, f"{shown(strategy)}, algorithm by algorithm", f"{shown(table.dataset_id)}; {LEVEL:.0%} intervals")
    return figure


def write_curves(table: BoardTable, folder: Path) -> list[Path]:
    """A PNG for each strategy of a table, named by dataset and strategy."""
    names = dict.fromkeys(name for row in table.rows.values() if row.summary for name in row.summary.strategies)
    written = list[Path]()
    for name in names:
        path = folder / re.sub("[^A-Za-z0-9._+-]", "-", f"{table.dataset_id}-{name}.png")
        save(budget_curves(table, name), path)
        written.append(path)
    return written


def _ordered(table: BoardTable) -> dict[str, BoardRow]:
    """The baseline first, so that it looks alike in every figure."""
    return dict(sorted(table.rows.items(), key=lambda item: (item[0] != BASELINE, item[0])))
