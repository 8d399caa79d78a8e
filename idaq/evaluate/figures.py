"""Figures of results, data and training: each takes data and returns a matplotlib Figure, which `style.save` writes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from scipy.optimize import isotonic_regression

from idaq.adapt.config import Role
from idaq.adapt.results import Results
from idaq.core.errors import DatasetError
from idaq.core.types import Doubles
from idaq.evaluate.protocol import Summary, headline, number
from idaq.evaluate.style import BLUE, GRID, INK, MARKERS, MUTED, ORANGE, PALETTE, PAPER, blank, entitle, shown, styled
from idaq.format.documents import ReturnStatistics, TaskRecord
from idaq.loader import Dataset

_APART = (BLUE, ORANGE, *PALETTE[2:5])
_PLAIN = FuncFormatter(lambda value, _: _minus(f"{value:g}"))
_LINEAR_SHARE = 0.05  # of the way from the best to random: nearer to the best than this, the axis is linear
_LABEL_GAP = 0.062  # of the axis height, between direct labels


@styled
def adaptation_curves(summary: Summary) -> Figure:
    """Return of fresh episodes against adaptation episodes: means and intervals; offline context and random are lines.

    The vertical axis is logarithmic in the distance to the best (inverse hyperbolic sine, so linear close to it):
    what is near the best stays apart, and a strategy that fails by any factor cannot press the others together.
    """
    figure, axes = blank(7.6, 4.8)
    last = {name: reports[-1].mean.value for name, reports in summary.strategies.items()}
    pivot = max(last.values())
    _distance_scale(axes, pivot, abs(pivot - summary.random) * _LINEAR_SHARE or 1.0)
    _reference_stage(axes, summary)
    axes.axhline(summary.random, color=MUTED, ls=":", lw=1.4)
    labels = [(summary.random, "random actions", MUTED)]
    for name in last:
        if summary.roles[name] == "reference":
            axes.axhline(last[name], color=INK, ls="--", lw=1.2)
            labels.append((last[name], shown(name), INK))
    for i, name in enumerate(_curves_of(summary.roles)):
        _curve(axes, summary, name, i)
        labels.append((last[name], shown(name), PALETTE[i % len(PALETTE)]))
    _episode_axis(axes, summary.config.report_at)
    axes.set_ylabel("return of a fresh episode\n(log distance to the best)")
    _round_ticks(axes)
    named = [(y, f"{text}  {_minus(number(y))}", colour) for y, text, colour in labels]
    _label_ends(axes, summary.config.report_at[-1], named)
    entitle(axes, "Return on new tasks against online episodes", shown(summary.dataset_id))
    return figure


def _reference_stage(axes: Axes, summary: Summary) -> None:
    """Shade the budgets in which some strategies do what best-of-prior does, half of the way to the next one."""
    if any(report.reference_stage for reports in summary.strategies.values() for report in reports):
        following = [budget for budget in summary.config.report_at if budget > summary.reference_stage]
        end = np.sqrt(summary.reference_stage * (following or [2 * summary.reference_stage])[0])
        axes.axvspan(0.5, end, color=GRID, alpha=0.35, lw=0, zorder=0)
        text = axes.annotate("reference stage", (0.02, 0.96), xycoords="axes fraction", color=MUTED, fontsize=9)
        text.set_path_effects([withStroke(linewidth=3, foreground=PAPER)])  # a line may run behind it


def _curves_of(roles: Mapping[str, Role]) -> list[str]:
    """All but references, in the order that gives each its colour and marker in every figure."""
    return [name for name, role in roles.items() if role != "reference"]


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _curve(axes: Axes, summary: Summary, name: str, i: int) -> None:
    """One strategy's line; a band for the headline strategy, bars for the others: many bands would make one grey."""
    means = [report.mean for report in summary.strategies[name]]
    x, y = np.array(summary.config.report_at), [m.value for m in means]
    low, high = [m.low for m in means], [m.high for m in means]
    colour, bold = PALETTE[i % len(PALETTE)], name == headline(summary.roles)
    if bold:
        axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    else:
        axes.vlines(x * 1.012 ** (i + 1), low, high, color=colour, lw=1, alpha=0.8)
    style = {"marker": MARKERS[i % len(MARKERS)], "lw": 2.6 if bold else 1.4, "zorder": 4 if bold else 3}
    axes.plot(x, y, color=colour, ms=5, clip_on=False, **style)


def _distance_scale(axes: Axes, pivot: float, linear: float) -> None:
    def forward(y: Doubles) -> Doubles:
        return np.arcsinh((y - pivot) / linear)

    def inverse(u: Doubles) -> Doubles:
        return pivot + linear * np.sinh(u)

    axes.set_yscale("function", functions=(forward, inverse))


