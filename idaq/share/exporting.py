"""What every export shares: episodes with their facts, files and folders that appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idaq.core.errors import DatasetExistsError
from idaq.core.files import replacing, replacing_folder
from idaq.core.types import Advance, Episode
from idaq.format.columns import get_episode, map_columns
from idaq.format.documents import Counts, TaskRecord
from idaq.format.reader import StoredDataset

Facts = dict[str, Any]
"""of one episode, as plain data"""


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
    episode: Episode

    @property
    def facts(self) -> Facts:
        """All but the columns, as plain data."""
        return {
            "episode": self.number,
            "task_index": self.task.task_index,
            "task_id": self.task.task_id,
            "behaviour": self.behaviour,
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
            episode=get_episode(columns, number, length),
        )
        progress(1)


def count(facts: list[Facts]) -> Counts:
    """What was written, from the facts of the episodes that were."""
    return Counts(
        tasks=len({fact["task_index"] for fact in facts}),
        episodes=len(facts),
        steps=sum(int(fact["length"]) for fact in facts),
    )


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
