"""A page to look into a dataset: filter, sort and search its episodes, and open one as curves, path and film.

One HTML file: no server, nothing fetched. Its script is that of `pages/`; a Content-Security-Policy lets no other run.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from idaq.core.errors import DatasetError, IdaqError
from idaq.core.files import write_text
from idaq.core.types import ShowProgress, Task, show_nothing
from idaq.evaluate.curves import MOST_ROWS, Kept, cast, in_turn, packed, per_task, stride, widths, within_budget
from idaq.evaluate.page import data_block, render, source, source_hash
from idaq.format.documents import TaskRecord
from idaq.loader import Dataset
from idaq.tasks import Family, find_family

_SCRIPTS = ("data.js", "elements.js", "charts.js", "filters.js", "tables.js", "episode.js", "explorer.js")
_STYLES = ("page.css", "explorer.css")
_NAMED = 3
"""films that failed, told one by one"""


@dataclass(frozen=True, kw_only=True)
class Explored:
    """What a page holds."""

    path: Path
    episodes: int
    curves: int
    """episodes that can be opened as curves"""
    films: int
    notes: list[str]
    """what was left out, cast or thinned, as the page says it too"""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """The dataset's family, where it is known here, and what its figures take from observations."""

    family: Family | None
    place: tuple[int, int] | None = None
    velocity: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def needed(self) -> list[int]:
        return [*(self.place or ()), *([] if self.velocity is None else [self.velocity])]


def write_explorer(
    dataset: Dataset,
    target: Path,
    *,
    episodes: Literal["auto", "all"] | int = "auto",
    films: int = 0,
    allow: Collection[str] = (),
    show: ShowProgress = show_nothing,
) -> Explored:
    """Write the page of the selected episodes, atomically.

    All are listed. `episodes` says which can be opened as curves: as many as keep the page near 15 MB, all, or so many
    a task. `films` episodes are played again and filmed. A family that the dataset names as `package.module:thing` is
    imported only if it is in `allow`. Raises DatasetError if no episode is selected.
    """
    if not len(dataset):
        raise DatasetError(f"no episode of {dataset.dataset_id} is selected", hint="loosen select(...)")
    known = _known(dataset, allow)
    kept, order = Kept.of(dataset, known.needed), in_turn(dataset)
    drawn = sorted({*_drawn(dataset, order, episodes, kept), *order[:films]})
    curves = {}
    with show("packing", len(drawn), "episodes") as advance:
        for number in drawn:
            curves[number] = packed(dataset.store.episode(number), kept)
            advance(1)
    filmed, untold = _films(dataset, known.family, order[:films], show)
    notes = [*_counted(dataset, drawn, kept), *known.notes, *untold]
    style, script = source(*_STYLES), source(*_SCRIPTS)
    page = render(
        "explorer.html.jinja",
        dataset_id=dataset.dataset_id,
        description=dataset.manifest.recipe.description if dataset.manifest else "",
        facts=_facts(dataset),
        notes=notes,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {source_hash(style)}; script-src {source_hash(script)}; img-src data:;"
        " base-uri 'none'; form-action 'none'",
        index=data_block(_index(dataset, known, kept, filmed)),
        curves=curves,
        films={number: film.picture for number, film in filmed.items()},
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, page)
    return Explored(path=target, episodes=len(dataset), curves=len(curves), films=len(filmed), notes=notes)


def _known(dataset: Dataset, allow: Collection[str]) -> _Known:
    if dataset.manifest is None:
        return _Known(family=None, notes=("No family is stated: no path, velocity or film is drawn.",))
    name = dataset.manifest.family
    try:
        family = find_family(name, allow)
    except IdaqError as error:
        hint = f" ({error.hint})" if error.hint else ""
        told = f"No path, velocity or film is drawn: {error.message}{hint}."
        return _Known(family=None, notes=(told,))
    size = widths(dataset)[0]
    place = family.place if family.place and max(family.place) < size else None
    velocity = family.velocity if family.velocity is not None and family.velocity < size else None
    lost = (place, velocity) != (family.place, family.velocity)
    notes = (f"Observations of {size} numbers are not those of {name}: no path or velocity is drawn.",) if lost else ()
    return _Known(family=family, place=place, velocity=velocity, notes=notes)


def _drawn(dataset: Dataset, order: Sequence[int], episodes: Literal["auto", "all"] | int, kept: Kept) -> list[int]:
    if episodes == "auto":
        return within_budget(dataset, order, kept)
    return list(order) if episodes == "all" else per_task(dataset, order, episodes)


def _films(
    dataset: Dataset, family: Family | None, numbers: Iterable[int], show: ShowProgress
) -> tuple[dict[int, Any], list[str]]:
    """Films by episode, and what is to be told of those that failed."""
    numbers, made, failed = list(numbers), {}, []
    if family is None or not numbers:
        return {}, []
    from idaq.evaluate.replay import replay

    with show("filming", len(numbers), "episodes") as advance:
        for number in numbers:
            task = int(dataset.episodes.task_index[number])
            try:
                seed = dataset.episodes.seed_of(number)
                made[number] = replay(family, task, dataset.store.episode(number), seed)
            except IdaqError as error:
                failed.append(f"Episode {number} is not filmed: {error.message}.")
            advance(1)
    more = [f"{len(failed) - _NAMED} more episodes are not filmed."] if len(failed) > _NAMED else []
    return made, [*failed[:_NAMED], *more]


