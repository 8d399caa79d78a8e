"""What datasets must hold, in memory: the twins of `test_state_machine`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from idaq.core.config import canonical_json, to_mapping
from idaq.core.digest import dataset_digest
from idaq.core.errors import DatasetError, IdaqError
from idaq.core.types import MIXED_FAMILIES
from idaq.format.reader import StoredDataset
from idaq.format.recipe import Behaviour


@dataclass(frozen=True, kw_only=True)
class Row:
    """One episode, as the twin knows it."""

    task: int
    behaviour: str
    digest: str
    total: float
    history: int
    policy_step: int
    """-1 where there is none"""


@dataclass(frozen=True, kw_only=True)
class Twin:
    """What a dataset must hold."""

    family: str
    columns: str
    """names and kinds of all, and the spaces"""
    rows: tuple[Row, ...]
    splits: dict[int, str]
    behaviours: dict[str, Behaviour]
    """by the name they have now; how many episodes they were to give does not matter"""
    recipe: str | None = None
    """which recipe it was collected from, if from any"""

    def keep(self, wanted: Callable[[Row], bool]) -> "Twin":
        """The rows that are wanted, and what they need. Raises Refused if there are none."""
        rows = tuple(row for row in self.rows if wanted(row))
        if not rows:
            raise Refused(DatasetError)
        tasks, names = {row.task for row in rows}, {row.behaviour for row in rows}
        return replace(
            self,
            rows=rows,
            splits={task: split for task, split in self.splits.items() if task in tasks},
            behaviours={name: made for name, made in self.behaviours.items() if name in names},
            recipe=None,
        )

    @property
    def digest(self) -> str:
        return dataset_digest([row.digest for row in self.rows])


class Refused(Exception):
    """The real thing must refuse it, with this error."""

    @property
    def kind(self) -> type[IdaqError]:
        return self.args[0]


def joined(parts: Sequence[Twin]) -> Twin:
    """Task by task, part by part, each episode once. Raises Refused."""
    splits: dict[int, str] = {}
    behaviours: dict[str, Behaviour] = {}
    for part in parts:
        unlike = any(splits.get(task, split) != split for task, split in part.splits.items())
        unlike |= any(behaviours.get(name, made) != made for name, made in part.behaviours.items())
        unlike |= part.columns != parts[0].columns
        unlike |= part.family != parts[0].family and not splits.keys().isdisjoint(part.splits)
        if unlike:
            raise Refused(DatasetError)
        splits, behaviours = part.splits | splits, part.behaviours | behaviours
    once: dict[str, Row] = {}
    for part in parts:
        for row in part.rows:
            once.setdefault(row.digest, row)
    rows = tuple(sorted(once.values(), key=lambda row: row.task))  # in the order of the parts within a task
    families = {part.family for part in parts}
    family = families.pop() if len(families) == 1 else MIXED_FAMILIES
    whole = Twin(family=family, columns=parts[0].columns, rows=rows, splits=splits, behaviours=behaviours)
    return whole.keep(lambda row: True)


def rows_of(stored: StoredDataset) -> tuple[Row, ...]:
    table = stored.episodes
    names = {"task": "task_index", "total": "total_reward"}
    columns = {field.name: getattr(table, names.get(field.name, field.name)).tolist() for field in fields(Row)}
    return tuple(Row(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True))


def columns_of(stored: StoredDataset) -> str:
    spaces = [stored.metadata[f"{name}_space"] for name in ("observation", "action")]
    return canonical_json([to_mapping(stored.manifest)["columns"], *spaces])
