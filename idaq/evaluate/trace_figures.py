"""Figures of one adaptation in full, from trace.safetensors: where episodes went, and which beliefs were tried."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from idaq.core.types import Array, Doubles, Success, TaskParams
from idaq.evaluate.style import GREEN, INK, MUTED, ORANGE, PAPER, RED, blank, entitle, sequence, shown, styled

_GAIT = 10  # steps that a velocity is averaged over: a gait shakes it


@styled
def trajectories(
    trace: Mapping[str, Array],
    task_index: int,
    *,
    params: TaskParams,
    success: Success | None = None,
    offline: Sequence[Array] = (),
) -> Figure | None:
    """Where one test task's episodes went on the plane, by stage; None where observations tell no place on a plane.

    `trace` is what `idaq.adapt.trace.read_trace` gives. A `goal` in `params` is drawn with the radius of `success`, a
    `wind` as the drift of ten steps. `offline` holds observations (T + 1, D) of the task's own data, for comparison.
    """
    if "place" not in trace:
        return None
    row, place = _row(trace, task_index), trace["place"]
    seen, valid = trace["observations"][row][..., place], trace["valid"][row]
    figure, axes = blank(7.2, 5.2)
    reference, last = trace["reference"].item(), len(seen) - 1
    order = ScalarMappable(Normalize(reference + 1, max(last, reference + 2)), sequence())
    for path in offline:
        axes.plot(*np.asarray(path)[:, place].T, color=ORANGE, lw=3, alpha=0.15, solid_capstyle="round")
    for episode, (path, steps) in enumerate(zip(seen, valid, strict=True)):
        style = _stage_style(episode, reference, last, order)
        axes.plot(*path[: int(steps.sum()) + 1].T, marker="o", markevery=[-1], **style)
    _landmarks(axes, seen[0, 0], params, success)
    _stages(axes, reference, last, len(offline))
    if reference < last:
        bar = figure.colorbar(order, ax=axes, shrink=0.6, aspect=25, label="adaptation episode")
        bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel="x (m)", ylabel="y (m)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    entitle(axes, "Episodes on one new task, by stage", f"task {task_index}: {describe(params)}")
    return figure


@styled
def velocities(trace: Mapping[str, Array], task_index: int, params: TaskParams) -> Figure | None:
    """Velocity along one test task's episodes, by stage, and the one asked for; None where observations tell none."""
    if "velocity" not in trace:
        return None
    row, reference = _row(trace, task_index), trace["reference"].item()
    seen, valid = trace["observations"][row][..., trace["velocity"].item()], trace["valid"][row]
    figure, axes = blank(7.2, 4.2)
    last = len(seen) - 1
    order = ScalarMappable(Normalize(reference + 1, max(last, reference + 2)), sequence())
    for episode, (speeds, steps) in enumerate(zip(seen, valid, strict=True)):
        style = {**_stage_style(episode, reference, last, order), "lw": 3 if episode == last else 1}
        axes.plot(*smooth(speeds[: int(steps.sum()) + 1]), **style)
    if isinstance(target := params.get("velocity"), float):
        axes.axhline(target, color=GREEN, lw=2, ls="--", zorder=5, label=f"asked for: {target:.2f} m/s")
    _stages(axes, reference, last, 0)
    axes.set(xlabel="step", ylabel=f"velocity (m/s), mean of {_GAIT} steps")
    entitle(axes, "Velocity on one new task, by stage", f"task {task_index}: {describe(params)}")
    return figure


def smooth(speeds: Array) -> tuple[Array, Array]:
    """Steps and the mean velocity of the _GAIT steps about each, (T + 1 - _GAIT,)."""
    gait = min(_GAIT, len(speeds))
    means = np.convolve(speeds, np.ones(gait) / gait, "valid")
    return np.arange(len(means)) + gait // 2, means


def episodes_of(trace: Mapping[str, Array], task_index: int) -> list[Array]:
    """What was observed in each episode on one test task, (T + 1, D) each, T its own."""
    row = _row(trace, task_index)
    lengths = trace["valid"][row].sum(-1).tolist()
    return [seen[: steps + 1] for seen, steps in zip(trace["observations"][row], lengths, strict=True)]


def _stage_style(episode: int, reference: int, last: int, order: ScalarMappable) -> dict[str, Any]:
    if episode == last:
        return {"color": INK, "lw": 4, "markersize": 8, "zorder": 3}
    if episode < reference:
        return {"color": MUTED, "lw": 1, "markersize": 3.5, "alpha": 0.5}
    return {"color": order.to_rgba(np.array([episode + 1.0]))[0], "lw": 1.4, "markersize": 4, "zorder": 4}


