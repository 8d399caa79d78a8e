"""leaderboard.json: a table for each dataset and protocol, a row for each algorithm; rows join it from any matrix."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import Field

from idaq.adapt.config import AdaptConfig
from idaq.adapt.results import Results, read_results
from idaq.adapt.run_job import JobRecord, Machine
from idaq.benchmark.rows import Row, Tell
from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.files import read_json, write_json
from idaq.evaluate.commands import settings
from idaq.evaluate.protocol import Summary, paired_with, summarise
from idaq.evaluate.statistics import Estimate
from idaq.learn.config import training_config
from idaq.learn.run import read_run

BOARD, LOCK = "leaderboard.json", ".leaderboard.lock"
BASELINE = "focal-td3bc"
"""the row that every other's difference is given to"""
_RUNS_OWN = ("algorithm", "seed", "threads")


@config
class Compute:
    """What a run of a row took, a mean over its runs: seconds of processor time, of one thread."""

    train: float
    steps_per_second: float | None
    """None where it was not measured"""
    adapt: float | None
    """None where no run came so far"""
    machine: Machine
    """of the first run"""


@config
class BoardRow:
    """An algorithm on a dataset."""

    algorithm: str
    settings: list[str]
    """key=value, in which its training differs from the algorithm's defaults"""
    summary: Summary | None
    """of the runs that did not diverge; None where none is left"""
    over_baseline: dict[str, list[Estimate]] = Field(default_factory=dict)
    """by strategy, at each report: paired difference of returns to the baseline's under the same strategy, same seeds
    and tasks; empty where the baseline has not run"""
    baseline: dict[int, str] = Field(default_factory=dict)
    """agents that it was compared with: training seed -> digest"""
    agents: dict[int, str]
    """training seed -> SHA-256 of the agent's weights"""
    diverged: dict[int, str] = Field(default_factory=dict)
    """training seed -> where NaN or infinity came up; these runs are in no mean"""
    cannot: list[str] = Field(default_factory=list)
    """strategies asked for that the agent cannot run"""
    compute: Compute
    command: str
    """what makes the row again"""


@config
class BoardTable:
    """Rows that can be compared: the same data, the same protocol."""

    dataset_id: str
    content_digest: str
    config: AdaptConfig
    each_budget: bool = False
    """as in the results: whether each budget was planned and run on its own"""
    rows: dict[str, BoardRow]
    """by label"""

    def is_of(self, other: "BoardTable") -> bool:
        """Whether rows of both can stand in one table."""
        same = self.dataset_id == other.dataset_id and self.content_digest == other.content_digest
        protocols = [(one.each_budget, replace(one.config, threads=0)) for one in (self, other)]
        return same and protocols[0] == protocols[1]


@config
class Leaderboard:
    """The document."""

    leaderboard_version: Literal[1] = 1
    tables: list[BoardTable] = Field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Finished:
    """The finished runs of a row."""

    row: Row
    records: Mapping[int, JobRecord]
    results: Sequence[Results]
    """of those that did not diverge, by seed"""

    @property
    def agents(self) -> dict[int, str]:
        return {result.train_seed: result.agent_digest or "" for result in self.results}


def make_tables(rows: Iterable[Row], baselines: Iterable[Row], matrix: str) -> list[BoardTable]:
    """The tables of rows whose runs are finished, at least one of each; `matrix` is how a command names it.

    `baselines` are the rows that they are compared with. Raises RunError for damaged results.
    """
    compared = {row.dataset: _finished(row) for row in baselines}
    tables = dict[str, BoardTable]()
    for row in rows:
        done = _finished(row)
        if not done.records:
            continue
        made = _board_row(done, compared.get(row.dataset), matrix)
        table = tables.get(row.dataset) or BoardTable(
            dataset_id=row.dataset, content_digest=row.content_digest, config=row.plan.config, each_budget=True, rows={}
        )
        tables[row.dataset] = replace(table, rows={**table.rows, row.label: made})
    return list(tables.values())


def _finished(row: Row) -> _Finished:
    records = {seed: record for seed, job in row.jobs.items() if (record := job.finished())}
    whole = [seed for seed, record in records.items() if record.state == "finished"]
    return _Finished(row=row, records=records, results=[read_results(row.jobs[seed].out) for seed in sorted(whole)])


