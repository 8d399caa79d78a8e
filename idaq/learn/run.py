"""A run directory: run.json (what was asked for), metrics.jsonl (what happened), checkpoint/ (what was learned)."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

import idaq
from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.errors import ConfigError, CorruptDatasetError, DatasetNotFoundError, RunError
from idaq.core.files import read_json, write_json
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.loader import Dataset, open_dataset

RUN, CHECKPOINTS, LOCK = "run.json", "checkpoint", ".train.lock"


@config
class RunRecord:
    """run.json: everything that determines the run, and what it ran on."""

    run_version: Literal[1] = 1
    dataset_id: str
    content_digest: str
    """of the dataset; empty for datasets of other makers"""
    dataset_path: str
    config: TrainConfig
    spec: AgentSpec
    created: str
    versions: dict[str, str]


def new_record(
    dataset_id: str, content_digest: str, dataset_path: Path | str, config: TrainConfig, spec: AgentSpec
) -> RunRecord:
    """A record stamped with time and versions."""
    names = ("torch", "numpy", "safetensors")
    return RunRecord(
        dataset_id=dataset_id,
        content_digest=content_digest,
        dataset_path=str(dataset_path),
        config=config,
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
        differing = differences(to_mapping(there.config), to_mapping(record.config))
        if differing:
            raise RunError(
                f"{out} holds a run with another config: {', '.join(differing)}",
                hint="give the same settings to resume it, or choose another --out",
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RUN, to_mapping(record))


@contextmanager
def claimed(out: Path) -> Iterator[None]:
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


def differences(there: dict[str, object], asked: dict[str, object], prefix: str = "") -> list[str]:
    """Each dotted key in which plain data differs, with both values, in words."""
    found = []
    for key in sorted({*there, *asked}):
        a, b = there.get(key), asked.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} is {a}, not {b}")
    return found
