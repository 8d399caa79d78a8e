"""The matrix of a benchmark, as one TOML file says it: datasets x algorithms x strategies x seeds. No torch here.

Whoever gives the file to a command has written it: `package.module:thing` may stand in it, as in a recipe file.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from idaq.catalogue.entries import entries
from idaq.core.config import config, from_mapping, merge, read_toml, to_mapping
from idaq.core.errors import UsageError, unknown_name
from idaq.core.ids import SCHEMA, parse_id
from idaq.core.plain import is_table
from idaq.core.resources import resource_root
from idaq.core.types import AtLeastOne, PlainData, Slug, VersionOne

_OURS = {"seed": "seeds of the matrix", "threads": "one a run", "algorithm": "algorithm of [[algorithms]]"}
"""settings of a training that the matrix decides, and where"""
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9._+-]{0,62}[A-Za-z0-9])?"
_MOST = 1000
"""datasets, algorithms, strategies or seeds"""


def _is_id(text: str) -> str:
    try:
        parse_id(text.replace("*", "any"))
    except UsageError as error:
        raise ValueError(f"is not a dataset id: {error.hint}") from None
    return text


def _nested(table: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose dotted names are tables. Raises ValueError for one that is given twice, or is not theirs."""
    nested = dict[str, Any]()
    for name, value in table.items():
        first, *inner = name.split(".")
        if first in _OURS:
            raise ValueError(f"{first} is not set here: {_OURS[first]}")
        for part in reversed(inner):
            value = {part: value}
        value = _nested_value(value)
        both = nested.get(first)
        if first in nested and not (is_table(both) and is_table(value) and not {*paths(both)} & {*paths(value)}):
            raise ValueError(f"{name} is given twice")
        nested[first] = merge(both, value) if is_table(both) else value
    return nested


def _nested_value(value: Any) -> Any:
    return _nested(value) if is_table(value) else value


def paths(table: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The values of nested plain data by their path; a table without values is one itself."""
    found = dict[tuple[str, ...], Any]()
    for name, value in table.items():
        here = (*above, name)
        found |= paths(value, here) if is_table(value) and value else {here: value}
    return found


_PATTERN = {**SCHEMA, "pattern": SCHEMA["pattern"].replace("A-Za-z0-9", "*A-Za-z0-9")}
DatasetName = Annotated[str, AfterValidator(_is_id), Field(json_schema_extra=_PATTERN)]
Label = Annotated[str, StringConstraints(pattern=f"^{_LABEL}$")]
"""The name of a row; safe as a file name."""
Settings = Annotated[PlainData, AfterValidator(_nested)]
"""Training settings; dots go deeper: `"learner.gamma" = 0.9`."""
Seed = Annotated[int, Field(ge=0, lt=2**31, strict=True)]


@config
class Protocol:
    """What all strategies share. What is not said is as the dataset's recipe has it, else as `idaq adapt` does."""

    episodes: AtLeastOne | None = None
    """adaptation episodes on each test task"""
    report_at: Annotated[list[AtLeastOne], Field(min_length=1, max_length=_MOST)] | None = None
    """fresh episodes are run after this many adaptation episodes"""
    seeds: AtLeastOne | None = None
    """adaptation seeds for each test task"""
    seed: Seed | None = None
    split: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What is said, as settings of an adaptation."""
        return {name: value for name, value in to_mapping(self).items() if value is not None}


@config
class MatrixDataset:
    """A dataset to train on."""

    id: DatasetName
    """with `*` for any part: every dataset of the catalogue that it names, each with these settings"""
    collect: bool = True
    """collect it where it is absent, by the catalogue's recipe"""
    entry: str | None = None
    """the catalogue's entry, family/quality, that it is collected by; needed where that has another id"""
    set: Annotated[list[str], Field(max_length=_MOST)] = Field(default_factory=list)
    """changes to that recipe, key=value"""
    train: Settings = Field(default_factory=dict)
    """settings for every algorithm that has them"""
    adapt: PlainData = Field(default_factory=dict)
    """settings of the adaptation, and of every strategy that has them"""

    @property
    def folder(self) -> str:
        """As its runs' folder is named."""
        return self.id.replace("/", "-")

    @model_validator(mode="after")
    def _many_have_recipes_of_their_own(self) -> "MatrixDataset":
        if "*" in self.id and self.entry is not None:
            raise ValueError(f"{self.id}: an id with * names datasets of the catalogue: it takes no entry")
        return self


def _each(datasets: list[MatrixDataset]) -> list[MatrixDataset]:
    """The datasets, those of the catalogue in place of an id with `*`. Raises ValueError where it names none."""
    ids = [entry.dataset_id for entry in entries()]
    found = list[MatrixDataset]()
    for dataset in datasets:
        named = [name for name in ids if fnmatchcase(name, dataset.id)] if "*" in dataset.id else [dataset.id]
        if not named:
            raise ValueError(_unknown(dataset.id, ids))
        found += [replace(dataset, id=name) for name in named]
    return found


@config
class MatrixAlgorithm:
    """A row: an algorithm and its settings."""

    algorithm: str
    """built in, installed, or `package.module:Config`"""
    label: Label | None = None
    """name of the row; None: the algorithm's"""
    train: Settings = Field(default_factory=dict)
    strategies: Annotated[list[str], Field(min_length=1, max_length=_MOST)] | None = None
    """in place of the matrix's"""
    datasets: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: ["*"])
    """ids of the datasets that it runs on; `*` is any part"""
    on: dict[str, Settings] = Field(default_factory=dict)
    """settings for one dataset, by id"""

    @property
    def name(self) -> str:
        """The row's: its label, or the algorithm's name as a folder can be named."""
        return self.label or re.sub("[^A-Za-z0-9._+-]", "-", self.algorithm)

    @model_validator(mode="after")
    def _has_a_name(self) -> "MatrixAlgorithm":
        if not re.fullmatch(_LABEL, self.name):
            raise ValueError(f"{self.name[:80]!r} is no name of a folder: give the row a label")
        return self


