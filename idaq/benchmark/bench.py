"""The engine of `idaq bench`: collects what is absent, measures what runs will take, and runs them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from idaq.adapt.run_job import JobRecord, RunJob
from idaq.benchmark.estimate import Cost, cost, probe, read_probe
from idaq.benchmark.leaderboard import BASELINE, BoardTable, make_tables
from idaq.benchmark.matrix import Matrix, MatrixDataset
from idaq.benchmark.rows import Place, Row, Tell, check_settings, make_rows, selected
from idaq.catalogue.entries import catalogue_recipe, entries, matching
from idaq.collect.collect import collect, episode_count
from idaq.core.errors import DatasetNotFoundError, RunError, UsageError
from idaq.core.executors import ExecutorName
from idaq.core.ids import datasets_root
from idaq.core.jobs import run_jobs, watched
from idaq.core.types import Advance, ShowProgress, ignore_progress, show_nothing
from idaq.format.recipe import Recipe
from idaq.loader import Dataset, open_dataset

PROBES = ".probes"
KEPT = "what is finished is kept, and of each training its last checkpoint: run the same command again to resume"


def ignore(_what: object) -> None:
    """The default of `tell` and `finished`: does nothing."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of the matrix."""

    row: Row
    seed: int
    record: JobRecord | None
    """of a finished run"""
    cost: Cost | None

    @property
    def name(self) -> str:
        """As failures name it."""
        return f"{self.row.name}-seed{self.seed}"

    @property
    def seconds(self) -> float:
        """That it takes, as far as is known."""
        return self.cost.total if self.cost else 0.0

    @property
    def job(self) -> RunJob:
        """What to run."""
        return self.row.jobs[self.seed]

    @property
    def state(self) -> str:
        """finished, diverged, started or to run."""
        if self.record:
            return self.record.state
        return "started" if self.job.record() else "to run"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a command will take."""

    cells: tuple[Cell, ...]
    """seed by seed: the whole matrix has one seed before any has two"""

    @property
    def to_run(self) -> tuple[Cell, ...]:
        """Cells that are not finished."""
        return tuple(cell for cell in self.cells if not cell.record)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Rows whose cost nobody knows."""
        return tuple(dict.fromkeys(cell.row.name for cell in self.to_run if cell.cost is None))

    @property
    def hours(self) -> float:
        """Of processor time, for what is to run and of known cost."""
        return sum(cell.seconds for cell in self.to_run) / 3600


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A matrix, where its runs are, and what runs them."""

    matrix: Matrix
    named: str
    """file or name of the matrix, as commands have it"""
    place: Place
    jobs: int = 1
    """runs at the same time"""
    executor: ExecutorName = "joblib"
    only: Sequence[str] = ()
    """names of rows; none = all"""
    progress: ShowProgress = field(default=show_nothing)
    tell: Tell = ignore

    def rows(self) -> list[Row]:
        """All rows of the datasets that rows are asked of; these are collected where they are absent.

        Settings are checked before: `tell` is given which pass some rows by.
        """
        check_settings(self.matrix, self.tell)
        asked = {dataset.id: dataset for dataset, _ in selected(self.matrix, self.only)}
        datasets = {name: self._opened(dataset) for name, dataset in asked.items()}
        return make_rows(self.matrix, datasets, self.place)

    def asked(self, rows: Sequence[Row]) -> list[Row]:
        """Those that `only` names."""
        named = {f"{dataset.id}/{algorithm.name}" for dataset, algorithm in selected(self.matrix, self.only)}
        return [row for row in rows if row.name in named]

    def tables(self, rows: Sequence[Row]) -> list[BoardTable]:
        """What the finished runs of the rows asked for came to, beside the baseline's."""
        baselines = [row for row in rows if row.label == BASELINE]
        return make_tables(self.asked(rows), baselines, self.named)

    def estimate(self, rows: Sequence[Row]) -> Estimate:
        """What is finished and what the others will take; probes the rows that nothing is known of."""
        first = {row.name: next(iter(row.jobs.values())) for row in rows}
        unknown = [row for row in rows if any(not job.finished() for job in row.jobs.values()) and not self._cost(row)]
        calls = {row.name: (first[row.name], self._probe_of(row)) for row in unknown}
        if calls:
            with self.progress("measuring what runs take", len(calls), "rows") as advance:
                try:
                    for _ in run_jobs(probe, calls, workers=self.jobs, executor=self.executor):
                        advance(1)
                except RunError as error:  # the run itself will say it again
                    for line in error.details or (error.message,):
                        self.tell(f"not measured: {line}")
        costs = {row.name: self._cost(row) for row in rows}
        return Estimate(
            cells=tuple(
                Cell(row=row, seed=seed, record=row.jobs[seed].finished(), cost=costs[row.name])
                for seed in self.matrix.train_seeds
                for row in rows
            )
        )

    def check_budget(self, estimate: Estimate) -> None:
        """Raise UsageError where what is to run takes more hours than the matrix allows."""
        if estimate.hours > self.matrix.hours:
            raise UsageError(
                f"{len(estimate.to_run)} runs would take about {estimate.hours:.2g} hours of processor time; the"
                f" matrix allows {self.matrix.hours:g}",
                hint="give it more hours, fewer seeds or steps, or run a part: --only LABEL; --plan shows the hours",
            )

    def run(
        self,
        estimate: Estimate,
        advance: Advance = ignore_progress,
        tell: Tell = ignore,
        finished: Callable[[Row], object] = ignore,
    ) -> dict[str, JobRecord]:
        """Run what is to run; `advance` counts seconds of work, `tell` is given how far it is, `finished` the row of
        each run that is done.

        Runs that another command is at come last, and are waited for. Raises RunError as `run_jobs` does.
        """
        watch = _Watch(cells=estimate.to_run, done={}, tell=tell)
        cells = {cell.name: cell for cell in watch.cells}

        def done(name: str, record: JobRecord) -> None:
            watch.done[name] = record
            finished(cells[name].row)

        with watched(watch.seconds, advance):
            busy, failed = self._pass({name: (cell.job, False) for name, cell in cells.items()}, done)
            _, later = self._pass({name: (cells[name].job, True) for name in busy}, done)
        details = [line for error in (failed, later) if error for line in error.details]
        if details:
            message = f"{len(details)} of {len(watch.cells)} runs failed; the others are finished"
            raise RunError(message, details=details, hint=KEPT)
        return watch.done

    def _pass(
        self, calls: dict[str, tuple[RunJob, bool]], done: Callable[[str, JobRecord], object]
    ) -> tuple[list[str], RunError | None]:
        """Run these, telling `done` of each; gives the names of those that another command is at, and what failed."""
        named, busy = {name: (name, *call) for name, call in calls.items()}, list[str]()
        try:
            for name, record in run_jobs(_run, named, workers=self.jobs, executor=self.executor, kept=KEPT):
                if record is None:
                    busy.append(name)
                else:
                    done(name, record)
        except RunError as error:
            if not error.details:  # a worker was lost: nothing runs any more
                raise
            return busy, error
        return busy, None

    def _opened(self, dataset: MatrixDataset) -> Dataset:
        """The dataset, collected where it is absent."""
        try:
            return open_dataset(dataset.id, self.place.root)
        except DatasetNotFoundError:
            if not dataset.collect:
                raise
        recipe = recipe_of(dataset)
        with self.progress(f"collecting {recipe.id}", episode_count(recipe), "episodes") as advance:
            root = datasets_root(self.place.root)
            collect(recipe, root, workers=self.jobs, executor=self.executor, progress=advance)
        return open_dataset(dataset.id, self.place.root)

    def _probe_of(self, row: Row) -> Path:
        return self.place.out / PROBES / row.dataset.replace("/", "-") / f"{row.label}.json"

    def _cost(self, row: Row) -> Cost | None:
        return cost(row, read_probe(next(iter(row.jobs.values())), self._probe_of(row)))