def _counted(dataset: Dataset, drawn: Sequence[int], kept: Kept) -> list[str]:
    """What is left out of the curves, or changed in them, in words."""
    table, notes = dataset.episodes, []
    if len(drawn) < len(dataset):
        of_task = np.unique(table.task_index[drawn], return_counts=True)[1]
        each = f"{of_task.min()}" if of_task.min() == of_task.max() else f"{of_task.min()} to {of_task.max()}"
        tasks = "each task" if len(of_task) == len(dataset.tasks) else f"{len(of_task)} of {len(dataset.tasks)} tasks"
        notes.append(
            f"{len(drawn)} of {len(dataset)} episodes have curves: {each} of {tasks}, spread over its returns."
            f" All of them: idaq dataset explore {dataset.dataset_id} --episodes all"
        )
    if wide := cast(dataset):
        notes.append(f"Curves are float32, 7 digits of what the dataset holds of {', '.join(wide)}.")
    chosen_of = {"observation": kept.observations, "action": kept.actions}
    for (name, chosen), size in zip(chosen_of.items(), widths(dataset), strict=True):
        if len(chosen) < size:
            notes.append(f"{len(chosen)} of the {size} numbers of each {name} are here.")
    long = int((table.length[drawn] > MOST_ROWS).sum())
    if long:
        every = stride(int(table.length[drawn].max()))
        notes.append(
            f"{long} episodes are longer than {MOST_ROWS} steps: curves take up to every {every}th step of them."
        )
    return notes


def _facts(dataset: Dataset) -> list[tuple[str, str]]:
    steps = int(dataset.episodes.length[dataset.numbers].sum())
    facts = [("tasks, episodes, steps", f"{len(dataset.tasks)}, {len(dataset)}, {steps}")]
    if dataset.manifest is not None:
        recipe, made = dataset.manifest.recipe, dataset.manifest.provenance
        facts += [
            ("family", dataset.manifest.family),
            ("content digest", dataset.manifest.content_digest),
            ("made", f"{made.created}, idaq {made.idaq}" + (f", {made.operation}" if made.operation else "")),
            ("behaviours", ", ".join(f"{b.name} ({b.kind})" for b in recipe.behaviours)),
            ("licence", recipe.license or "unknown"),
            ("authors", ", ".join(recipe.authors) or "unknown"),
        ]
    return facts


def _index(dataset: Dataset, known: _Known, kept: Kept, films: dict[int, Any]) -> dict[str, Any]:
    """What the page's script reads first: tasks, one entry an episode, and how curves are packed."""
    table, numbers = dataset.episodes, dataset.numbers
    behaviours, behaviour = np.unique(table.behaviour[numbers], return_inverse=True)
    position = {task.task_index: i for i, task in enumerate(dataset.tasks)}
    every = [stride(length) for length in table.length[numbers].tolist()]
    return {
        "tasks": [_task(task) for task in dataset.tasks],
        "behaviours": behaviours.tolist(),
        "episodes": {
            "number": numbers.tolist(),
            "task": [position[index] for index in table.task_index[numbers].tolist()],
            "behaviour": behaviour.tolist(),
            "seed": [None if (seed := table.seed_of(n)) is None else str(seed) for n in numbers.tolist()],
            "length": table.length[numbers].tolist(),
            "return": [table.return_of(n) for n in numbers.tolist()],
            "history": [table.history_of(n) for n in numbers.tolist()],
            "policyStep": [table.policy_step_of(n) for n in numbers.tolist()],
            "success": [table.solved(n) for n in numbers.tolist()],
            "ends": [_ends(dataset, n) for n in numbers.tolist()],
            "stride": every,
        },
        "observations": kept.observations,
        "actions": kept.actions,
        "place": None if known.place is None else [kept.observations.index(i) for i in known.place],
        "velocity": None if known.velocity is None else kept.observations.index(known.velocity),
        "picture": known.family.picture if known.family else "",
        "films": {str(number): film.steps for number, film in films.items()},
    }


def _task(task: Task) -> dict[str, Any]:
    reference = task.reference if isinstance(task, TaskRecord) else None
    radius = task.success.threshold if task.success is not None and task.success.unit == "m" else None
    return {
        "id": task.task_id,
        "index": task.task_index,
        "split": task.split,
        "params": task.params,
        "radius": radius,
        "random": reference.random.mean if reference and reference.random else None,
        "behaviour": reference.behaviour.mean if reference and reference.behaviour else None,
    }


def _ends(dataset: Dataset, number: int) -> str:
    table = dataset.episodes
    return ", ".join(n for n in ("terminated", "truncated") if getattr(table, n)[number]) or "open"