def _round_ticks(axes: Axes, count: int = 8) -> None:
    """Round numbers about evenly apart on the axis, whatever its scale."""
    scale = axes.get_yaxis().get_transform()
    low, high = sorted(axes.get_ylim())
    bottom, top = scale.transform(np.array([low, high]))
    values = scale.inverted().transform(np.linspace(bottom, top, count))
    ticks = []
    for value, room in zip(values, np.abs(np.gradient(values)), strict=True):
        unit = 10.0 ** np.floor(np.log10(room))
        step = unit * max(s for s in (0.5, 1, 2, 5) if s * unit <= room * 0.8)
        ticks.append(round(value / step) * step)
    axes.yaxis.set_major_locator(FixedLocator(sorted({tick for tick in ticks if low <= tick <= high})))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(_PLAIN)


def _episode_axis(axes: Axes, report_at: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(report_at[0] / 1.06, report_at[-1] * 1.12)
    shown_at = [report_at[-1]]
    for episodes in reversed(report_at[:-1]):
        if episodes * 1.15 < shown_at[-1]:
            shown_at.append(episodes)
    axes.xaxis.set_major_locator(FixedLocator(shown_at))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("adaptation episodes on the new task (log scale)")


def _label_ends(axes: Axes, x: float, labels: list[tuple[float, str, str]]) -> None:
    """(y, text, colour) right of the axes, moved apart where they would overlap, each with a thin line from (x, y)."""
    labels = sorted(labels)
    to_axes = axes.transScale + axes.transLimits
    heights = apart([to_axes.transform((x, y))[1] for y, *_ in labels], _LABEL_GAP)
    for (y, text, colour), height in zip(labels, heights, strict=True):
        axes.annotate(
            text,
            xy=(x, y),
            xytext=(1.04, height),
            textcoords="axes fraction",
            color=INK,
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 1.6, "shrinkA": 0, "shrinkB": 4, "relpos": (0, 0.5)},
        )


def apart(positions: list[float], gap: float) -> list[float]:
    """Ascending positions moved as little as keeps them `gap` apart (least squares, so neighbours share the moving)."""
    steps = gap * np.arange(len(positions))
    return (isotonic_regression(np.array(positions) - steps).x + steps).tolist()


@styled
def dataset_returns(dataset: Dataset) -> Figure:
    """Returns of the selected episodes of each task, by task index: range, quartiles and median, coloured by split.

    Behaviours are drawn apart: the quartiles of a mixture would say little. Random actions often lie far below the
    data, so they have a strip and a scale of their own. Raises DatasetError if no episode is selected.
    """
    if not len(dataset):
        raise DatasetError(f"no episode of {dataset.dataset_id} is selected", hint="loosen select(...)")
    references = {task.task_index: task.reference.random for task in dataset.tasks if isinstance(task, TaskRecord)}
    random = {index: reference for index, reference in references.items() if reference is not None}
    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    rows = 2 if random else 1
    panels = figure.subplots(rows, sharex=True, height_ratios=[4, 1][:rows], squeeze=False)[:, 0]
    labels = [(_behaviour_returns(panels[0], dataset, name), shown(name), MUTED) for name in _behaviours(dataset)]
    if random:
        _random_returns(panels[1], random)
    panels[0].set_ylabel("return of an episode")
    if len(labels) > 1:
        _label_ends(panels[0], panels[0].get_xlim()[1], labels)
    panels[-1].set_xlabel("task index")
    panels[-1].xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True))
    for axes in panels:
        axes.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=4)
    entitle(panels[0], "Returns of the data, task by task", f"{shown(dataset.dataset_id)}, {len(dataset)} episodes")
    return figure


def _behaviours(dataset: Dataset) -> list[str]:
    return np.unique(dataset.episodes.behaviour[dataset.numbers]).tolist()


def quartiles_of(dataset: Dataset) -> dict[str, dict[int, Doubles]]:
    """By behaviour and task index: lowest return, lower quartile, median, upper quartile, highest (5,)."""
    return {name: _quartiles(dataset.select(behaviour=name)) for name in _behaviours(dataset)}


def _quartiles(dataset: Dataset) -> dict[int, Doubles]:
    of_task, returns = dataset.episodes.task_index[dataset.numbers], dataset.episodes.total_reward[dataset.numbers]
    shares = [0, 0.25, 0.5, 0.75, 1]
    return {t.task_index: np.quantile(returns[of_task == t.task_index], shares) for t in dataset.tasks}


