"""Recipe -> dataset. Killed at any moment, the same command goes on where it stopped and ends in the same content."""

import shutil
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from idaq.collect.cells import collect_cell, finished_cells, gained, is_whole, read_shard
from idaq.collect.plan import (
    Cell,
    Plan,
    check_sendable,
    content_of,
    env_reference,
    env_spec_json,
    environment_notes,
    make_plan,
    simulator_versions,
)
from idaq.collect.rollout import EXPERT_ACTION
from idaq.core.disk import explain
from idaq.core.errors import CollectError, ConfigError, DatasetExistsError
from idaq.core.executors import EXECUTORS, Executor, ExecutorName
from idaq.core.ids import datasets_root
from idaq.core.machine import total_memory
from idaq.core.notes import Notes
from idaq.core.types import Advance, ignore_progress, is_observation
from idaq.format.documents import About, References, ReturnStatistics, TaskRecord
from idaq.format.gym_spaces import leaf_spaces
from idaq.format.lock import locked
from idaq.format.reader import open_stored
from idaq.format.recipe import Recipe, attribution_notes
from idaq.format.writer import DatasetSource, EpisodeEntry, write_dataset
from idaq.tasks import Family

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
    root: str | Path | None = None,
    *,
    family: Family | None = None,
    workers: int = 1,
    executor: ExecutorName = "joblib",
    progress: Advance = ignore_progress,
) -> Collected:
    """Collect `recipe` into `<root>/<recipe.id>` with `workers` processes; `progress` counts the recipe's episodes.

    `root` is by default where datasets live: $MINARI_DATASETS_PATH, or Minari's own default.

    The recipe's family is looked up by its name, which may be `package.module:thing`; `family` takes its place, where
    it was built in a script. Raises ConfigError or PluginError for a recipe or family that cannot be used,
    DatasetExistsError if another recipe's dataset has the id, DatasetLockedError while another process writes it,
    CollectError where the disk refuses to be written, a worker is lost or the family's code fails.
    """
    root = datasets_root(root)
    plan = make_plan(recipe, family)
    _check_memory(plan)
    _check_compress(plan)
    if workers > 1 or executor != "joblib":
        check_sendable(plan)
    slug = recipe.id.replace("/", "--")
    with _clear_errors(), locked(root, recipe.id, "collection", _PATIENCE):
        folder = root / ".idaq" / "collect" / f"{slug}-{plan.digest[:12]}"
        if (root / recipe.id).exists():
            existing = _existing(root / recipe.id, recipe)
            shutil.rmtree(folder, ignore_errors=True)  # left by a kill between the dataset's rename and its removal
            return existing
        folder.mkdir(parents=True, exist_ok=True)
        resumed = _collect_cells(plan, folder, EXECUTORS[executor], workers, progress)
        source = _source(plan, folder)
        path = write_dataset(source, root)
        shutil.rmtree(folder)
        manifest = open_stored(path).manifest
    return Collected(
        path=path,
        content_digest=manifest.content_digest,
        cells=len(plan.cells),
        resumed=resumed,
        existed=False,
        unstable=manifest.provenance.unstable,
        notes=(*manifest.provenance.notes, *attribution_notes(recipe)),
    )


def episode_count(recipe: Recipe) -> int:
    """What `progress` counts up to: the episodes that the recipe asks for."""
    return sum(recipe.splits.sizes.values()) * sum(behaviour.episodes for behaviour in recipe.behaviours)


def reference_count(recipe: Recipe) -> int:
    """Episodes of random actions that are only measured, beside `episode_count`."""
    return sum(recipe.splits.sizes.values()) * recipe.reference.random_episodes


def _check_memory(plan: Plan) -> None:
    """Refuse a cell that no memory of this machine holds: its episodes are stepped together, each to the horizon."""
    episodes = max(behaviour.episodes for behaviour in plan.behaviours)
    steps = episodes * plan.family.horizon
    if steps < _HARMLESS_STEPS:
        return
    seen = sum(_row_bytes(space) for space in leaf_spaces(plan.spaces.observations).values())
    needed = steps * (seen + 3 * 8 * _numbers(plan.spaces.actions))  # noise is drawn for every action, twice
    there = total_memory()
    if there is not None and needed > there:
        raise CollectError(
            f"{episodes} episodes of one behaviour on one task take {needed / 1e9:.0f} GB while they are collected; "
            f"this machine has {there / 1e9:.0f} GB",
            hint="fewer episodes a task: --set episodes=1000",
        )


def _check_compress(plan: Plan) -> None:
    """Refuse names of observations that there are not, before anything is collected."""
    known = leaf_spaces(plan.spaces.observations)
    for name in plan.recipe.compress:
        if is_observation(name) and name not in known:
            raise ConfigError(f"compress names the column {name}; the observations are {', '.join(known)}")


def _numbers(space: gym.Space[Any]) -> int:
    return int(np.prod(space.shape or ()))


def _row_bytes(space: gym.Space[Any]) -> int:
    return _numbers(space) * np.dtype(space.dtype).itemsize


