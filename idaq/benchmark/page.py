"""leaderboard.md, generated from leaderboard.json: `python -m idaq.benchmark.page` writes that of the catalogue."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from idaq.benchmark.leaderboard import BASELINE, BoardRow, BoardTable, Leaderboard, read_board
from idaq.core.files import write_text
from idaq.core.resources import resource_root
from idaq.evaluate.markdown import percent, table
from idaq.evaluate.protocol import (
    OFFLINE,
    PRIOR,
    REFERENCE_MARK,
    REFERENCE_NOTE,
    Report,
    Summary,
    interval,
    number,
)
from idaq.evaluate.statistics import LEVEL

T = TypeVar("T")
PAGE = "leaderboard.md"
AHEAD = "\N{BLACK UP-POINTING TRIANGLE}"
UNKNOWN = "unknown"
_HEAD = f"""# Leaderboard

Mean return of fresh episodes on tasks that no agent has seen, and its {LEVEL:.0%} interval: a two-way bootstrap over
training seeds and tasks. `{OFFLINE}` is given each test task's own offline data: a reference, not a bound. Every other
column is a strategy that has nothing but its own online episodes, as many as the head says.

**Bold**: ahead of `{BASELINE}` under the same strategy, by the {LEVEL:.0%} interval of the difference paired by
training seed and task. {AHEAD}: ahead of `{PRIOR}` of the same agents, by the interval of the difference paired by run
and task. Nothing is said where an interval holds zero. `way` is how far `{OFFLINE}` comes from random actions (0%) to
the behaviour policies of the same tasks (100%). Times are of one processor thread, for one run.

This page is generated from leaderboard.json. A run of `idaq bench` adds or replaces its rows, and leaves all others.
"""


def leaderboard_page(board: Leaderboard) -> str:
    """Markdown: a section for each table."""
    return "\n".join([_HEAD, *([_section(one) for one in board.tables] or ["No rows yet.\n"])])


def write_page(folder: Path) -> None:
    """Replace leaderboard.md of a folder by what its leaderboard.json says."""
    write_text(folder / PAGE, leaderboard_page(read_board(folder)))


def _section(one: BoardTable) -> str:
    rows, strategies = _ranked(one), _strategies(one)
    parts = [f"## {one.dataset_id}\n", table(board_columns(one), board_lines(one))]
    if any(_last(row, name, lambda report: report.reference_stage) for row in rows.values() for name in strategies):
        parts.append(f"{REFERENCE_NOTE}\n")
    if any(_last(row, name, lambda report: report.success) for row in rows.values() for name in strategies):
        lines = [[_label(label, row), *(_solved(row, name) for name in strategies)] for label, row in rows.items()]
        head = ["", *(f"`{name}`" for name in strategies)]
        parts += ["Share of the same episodes that solve their task:\n", table(head, lines)]
    return "\n".join([*parts, *_notes(one, rows)])


def board_columns(one: BoardTable) -> list[str]:
    """Headings of `board_lines`: offline-context, then what adapts online, after how many episodes."""
    heads = [f"`{name}`" if name == OFFLINE else f"`{name}`, {one.config.episodes}" for name in _strategies(one)]
    return ["", *heads, "way", "train, minutes", "steps/s", "adapt, minutes"]


def board_lines(one: BoardTable) -> list[list[str]]:
    """A line for each row, best with offline data first."""
    names = _strategies(one)
    return [
        [_label(label, row), *(return_cell(row, name) for name in names), *_costs(row)]
        for label, row in _ranked(one).items()
    ]


def _ranked(one: BoardTable) -> dict[str, BoardRow]:
    """Best with offline data first; what was not run with it comes last."""

    def rank(row: BoardRow) -> float:
        score = _last(row, OFFLINE, lambda report: report.mean.value)
        return -score if score is not None else float("inf")

    return dict(sorted(one.rows.items(), key=lambda item: rank(item[1])))


def _strategies(one: BoardTable) -> list[str]:
    """Of any row, offline-context first."""
    rows = one.rows.values()
    names = [name for row in rows for name in [*(row.summary.strategies if row.summary else ()), *row.cannot]]
    return sorted(dict.fromkeys(names), key=lambda name: name != OFFLINE)


def return_cell(row: BoardRow, name: str) -> str:
    """Return and interval of a strategy at the last report, bold and marked where paired intervals say so."""
    if missing := _missing(row, name):
        return missing
    assert row.summary is not None
    report, over = row.summary.strategies[name][-1], row.over_baseline.get(name)
    value = number(report.mean.value)
    value = f"**{value}**" if over and over[-1].low > 0 else value
    value += REFERENCE_MARK if report.reference_stage else ""
    value += f" {AHEAD}" if name != OFFLINE and report.over_prior and report.over_prior.low > 0 else ""
    return f"{value} ({interval(report.mean)})"


def _missing(row: BoardRow, name: str) -> str | None:
    """Why a row has no number for a strategy."""
    if row.summary is None:
        return "diverged"
    if name in row.summary.strategies:
        return None
    return "cannot run" if name in row.cannot else "not run"


def _label(label: str, row: BoardRow) -> str:
    lost, all_ = len(row.diverged), len(row.diverged) + len(row.agents)
    return f"`{label}`" + (f" ({lost} of {all_} runs diverged)" if lost else "")


def _solved(row: BoardRow, name: str) -> str:
    return _missing(row, name) or percent(_last(row, name, lambda report: report.success and report.success.value))


def _costs(row: BoardRow) -> list[str]:
    spent, share = row.compute, _last(row, OFFLINE, lambda report: report.share)
    rate = UNKNOWN if spent.steps_per_second is None else f"{spent.steps_per_second:,.0f}"
    return [
        percent(share),
        f"{spent.train / 60:.1f}",
        rate,
        UNKNOWN if spent.adapt is None else f"{spent.adapt / 60:.1f}",
    ]


def _last(row: BoardRow, name: str, of: Callable[[Report], T]) -> T | None:
    """Of a strategy's last report; None where there is none."""
    reports = row.summary.strategies.get(name) if row.summary else None
    return of(reports[-1]) if reports else None


def _notes(one: BoardTable, rows: dict[str, BoardRow]) -> list[str]:
    """What the numbers are of, and the command of each row."""
    lines = [f"- data: content digest `{one.content_digest[:12]}`"]
    summaries = [row.summary for row in rows.values() if row.summary]
    if summaries:
        lines += _protocol(summaries[0])
    for label, row in rows.items():
        seeds = ", ".join(map(str, row.agents)) or "none"
        changed = f"; {', '.join(row.settings)}" if row.settings else ""
        lines.append(f"- `{label}`: training seeds {seeds}{changed}: `{row.command}`")
        lines += [f"- `{label}`, training seed {seed}, diverged: {words}" for seed, words in row.diverged.items()]
    machines = sorted({row.compute.machine.processor or UNKNOWN for row in rows.values()})
    return ["\n".join([*lines, f"- times on {', '.join(machines)}"]), ""]


def _protocol(summary: Summary) -> list[str]:
    asked, measured = summary.config, summary.measured
    budgets = ", ".join(map(str, asked.report_at))
    how = "each planned and run on its own" if summary.each_budget else "one adaptation went through all"
    return [
        f"- protocol: budgets of {budgets} adaptation episodes, {how}; {measured.tasks} tasks of split {asked.split},"
        f" adaptation seeds of each: {asked.seeds}",
        f"- random actions {number(summary.random)}, behaviour policies {number(summary.behaviour)} on the same tasks",
    ]


if __name__ == "__main__":
    write_page(resource_root("datasets"))