def _behaviour_returns(axes: Axes, dataset: Dataset, name: str) -> float:
    """Draws one behaviour's returns; gives their median."""
    chosen = dataset.select(behaviour=name)
    quartiles = _quartiles(chosen)
    split_of = {task.task_index: task.split for task in chosen.tasks}
    for i, split in enumerate(dict.fromkeys(task.split for task in dataset.all_tasks)):
        tasks = [task for task in split_of if split_of[task] == split]
        if not tasks:
            continue
        low, lower, middle, upper, high = np.array([quartiles[task] for task in tasks]).T
        colour, label = _APART[i % len(_APART)], f"{shown(split)}, {len(tasks)} tasks"
        axes.vlines(tasks, low, high, color=colour, lw=0.9, alpha=0.75)
        axes.vlines(tasks, lower, upper, color=colour, lw=3.4)
        first = name == _behaviours(dataset)[0]
        axes.plot(tasks, middle, "o", color=PAPER, mec=colour, ms=3.6, label=label if first else None)
    return float(np.median(dataset.episodes.total_reward[chosen.numbers]))


def _random_returns(axes: Axes, random: Mapping[int, ReturnStatistics]) -> None:
    tasks = list(random)
    mean, std = np.array([[random[task].mean, random[task].std] for task in tasks]).T
    axes.vlines(tasks, mean - std, mean + std, color=MUTED, lw=0.9)
    axes.plot(tasks, mean, ".", color=MUTED, ms=4, label="random actions, mean and std")
    axes.set_ylabel("random")
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.grid(visible=False, axis="x")


@styled
def task_returns(results: Sequence[Results]) -> Figure:
    """Return of the last fresh episodes on each test task, by strategy: means over runs and adaptation seeds.

    Grey bars reach from random actions to the task's behaviour policies.
    """
    figure, axes = blank(7.6, 4.4)
    first = results[0]
    x = np.arange(len(first.tasks))
    random, behaviour = (np.array([getattr(t, name) for t in first.tasks]) for name in ("random", "behaviour"))
    axes.bar(x, behaviour - random, 0.8, random, color=MUTED, alpha=0.18, lw=0, label="random to behaviour")
    roles: dict[str, Role] = {name: strategy.role for name, strategy in first.strategies.items()}
    looks = {n: (PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, n in enumerate(_curves_of(roles))}
    names = drawn_strategies(first)
    beside = sum(name in looks for name in names) + 1
    for i, name in enumerate(names):
        colour, marker = looks.get(name, (INK, "_"))
        at = x + 0.6 * ((i + 0.5) / beside - 0.5)
        axes.plot(
            at,
            final_returns(results, name),
            marker,
            color=colour,
            ms=5 if name in looks else 11,
            mew=1.5,
            label=shown(name),
        )
    axes.set_xticks(x, [str(task.task_index) for task in first.tasks])
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="test task", ylabel="return of a fresh episode")
    figure.legend(loc="outside lower center", ncols=3)
    entitle(
        axes,
        "Returns task by task, at the end",
        f"{shown(first.dataset_id)}, {len(results)} training run{'s' * (len(results) > 1)}",
    )
    return figure


def drawn_strategies(results: Results) -> list[str]:
    """Those that `task_returns` draws: the one it is about, its rivals, then references; no variants of it."""
    roles: dict[str, Role] = {name: strategy.role for name, strategy in results.strategies.items()}
    curves = [n for n in _curves_of(roles) if n == headline(roles) or roles[n] not in ("method", "variant")]
    return [*curves, *(name for name in roles if roles[name] == "reference")]


def final_returns(results: Sequence[Results], name: str) -> Doubles:
    """(N,) mean return of a strategy's last fresh episodes on each test task, over runs and adaptation seeds."""
    return np.mean([np.mean(r.strategies[name].returns[-1], axis=-1) for r in results], axis=0)


@styled
def training_losses(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure | None:
    """One panel a metric, one line a run, from the lines of metrics.jsonl by run; None if nothing was logged."""
    names = list(dict.fromkeys(name for lines in runs.values() for line in lines for name in line if name != "step"))
    if not names:
        return None
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.9 * rows + 1), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        for i, (run, lines) in enumerate(runs.items()):
            points = [(line["step"], line[name]) for line in lines if name in line]
            axes.plot(*np.array(points or [(0, np.nan)]).T, color=_APART[i % len(_APART)], lw=1.3, label=shown(run))
        _loss_scale(axes)
        axes.set_title(shown(name.replace("_", " ")), fontsize=10)
    for axes in panels[len(names) :]:
        axes.remove()
    for axes in panels[max(0, len(names) - columns) : len(names)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("training step", fontsize=10)
    figure.suptitle("Training, metric by metric", x=0.01, ha="left", fontweight="bold", fontsize=11.5)
    if len(runs) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=5)
    return figure


def _loss_scale(axes: Axes) -> None:
    """Logarithmic for what is positive and falls by more than a factor of 20."""
    values = np.concatenate([line.get_ydata() for line in axes.lines])
    if np.nanmin(values) > 0 and np.nanmax(values) > 20 * np.nanmin(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_PLAIN)
        axes.yaxis.set_minor_locator(NullLocator())