def _existing(path: Path, recipe: Recipe) -> Collected:
    stored = open_stored(path)
    if stored.manifest.provenance.operation or content_of(stored.manifest.recipe) != content_of(recipe):
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
        notes=(
            *stored.manifest.provenance.notes,
            *_whose(stored.manifest.recipe, recipe),
            *_compressed(stored.manifest.recipe, recipe),
        ),
    )


def _compressed(here: Recipe, asked: Recipe) -> list[str]:
    if set(here.compress) == set(asked.compress):
        return []
    return [f"{here.id} keeps its own compress = {here.compress}: it is written already, and the recipe asks otherwise"]


def _whose(here: Recipe, asked: Recipe) -> list[str]:
    stated = [(recipe.authors, recipe.license, recipe.citation, recipe.source) for recipe in (here, asked)]
    if stated[0] == stated[1]:
        return attribution_notes(here)
    differing = "authors, licence, citation or source"
    return [f"{here.id} states other {differing} than the recipe; idaq dataset relabel changes them"]


def _collect_cells(plan: Plan, folder: Path, run: Executor, workers: int, progress: Advance) -> int:
    """Collect the cells that are not whole yet; returns how many were."""
    cells, finished = plan.cells, finished_cells(folder)
    assert plan.spaces  # made once, before workers get a copy
    missing = [cell for cell in cells if not is_whole(folder, cell, finished)]
    progress(sum(gained(plan, cell) for cell in set(cells) - set(missing)))
    for count in run(collect_cell, [(plan, cell, folder.absolute()) for cell in missing], workers):
        progress(count)
    return len(cells) - len(missing)


def _source(plan: Plan, folder: Path) -> DatasetSource:
    recipe, tasks = plan.recipe, tuple(_task_record(plan, index, folder) for index in plan.splits)
    return DatasetSource(
        recipe=recipe,
        tasks=tasks,
        entries=_entries(plan, folder),
        observation_space=plan.spaces.observations,
        action_space=plan.spaces.actions,
        env_spec_json=env_spec_json(plan.family),
        about=_about(plan, folder),
        simulators=simulator_versions(plan.family),
        notes=(*environment_notes(plan.family), *_clipped(plan, folder)),
        unstable=len(tasks) * sum(b.episodes for b in recipe.behaviours) - sum(map(_collected, tasks)),
    )


def _about(plan: Plan, folder: Path) -> dict[str, About]:
    """What is said of columns that not every dataset has."""
    first = Cell(task_index=next(iter(plan.splits)), behaviour_index=0)
    meanings = {f"infos/{name}": meaning for name, meaning in plan.family.infos.items()}
    meanings[EXPERT_ACTION] = f"what the controller of {plan.family.name} does in this state, without noise"
    policy = plan.recipe.behaviours[0].policy
    extras = read_shard(folder, first).episodes[0].extras
    return {name: About(meaning=meanings.get(name, f"as the policy {policy} gives it")) for name in extras}


def _collected(task: TaskRecord) -> int:
    """How many episodes of the task the dataset holds."""
    return task.reference.behaviour.n if task.reference.behaviour else 0


def _clipped(plan: Plan, folder: Path) -> Notes:
    """What was clipped of the actions of each policy from outside."""
    notes = Notes()
    for number, behaviour in enumerate(plan.recipe.behaviours):
        if behaviour.kind == "policy":
            shards = [read_shard(folder, Cell(task_index=task, behaviour_index=number)) for task in plan.splits]
            count = sum(shard.clipped for shard in shards)
            notes.add(
                f"behaviour {behaviour.name}", f"actions of {behaviour.policy} clipped to the action space", count
            )
    return notes


def _entries(plan: Plan, folder: Path) -> Iterator[EpisodeEntry]:
    for task in (plan.family.tasks[index] for index in plan.splits):
        for number, behaviour in enumerate(plan.recipe.behaviours):
            shard = read_shard(folder, Cell(task_index=task.task_index, behaviour_index=number))
            facts = (shard.episodes, shard.seeds, shard.successes, shard.histories, shard.policy_steps)
            for episode, seed, success, history, policy_step in zip(*facts, strict=True):
                yield EpisodeEntry(
                    episode=episode,
                    task_index=task.task_index,
                    behaviour=behaviour.name,
                    seed=seed,
                    success=success if task.success is not None else None,
                    history=history,
                    policy_step=policy_step,
                )


def _task_record(plan: Plan, index: int, folder: Path) -> TaskRecord:
    numbers = range(len(plan.behaviours))
    shards = [read_shard(folder, Cell(task_index=index, behaviour_index=number)) for number in numbers]
    returns = [[episode.total_reward for episode in shard.episodes] for shard in shards]
    family = plan.family
    task = {key: value for key, value in asdict(family.tasks[index]).items() if key not in ("split", "success")}
    return TaskRecord(
        **task,
        split=plan.splits[index],
        success=family.tasks[index].success,
        family=plan.recipe.family,
        env=env_reference(family),
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
        explained = explain(error)
        raise CollectError(explained.message, hint=f"{explained.hint}; finished cells are kept") from error
    except BrokenProcessPool as error:
        raise CollectError(f"a worker was lost: {error}", hint=kept) from error
