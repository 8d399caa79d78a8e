"""A run directory: what was asked for, what happened, what was learned, and what there is to adapt to.

run.json, metrics.jsonl, checkpoint/ and prior.safetensors, tasks.json; best/ of a run with validation;
cross-returns.safetensors where they were measured.
"""

import platform
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import model_validator

import idaq
from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.errors import ConfigError, CorruptDatasetError, DatasetError, DatasetNotFoundError, RunError
from idaq.core.files import read_json, write_json
from idaq.core.plain import is_table
from idaq.core.registry import references_in
from idaq.core.types import PlainData
from idaq.format.documents import TaskRecord
from idaq.learn.config import AgentSpec, TrainConfig, training_config
from idaq.loader import Dataset, open_dataset

RUN, TASKS, CHECKPOINTS, BEST, LOCK = "run.json", "tasks.json", "checkpoint", "best", ".train.lock"


@config
class RunRecord:
    """run.json: everything that determines the run, and what it ran on."""

    run_version: Literal[1] = 1
    dataset_id: str
    content_digest: str
    """of the dataset; empty for datasets of other makers"""
    dataset_path: str
    config: PlainData
    """of the algorithm that it names"""
    spec: AgentSpec
    created: str
    versions: dict[str, str]

    @property
    def seed(self) -> int:
        """Of weights and batches."""
        return self.config.get("seed", 0)

    @model_validator(mode="after")
    def _seed_is_an_integer(self) -> "RunRecord":
        seed = self.config.get("seed", 0)
        if type(seed) is not int:
            raise ValueError(f"config.seed must be an integer, got {seed!r}")
        return self

    def training(self, allow: Collection[str] = ()) -> TrainConfig:
        """`config` as the algorithm's own.

        Raises PluginError for an algorithm that is neither installed nor in `allow`, RunError for a damaged config.
        """
        try:
            return training_config({}, self.config, allow=allow)
        except ConfigError as error:
            hint = "train again into another directory"
            raise RunError(error.message.replace("training settings: ", f"{RUN}: config."), hint=hint) from None


@config
class TaskSet:
    """tasks.json: the tasks of the dataset that a run was trained on, for adapting to them without it."""

    tasks_version: Literal[1] = 1
    dataset_id: str
    content_digest: str
    family: str
    simulators: dict[str, str]
    """packages and their versions that decide what an episode holds"""
    adapt: PlainData
    """the recipe's defaults of adaptation"""
    tasks: list[TaskRecord]

    @model_validator(mode="after")
    def _each_task_stands_once(self) -> "TaskSet":
        for name in ("task_id", "task_index"):
            if len({getattr(task, name) for task in self.tasks}) != len(self.tasks):
                raise ValueError(f"a {name} stands twice")
        return self


def new_record(
    dataset_id: str, content_digest: str, dataset_path: Path | str, config: TrainConfig, spec: AgentSpec
) -> RunRecord:
    """A record stamped with time and versions."""
    names = ("torch", "numpy", "safetensors")
    return RunRecord(
        dataset_id=dataset_id,
        content_digest=content_digest,
        dataset_path=str(dataset_path),
        config=to_mapping(config),
        spec=spec,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"idaq": idaq.__version__, "python": platform.python_version(), **{n: version(n) for n in names}},
    )


def read_run(out: Path) -> RunRecord:
    """run.json of a run directory. Raises RunError if there is none or it cannot be understood."""
    if not (out / RUN).is_file():
        raise RunError(
            f"{out} is not a run directory: it has no {RUN}", hint="idaq train --dataset ID --out DIR makes one"
        )
    try:
        return from_mapping(RunRecord, read_json(out / RUN), where=str(out / RUN))
    except (ConfigError, CorruptDatasetError) as error:
        raise RunError(error.message, hint="train again into another directory") from None


def task_set(dataset: Dataset) -> TaskSet:
    """All tasks of a dataset. Raises DatasetError for one of another maker, which does not say what its tasks are."""
    if dataset.manifest is None:
        raise DatasetError(f"{dataset.dataset_id} was not written by idaq: it does not say what its tasks are")
    return TaskSet(
        dataset_id=dataset.dataset_id,
        content_digest=dataset.manifest.content_digest,
        family=dataset.manifest.family,
        simulators=dict(dataset.manifest.provenance.simulators),
        adapt=dataset.manifest.recipe.adapt,
        tasks=[task for task in dataset.all_tasks if isinstance(task, TaskRecord)],
    )


def run_tasks(run: Path) -> TaskSet | None:
    """tasks.json of a run; None where none was written: on another maker's dataset.

    Raises RunError if it is damaged, or of another dataset than the run.
    """
    if not (run / TASKS).is_file():
        return None
    hint, record = f"remove it and run the same idaq train again: rm {run / TASKS}", read_run(run)
    try:
        tasks = from_mapping(TaskSet, read_json(run / TASKS), where=str(run / TASKS))
    except (ConfigError, CorruptDatasetError) as error:
        raise RunError(error.message, hint=hint) from None
    if (tasks.dataset_id, tasks.content_digest) != (record.dataset_id, record.content_digest):
        raise RunError(f"{run / TASKS} is of another dataset than {RUN}", hint=hint)
    return tasks


def run_dataset(run: Path, root: Path | None = None) -> Dataset:
    """The dataset that a run was trained on, by id below `root` or where it was then. Raises RunError if it changed."""
    record = read_run(run)
    try:
        dataset = open_dataset(record.dataset_id, root)
    except DatasetNotFoundError:
        if root is not None:
            raise
        there = record.dataset_path
        dataset = open_dataset(there if "://" in there else Path(there))
    digest = dataset.manifest.content_digest if dataset.manifest else ""
    if digest != record.content_digest:
        raise RunError(
            f"{run} was trained on {record.dataset_id} with content {record.content_digest[:12]}, found {digest[:12]}",
            hint="give the right --root, or train again",
        )
    return dataset


def start_or_resume(out: Path, record: RunRecord) -> None:
    """Claim `out` for a run, or check that the run already there is the same one. Raises RunError if it is not."""
    if (out / RUN).exists():
        there = read_run(out)
        if there.content_digest != record.content_digest or there.dataset_id != record.dataset_id:
            raise RunError(f"{out} holds a run on {there.dataset_id} with other content", hint="choose another --out")
        trusted = tuple(references_in(record.config))  # which the user has named now
        differing = differences(to_mapping(there.training(trusted)), record.config)
        if differing:
            raise RunError(
                f"{out} holds a run with another config: {', '.join(differing)}",
                hint="give the same settings to resume it, or choose another --out",
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RUN, to_mapping(record))


@contextmanager
def claimed(out: Path) -> Generator[None]:
    """One training of a run directory at a time; the kernel drops the lock of a killed one. Raises RunError."""
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"another training writes {out}", hint="wait for it to end, or choose another --out") from None
    try:
        yield
    finally:
        lock.release()


def differences(there: Mapping[str, object], asked: Mapping[str, object], prefix: str = "") -> list[str]:
    """Each dotted key in which plain data differs, with both values, in words."""
    found = list[str]()
    for key in sorted({*there, *asked}):
        a, b = there.get(key), asked.get(key)
        if is_table(a) and is_table(b):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} is {a}, not {b}")
    return found
