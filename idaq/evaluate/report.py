"""One self-contained HTML file that says what was measured, how to read it, and how to make it again."""

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from idaq.core.config import to_mapping
from idaq.core.errors import CorruptDatasetError, IdaqError, RunError
from idaq.core.files import write_text
from idaq.core.metrics import read_metrics
from idaq.core.reading import read_document
from idaq.core.types import Array, Task
from idaq.evaluate.commands import collect_command, leaves
from idaq.evaluate.data_tables import (
    DataTable,
    beliefs_table,
    curves_table,
    data_table,
    paths_table,
    tasks_table,
    training_table,
    velocities_table,
)
from idaq.evaluate.figures import adaptation_curves, dataset_returns, task_returns, training_losses
from idaq.evaluate.page import render, source
from idaq.evaluate.protocol import Summary, number, one_run_note, summary_columns, summary_notes, summary_rows, verdict
from idaq.evaluate.runs import Run, load_runs, summarise_runs
from idaq.evaluate.style import inline
from idaq.evaluate.trace_figures import beliefs, trajectories, velocities
from idaq.evaluate.video import STILLS_FILE, scene_titles
from idaq.loader import Dataset
from idaq.tasks import find_family

Trace = Mapping[str, Array]
_OFFLINE_SHOWN = 10
_NUMBERS = ("observations", "returns", "z", "offline", "prior")
_PATHS_TITLE, _BELIEFS_TITLE = "Episodes on one new task", "What the encoder believes about tasks"
_CURVES = """Each point is the mean return of fresh episodes after a budget of so many adaptation episodes on a task
never seen in training; nothing is learned from fresh episodes. {budgets} The band (headline strategy) and the upright
bars (others) are 95% intervals: runs and tasks are drawn again with replacement, and 95% of the means so found lie
within. They span differences between tasks too: that two of them overlap does not say that two strategies are alike. To
compare with best-of-prior take the paired difference in the table. Grey: budgets in which a searching strategy has
nothing but its reference stage, and does what best-of-prior does. Dashed: offline-context, which is given the task's
offline data: a reference, not a bound. Dotted: random actions."""
_EACH_BUDGET = "Every budget is planned and run on its own: a line joins separate runs."
_TASKS = """Each marker is the mean return of a strategy's last fresh episodes on one test task, over training runs and
adaptation seeds; variants of idaq are left out. A grey bar reaches from what random actions get on that task, one end,
to what its own behaviour policies get, the other: a marker beyond that end does better than the data."""
_FILMED = """The test task of median final return{which}: first an episode of the reference stage, then the first of the
iterative stage, then the fresh episode with the latent that was deployed. Each row is one episode in four moments, from
its start at the left to its end at the right."""
_PATHS = """The test task of median final return ({whose}). Thin grey: the reference stage tries latents far apart.
Coloured, dark first: the iterative stage draws from the belief given the most in-distribution episodes. The thick
line beneath is the fresh episode with the latent that was deployed."""
_VELOCITIES = """The test task of median final return ({whose}). Thin grey: the reference stage tries latents far apart.
Coloured, dark first: the iterative stage. Thick: the fresh episode with the latent that was deployed. Dashed: the
velocity that the task pays for, which the agent is not told."""
_BELIEFS = """Latents of all tasks from their offline data, on the first two principal components of the training
tasks'. Numbers are the latents tried on the same task ({whose}), in order: left the reference stage; right, nearer,
the iterative stage, if there was one. A good encoder orders tasks as their colours are ordered; a good adaptation ends
at the ring."""
_NO_TRACE = "There is no usable trace of the run's adaptation."
_NO_PARAMS = " Training tasks are grey: their parameters are in the dataset, which is not at hand."
_DATA = """Undiscounted returns of the dataset's episodes, one column a task. Thin line: from the lowest to the highest
return; thick line: the middle half, from the lower to the upper quartile; circle: the median, half of the episodes lie
above it. Below, on a scale of its own, random actions on the same tasks: the dot is the mean, the line reaches one
standard deviation to either side."""
_LOSSES = """Every logged quantity against training steps, as its learner names it; one line a training run. Vertical
axes are logarithmic where a positive quantity changes by more than a factor of 20."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A figure with its caption, or what is missing and the command that makes it."""

    title: str
    caption: str = ""
    figure: Figure | None = None
    table: DataTable | None = None
    """the numbers of the figure"""
    picture: str = ""
    """a data: URL, in place of a figure"""
    legend: Sequence[str] = ()
    """what the picture shows, in words"""
    missing: str = ""
    command: str = ""


