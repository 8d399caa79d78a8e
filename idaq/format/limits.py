"""What a dataset is not good for, as far as its own documents know: its card and its Croissant file say it."""

from collections.abc import Iterator

import numpy as np

from idaq.format.reader import StoredDataset


def limits(stored: StoredDataset) -> list[str]:
    """One sentence for each thing that is unknown or missing, with counts; empty where nothing is."""
    return [*_of_tasks(stored), *_of_episodes(stored), *_of_columns(stored), *_of_collection(stored)]


def biases(stored: StoredDataset) -> list[str]:
    """What decides which states and actions there are, and whether some tasks have more episodes than others."""
    names = ", ".join(f"`{behaviour.name}`" for behaviour in stored.manifest.recipe.behaviours)
    found = [f"States and actions are those that the behaviour policies ({names}) came to, and no others."]
    _, each = np.unique(stored.episodes.task_index, return_counts=True)
    if len(each) and each.min() < each.max():
        found.append(f"Tasks have from {each.min()} to {each.max()} episodes: means over episodes weigh them so.")
    return found


def _of_tasks(stored: StoredDataset) -> Iterator[str]:
    tasks, all_of_them = stored.tasks, len(stored.tasks)
    if missing := sum(task.env.id == "unknown" for task in tasks):
        yield f"The environment of {missing} of {all_of_them} tasks is unknown: no agent can be run or judged there."
    if missing := sum(task.reference.random is None for task in tasks):
        yield (
            f"The return of random actions was not measured for {missing} of {all_of_them} tasks: "
            "scores cannot be normalised there."
        )
    if missing := sum(not task.params for task in tasks):
        yield f"What distinguishes {missing} of {all_of_them} tasks is unknown: they state no parameters."
    splits = [name for name, members in stored.manifest.splits.items() if members]
    if len(splits) == 1:
        yield f"All tasks are in the split `{splits[0]}`: none is held out."


def _of_episodes(stored: StoredDataset) -> Iterator[str]:
    table, all_of_them = stored.episodes, len(stored.episodes)
    if missing := int((~table.success_known).sum()):
        yield f"Success is unknown of {missing} of {all_of_them} episodes: rates of success leave them out."
    if missing := int((~table.seed_known).sum()):
        yield f"The seed of {missing} of {all_of_them} episodes is unknown: they cannot be played again."


def _of_columns(stored: StoredDataset) -> Iterator[str]:
    for name, column in stored.manifest.columns.items():
        if not column.known:
            yield f"The values of `{name}` are unknown and written as 0: nothing can be learned from them."


def _of_collection(stored: StoredDataset) -> Iterator[str]:
    recipe, made = stored.manifest.recipe, stored.manifest.provenance
    unknown = [f"`{behaviour.name}`" for behaviour in recipe.behaviours if behaviour.kind == "unknown"]
    if unknown:
        yield f"How the behaviour policies {', '.join(unknown)} chose actions is unknown."
    if made.unstable:
        yield f"{made.unstable} episodes were left out because their simulation became unstable."
    if recipe.license is None:
        yield "The licence is unknown: ask whose data it is before you use it."