@config
class Matrix:
    """The document."""

    bench_version: VersionOne
    name: Slug
    hours: Annotated[float, Field(gt=0)]
    """of processor time that all runs may take, one thread each; more is refused beforehand"""
    seeds: Annotated[int, Field(ge=1, le=_MOST, strict=True)] | Annotated[list[Seed], Field(min_length=1)]
    """training seeds: how many, from 0 on, or which"""
    protocol: Protocol = Field(default_factory=Protocol)
    datasets: Annotated[list[MatrixDataset], Field(min_length=1, max_length=_MOST), AfterValidator(_each)]
    algorithms: Annotated[list[MatrixAlgorithm], Field(min_length=1, max_length=_MOST)]
    strategies: Annotated[list[str], Field(min_length=1, max_length=_MOST)]
    """names; what an agent cannot run is left out of its row, and told"""

    @property
    def train_seeds(self) -> list[int]:
        """Each once."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(dict.fromkeys(self.seeds))

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> "Matrix":
        ids = [dataset.id for dataset in self.datasets]
        _check_different("dataset", [dataset.folder for dataset in self.datasets])
        _check_different("label", [algorithm.name for algorithm in self.algorithms])
        for algorithm in self.algorithms:
            for name in algorithm.on:
                if name not in ids:
                    raise ValueError(f"{algorithm.name}: {_unknown(name, ids)}")
            for pattern in algorithm.datasets:
                if not any(fnmatchcase(name, pattern) for name in ids):
                    raise ValueError(f"{algorithm.name}: {_unknown(pattern, ids)}")
        return self

    def rows(self) -> list[tuple[MatrixDataset, MatrixAlgorithm]]:
        """Each dataset with each algorithm that runs on it."""
        return [
            (dataset, algorithm)
            for dataset in self.datasets
            for algorithm in self.algorithms
            if any(fnmatchcase(dataset.id, pattern) for pattern in algorithm.datasets)
        ]


def shipped() -> dict[str, Path]:
    """The matrices that come with idaq, by name; those of the study as study/NAME."""
    root = resource_root("datasets")
    bench, study = (sorted((root / folder).glob("*.toml")) for folder in ("bench", "study"))
    return {path.stem: path for path in bench} | {f"study/{path.stem}": path for path in study}


def load_matrix(named: str) -> Matrix:
    """The matrix in a file, or one that comes with idaq, by its name. Raises ConfigError, UnknownNameError."""
    path = Path(named).expanduser()
    known = shipped()
    if not path.suffix and not path.exists():
        if named not in known:
            raise unknown_name("matrix", named, known)
        path = known[named]
    return from_mapping(Matrix, read_toml(path), where=str(path))


def _check_different(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the {what} {name} stands twice")


def _unknown(name: str, ids: list[str]) -> str:
    error = unknown_name("dataset", name, ids)
    return f"{error.message}: {error.hint}"
