"""The documents of a dataset. schemas/*.json are generated from these definitions."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from idaq.core.config import config
from idaq.core.types import (
    FIXED_COLUMNS,
    AtLeastOne,
    FamilyName,
    Line,
    PlainData,
    Sha256,
    Slug,
    Success,
    Task,
    VersionOne,
)
from idaq.format.recipe import DatasetName, Recipe

SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
"""of the name of a column, between slashes"""
NonNegative = Annotated[int, Field(ge=0, lt=2**63)]


@config
class EnvReference:
    """How to make the task's environment: the fields of a Gymnasium EnvSpec that matter."""

    id: str
    entry_point: str
    kwargs: PlainData
    max_episode_steps: AtLeastOne | None


UNKNOWN_ENV = EnvReference(id="unknown", entry_point="", kwargs={}, max_episode_steps=None)
"""of data of which nobody has said what they are of"""


@config
class ReturnStatistics:
    """Mean and standard deviation of n undiscounted returns, and how they were measured."""

    mean: float
    std: Annotated[float, Field(ge=0)]
    n: AtLeastOne
    how: str


@config
class References:
    """The two ends of a normalised score."""

    random: ReturnStatistics | None
    """None where it was not measured, as in imported data"""
    behaviour: ReturnStatistics | None
    """None where the rewards are not known"""


@config
class TaskRecord(Task):
    """One line of idaq/tasks.jsonl: the task, its environment, and its reference returns."""

    split: Slug = Field(...)  # a family may leave these two out, a document states them
    success: Success | None = Field(...)
    family: FamilyName
    """the manifest's is `mixed` where tasks are of several"""
    env: EnvReference
    reset_options: PlainData
    """what `env.reset(options=...)` takes to start this task"""
    reference: References


@config
class About:
    """What is said of a column beside its numbers."""

    unit: Line | None = None
    meaning: Line | None = None
    """what it holds, in words; None where nobody has said"""
    known: bool = True
    """whether the values are known. Rewards alone may not be, of reward-free data: then all are 0, and returns null"""


@config
class Column:
    """One column of the episodes: a dataset in the group of each, in the HDF5."""

    dtype: Literal["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"]
    """NumPy notation, little-endian, for example <f4; |b1 is one byte, 0 or 1"""
    shape: Annotated[list[AtLeastOne], Field(max_length=31)]
    """shape of one row; [] for a scalar; HDF5 holds 32 dimensions, of which the first are the rows"""
    rows: Literal["T", "T+1"]
    """how many an episode of T steps has"""
    chunk_rows: Annotated[int, Field(ge=1, le=2**31)] | None
    """rows of a chunk, each packed by deflate, of a compressed column; null of one that is contiguous"""
    unit: Line | None
    meaning: Line | None
    """what it holds, in words; null where nobody has said"""
    known: bool
    """false of the rewards of reward-free data: all are 0, and returns null"""


@config
class Counts:
    """How many tasks, episodes and steps a dataset holds."""

    tasks: NonNegative
    episodes: NonNegative
    steps: NonNegative


@config
class FileRecord:
    """A file of the dataset, by path relative to `data/`."""

    path: str
    size: NonNegative
    sha256: Sha256


@config
class Parent:
    """A dataset that this one was made from, by id and content."""

    dataset_id: str
    content_digest: Sha256


@config
class Provenance:
    """Who made this, when and with what. Not part of the content digest."""

    created: str
    """UTC, ISO 8601"""
    idaq: str
    python: str
    numpy: str
    h5py: str
    platform: str
    simulators: dict[str, str] = Field(default_factory=dict)
    """version of each package whose version decides what an episode holds, where there are such"""
    unstable: NonNegative = 0
    """episodes left out because the simulation became unstable: NaN or infinity"""
    operation: str = ""
    """what made it other than a collection: subset, merge, relabel or import, in words"""
    notes: list[str] = Field(default_factory=list)
    """what a collection, an import or an edit cut, cast, dropped or assumed, with counts; its parents' come first"""
    parents: list[Parent] = Field(default_factory=list)
    """the datasets it was made from"""


Columns = Annotated[
    dict[str, Column],
    Field(
        json_schema_extra={
            "minProperties": 5,
            "maxProperties": 200,
            "required": list(FIXED_COLUMNS),
            "propertyNames": {"pattern": rf"^{SEGMENT}(/{SEGMENT})*$", "maxLength": 200},
        }
    ),
]
"""by name, in order; `idaq.format.layout.names_fault` says the rest"""


@config
class Manifest:
    """idaq/manifest.json: written last; its own sha256 stands in metadata.json."""

    format_version: VersionOne
    dataset_id: DatasetName
    family: FamilyName
    recipe: Recipe
    recipe_digest: Sha256
    """of the recipe's canonical JSON"""
    content_digest: Sha256
    """of the episodes' digests, in order"""
    splits: dict[Slug, list[NonNegative]]
    """task indices of each split"""
    columns: Columns
    observation_space_sha256: Sha256
    """of the space's JSON text in metadata.json"""
    action_space_sha256: Sha256
    metadata_digest: Sha256
    """of metadata.json's value without its "idaq" key, in canonical JSON"""
    counts: Counts
    files: list[FileRecord]
    provenance: Provenance


@config
class MetadataIdaq:
    """The "idaq" object in Minari's metadata.json."""

    format_version: VersionOne
    manifest_sha256: Sha256
    counts: Counts


def mean_random(tasks: Sequence[TaskRecord]) -> float | None:
    """Mean over tasks of the random policy's return; None where it was not measured for all of them."""
    return _mean([task.reference.random for task in tasks])


def mean_behaviour(tasks: Sequence[TaskRecord]) -> float | None:
    """Mean over tasks of the data's own return; None where it is not known of all of them."""
    return _mean([task.reference.behaviour for task in tasks])


def _mean(measured: Sequence[ReturnStatistics | None]) -> float | None:
    means = [statistics.mean for statistics in measured if statistics is not None]
    return sum(means) / len(measured) if len(means) == len(measured) else None


def about_columns(manifest: Manifest) -> dict[str, About]:
    """What a dataset says of its columns beside their numbers."""
    columns = manifest.columns.items()
    return {name: About(unit=c.unit, meaning=c.meaning, known=c.known) for name, c in columns}
