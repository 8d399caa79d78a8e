"""card.md of a catalogue entry: the dataset's own card, and what only the catalogue knows beside it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from idaq.catalogue import suite
from idaq.collect.policy_record import COMPARISON, RECORD, Comparison, PolicyRecord, read_record
from idaq.core.config import from_mapping
from idaq.core.files import read_json, write_text
from idaq.evaluate.markdown import percent, table
from idaq.evaluate.protocol import METHOD, Summary, markdown_table, number
from idaq.format.card import read_card
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.recipe import Behaviour

POLICIES = ("conditioned", "single")
CONDUCT = {
    "mean": "return",
    "magnitude": "mean size of an action",
    "spread": "standard deviation of an action",
    "saturated": "share of actions beyond 0.95",
    "change": "mean change of an action in a step",
}


def write_entry_card(folder: Path, entry: str, dataset: Path) -> None:
    """Write card.md of the entry `family/quality` in its folder: the dataset's own card, what the data holds of each
    group of tasks where the recipe balances them, how far its learners came, notes.md of the family and of the
    entry, what its behaviour policies are worth, and the baselines."""
    parts, stored = [read_card(dataset)], open_stored(dataset)
    if stored.manifest.recipe.splits.balance is not None:
        parts.append(_groups_text(stored, stored.manifest.recipe.splits.balance))
    if learners := [b for b in stored.manifest.recipe.behaviours if b.histories]:
        parts.append(_learning_text(stored, learners))
    notes = [folder.parent / "notes.md", folder / "notes.md"]
    parts += [path.read_text(encoding="utf-8") for path in notes if path.exists()]
    for policies in _trainings(folder.parent, stored.manifest.recipe.behaviours):
        parts.append(_policies_text(read_record(policies)))
        if (path := policies / COMPARISON).exists():
            parts.append(_comparison_text(from_mapping(Comparison, read_json(path), where=str(path))))
    if (baselines := folder / suite.BASELINES).exists():
        summary = from_mapping(Summary, read_json(baselines), where=str(baselines))
        command = f"`idaq reproduce {entry}` prints and writes this table."
        if METHOD not in summary.strategies:
            command += f" `{METHOD}` has not been run on this data yet."
        parts.append(f"## Baselines\n\n{command}\n\n{markdown_table(summary)}\n")
    write_text(folder / "card.md", "\n".join(parts))


def _trainings(family: Path, behaviours: Sequence[Behaviour]) -> list[Path]:
    """Folders of the trainings that the behaviours come from, as far as the catalogue has them."""
    named = (((b.trained_on or family.name), (b.policy or "").rpartition("/")[0]) for b in behaviours if b.weights)
    folders = [family.parent / trained_on / "behaviours" / training for trained_on, training in named]
    return [folder for folder in dict.fromkeys(folders) if (folder / RECORD).exists()]


def _groups_text(stored: StoredDataset, parameter: str) -> str:
    head = [parameter, "ids of its tasks", "split", "tasks", "episodes", "return", "std", "success"]
    return f"""## By {parameter}

Returns and success of the collected episodes; failures are kept.

{table(head, list(_group_rows(stored, parameter)))}"""


def _group_rows(stored: StoredDataset, parameter: str) -> Iterator[list[str]]:
    """One row for each value of a parameter, with what the ids of its tasks begin with."""
    episodes = stored.episodes
    for value in dict.fromkeys(str(task.params[parameter]) for task in stored.tasks):
        tasks = [task for task in stored.tasks if str(task.params[parameter]) == value]
        chosen = np.isin(episodes.task_index, [task.task_index for task in tasks])
        returns = episodes.total_reward[chosen]
        yield [
            value.removesuffix(".0"),
            f"`{tasks[0].task_id.rstrip('0123456789')}...`",
            ", ".join(dict.fromkeys(task.split for task in tasks)),
            str(len(tasks)),
            str(len(returns)),
            number(float(returns.mean())),
            number(float(returns.std())),
            percent(episodes.success_rate(chosen)),
        ]


def _learning_text(stored: StoredDataset, learners: Sequence[Behaviour]) -> str:
    head = ["behaviour", "histories a task", "episodes of each", "first tenth", "fifth tenth", "last tenth"]
    rows = []
    for learner in learners:
        returns = _returns_by_tenth(stored, learner.name)
        length = learner.episodes // (learner.histories or 1)
        rows.append([learner.name, str(learner.histories), str(length), *(number(returns[n]) for n in (0, 4, 9))])
    return f"""## Learning

Mean return of the episodes in the first, fifth and last tenth of each history, over all tasks.

{table(head, rows)}"""


def _returns_by_tenth(stored: StoredDataset, behaviour: str) -> list[float]:
    """Mean returns along the histories of a behaviour. Episodes of a history stand in order, one after the other."""
    episodes = stored.episodes
    chosen = np.flatnonzero((episodes.behaviour == behaviour) & (episodes.history >= 0))
    starts = np.diff(episodes.task_index[chosen], prepend=-1) != 0
    starts |= np.diff(episodes.history[chosen], prepend=-1) != 0
    sizes = np.diff(np.append(np.flatnonzero(starts), len(chosen)))
    places = np.concatenate([np.arange(size) * 10 // size for size in sizes])
    return [float(episodes.total_reward[chosen][places == tenth].mean()) for tenth in range(10)]


def _policies_text(record: PolicyRecord) -> str:
    rows = [
        [name, str(s.steps), number(s.mean), number(s.std), f"{number(s.minimum)} to {number(s.maximum)}"]
        for name, s in record.snapshots.items()
    ]
    snapshots = table(["snapshot", "steps", "return", "std of tasks", "range of tasks"], rows)
    whose = (
        f"One {record.algorithm} a task of {record.family}"
        if record.tasks
        else f"{record.algorithm} conditioned on the task"
    )
    return f"""## Behaviour policies

{whose}; return of the mean action over all tasks, one episode each.
Collected episodes draw from the policy's own Gaussian. `{record.command}` trains them again.

{snapshots}"""


def _comparison_text(comparison: Comparison) -> str:
    rows = [
        [str(t.task), *(number(x) for x in (t.conditioned.mean, t.conditioned.std, t.single.mean, t.single.std))]
        for t in comparison.tasks
    ]
    returns = table(["task", "conditioned", "std", "trained for it alone", "std"], rows)
    means = [
        [name, *(number(float(np.mean([getattr(getattr(t, who), key) for t in comparison.tasks]))) for who in POLICIES)]
        for key, name in CONDUCT.items()
    ]
    actions = table(["mean over these tasks", "conditioned", "trained for it alone"], means)
    return f"""### Beside one policy a task

Returns of {comparison.episodes} episodes with noise, snapshot `{comparison.snapshot}` of either training; the
others saw one task alone: `{comparison.commands[0]}`, and so on. `idaq behavior compare` prints this.

{returns}
{actions}"""