def recipe_of(dataset: MatrixDataset) -> Recipe:
    """The catalogue's recipe of a dataset, with its changes. Raises DatasetNotFoundError where there is none."""
    if dataset.entry is None:
        found = [entry for entry in entries() if entry.dataset_id == dataset.id]
    else:
        found = matching(dataset.entry)
    if len(found) != 1:
        raise DatasetNotFoundError(
            f"{dataset.id} is absent, and the catalogue has no recipe of it",
            hint='collect it first, or name the entry that makes it: entry = "family/quality"',
        )
    return catalogue_recipe(found[0].family, found[0].quality, [*dataset.set, f'id="{dataset.id}"'])


def _run(name: str, job: RunJob, wait: bool) -> tuple[str, JobRecord | None]:
    """In a worker."""
    return name, job.run(wait)


@dataclass(frozen=True, kw_only=True)
class _Watch:
    """How far cells are, by their folders."""

    cells: tuple[Cell, ...]
    done: dict[str, JobRecord]
    tell: Tell
    started: float = field(default_factory=time.monotonic)
    before: dict[str, int] = field(default_factory=dict)
    """training steps of each when first looked at"""

    def seconds(self) -> int:
        """Of work done, by the cells' own estimates; also tells runs done and training steps a second."""
        seconds, steps = 0.0, 0
        for cell in self.cells:
            record = self.done.get(cell.name) or cell.job.record()
            trained = record.train.count if record else 0
            steps += trained - self.before.setdefault(cell.name, trained)
            if cell.name in self.done:
                seconds += cell.seconds
            elif record and cell.cost:
                seconds += cell.cost.after(trained, record.adapt.count)
        rate = steps / max(1e-9, time.monotonic() - self.started)
        self.tell(f"{len(self.done)} of {len(self.cells)} runs done, {rate:,.0f} training steps/s")
        return round(seconds)
