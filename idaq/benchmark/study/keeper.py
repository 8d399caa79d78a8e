"""Keeps what finished runs came to, as they finish; runs of several machines join one file, by training seed."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from idaq.adapt.results import Results, read_results
from idaq.adapt.run_job import JobRecord
from idaq.benchmark.bench import Bench
from idaq.benchmark.leaderboard import changed_settings
from idaq.benchmark.rows import Row
from idaq.benchmark.study.results import (
    KeptResults,
    KeptRun,
    KeptStrategy,
    as_digit,
    nested,
    read_kept,
    rounded,
    write_kept,
)
from idaq.catalogue.suite import describe
from idaq.core.config import to_mapping
from idaq.core.errors import RunError, UsageError
from idaq.core.ids import dataset_path
from idaq.format.reader import open_stored
from idaq.learn.run import differences, read_run

LOCK = ".lock"
_SHOWN = 5
"""differences that a refusal names"""


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """Keeps results of a matrix's runs below a folder: MATRIX/DATASET.json."""

    folder: Path
    bench: Bench

    def path(self, row: Row) -> Path:
        """The file of a row's dataset."""
        return self.folder / self.bench.matrix.name / f"{row.dataset.replace('/', '-')}.json"

    def begin(self, rows: Sequence[Row]) -> None:
        """Keep what is finished already. Raises RunError, and keeps none, where what is there is of other data, another
        protocol or other settings than these rows; UsageError for two rows of one dataset."""
        datasets = [row.dataset for row in rows]
        for row in rows:
            if datasets.count(row.dataset) > 1:
                hint = "--only LABEL; the leaderboard compares algorithms"
                raise UsageError(f"{row.dataset} has several rows: results are kept of one", hint=hint)
            if self.path(row).exists():
                _check_alike(self.path(row), read_kept(self.path(row)), self._finished(row))
        for row in rows:
            self.keep(row)

    def keep(self, row: Row) -> None:
        """Add the finished runs of a row to its file, whoever else does so at this moment. Raises as `begin` does.

        A run takes the place of another agent's of the same seed, and that is told; of the same agent's, strategies
        that it lacks stay.
        """
        path, new = self.path(row), self._finished(row)
        if not (new.runs or new.diverged):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(LOCK)):
            if path.exists():
                there = read_kept(path)
                _check_alike(path, there, new)
                new = self._merged(there, new)
            write_kept(path, new)

    def _finished(self, row: Row) -> KeptResults:
        (asked,) = (dataset for dataset in self.bench.matrix.datasets if dataset.id == row.dataset)
        records = {seed: record for seed, job in row.jobs.items() if (record := job.finished())}
        whole = {s: read_results(row.jobs[s].out) for s, record in records.items() if record.state == "finished"}
        return KeptResults(
            data=describe(open_stored(dataset_path(row.dataset, self.bench.place.root)), asked.set),
            config=row.plan.config,
            algorithm=row.config.algorithm,
            settings=changed_settings(to_mapping(row.config)),
            train_steps=row.config.steps,
            command=shlex.join(["idaq", "bench", self.bench.named, "--only", row.dataset]),
            tasks=next((result.tasks for result in whole.values()), []),
            strategies={
                name: KeptStrategy(role=one.role, settings=to_mapping(one)) for name, one in row.plan.strategies.items()
            },
            runs={seed: _kept(result, row, records[seed]) for seed, result in whole.items()},
            diverged={seed: record.problem or "" for seed, record in records.items() if record.state == "diverged"},
        )

    def _merged(self, there: KeptResults, new: KeptResults) -> KeptResults:
        runs = dict(there.runs)
        for seed, run in new.runs.items():
            before = runs.get(seed)
            if before and before.agent_digest == run.agent_digest:
                run = replace(run, returns=before.returns | run.returns, success=before.success | run.success)
            elif before:
                self.bench.tell(f"{new.data.dataset_id}: training seed {seed} replaced: another agent than before")
            runs[seed] = run
        return replace(
            new,
            tasks=new.tasks or there.tasks,
            strategies=there.strategies | new.strategies,
            runs={seed: run for seed, run in runs.items() if seed not in new.diverged},
            diverged={seed: words for seed, words in (there.diverged | new.diverged).items() if seed not in new.runs},
        )


def _kept(result: Results, row: Row, record: JobRecord) -> KeptRun:
    there = {name: result.strategies[name] for name in row.plan.strategies if name in result.strategies}
    return KeptRun(
        agent_digest=result.agent_digest or "",
        returns={name: nested(one.returns, rounded) for name, one in there.items()},
        success={name: nested(one.success, as_digit) for name, one in there.items()},
        cpu={"train": round(record.train.cpu, 1), "adapt": round(record.adapt.cpu, 1)},
        machine=record.machine,
        versions=read_run(row.jobs[result.train_seed].out).versions,
    )


def _check_alike(path: Path, there: KeptResults, new: KeptResults) -> None:
    """Raise RunError where runs of both cannot stand in one file."""
    both = there.strategies.keys() & new.strategies.keys()

    def shared(kept: KeptResults) -> dict[str, object]:
        plain = to_mapping(kept)
        plain["data"] = {name: plain["data"][name] for name in ("dataset_id", "content_digest")}
        plain["strategies"] = {name: plain["strategies"][name] for name in both}
        names = ("data", "config", "algorithm", "settings", "train_steps", "strategies")
        return {name: plain[name] for name in (*names, *(["tasks"] if there.tasks and new.tasks else []))}

    if differing := differences(shared(there), shared(new)):
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise RunError(
            f"{path} holds results of another kind: {'; '.join(differing[:_SHOWN])}{more}",
            hint="ask for the same data, protocol and settings, keep these in another folder, or remove that file",
        )
