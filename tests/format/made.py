"""The hand-made dataset of the suites, under a recipe of the catalogue."""

from collections.abc import Sequence
from pathlib import Path

from idaq.format.recipe import Recipe
from idaq.format.writer import DatasetSource, EpisodeEntry
from idaq.testing.examples import (
    LARGEST,
    PLANS,
    Plan,
    entries_of,
    example_source,
    tag,
    tagged_episode,
    task_record,
)
from tests.recipes import small_recipe

__all__ = [
    "LARGEST",
    "PLANS",
    "Plan",
    "entries_of",
    "left_in",
    "made_recipe",
    "made_source",
    "tag",
    "tagged_episode",
    "task_record",
]


def made_recipe(*settings: str) -> Recipe:
    return small_recipe("point-robot", "mixed", "id=idaq/made/tagged-v0", *settings)


def made_source(entries: Sequence[EpisodeEntry] | None = None) -> DatasetSource:
    return example_source(entries, made_recipe())


def left_in(root: Path) -> list[Path]:
    """All there is below a root but the locks, and the folder in which writers work."""
    return [path for path in root.rglob("*") if path.suffix != ".lock" and path.name not in (".idaq", "building")]
