"""Many sets with one recipe: what is known of each set's data and of agents learned from it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.files import read_json, write_json
from idaq.core.types import AtLeastOne
from idaq.evaluate.protocol import Summary
from idaq.format.documents import mean_random
from idaq.format.reader import StoredDataset

DATA, BASELINES = "data.json", "baselines.json"


@config
class SetData:
    """What is in the dataset of one set."""

    dataset_id: str
    family: str
    settings: list[str] = Field(default_factory=list)
    """changes to the catalogue's recipe, key=value"""
    content_digest: str
    tasks: AtLeastOne
    episodes: AtLeastOne
    steps: AtLeastOne
    size: AtLeastOne
    """bytes of its HDF5"""
    mean: float
    """of the episodes' returns"""
    std: float
    minimum: float
    maximum: float
    success: float | None
    """share of episodes that solve their task, of those of which it is known"""
    random: float | None
    """mean return of random actions, where it was measured"""


@config
class SuiteData:
    """data.json: the datasets of a suite's sets, by name."""

    suite_version: Literal[1] = 1
    sets: dict[str, SetData] = Field(default_factory=dict)


@config
class SuiteBaselines:
    """baselines.json of a suite: a summary for each set, by name."""

    suite_version: Literal[1] = 1
    sets: dict[str, Summary] = Field(default_factory=dict)


Document = TypeVar("Document", SuiteData, SuiteBaselines)


def describe(stored: StoredDataset, settings: Sequence[str] = ()) -> SetData:
    """Figures of a stored dataset, collected with `settings`."""
    returns, manifest = stored.episodes.total_reward, stored.manifest
    return SetData(
        dataset_id=manifest.dataset_id,
        family=manifest.family,
        settings=list(settings),
        content_digest=manifest.content_digest,
        tasks=manifest.counts.tasks,
        episodes=manifest.counts.episodes,
        steps=manifest.counts.steps,
        size=stored.hdf5.stat().st_size,
        mean=float(returns.mean()),
        std=float(returns.std()),
        minimum=float(returns.min()),
        maximum=float(returns.max()),
        success=stored.episodes.success_rate(),
        random=mean_random(stored.tasks),
    )


def read_suite(cls: type[Document], path: Path) -> Document:
    """A suite's document, or an empty one. Raises ConfigError for a damaged one."""
    return from_mapping(cls, read_json(path), where=str(path)) if path.exists() else cls()


def put(path: Path, cls: type[Document], name: str, value: Any) -> None:
    """Add or replace one set in a suite's document, atomically."""
    sets = {**read_suite(cls, path).sets, name: value}
    write_json(path, to_mapping(cls(sets={key: sets[key] for key in sorted(sets)})))
