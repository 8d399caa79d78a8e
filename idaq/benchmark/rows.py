"""From a matrix to its runs: every setting has one value, and whoever's setting reaches nothing is told."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from idaq.adapt.adapt import episodes_to_run
from idaq.adapt.config import AdaptConfig
from idaq.adapt.jobs import AdaptJob
from idaq.adapt.run_job import RunJob
from idaq.adapt.strategy import STRATEGIES, AdaptPlan, adaptation_plan
from idaq.adapt.training import TrainJob
from idaq.benchmark.matrix import Matrix, MatrixAlgorithm, MatrixDataset, paths
from idaq.core.config import merge, to_mapping
from idaq.core.errors import ConfigError, DatasetError, UsageError, unknown_name
from idaq.core.plain import is_table
from idaq.core.registry import references_in
from idaq.core.splits import split_names
from idaq.learn.config import TrainConfig, training_config
from idaq.loader import Dataset

Tell = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Row:
    """An algorithm on a dataset: one run for each training seed."""

    dataset: str
    label: str
    config: TrainConfig
    """as the runs have it, but for the seed"""
    plan: AdaptPlan
    tasks: int
    """test tasks"""
    training_tasks: int
    jobs: Mapping[int, RunJob]
    """by training seed"""

    @property
    def content_digest(self) -> str:
        """Of its dataset."""
        return next(iter(self.jobs.values())).content_digest

    @property
    def name(self) -> str:
        """As `--only` names it."""
        return f"{self.dataset}/{self.label}"

    def episodes(self, strategies: Iterable[str]) -> int:
        """Of a run's adaptation with these strategies of its plan, and at most of what is measured for them."""
        protocol, chosen = self.plan.config, [self.plan.strategies[name] for name in strategies]
        measured = min(protocol.cross_tasks or self.training_tasks, self.training_tasks)
        cross = measured * self.training_tasks * protocol.cross_episodes
        told = any(strategy.uses_cross_returns for strategy in chosen)
        return episodes_to_run(protocol, chosen, self.tasks) + (cross if told else 0)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where runs are kept and how they run."""

    out: Path
    root: Path | None = None
    device: str = "cpu"
    allow: tuple[str, ...] = ()
    """code outside installed packages that a dataset may name"""


def selected(matrix: Matrix, only: Iterable[str] = ()) -> list[tuple[MatrixDataset, MatrixAlgorithm]]:
    """The rows that `only` names: dataset id, label, or both with a slash between; `*` is any part; all for none.

    Raises UsageError where one names none.
    """
    rows, patterns = matrix.rows(), list(only)
    for pattern in patterns:
        if not any(_is_named(pair, pattern) for pair in rows):
            names = sorted({name for pair in rows for name in _names(pair)})
            error = unknown_name("row", pattern, names)
            raise UsageError(f"--only {pattern!r} names no row of {matrix.name}", hint=error.hint)
    return [pair for pair in rows if not patterns or any(_is_named(pair, pattern) for pattern in patterns)]


def _names(pair: tuple[MatrixDataset, MatrixAlgorithm]) -> tuple[str, ...]:
    dataset, algorithm = pair
    return dataset.id, algorithm.name, f"{dataset.id}/{algorithm.name}"


def _is_named(pair: tuple[MatrixDataset, MatrixAlgorithm], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in _names(pair))


def make_rows(matrix: Matrix, datasets: Mapping[str, Dataset], place: Place) -> list[Row]:
    """The rows of a matrix whose datasets are open. Raises what settings, names and datasets raise."""
    return [
        _row(matrix, dataset, algorithm, datasets[dataset.id], place)
        for dataset, algorithm in matrix.rows()
        if dataset.id in datasets
    ]


def _row(matrix: Matrix, dataset: MatrixDataset, algorithm: MatrixAlgorithm, data: Dataset, place: Place) -> Row:
    if data.manifest is None:
        raise DatasetError(f"{dataset.id} was not written by idaq: it has no test tasks")
    recipe, train = data.manifest.recipe, train_settings(dataset, algorithm)
    names, adapt = algorithm.strategies or matrix.strategies, merge(matrix.protocol.settings, dataset.adapt)
    allow = (*place.allow, *references_in([train, adapt, names]))
    config = training_config({**train, "threads": 1}, recipe.train, allow=place.allow)
    plan = adaptation_plan(names, {**adapt, "threads": 1}, recipe.adapt, allow=place.allow)

    def job(seed: int) -> RunJob:
        run = place.out / dataset.folder / f"{algorithm.name}-seed{seed}"
        settings = {**train, "seed": seed, "threads": 1}
        return RunJob(
            train=TrainJob(
                dataset=dataset.id, settings=settings, out=run, root=place.root, device=place.device, allow=place.allow
            ),
            adapt=AdaptJob(
                run=run, out=run, names=tuple(names), able=True, settings={**adapt, "threads": 1}, root=place.root,
                device=place.device, allow=allow,
            ),
            content_digest=data.manifest.content_digest if data.manifest else "",
        )  # fmt: skip

    return Row(
        dataset=dataset.id,
        label=algorithm.name,
        config=config,
        plan=plan,
        tasks=sum(task.split == plan.config.split for task in data.all_tasks),
        training_tasks=sum(task.split in split_names(config.split) for task in data.all_tasks),
        jobs={seed: job(seed) for seed in matrix.train_seeds},
    )


def train_settings(dataset: MatrixDataset, algorithm: MatrixAlgorithm) -> dict[str, Any]:
    """What is asked of an algorithm on a dataset: its settings there, else its own, else those of the dataset that it
    has. What none of them says comes from the recipe, as far as it speaks to the algorithm, else from the algorithm."""
    own = merge(algorithm.train, algorithm.on.get(dataset.id, {}))
    given = dataset.train
    reaching, _ = split_settings(given, _fields_of(algorithm.algorithm, own))
    return {**merge(reaching, own), "algorithm": algorithm.algorithm}


def split_settings(given: Mapping[str, Any], has: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The settings that a config has as plain data, and the dotted names of the others."""
    kept, others = dict[str, Any](), list[str]()
    for path, value in paths(given).items():
        if _is_in(has, path):
            kept = merge(kept, _at(path, value, has))
        else:
            others.append(".".join(path))
    return kept, others


