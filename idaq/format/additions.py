"""Episodes that belong to a dataset that is there: under its tasks, in its spaces, so that the two can be merged.

from idaq.format.additions import write_episodes

write_episodes("me/push/tuesday-v0", session.episodes, task="robot-7", like=open_stored(training_set))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idaq.core.errors import DatasetError, UsageError
from idaq.core.ids import datasets_root, parse_id
from idaq.core.types import NO_FAMILY, Episode, ShowProgress, show_nothing
from idaq.format.documents import UNKNOWN_ENV, EnvReference, TaskRecord
from idaq.format.importing import (
    Import,
    ImportedEpisode,
    ImportedTask,
    dataset_source,
    state_attribution,
    take_shapes,
    write_source,
)
from idaq.format.reader import StoredDataset, read_space


@dataclass(frozen=True, kw_only=True)
class Written:
    """The dataset that was made of episodes."""

    dataset_id: str
    path: Path
    task: TaskRecord
    episodes: int
    notes: tuple[str, ...]
    """what was cast, assumed or left unknown"""


def write_episodes(
    new_id: str,
    episodes: Sequence[Episode],
    *,
    task: str,
    params: Mapping[str, float | list[float]] | None = None,
    like: StoredDataset | None = None,
    family: str | None = None,
    env: EnvReference | None = None,
    env_spec_json: str | None = None,
    split: str = "train",
    behaviour: str = "unknown",
    description: str | None = None,
    authors: Sequence[str] = (),
    license: str | None = None,
    root: str | Path | None = None,
    show: ShowProgress = show_nothing,
) -> Written:
    """Write episodes of one system as a verified dataset of one task; their `success` and `seed` are kept, if they have
    them.

    Of the dataset `like` it takes family, spaces, environment, authors and licence, as far as they are not given, and
    the record of the task, if it has one of that id; else the task gets an index that `like` does not use. The two can
    then be merged (`idaq dataset merge`). Raises UsageError for no episodes, DatasetError where they do not fit `like`,
    DatasetExistsError if the id is taken, ConfigError for a name that is none.
    """
    parse_id(new_id)
    if not episodes:
        raise UsageError("there are no episodes to write", hint="record one first")
    imported = Import(
        tasks=[
            ImportedTask(
                name=task,
                params=dict(params or {}),
                env=env or UNKNOWN_ENV,
                split=split,
                episodes=[_with_what_is_known(episode, behaviour) for episode in episodes],
            )
        ],
        origin=f"{len(episodes)} episodes of {task}",
        env_spec_json=env_spec_json,
    )
    whose = list(authors), license
    if like is not None:
        make_alike(imported, like)
        recipe, family = like.manifest.recipe, family or like.manifest.family
        whose = whose[0] or recipe.authors, license or recipe.license
    state_attribution(imported, *whose)
    source = dataset_source(imported, new_id, family or NO_FAMILY, description or f"Episodes of {task}.")
    path = write_source(source, len(episodes), datasets_root(root), show)
    return Written(
        dataset_id=new_id, path=path, task=source.tasks[0], episodes=len(episodes), notes=tuple(source.notes)
    )


def make_alike(imported: Import, stored: StoredDataset, fresh: dict[str, int] | None = None) -> None:
    """Make an import one that can be merged into a dataset, in place; what that assumes is noted.

    A task of the id of one in the dataset becomes that one, any other gets a free index, which is put into `fresh`: an
    import that comes later has it too. Spaces and environment that the import does not state become the dataset's.
    Raises DatasetError for a task of other parameters, and for rows of another shape.
    """
    name, metadata, fresh = stored.manifest.dataset_id, stored.metadata, {} if fresh is None else fresh
    for kind in ("observation_space", "action_space"):
        if getattr(imported, kind) is None:
            setattr(imported, kind, read_space(metadata, kind, str(stored.path)))
    take_shapes(imported)
    _check_shapes(imported, stored)
    known = {task.task_id: task for task in stored.tasks}
    free = 1 + max(task.task_index for task in stored.tasks)
    for task in imported.tasks:
        if task.name in known:
            _take_record(task, known[task.name], name)
        else:
            task.index = fresh.setdefault(task.name, free + len(fresh))
    _take_environment(imported, metadata.get("env_spec"), name)
    imported.simulators = dict(stored.manifest.provenance.simulators) | imported.simulators


def _take_environment(imported: Import, spec: str | None, name: str) -> None:
    """The environment of the whole as dataset `name` states it; one that both state may differ, and is left."""
    if imported.env_spec_json is None and spec is not None:
        imported.notes.add(imported.origin, f"states no environment: that of {name} is assumed")
    elif imported.env_spec_json is not None and spec is None:
        said = f"states an environment and {name} none: it stands with the tasks alone"
        imported.notes.add(imported.origin, said)
    else:
        return
    imported.env_spec_json = spec


def _with_what_is_known(episode: Episode, behaviour: str) -> ImportedEpisode:
    """An episode as it was played: those of `idaq.run_episode` state seed and success."""
    success, seed = getattr(episode, "success", None), getattr(episode, "seed", None)
    return ImportedEpisode(episode=episode, behaviour=behaviour, seed=seed, success=success)


def _check_shapes(imported: Import, stored: StoredDataset) -> None:
    there = {column: list(stated.shape) for column, stated in stored.manifest.columns.items()}
    for task in imported.tasks:
        for entry in task.episodes:
            found = {column: list(values.shape[1:]) for column, values in entry.episode.columns.items()}
            if found == there:
                continue
            name = next(column for column in [*there, *found] if there.get(column) != found.get(column))
            ours, theirs = (
                f"rows of shape {rows[name]}" if name in rows else "no such column" for rows in (found, there)
            )
            where = stored.manifest.dataset_id
            raise DatasetError(f"{task.name}: {name}: {ours}, in {where} {theirs}: they are no one dataset")


def _take_record(task: ImportedTask, record: TaskRecord, name: str) -> None:
    """The task as the dataset `name` knows it."""
    if task.params and task.params != record.params:
        raise DatasetError(
            f"task {task.name} has the parameters {task.params}; that of {name} has {record.params or 'unknown ones'}",
            hint="give the task another name",
        )
    task.index, task.params, task.split = record.task_index, dict(record.params), record.split
    task.env, task.reset_options, task.success = record.env, dict(record.reset_options), record.success
    task.random = record.reference.random