def _landmarks(axes: Axes, start: Array, params: TaskParams, success: Success | None) -> None:
    x, y = start.tolist()
    axes.plot(x, y, "s", color=INK, ms=6, zorder=6)
    axes.annotate("start", (x, y), (0, -7), textcoords="offset points", ha="center", va="top", fontsize=9)
    goal, wind = params.get("goal"), params.get("wind")
    if isinstance(goal, list) and len(goal) == 2:
        if success is not None and success.unit == "m":
            within = f"within {success.threshold:g} m of the goal"
            axes.add_patch(Circle((goal[0], goal[1]), success.threshold, color=GREEN, alpha=0.22, lw=0, label=within))
        axes.plot(*goal, "*", color=GREEN, ms=15, mec=PAPER, zorder=6, label="goal")
    if isinstance(wind, list) and len(wind) == 2:
        drift = x + 10 * wind[0], y + 10 * wind[1]
        arrow = {"arrowstyle": "-|>", "color": RED, "lw": 2, "mutation_scale": 14, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", drift, (x, y), arrowprops=arrow, zorder=6)
        axes.plot([], [], color=RED, lw=2, label="wind: drift of 10 steps")
        axes.update_datalim([drift])


def _stages(axes: Axes, reference: int, last: int, offline: int) -> None:
    if offline:
        axes.plot([], [], color=ORANGE, lw=3, alpha=0.4, label=f"the task's own data, {offline} best episodes")
    axes.plot([], [], color=MUTED, lw=1, alpha=0.6, label=f"reference stage, {min(reference, last)} episodes")
    if reference < last:
        axes.plot([], [], color=sequence()(0.5), lw=1.6, label=f"iterative stage, {last - reference} episodes")
    axes.plot([], [], color=INK, lw=4, label="fresh episode at the end")
    axes.figure.legend(loc="outside lower center", ncols=2)


@styled
def beliefs(trace: Mapping[str, Array], task_index: int, params: Mapping[int, TaskParams]) -> Figure | None:
    """Latents on the first two principal components of the training tasks' beliefs; None if there are no two of them.

    Left the reference stage on one test task, its latents numbered in the order tried; right, nearer, the iterative
    stage.
    `params` by task index colours the tasks; a task that it lacks is grey.
    """
    if min(trace["prior"].shape) < 2:
        return None
    project, shares = principal_plane(trace["prior"])
    prior, offline, tried = (project(trace[name]) for name in ("prior", "offline", "z"))
    colours = _TaskColours({task: params[task] for task in _tasks_of(trace) if task in params})
    row, reference = _row(trace, task_index), trace["reference"].item()
    path, goal = tried[row], offline[row]
    figure = Figure(figsize=(8.8, 4.8), layout="constrained")
    panels = figure.subplots(1, 2 if reference < len(path) - 1 else 1, squeeze=False)[0]
    for axes in panels:
        axes.scatter(*prior.T, c=colours.of(trace["prior_tasks"]), s=34)
        axes.scatter(*offline.T, c=colours.of(trace["test_tasks"]), s=46, marker="D", edgecolors=INK, linewidths=1.1)
        axes.plot(*goal, "o", ms=17, mfc="none", mec=RED, mew=2)
        axes.plot(*path[-1], "*", color=RED, ms=12, mec=PAPER, zorder=6)
        axes.set_xlabel(f"component 1 ({shares[0]:.0%} of variance)")
    panels[0].set_ylabel(f"component 2 ({shares[1]:.0%} of variance)")
    wide = _square(panels[0], np.vstack([prior, offline, path]))
    _numbered(panels[0], path[:-1][:reference], 1, 0.05 * wide)
    if len(panels) == 2:
        near = _square(panels[1], np.vstack([path[reference:], goal]), at_least=0.06 * wide)
        _numbered(panels[1], path[:-1][reference:], reference + 1, 0.07 * near)
        corner = panels[1].get_xlim()[0], panels[1].get_ylim()[0]
        panels[0].add_patch(Rectangle(corner, 2 * near, 2 * near, fill=False, ec=INK, lw=1, ls="--", zorder=7))
        panels[1].set_title("Iterative stage, nearer", fontsize=10)
    if colours.label:
        figure.colorbar(colours.scale, ax=panels, shrink=0.75, aspect=28, label=colours.label)
    _belief_legend(figure)
    entitle(panels[0], "What the encoder believes about tasks", f"latents tried on task {task_index}, in order")
    return figure


def principal_plane(points: Array) -> tuple[Callable[[Array], Doubles], Doubles]:
    """Projection on the first two principal components of points (M, Z), and the share of variance of each."""
    centre = points.mean(0, dtype=np.float64)
    _, sizes, components = np.linalg.svd(points - centre, full_matrices=False)
    plane = components[:2]
    plane = plane * np.sign(plane[[0, 1], np.abs(plane).argmax(1)])[:, None]  # a sign that does not hang on the library
    return lambda values: (values - centre) @ plane.T, sizes[:2] ** 2 / max((sizes**2).sum(), 1e-12)


class _TaskColours:
    """A colour for each task by its parameters; grey for a task whose parameters are not known."""

    def __init__(self, params: Mapping[int, TaskParams]) -> None:
        self._values, self.label = task_values(params)
        ends = Normalize(min(self._values.values(), default=0), max(self._values.values(), default=1))
        self.scale = ScalarMappable(ends, sequence())

    def of(self, tasks: Array) -> list[Any]:
        values = [self._values.get(task) for task in tasks.tolist()]
        return [MUTED if value is None else self.scale.to_rgba(np.array([value]))[0] for value in values]


def _tasks_of(trace: Mapping[str, Array]) -> list[int]:
    return [*trace["prior_tasks"].tolist(), *trace["test_tasks"].tolist()]


def _numbered(axes: Axes, points: Doubles, first: int, close: float) -> None:
    """A thin path with numbers from `first`; those `close` to an earlier point share its number's place."""
    axes.plot(*points.T, color=MUTED, lw=0.7, alpha=0.55)
    axes.plot(*points.T, "o", color=INK, ms=2.5, zorder=5)
    places: list[tuple[Doubles, list[int]]] = []
    for number, point in enumerate(points, first):
        near = next((there for at, there in places if np.hypot(*(at - point)) < close), None)
        if near is None:
            places.append((point, [number]))
        else:
            near.append(number)
    for point, there in places:
        text = axes.annotate(
            ranges(there), (point[0], point[1]), (4, 4), textcoords="offset points", fontsize=8.5, zorder=7
        )
        text.set_path_effects([withStroke(linewidth=2.5, foreground=PAPER)])


def ranges(numbers: list[int]) -> str:
    """`13, 15-17` for 13, 15, 16, 17."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _square(axes: Axes, points: Doubles, at_least: float = 1e-6) -> float:
    """Square limits about `points`, both components to one scale; gives half their width."""
    (x, y), half = (points.max(0) + points.min(0)) / 2, max(0.56 * np.ptp(points, axis=0).max(), at_least)
    axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), box_aspect=1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    return half


def _belief_legend(figure: Figure) -> None:
    def entry(label: str, **style: Any) -> Line2D:
        return Line2D([], [], ls="none", label=label, **{"color": MUTED, **style})

    entries = [
        entry("training task", marker="o"),
        entry("test task, from its own data", marker="D", mec=INK),
        entry("the test task tried on", marker="o", ms=13, mfc="none", mec=RED, mew=2),
        entry("latent deployed", marker="*", ms=13, color=RED),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=4)


def task_values(params: Mapping[int, TaskParams]) -> tuple[dict[int, float], str]:
    """One number a task to colour it by, and what it is: the only parameter, the angle on a circle, or else the first
    principal component of all parameters."""
    if not params:
        return {}, ""
    names = sorted({name for task in params.values() for name in task})
    vectors = np.array([np.hstack([task.get(name, 0.0) for name in names]) for task in params.values()], np.float64)
    label = shown(" and ".join(names))
    radii = np.hypot(*vectors.T) if vectors.shape[1] == 2 else np.zeros(1)
    if vectors.shape[1] == 1:
        values = vectors[:, 0]
    elif radii.min() > 0 and np.ptp(radii) < 0.01 * radii.mean():
        values, label = np.degrees(np.arctan2(*vectors.T[::-1])) % 360, f"{label}: angle (degrees)"
    else:
        away = vectors - vectors.mean(0)
        values, label = away @ np.linalg.svd(away, full_matrices=False)[2][0], f"{label}: first component"
    return dict(zip(params, values.tolist(), strict=True)), label


def _row(trace: Mapping[str, Array], task_index: int) -> int:
    return int(np.flatnonzero(trace["test_tasks"] == task_index)[0])


def describe(params: TaskParams) -> str:
    """A task's parameters in words: `goal (0.99, 0.16)`."""

    def text(value: float | list[float]) -> str:
        return f"({', '.join(f'{x:.3g}' for x in value)})" if isinstance(value, list) else f"{value:.3g}"

    return shown(", ".join(f"{name} {text(value)}" for name, value in params.items()))
