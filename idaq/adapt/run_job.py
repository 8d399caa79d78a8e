"""A whole run by names, trained and then adapted in one worker; job.json says what was asked, and what it took."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import Field

from idaq.adapt.jobs import AdaptJob
from idaq.adapt.results import RESULTS, Results, read_results
from idaq.adapt.training import TrainJob
from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.errors import IdaqError, NonFiniteError
from idaq.core.files import read_json, write_json
from idaq.core.machine import cores, processor
from idaq.core.types import Advance, PlainData
from idaq.learn.loop import use_threads

JOB, LOCK = "job.json", ".job.lock"
_OFTEN = 5.0
"""seconds between two looks at the clock that are kept: a killed run loses at most these"""


@config
class Phase:
    """What a part of a run took, all attempts together: what a killed one did again counts twice."""

    count: int = 0
    """training steps, or adaptation episodes"""
    wall: float = 0.0
    """seconds"""
    cpu: float = 0.0
    """seconds of processor time"""
    counting: float = 0.0
    """those of `cpu` from the first of `count` to the last; in the others data are opened, and beliefs inferred"""

    @property
    def rate(self) -> float | None:
        """Of `count`, a second of processor time, whatever else the machine does; None where nothing was counted."""
        return self.count / self.counting if self.count and self.counting else None


@config
class Machine:
    """What a run ran on."""

    cores: int
    processor: str | None
    """None where the system does not say"""
    device: str


@config
class JobRecord:
    """job.json. Nothing of it decides what a run comes to."""

    job_version: Literal[1] = 1
    asked: PlainData
    """dataset, settings, strategies, as they were asked for"""
    state: Literal["running", "finished", "diverged"] = "running"
    problem: str | None = None
    """of a run that diverged: where NaN or infinity came up"""
    left_out: list[str] = Field(default_factory=list)
    """strategies that the agent cannot run, and why"""
    train: Phase = Field(default_factory=Phase)
    adapt: Phase = Field(default_factory=Phase)
    machine: Machine


@dataclass(frozen=True, kw_only=True)
class RunJob:
    """What to train and then to adapt, in one folder. The same job again resumes, to the same bits."""

    train: TrainJob
    adapt: AdaptJob
    content_digest: str
    """of the dataset as it is now"""

    @property
    def out(self) -> Path:
        """The run directory."""
        return self.adapt.run

    @property
    def asked(self) -> dict[str, Any]:
        """As plain data, what a finished run of this job was asked for."""
        names = self.adapt.names
        return {
            "dataset": self.train.dataset,
            "content_digest": self.content_digest,
            "train": dict(self.train.settings),
            "strategies": None if names is None else list(names),
            "adapt": dict(self.adapt.settings),
            "each_budget": True,  # what older runs were not asked for
        }

    def record(self) -> JobRecord | None:
        """job.json as it is now; None where there is none that can be read."""
        try:
            return from_mapping(JobRecord, read_json(self.out / JOB), where=str(self.out / JOB))
        except (OSError, IdaqError):
            return None

    def finished(self) -> JobRecord | None:
        """The record of a run that is done, and of what is asked for now; None where there is something to do."""
        there = self.record()
        if there is None or there.asked != self.asked or there.state == "running":
            return None
        return there if there.state == "diverged" or (self.out / RESULTS).is_file() else None

    def run(self, wait: bool = True) -> JobRecord | None:
        """Do what is missing, in a worker. A loss that is NaN ends it as `diverged`; other errors are raised.

        None where another process does it, unless `wait`: then this one takes over what that one leaves.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.out / LOCK)
        try:
            held = lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return None
        with held:
            return self.finished() or self._run()

    def results(self) -> Results:
        """Run, and what came out. Raises NonFiniteError for a run that diverged."""
        done = self.run()
        if done is not None and done.state == "diverged":
            raise NonFiniteError(done.problem or "diverged", hint="train into another folder with lower learning rates")
        return read_results(self.out)

    def _run(self) -> JobRecord:
        before = self.record()
        record = JobRecord(
            asked=self.asked,
            train=before.train if before else Phase(),
            adapt=before.adapt if before else Phase(),
            machine=Machine(cores=cores(), processor=processor(), device=self.train.device or self.adapt.device),
        )

        def keep(**changes: Any) -> None:
            nonlocal record
            record = replace(record, **changes)
            write_json(self.out / JOB, to_mapping(record))

        try:
            with timed(record.train, lambda phase: keep(train=phase)) as advance:
                self.train.open().run(advance)
        except NonFiniteError as error:
            keep(state="diverged", problem=error.message)
            return record
        notes = list[str]()
        with timed(record.adapt, lambda phase: keep(adapt=phase)) as advance:
            planned = self.adapt.plan(notes.append)
            use_threads(planned.plan.config.threads)
            advance(0)
            planned.run(advance)
        keep(state="finished", left_out=notes)
        return record


@contextmanager
def timed(before: Phase, keep: Callable[[Phase], object]) -> Generator[Advance]:
    """An `Advance` that counts on top of `before`; `keep` is given the sum now and then, and at the end.

    The first call says what was there before, and is not counted.
    """
    start, cpu, told, count = time.monotonic(), time.process_time(), time.monotonic(), 0
    first = last = None

    def phase() -> Phase:
        return Phase(
            count=before.count + count,
            wall=before.wall + time.monotonic() - start,
            cpu=before.cpu + time.process_time() - cpu,
            counting=before.counting + (0.0 if first is None or last is None else last - first),
        )

    def advance(more: int) -> None:
        nonlocal first, last, told, count
        last = time.process_time()
        if first is None:
            first = last
        else:
            count += more
        if time.monotonic() - told > _OFTEN:
            told = time.monotonic()
            keep(phase())

    try:
        yield advance
    finally:
        keep(phase())