def write_report(runs: Sequence[Path], dataset: Dataset | None, out: Path) -> Path:
    """Write the report on one or several runs to `out`, atomically; returns `out`.

    A missing dataset, trace or log leaves a note and the command that makes it. Raises RunError for runs without
    results, for runs that do not belong together, and for a dataset with other content than theirs.
    """
    loaded = load_runs(runs)
    recipe = dataset.manifest.recipe if dataset is not None and dataset.manifest else None
    summary = summarise_runs(loaded, recipe)
    _check_same_data(summary, dataset)
    panels = [
        _curves(summary),
        _tasks(loaded),
        *_stills(loaded, dataset),
        *_trace_panels(loaded[0], dataset),
        _data(summary, dataset),
        _training(loaded, summary),
    ]
    page = render(
        "report.html.jinja",
        style=source("page.css"),
        summary=summary,
        random=number(summary.random),
        behaviour=number(summary.behaviour),
        verdict=verdict(summary),
        columns=summary_columns(summary),
        rows=summary_rows(summary),
        notes=summary_notes(summary),
        panels=[(panel, inline(panel.figure, f"f{i}-")) for i, panel in enumerate(panels)],
        data=_data_facts(summary, dataset),
        settings=list(leaves({"train": loaded[0].record.config, "adapt": _adapt_settings(summary)})),
        versions=loaded[0].record.versions,
        created=loaded[0].record.created,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    return out


def _adapt_settings(summary: Summary) -> dict[str, Any]:
    """The protocol, and the settings of each strategy below its name."""
    return {**to_mapping(summary.config), **summary.settings}


def _check_same_data(summary: Summary, dataset: Dataset | None) -> None:
    manifest = dataset.manifest if dataset else None
    if dataset and (manifest is None or manifest.content_digest != summary.content_digest):
        raise RunError(
            f"the runs are on {summary.dataset_id} with content {summary.content_digest[:12]}; the dataset given,"
            f" {dataset.dataset_id}, holds other content",
            hint="give the dataset that the runs were trained on, or none",
        )


def _curves(summary: Summary) -> Panel:
    return Panel(
        title="Return against online episodes",
        caption=_CURVES.format(budgets=_EACH_BUDGET if summary.each_budget else one_run_note(summary.config)),
        figure=adaptation_curves(summary),
        table=curves_table(summary),
    )


def _tasks(runs: Sequence[Run]) -> Panel:
    results = [run.results for run in runs]
    figure = task_returns(results)
    return Panel(title="Return task by task", caption=_TASKS, figure=figure, table=tasks_table(results))


def _stills(runs: Sequence[Run], dataset: Dataset | None) -> list[Panel]:
    """The pictures of the first run that was filmed, if one was."""
    filmed = [run for run in runs if (run.path / STILLS_FILE).is_file()]
    content = read_document(filmed[0].path / STILLS_FILE) if filmed else b""
    if not content.startswith(b"\x89PNG"):  # whatever else the file is, or links to, is not handed on in a report
        return []
    picture = "data:image/png;base64," + base64.b64encode(content).decode()
    trace, which, rows = read_whole_trace(filmed[0]), "", []
    if trace is not None:
        task = median_task(trace)
        which = f", task {task}, training seed {filmed[0].record.seed}, adaptation seed 0"
        rows = [f"Row {i}: {title}" for i, title in enumerate(scene_titles(trace, task).values(), 1)]
    legend = [*rows, *_picture_legend(dataset)]
    caption = _FILMED.format(which=which)
    return [Panel(title="One adaptation, filmed", caption=caption, picture=picture, legend=legend)]


def _picture_legend(dataset: Dataset | None) -> list[str]:
    """What the shapes and colours are, by the family's word, where it is known here."""
    if dataset is None or dataset.manifest is None:
        return []
    try:
        return [text] if (text := find_family(dataset.manifest.family).picture) else []
    except IdaqError:
        return []


def _trace_panels(run: Run, dataset: Dataset | None) -> list[Panel]:
    """Trajectories and beliefs on one test task; a family that a figure does not suit goes without."""
    trace = read_whole_trace(run)
    if trace is None:
        command = shlex.join(["idaq", "adapt", str(run.path)])
        return [Panel(title=title, missing=_NO_TRACE, command=command) for title in (_PATHS_TITLE, _BELIEFS_TITLE)]
    tasks: dict[int, Task] = {task.task_index: task for task in dataset.all_tasks} if dataset else {}
    params = {t.task_index: t.params for t in run.results.tasks} | {i: t.params for i, t in tasks.items()}
    chosen = median_task(trace)
    paths = trajectories(
        trace,
        chosen,
        params=params[chosen],
        success=tasks[chosen].success if chosen in tasks else None,
        offline=_best_offline(dataset, chosen) if dataset else (),
    )
    whose = f"training seed {run.record.seed}, adaptation seed 0, strategy idaq"
    panels = [
        Panel(
            title=_PATHS_TITLE,
            caption=_PATHS.format(whose=whose),
            figure=paths,
            table=paths_table(trace, chosen) if paths else None,
        ),
        Panel(
            title="Velocity on one new task",
            caption=_VELOCITIES.format(whose=whose),
            figure=velocities(trace, chosen, params[chosen]),
            table=velocities_table(trace, chosen) if "velocity" in trace else None,
        ),
        Panel(
            title=_BELIEFS_TITLE,
            caption=_BELIEFS.format(whose=whose) + ("" if dataset else _NO_PARAMS),
            figure=(figure := beliefs(trace, chosen, params)),
            table=beliefs_table(trace, chosen, params) if figure else None,
        ),
    ]
    return [panel for panel in panels if panel.figure is not None]


def read_whole_trace(run: Run) -> Trace | None:
    """trace.safetensors if it is there, whole, finite, and of this run's test tasks."""
    from idaq.adapt.trace import read_trace  # imports torch, which nothing else here needs

    try:
        trace = read_trace(run.path)
        tests, config = [task.task_index for task in run.results.tasks], run.results.config
        whole = (
            {trace[name].shape[:2] for name in ("observations", "returns", "z", "valid")}
            == {(len(tests), config.episodes + 1)}
            and trace["test_tasks"].tolist() == tests
            and trace.get("offline", trace["test_tasks"]).shape[:1] == trace["test_tasks"].shape
            and trace["prior"].shape[:1] == trace["prior_tasks"].shape
            and trace["reference"].size == 1
            and all(np.isfinite(trace[name]).all() for name in _NUMBERS if name in trace)
        )
    except (RunError, KeyError):
        return None
    return trace if whole else None


def median_task(trace: Trace) -> int:
    """Index of the test task whose fresh episode is the median one."""
    order = np.argsort(trace["returns"][:, -1], kind="stable")
    return int(trace["test_tasks"][order[len(order) // 2]])


def _best_offline(dataset: Dataset, task: int) -> list[Array]:
    own = dataset.select(tasks=[task])
    order = np.argsort(own.episodes.total_reward[own.numbers])[-_OFFLINE_SHOWN:]
    return [own.episode(int(position)).observations for position in order]


def _data(summary: Summary, dataset: Dataset | None) -> Panel:
    title = "The data"
    if dataset is None:
        missing = f"The dataset {summary.dataset_id} is not at hand."
        return Panel(title=title, missing=missing, command=collect_command(summary.dataset_id, None))
    return Panel(title=title, caption=_DATA, figure=dataset_returns(dataset), table=data_table(dataset))


def _training(runs: Sequence[Run], summary: Summary) -> Panel:
    title = "Training"
    try:
        lines = {f"seed {run.record.seed}": read_metrics(run.path) for run in runs}
        figure = training_losses(lines)
        table = training_table(lines) if figure else None
    except (CorruptDatasetError, ValueError, TypeError, KeyError, AttributeError):
        figure = table = None
    if figure is None:
        commands = [command for command in summary.measured.commands if command.startswith("idaq train")]
        missing = "There is no usable training log (metrics.jsonl)."
        return Panel(title=title, missing=missing, command="\n".join(commands))
    return Panel(title=title, caption=_LOSSES, figure=figure, table=table)


def _data_facts(summary: Summary, dataset: Dataset | None) -> list[tuple[str, str]]:
    facts = [
        ("dataset", summary.dataset_id),
        ("content digest", summary.content_digest),
        ("test tasks", str(summary.measured.tasks)),
        ("mean return, random actions", number(summary.random)),
        ("mean return, behaviour policies", number(summary.behaviour)),
    ]
    if dataset is None or dataset.manifest is None:
        return facts
    manifest = dataset.manifest
    splits = ", ".join(f"{len(tasks)} {name}" for name, tasks in manifest.splits.items())
    behaviours = "; ".join(
        f"{b.name}: {b.kind}, {b.quality}, noise {b.noise:g}, random share {b.random_share:g}, {b.episodes} a task"
        for b in manifest.recipe.behaviours
    )
    return [
        *facts,
        ("description", manifest.recipe.description),
        ("family", manifest.family),
        ("tasks", splits),
        ("episodes", f"{manifest.counts.episodes} ({manifest.counts.steps} steps)"),
        ("behaviour policies", behaviours),
        ("recipe", f"seed {manifest.recipe.seed}, digest {manifest.recipe_digest}"),
    ]
