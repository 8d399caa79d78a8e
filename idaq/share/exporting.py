"""What every export shares: episodes with their facts, how columns are called, files that appear whole or not at all.

A form in which a row is a transition has two columns for one of T + 1 rows: what is there, and what follows.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idaq.core.config import to_mapping
from idaq.core.errors import DatasetExistsError
from idaq.core.files import replacing, replacing_folder
from idaq.core.notes import Notes
from idaq.core.types import Advance, Array, Episode
from idaq.format.columns import get_episode, map_columns
from idaq.format.documents import Column, TaskRecord
from idaq.format.reader import StoredDataset

Facts = dict[str, Any]
"""of one episode, as plain data"""
Names = dict[str, tuple[str, ...]]
"""of each column of the file: its name in another form, and where it has T + 1 rows that of the rows that follow"""


@dataclass(frozen=True, kw_only=True)
class ExportedEpisode:
    """One episode and what the episode table says of it."""

    number: int
    """its place in the dataset, 0 .. M-1"""
    task: TaskRecord
    behaviour: str
    seed: int | None
    success: bool | None
    """None where it is unknown; so is the seed"""
    history: int | None
    """which learning history of its task and behaviour it belongs to; None where to none"""
    policy_step: int | None
    """environment steps that the behaviour policy had learned from before it; None where that is not known"""
    episode: Episode

    @property
    def facts(self) -> Facts:
        """All but the columns, as plain data."""
        return {
            "episode": self.number,
            "task_index": self.task.task_index,
            "task_id": self.task.task_id,
            "behaviour": self.behaviour,
            "history": self.history,
            "policy_step": self.policy_step,
            "seed": self.seed,
            "length": len(self.episode),
            "success": self.success,
            "terminated": bool(self.episode.terminated[-1]),
            "truncated": bool(self.episode.truncated[-1]),
        }


def each_episode(stored: StoredDataset, progress: Advance) -> Iterator[ExportedEpisode]:
    """All episodes in file order, hence sorted by task; one in memory at a time, `progress(1)` after each.

    Raises CorruptDatasetError where the columns are not as the format has them.
    """
    columns, table = map_columns(stored), stored.episodes
    tasks = {task.task_index: task for task in stored.tasks}
    for number, length in enumerate(table.length.tolist()):
        yield ExportedEpisode(
            number=number,
            task=tasks[int(table.task_index[number])],
            behaviour=str(table.behaviour[number]),
            seed=table.seed_of(number),
            success=table.solved(number),
            history=table.history_of(number),
            policy_step=table.policy_step_of(number),
            episode=get_episode(columns, number, length),
        )
        progress(1)


def transition_names(
    columns: Mapping[str, bool],
    plain: Mapping[str, str],
    taken: Collection[str],
    notes: Notes,
    *,
    prefix: str = "next_",
    separator: str = "/",
) -> Names:
    """The names of all columns, and of each whether it has T + 1 rows, in a form that calls its own columns `taken`.

    `plain` renames columns, by their name or the first part of it; `separator` stands for `/`. What follows is called
    `prefix` and the same. A name that is taken gets `_` behind it, which is noted.
    """
    used, names = set(taken), Names()
    for name, two in columns.items():
        first, slash, rest = name.partition("/")
        here = asked = plain.get(name, plain.get(first, first) + slash + rest).replace("/", separator)
        while here in used or (two and prefix + here in used):
            here += "_"
        if here != asked:
            notes.add(name, f"the column is written as {here}: {asked} means something else there")
        names[name] = (here, prefix + here) if two else (here,)
        used |= set(names[name])
    return names


def has_last_rows(columns: Mapping[str, Column]) -> dict[str, bool]:
    """Of each column, whether it has T + 1 rows."""
    return {name: column.rows == "T+1" for name, column in columns.items()}


def transition_rows(columns: Mapping[str, Array], names: Names) -> dict[str, Array]:
    """All columns of an episode as T rows each, by their names in the form."""
    rows: dict[str, Array] = {}
    for name, (here, *following) in names.items():
        rows[here] = columns[name][:-1] if following else columns[name]
        rows |= dict.fromkeys(following, columns[name][1:])
    return rows


def document_of(stored: StoredDataset, form: str, names: Names | None = None) -> dict[str, Any]:
    """What every form carries along, so that a reader knows all that the dataset says of itself, as plain data."""
    return {
        "form": form,
        "dataset_id": stored.manifest.dataset_id,
        "content_digest": stored.manifest.content_digest,
        "names": {name: list(here) for name, here in (names or {}).items()},
        "tasks": [to_mapping(task) for task in stored.tasks],
        "manifest": to_mapping(stored.manifest),
        "metadata": {key: value for key, value in stored.metadata.items() if key != "idaq"},
    }


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield a hidden path beside `target`, renamed to it on a clean exit, else removed.

    Raises DatasetExistsError if the target is there already.
    """
    _refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        _refuse_existing(target)  # another export of it may have ended while this one waited for the place
        yield temporary


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a hidden empty folder beside `target`; on a clean exit make it durable and rename it, else remove it.

    Raises DatasetExistsError if the target is there already.
    """
    _refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(target) as temporary:
        _refuse_existing(target)
        yield temporary


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise DatasetExistsError(f"{target} exists already", hint="an export overwrites nothing: choose another place")
