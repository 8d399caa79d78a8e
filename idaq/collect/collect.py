"""Recipe -> dataset. Killed at any moment, the same command goes on where it stopped and ends in the same content."""

import shutil
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import numpy as np

from idaq.collect.cells import Cell, behaviours_of, collect_cell, finished_cells, is_whole, read_shard
from idaq.collect.executors import EXECUTORS, Executor, ExecutorName
from idaq.core.config import to_mapping
from idaq.core.digest import value_digest
from idaq.core.disk import explain
from idaq.core.errors import CollectError, ConfigError, DatasetExistsError
from idaq.core.machine import total_memory
from idaq.core.seeds import generator
from idaq.core.types import Advance, ignore_progress
from idaq.format.card import dataset_card
from idaq.format.documents import EnvReference, References, ReturnStatistics, TaskRecord
from idaq.format.lock import locked
from idaq.format.reader import open_stored
from idaq.format.recipe import Recipe, whose_notes
from idaq.format.writer import DatasetSource, EpisodeEntry, write_dataset
from idaq.tasks import Family, get_family

_NO_CONTENT = ("authors", "license", "train", "adapt")
_HARMLESS_STEPS = 10_000_000
_PATIENCE = 0.5
"""seconds: a collection goes on for long, so a second one is refused rather than kept waiting"""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a collection came to."""

    path: Path
    content_digest: str
    cells: int
    resumed: int
    """cells that an earlier, interrupted run had finished"""
    existed: bool
    """the dataset was already there, whole, from the same recipe"""
    unstable: int = 0
    """episodes left out because the simulation became unstable"""
    notes: tuple[str, ...] = ()
    """what a user should know of it: authors or a licence that are unknown, or others than the recipe's"""


def collect(
    recipe: Recipe,
    root: Path,
    *,
    workers: int = 1,
    executor: ExecutorName = "joblib",
    progress: Advance = ignore_progress,
) -> Collected:
    """Collect `recipe` into `<root>/<recipe.id>` with `workers` processes; `progress` counts episodes.

    Raises DatasetExistsError if another recipe's dataset has the id, DatasetLockedError while another process writes
    it, CollectError where the disk refuses to be written or a worker is lost.
    """
    family, tasks = _tasks_of(recipe)
    _check_memory(recipe, family)
    digest = _digest(recipe, family)
    slug = recipe.id.replace("/", "--")
    with _clear_errors(), locked(root, recipe.id, "collection", _PATIENCE):
        folder = root / ".idaq" / "collect" / f"{slug}-{digest[:12]}"
        if (root / recipe.id).exists():
            existing = _existing(root / recipe.id, recipe)
            shutil.rmtree(folder, ignore_errors=True)  # left by a kill between the dataset's rename and its removal
            return existing
        folder.mkdir(parents=True, exist_ok=True)
        cells = [Cell(task_index=t, behaviour_index=b) for t in tasks for b in range(len(behaviours_of(recipe)))]
        resumed = _collect_cells(recipe, cells, folder, EXECUTORS[executor], workers, progress)
        source = _source(recipe, family, tasks, folder)
        path = write_dataset(source, root, dataset_card(recipe, source.tasks), progress)
        shutil.rmtree(folder)
        manifest = open_stored(path).manifest
    return Collected(
        path=path,
        content_digest=manifest.content_digest,
        cells=len(cells),
        resumed=resumed,
        existed=False,
        unstable=manifest.provenance.unstable,
        notes=tuple(whose_notes(recipe)),
    )


def assign_splits(recipe: Recipe, family: Family) -> dict[int, str]:
    """Task index -> split, in index order: the first tasks of a seeded permutation for the first split, and so on."""
    sizes = recipe.splits.sizes
    if not 0 < sum(sizes.values()) <= len(family.tasks):
        raise ConfigError(f"splits {sizes} ask for {sum(sizes.values())} tasks; {family.name} has {len(family.tasks)}")
    order = generator(recipe.splits.seed).permutation(len(family.tasks)).tolist()
    names = [name for name, size in sizes.items() for _ in range(size)]
    return dict(sorted(zip(order, names, strict=False)))


def episode_count(recipe: Recipe) -> int:
    """What `progress` counts up to: episodes rolled out, random reference included, and episodes written."""
    per_task = sum(b.episodes for b in behaviours_of(recipe)) + sum(b.episodes for b in recipe.behaviours)
    return sum(recipe.splits.sizes.values()) * per_task


def _tasks_of(recipe: Recipe) -> tuple[Family, dict[int, str]]:
    family = get_family(recipe.family)
    return family, assign_splits(recipe, family)


def _check_memory(recipe: Recipe, family: Family) -> None:
    """Refuse a cell that no memory of this machine holds: its episodes are stepped together, each to the horizon."""
    episodes = max(behaviour.episodes for behaviour in behaviours_of(recipe))
    if episodes * family.horizon < _HARMLESS_STEPS:
        return
    env = family.make()
    numbers = [int(np.prod(space.shape or ())) for space in (env.observation_space, env.action_space)]
    env.close()
    needed = episodes * family.horizon * 8 * (numbers[0] + 2 * numbers[1])  # noise is drawn for every action, twice
    there = total_memory()
    if there is not None and needed > there:
        raise CollectError(
            f"{episodes} episodes of one behaviour on one task take {needed / 1e9:.0f} GB while they are collected; "
            f"this machine has {there / 1e9:.0f} GB",
            hint="fewer episodes a task: --set episodes=1000",
        )


