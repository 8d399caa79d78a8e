"""The numbers behind each figure of a report, as tables of text: each takes what its figure takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from idaq.adapt.results import Results
from idaq.core.types import Array, Doubles, TaskParams
from idaq.evaluate.figures import drawn_strategies, final_returns, quartiles_of
from idaq.evaluate.protocol import REFERENCE_MARK, REFERENCE_NOTE, Summary, interval, number
from idaq.evaluate.trace_figures import describe, episodes_of, principal_plane, smooth
from idaq.format.documents import TaskRecord
from idaq.loader import Dataset

_MOST_ROWS = 101


@dataclass(frozen=True, kw_only=True)
class DataTable:
    """One table: cells are text, the first of a row names it."""

    caption: str
    columns: list[str]
    rows: list[list[str]]


def curves_table(summary: Summary) -> DataTable:
    """Of `adaptation_curves`: mean and interval of each strategy after so many episodes."""
    marked = False
    rows = []
    for name, reports in summary.strategies.items():
        marked |= any(report.reference_stage for report in reports)
        marks = [REFERENCE_MARK if report.reference_stage else "" for report in reports]
        cells = [f"{number(r.mean.value)}{mark} ({interval(r.mean)})" for r, mark in zip(reports, marks, strict=True)]
        rows.append([name, *cells])
    rows.append(["random actions", *[number(summary.random)] * len(summary.config.report_at)])
    return DataTable(
        caption="Mean return of fresh episodes, and its 95% interval." + (f" {REFERENCE_NOTE}" if marked else ""),
        columns=["strategy", *(f"after {episodes}" for episodes in summary.config.report_at)],
        rows=rows,
    )


def tasks_table(results: Sequence[Results]) -> DataTable:
    """Of `task_returns`: one row a test task."""
    names = drawn_strategies(results[0])
    returns = [final_returns(results, name) for name in names]
    rows = [
        [task.task_id, *map(number, (task.random, task.behaviour, *(values[i] for values in returns)))]
        for i, task in enumerate(results[0].tasks)
    ]
    return DataTable(
        caption="Mean return on each test task.",
        columns=["test task", "random actions", "behaviour policies", *names],
        rows=rows,
    )


def paths_table(trace: Mapping[str, Array], task_index: int) -> DataTable:
    """Of `trajectories`: the place at each step of each episode."""
    paths = [path[:, trace["place"]] for path in episodes_of(trace, task_index)]
    return _by_step("Place (x, y) in metres", trace, paths, lambda place: f"({place[0]:.3g}, {place[1]:.3g})")


def velocities_table(trace: Mapping[str, Array], task_index: int) -> DataTable:
    """Of `velocities`: the velocity at each step of each episode, averaged as the figure draws it."""
    courses = [smooth(path[:, trace["velocity"].item()])[1] for path in episodes_of(trace, task_index)]
    first = len(episodes_of(trace, task_index)[0]) - len(courses[0])
    caption = f"Velocity in m/s, each the mean of {first + 1} steps that begin at the step named"
    return _by_step(caption, trace, courses, lambda speed: f"{speed:.3g}")


def _by_step(
    caption: str, trace: Mapping[str, Array], courses: Sequence[Array], text: Callable[[Array], str]
) -> DataTable:
    """One row a step, one column an episode; long ones in about _MOST_ROWS rows, told in the caption."""
    longest, last = max(map(len, courses)), len(courses) - 1
    every = -(-longest // _MOST_ROWS)
    stages = [_stage(trace, i, last) for i in range(last + 1)]
    rows = [
        [str(step), *(text(course[step]) if step < len(course) else "" for course in courses)]
        for step in range(0, longest, every)
    ]
    thinned = f"; one of {every} steps is here" if every > 1 else ""
    return DataTable(caption=f"{caption}, by adaptation episode{thinned}.", columns=["step", *stages], rows=rows)


def beliefs_table(trace: Mapping[str, Array], task_index: int, params: Mapping[int, TaskParams]) -> DataTable:
    """Of `beliefs`: each point on the two components."""
    project, _ = principal_plane(trace["prior"])
    tried = project(trace["z"][trace["test_tasks"].tolist().index(task_index)])
    last = len(tried) - 1
    rows = [["tried", f"episode {_stage(trace, i, last)}", *_pair(place)] for i, place in enumerate(tried)]
    rows[-1][:2] = ["deployed", "fresh episode"]
    for kind, latents, tasks in (("test task", "offline", "test_tasks"), ("training task", "prior", "prior_tasks")):
        for task, place in zip(trace[tasks].tolist(), project(trace[latents]), strict=True):
            rows.append([f"task {task}", f"{kind} {describe(params[task])}" if task in params else kind, *_pair(place)])
    return DataTable(
        caption=f"Latents tried on task {task_index}, and those of all tasks from their own data.",
        columns=["latent", "of", "component 1", "component 2"],
        rows=rows,
    )


def _stage(trace: Mapping[str, Array], episode: int, last: int) -> str:
    stage = "reference" if episode < trace["reference"].item() else "iterative"
    return "fresh" if episode == last else f"{episode + 1} ({stage})"


def _pair(place: Doubles) -> list[str]:
    return [f"{value:.4g}" for value in place]


def data_table(dataset: Dataset) -> DataTable:
    """Of `dataset_returns`: one row a task and behaviour."""
    rows = []
    for behaviour, of_task in quartiles_of(dataset).items():
        for task in dataset.tasks:
            if task.task_index not in of_task:
                continue
            random = task.reference.random if isinstance(task, TaskRecord) else None
            reference = ["unknown", "unknown"] if random is None else [number(random.mean), number(random.std)]
            cells = map(number, of_task[task.task_index])
            rows.append([task.task_id, task.split, behaviour, *cells, *reference])
    columns = ["task", "split", "behaviour", "lowest", "lower quartile", "median", "upper quartile", "highest"]
    return DataTable(
        caption="Undiscounted returns of the data, and of random actions on the same tasks.",
        columns=[*columns, "random: mean", "random: std"],
        rows=rows,
    )


def training_table(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> DataTable:
    """Of `training_losses`: one row a logged step of a run, about _MOST_ROWS of each run."""
    names = list(dict.fromkeys(name for lines in runs.values() for line in lines for name in line if name != "step"))
    every = max(-(-len(lines) // _MOST_ROWS) for lines in runs.values())
    rows = [
        [f"{run}, step {line['step']:.0f}", *(f"{line[name]:.4g}" if name in line else "" for name in names)]
        for run, lines in runs.items()
        for line in lines[::every]
    ]
    thinned = f" One of {every} logged steps is here." if every > 1 else ""
    return DataTable(caption=f"What was logged.{thinned}", columns=["run", *names], rows=rows)
