"""The report on an adaptation to a user's own system: returns per episode, what was deployed, what was assumed."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from idaq.adapt.system_run import Outcome, SystemRecord
from idaq.core.files import write_text
from idaq.evaluate.commands import leaves
from idaq.evaluate.page import render, source
from idaq.evaluate.protocol import number
from idaq.evaluate.style import BLUE, GRID, MUTED, ORANGE, blank, entitle, inline, shown, styled

_EPISODES = """Each point is one episode on the system. Grey: the reference stage, in which the strategy draws from the
prior alone. The line is the best return so far. Triangles: fresh episodes of the policy that was deployed; nothing is
learned from them."""


def write_system_report(record: SystemRecord, out: Path, command: str) -> Path:
    """Write the report, atomically; `command` makes it again. Returns `out`."""
    page = render(
        "system.html.jinja",
        style=source("page.css"),
        record=record,
        svg=inline(system_returns(record), "f0-"),
        caption=_EPISODES,
        rows=episode_rows(record),
        verdict=system_verdict(record),
        settings=list(leaves({"strategy": dict(record.settings.settings), "env": dict(record.settings.env_settings)})),
        command=command,
    )
    write_text(out, page)
    return out


def system_verdict(record: SystemRecord) -> str:
    """One sentence on what was measured, and of how few episodes."""
    if not record.episodes:
        return "Nothing is recorded yet."
    returns = [episode.total_reward for episode in record.episodes]
    best, first = number(max(returns)), number(returns[0])
    said = f"The best of {len(returns)} adaptation episodes returned {best}, the first {first}"
    if not record.fresh:
        return f"{said}. No fresh episode of the deployed policy was run."
    fresh = [episode.total_reward for episode in record.fresh]
    mean, spread = number(sum(fresh) / len(fresh)), f"{number(min(fresh))} to {number(max(fresh))}"
    return f"{said}; the deployed policy returned {mean} on average of {len(fresh)} fresh episodes ({spread})."


def episode_rows(record: SystemRecord) -> list[list[str]]:
    """stage, episode, return, steps, end, success: a row an episode."""
    rows = [[_stage(record, place), str(place + 1), *_cells(episode)] for place, episode in enumerate(record.episodes)]
    return rows + [["deployed", f"fresh {place + 1}", *_cells(episode)] for place, episode in enumerate(record.fresh)]


def _stage(record: SystemRecord, place: int) -> str:
    return "reference" if place < record.reference else "iterative"


def _cells(episode: Outcome) -> list[str]:
    success = "unknown" if episode.success is None else "yes" if episode.success else "no"
    end = "terminated" if episode.terminated else "time limit"
    return [number(episode.total_reward), str(episode.steps), end, success]


@styled
def system_returns(record: SystemRecord) -> Figure:
    """Return of each episode in order, the best so far, and the fresh ones after them."""
    figure, axes = blank(7.2, 3.8)
    returns = [episode.total_reward for episode in record.episodes]
    places = list(range(1, len(returns) + 1))
    if record.reference:
        axes.axvspan(0.5, min(record.reference, len(returns)) + 0.5, color=GRID, alpha=0.35, lw=0, zorder=0)
    best = [max(returns[: place + 1]) for place in range(len(returns))]
    axes.step(places, best, where="post", color=MUTED, lw=1.2, label="best so far")
    axes.plot(places, returns, "o", color=BLUE, label="adaptation")
    fresh = [episode.total_reward for episode in record.fresh]
    if fresh:
        axes.plot([len(returns) + 1 + place for place in range(len(fresh))], fresh, "^", color=ORANGE, label="deployed")
    axes.set_xlabel("episode")
    axes.set_ylabel("return")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    entitle(axes, "Return of each episode", shown(record.settings.env))
    return figure