def _at(path: tuple[str, ...], value: Any, has: Any) -> dict[str, Any]:
    """A value at its path; a table on the way that is one of several kinds says which."""
    if len(path) == 1:
        return {path[0]: value}
    below = has[path[0]]
    kind = {"kind": below["kind"]} if "kind" in below else {}
    return {path[0]: {**kind, **_at(path[1:], value, below)}}


def _is_in(table: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if not (is_table(table) and name in table):
            return False
        table = table[name]
    return True


def _fields_of(algorithm: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """All settings that an algorithm has, as plain data, once its own are chosen: these may decide which it has."""
    return to_mapping(training_config({**own, "algorithm": algorithm}))


def check_settings(matrix: Matrix, tell: Tell) -> None:
    """Tell which of a dataset's settings pass which rows by, once each; one that reaches none raises ConfigError."""
    for dataset in matrix.datasets:
        rows = [algorithm for of, algorithm in matrix.rows() if of is dataset]
        has = {one.name: _fields_of(one.algorithm, merge(one.train, one.on.get(dataset.id, {}))) for one in rows}
        lacking = {name: split_settings(dataset.train, table)[1] for name, table in has.items()}
        known = {".".join(path) for table in has.values() for path in paths(table)}
        _told(f"training settings of {dataset.id}", lacking, known, "algorithm", tell)
        names = {name for one in rows for name in one.strategies or matrix.strategies}
        _told(f"adaptation settings of {dataset.id}", *_lacking(dataset.adapt, names), "strategy", tell)


def _lacking(given: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, list[str]], set[str]]:
    """By strategy, the settings that it does not have; and all that there are."""
    protocol = {field.name for field in fields(AdaptConfig)}
    has = {name: {field.name for field in fields(STRATEGIES.get(name))} for name in names}
    plain = [name for name, value in given.items() if name not in protocol and not is_table(value)]
    lacking = {name: [setting for setting in plain if setting not in there] for name, there in has.items()}
    tables = [name for name, value in given.items() if is_table(value)]
    for name, without in lacking.items():
        without += [table for table in tables if table not in names and name not in tables]
    return lacking, protocol.union(*has.values(), names)


def _told(what: str, lacking: Mapping[str, list[str]], known: Collection[str], kind: str, tell: Tell) -> None:
    for setting in dict.fromkeys(setting for without in lacking.values() for setting in without):
        without = [name for name, settings in lacking.items() if setting in settings]
        if len(without) == len(lacking):
            hint = unknown_name("setting", setting, known).hint
            raise ConfigError(f"{what}: no {kind} of the matrix has {setting}", hint=hint)
        tell(f"{what}: {setting} is not a setting of {', '.join(without)}")
