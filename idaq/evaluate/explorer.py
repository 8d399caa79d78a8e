"""A page to look into a dataset: its tasks, their returns, every episode. One HTML file, no server, no scripts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from idaq.core.files import write_text
from idaq.core.types import Task
from idaq.evaluate.figures import dataset_returns
from idaq.evaluate.page import inline, render
from idaq.evaluate.protocol import number
from idaq.loader import Dataset

_COLUMNS = ("episode", "behaviour", "seed", "steps", "return", "success", "ends")
_ANSWERS = {True: "yes", False: "no", None: "unknown"}


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """One task as the page shows it."""

    name: str
    split: str
    params: str
    mean: str
    success: str
    places: list[str]
    """where each return lies on the page's scale, 0 to 1000"""
    episodes: list[list[str]]


def write_explorer(dataset: Dataset, target: Path) -> None:
    """Write the page of the selected episodes, atomically. Raises DatasetError if none is selected."""
    returns = dataset.episodes.total_reward[dataset.numbers]
    figure = dataset_returns(dataset)
    low, high = float(returns.min()), float(returns.max())
    page = render(
        "explorer.html.jinja",
        dataset_id=dataset.dataset_id,
        facts=_facts(dataset),
        figure=inline(figure, "returns-"),
        low=number(low),
        high=number(high),
        tasks=[_view(dataset, task, low, high) for task in dataset.tasks],
        columns=_COLUMNS,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, page)


def _facts(dataset: Dataset) -> list[tuple[str, str]]:
    steps = int(dataset.episodes.length[dataset.numbers].sum())
    facts = [("tasks, episodes, steps", f"{len(dataset.tasks)}, {len(dataset)}, {steps}")]
    if dataset.manifest is not None:
        recipe, made = dataset.manifest.recipe, dataset.manifest.provenance
        facts += [
            ("description", recipe.description),
            ("family", dataset.manifest.family),
            ("content digest", dataset.manifest.content_digest),
            ("made", f"{made.created}, idaq {made.idaq}" + (f", {made.operation}" if made.operation else "")),
        ]
    return facts


def _view(dataset: Dataset, task: Task, low: float, high: float) -> TaskView:
    table, wide = dataset.episodes, max(high - low, 1e-12)
    mine = dataset.numbers[table.task_index[dataset.numbers] == task.task_index]
    returns = table.total_reward[mine]
    return TaskView(
        name=task.task_id,
        split=task.split,
        params=", ".join(f"{name} {np.round(value, 4).tolist()}" for name, value in task.params.items()),
        mean=number(float(returns.mean())),
        success=table.success_text(mine),
        places=[f"{place:.0f}" for place in 1000 * (returns - low) / wide],
        episodes=[_row(dataset, episode) for episode in mine.tolist()],
    )


def _row(dataset: Dataset, episode: int) -> list[str]:
    table = dataset.episodes
    seed = table.seed_of(episode)
    ends = [name for name in ("terminated", "truncated") if getattr(table, name)[episode]]
    return [
        str(episode),
        str(table.behaviour[episode]),
        "unknown" if seed is None else str(seed),
        str(table.length[episode]),
        number(float(table.total_reward[episode])),
        _ANSWERS[table.solved(episode)],
        ", ".join(ends) or "open",
    ]