def _content(recipe: Recipe) -> dict[str, object]:
    """What determines the data; the rest says whose it is and how best to learn from it."""
    return {key: value for key, value in to_mapping(recipe).items() if key not in _NO_CONTENT}


def _digest(recipe: Recipe, family: Family) -> str:
    """Of the recipe and the tasks as installed here: what one version of a simulator began, another does not finish."""
    return value_digest([_content(recipe), [dict(task.params) for task in family.tasks]])


def _existing(path: Path, recipe: Recipe) -> Collected:
    stored = open_stored(path)
    if stored.manifest.provenance.operation or _content(stored.manifest.recipe) != _content(recipe):
        raise DatasetExistsError(
            f"{path} exists already and was collected from another recipe",
            hint="collect under another id: --set id=idaq/.../name-v1, or remove that folder",
        )
    return Collected(
        path=path,
        content_digest=stored.manifest.content_digest,
        cells=0,
        resumed=0,
        existed=True,
        unstable=stored.manifest.provenance.unstable,
        notes=tuple(_whose(stored.manifest.recipe, recipe)),
    )


def _whose(here: Recipe, asked: Recipe) -> list[str]:
    if (here.authors, here.license) == (asked.authors, asked.license):
        return whose_notes(here)
    return [f"{here.id} states other authors or another licence than the recipe; idaq dataset relabel changes them"]


def _collect_cells(
    recipe: Recipe, cells: list[Cell], folder: Path, run: Executor, workers: int, progress: Advance
) -> int:
    """Collect the cells that are not whole yet; returns how many were."""
    finished = finished_cells(folder)
    missing = [cell for cell in cells if not is_whole(folder, cell, finished)]
    episodes = [behaviour.episodes for behaviour in behaviours_of(recipe)]
    progress(sum(episodes[cell.behaviour_index] for cell in set(cells) - set(missing)))
    for count in run(collect_cell, [(recipe, cell, folder.absolute()) for cell in missing], workers):
        progress(count)
    return len(cells) - len(missing)


def _source(recipe: Recipe, family: Family, splits: dict[int, str], folder: Path) -> DatasetSource:
    env = family.make()
    tasks = tuple(_task_record(recipe, family, index, split, folder) for index, split in splits.items())
    source = DatasetSource(
        recipe=recipe,
        tasks=tasks,
        entries=_entries(recipe, family, splits, folder),
        observation_space=env.observation_space,
        action_space=env.action_space,
        env_spec_json=family.env_spec.to_json(),
        simulators={name: version(name) for name in family.simulators},
        unstable=len(tasks) * sum(b.episodes for b in recipe.behaviours) - sum(t.reference.behaviour.n for t in tasks),
    )
    env.close()
    return source


def _entries(recipe: Recipe, family: Family, splits: dict[int, str], folder: Path) -> Iterator[EpisodeEntry]:
    is_defined = [task.success is not None for task in family.tasks]
    for task_index in splits:
        for behaviour_index, behaviour in enumerate(recipe.behaviours):
            shard = read_shard(folder, Cell(task_index=task_index, behaviour_index=behaviour_index))
            for episode, seed, success in zip(shard.episodes, shard.seeds, shard.successes, strict=True):
                yield EpisodeEntry(
                    episode=episode,
                    task_index=task_index,
                    behaviour=behaviour.name,
                    seed=seed,
                    success=success if is_defined[task_index] else None,
                )


def _task_record(recipe: Recipe, family: Family, index: int, split: str, folder: Path) -> TaskRecord:
    shards = [read_shard(folder, Cell(task_index=index, behaviour_index=b)) for b in range(len(recipe.behaviours) + 1)]
    returns = [[episode.total_reward for episode in shard.episodes] for shard in shards]
    spec = family.env_spec
    task = {key: value for key, value in asdict(family.tasks[index]).items() if key not in ("split", "success")}
    return TaskRecord(
        **task,
        split=split,
        success=family.tasks[index].success,
        env=EnvReference(
            id=spec.id,
            entry_point=str(spec.entry_point),
            kwargs=dict(spec.kwargs),
            max_episode_steps=spec.max_episode_steps,
        ),
        reset_options={"task": index},
        reference=References(
            random=_statistics(returns[-1], "uniform random actions, measured at collection; not in the dataset"),
            behaviour=_statistics(
                list(chain(*returns[:-1])), "the dataset's own episodes of this task, all behaviours"
            ),
        ),
    )


def _statistics(returns: list[float], how: str) -> ReturnStatistics:
    return ReturnStatistics(mean=float(np.mean(returns)), std=float(np.std(returns)), n=len(returns), how=how)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Say plainly what a full disk or a lost worker means for what is already collected."""
    kept = "finished cells are kept: run the same command again to go on"
    try:
        yield
    except OSError as error:
        told = explain(error)
        raise CollectError(told.message, hint=f"{told.hint}; finished cells are kept") from error
    except BrokenProcessPool as error:
        raise CollectError(f"a worker was lost: {error}", hint=kept) from error