def _board_row(done: _Finished, baseline: _Finished | None, matrix: str) -> BoardRow:
    row, records = done.row, list(done.records.values())
    command = shlex.join(["idaq", "bench", matrix, "--only", row.name])
    over = dict[str, list[Estimate]]()
    if baseline and done.results and baseline.results and baseline.row.label != row.label:
        both = done.results[0].strategies.keys() & baseline.results[0].strategies.keys()
        pairs = {name: paired_with(done.results, baseline.results, name) for name in done.results[0].strategies}
        over = {name: pair for name, pair in pairs.items() if name in both and pair}
    asked = row.plan.strategies
    return BoardRow(
        algorithm=row.config.algorithm,
        settings=changed_settings(read_run(row.jobs[next(iter(done.records))].out).config),
        summary=summarise(done.results, [command]) if done.results else None,
        over_baseline=over,
        baseline=baseline.agents if baseline and over else {},
        agents=done.agents,
        diverged={seed: record.problem or "" for seed, record in done.records.items() if record.state == "diverged"},
        cannot=[name for name in asked if name not in done.results[0].strategies] if done.results else [],
        compute=Compute(
            train=sum(record.train.cpu for record in records) / len(records),
            steps_per_second=_mean([record.train.rate for record in records]),
            adapt=_mean([record.adapt.cpu for record in records if record.state == "finished"]),
            machine=records[0].machine,
        ),
        command=command,
    )


def changed_settings(trained: Mapping[str, Any]) -> list[str]:
    """key=value, in which a training differs from its algorithm's defaults."""
    defaults = to_mapping(training_config({"algorithm": trained["algorithm"]}))
    return [setting for setting in settings(trained, defaults) if setting.partition("=")[0] not in _RUNS_OWN]


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def merged(board: Leaderboard, tables: Sequence[BoardTable], tell: Tell) -> Leaderboard:
    """The board with these rows added, each in place of the row of its label; every other row stays.

    A comparison with a baseline that is no longer the table's is taken out, and told.
    """
    result = list(board.tables)
    for new in tables:
        where = [i for i, there in enumerate(result) if there.is_of(new)]
        if not where:
            if any(there.dataset_id == new.dataset_id for there in result):
                tell(f"{new.dataset_id}: other data or another protocol than before: a table of its own")
            result.append(new)
            continue
        there = result[where[0]]
        for label in new.rows.keys() & there.rows.keys():
            if new.rows[label].agents != there.rows[label].agents:
                tell(f"{new.dataset_id}: {label} replaced: {_of(new.rows[label])}, before {_of(there.rows[label])}")
        result[where[0]] = _without_stale(replace(there, rows={**there.rows, **new.rows}), tell)
    return Leaderboard(tables=sorted(result, key=lambda table: table.dataset_id))


def _of(row: BoardRow) -> str:
    return f"training seeds {', '.join(map(str, {**row.agents, **row.diverged}))}"


def _without_stale(table: BoardTable, tell: Tell) -> BoardTable:
    baseline = table.rows.get(BASELINE)
    agents = baseline.agents if baseline else {}
    rows = dict[str, BoardRow]()
    for label, row in table.rows.items():
        stale = row.over_baseline and row.baseline != agents
        rows[label] = replace(row, over_baseline={}, baseline={}) if stale else row
        if stale:
            tell(
                f"{table.dataset_id}: {label} was compared with other runs of {BASELINE}; {row.command} compares again"
            )
    return replace(table, rows=rows)


def read_board(folder: Path) -> Leaderboard:
    """leaderboard.json of a folder, or an empty one. Raises ConfigError or CorruptDatasetError for a damaged one."""
    path = folder / BOARD
    return from_mapping(Leaderboard, read_json(path), where=str(path)) if path.exists() else Leaderboard()


def update_board(folder: Path, tables: Sequence[BoardTable], tell: Tell) -> Leaderboard:
    """Merge tables into leaderboard.json of a folder, whoever else does so at this moment."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        board = merged(read_board(folder), tables, tell)
        write_json(folder / BOARD, to_mapping(board))
    return board
