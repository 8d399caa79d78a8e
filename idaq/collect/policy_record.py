"""Weights of trained behaviour policies as the catalogue ships them: one safetensors file a snapshot, one record.

datasets/<family>/behaviours/record.json        how they were trained, and what each snapshot is worth
datasets/<family>/behaviours/<name>.safetensors  an actor: observation and task features -> Gaussian, squashed by tanh
datasets/<family>/behaviours/comparison.json    where it was made: the conditioned policy beside one policy a task
datasets/<family>/behaviours/per-task/          the same two files of one actor a task: observation -> Gaussian
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.errors import CorruptDatasetError, PolicyError, unknown_name
from idaq.core.files import read_json, write_bytes, write_json
from idaq.core.reading import LARGEST_TABLE, read_document
from idaq.core.types import Array, AtLeastOne, FamilyName, Sha256, Slug, VersionOne

RECORD, COMPARISON = "record.json", "comparison.json"
Tensors = dict[str, Array]
PER_TASK = "per-task"
"""Folder of a family's training of one policy a task"""


@config
class SacConfig:
    """Soft actor-critic (Haarnoja et al., 2018) on all tasks of a family at once, conditioned on the task."""

    steps: AtLeastOne = 200_000
    """control steps of all environments together"""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    tasks: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    """task indices to learn; none = all"""
    hidden: AtLeastOne = 256
    layers: AtLeastOne = 2
    lr: Annotated[float, Field(gt=0)] = 7e-4
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.99
    batch: AtLeastOne = 256
    envs: AtLeastOne = 4
    """environments side by side"""
    updates: Annotated[float, Field(gt=0, le=8)] = 0.5
    """gradient steps for each control step"""
    warmup: AtLeastOne = 4000
    """control steps of random actions before the first update"""
    relabelled: Annotated[float, Field(ge=0, le=1)] = 0.5
    """share of each batch that is paid as another task would have paid, where tasks differ in reward alone"""
    buffer: AtLeastOne = 1_000_000
    evaluate_every: AtLeastOne = 10_000
    """control steps between evaluations; a run that was stopped goes on from the last one"""
    snapshots: dict[Slug, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=lambda: {"medium": 0.5, "late": 0.75, "expert": 1.0}
    )
    """what is kept: the first evaluated policy that is this share of the way from the untrained one to the best"""


@config
class SacPerTaskConfig:
    """One soft actor-critic a task, each from its own transitions alone: all tasks are trained side by side.

    The defaults make the point robot's data of FOCAL and IDAQ: see `idaq.collect.sac_per_task`.
    """

    steps: AtLeastOne = 4800
    """control steps of each task; whole episodes"""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    tasks: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    """task indices to learn; none = all"""
    hidden: AtLeastOne = 64
    layers: AtLeastOne = 2
    lr: Annotated[float, Field(gt=0)] = 4e-4
    """of actors and critics"""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """of the entropy, at the start"""
    temperature_lr: Annotated[float, Field(gt=0)] = 1e-4
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.99
    tau: Annotated[float, Field(gt=0, le=1)] = 0.005
    """how far the target critics go towards the critics at each update"""
    batch: AtLeastOne = 128
    """transitions of each task"""
    updates: Annotated[float, Field(gt=0, le=8)] = 1.0
    """gradient steps for each control step"""
    warmup: AtLeastOne = 2000
    """control steps of random actions of each task before the first update"""
    buffer: AtLeastOne = 20_000
    """latest transitions of each task that are kept"""
    evaluate_every: AtLeastOne = 800
    """control steps of each task between evaluations, whole episodes; a run that was stopped resumes from the last"""


@config
class CurvePoint:
    """One evaluation along training: the mean action on some forty of the tasks, one episode each."""

    steps: Annotated[int, Field(ge=0)]
    mean: float
    minimum: float
    maximum: float
    seconds: Annotated[float, Field(ge=0)]
    """of computing, so far"""


@config
class Snapshot:
    """One policy of a training: its file, and its return over all trained tasks."""

    sha256: Sha256
    steps: Annotated[int, Field(ge=0)]
    mean: float
    std: float
    """between tasks"""
    minimum: float
    maximum: float


@config
class PolicyRecord:
    """record.json beside the weights."""

    record_version: VersionOne = 1
    family: FamilyName
    algorithm: str
    versions: dict[str, str]
    command: str
    """what trains them again"""
    observation_size: AtLeastOne
    feature_size: Annotated[int, Field(ge=0)]
    """task features that the policy is conditioned on; 0 for one policy a task"""
    action_size: AtLeastOne
    tasks: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    """one policy a task: the task that each row of the weights is for; none where all tasks share one policy"""
    dtype: Literal["float32", "float16"] = "float32"
    """of the weights in the files; policies compute in float32"""
    config: SacConfig | SacPerTaskConfig
    curve: list[CurvePoint]
    snapshots: dict[Slug, Snapshot]


@config
class PolicyStatistics:
    """What a policy does on one task, drawing from its own Gaussian; actions a in [-1, 1]."""

    mean: float
    """return"""
    std: float
    magnitude: float
    """mean |a|"""
    spread: float
    """mean over dimensions of the standard deviation of a"""
    saturated: float
    """share of |a| > 0.95"""
    change: float
    """mean |a_t+1 - a_t|"""


@config
class ComparedTask:
    """Two policies on one task."""

    task: Annotated[int, Field(ge=0)]
    conditioned: PolicyStatistics
    """on the task, trained for all"""
    single: PolicyStatistics
    """trained for this task alone"""


@config
class Comparison:
    """Is one policy that is conditioned on the task a fair stand-in for one policy a task?"""

    comparison_version: VersionOne = 1
    family: FamilyName
    snapshot: Slug
    """of either training"""
    episodes: AtLeastOne
    """of each policy on each task"""
    tasks: list[ComparedTask]
    commands: list[str]
    """what trained the single policies"""


def write_policy(path: Path, actor: Tensors, dtype: str = "float32") -> str:
    """Write an actor's tensors, whole or not at all; returns the file's sha256."""
    content = save({name: np.ascontiguousarray(value, dtype) for name, value in sorted(actor.items())})
    write_bytes(path, content)
    return hashlib.sha256(content).hexdigest()


def write_record(folder: Path, record: PolicyRecord) -> None:
    """Write record.json atomically."""
    write_json(folder / RECORD, to_mapping(record))


def read_record(folder: Path) -> PolicyRecord:
    """The record of a family's policies. Raises PolicyError where there is none, ConfigError for a damaged one."""
    path = folder / RECORD
    if not path.is_file():
        raise PolicyError(f"there are no trained behaviour policies in {folder}", hint="idaq behavior train FAMILY")
    return from_mapping(PolicyRecord, read_json(path), where=str(path), strict=True)


def read_policy(folder: Path, name: str) -> Tensors:
    """The tensors of a snapshot in float32, checked against its record: file digest, names, shapes and finite values.

    Raises UnknownNameError with near names, PolicyError for what does not match.
    """
    record = read_record(folder)
    if name not in record.snapshots:
        raise unknown_name(f"snapshot of {record.family}", name, record.snapshots)
    path, hint = folder / f"{name}.safetensors", "reinstall idaq, or train it again: idaq behavior train"
    try:
        content = read_document(path, LARGEST_TABLE)
        tensors = load(content)
    except (CorruptDatasetError, SafetensorError) as error:
        raise PolicyError(f"cannot read weights {path}: {error}", hint=hint) from None
    if hashlib.sha256(content).hexdigest() != record.snapshots[name].sha256:
        raise PolicyError(f"{path} is not the file that {RECORD} was written for: its sha256 differs", hint=hint)
    shapes = {key: (value.shape, str(value.dtype)) for key, value in tensors.items()}
    expected = {key: (shape, record.dtype) for key, shape in actor_shapes(record).items()}
    if shapes != expected:
        raise PolicyError(f"{path} holds {shapes}; its record asks for {expected}", hint=hint)
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise PolicyError(f"{path} holds NaN or infinity", hint=hint)
    return {key: value.astype(np.float32) for key, value in tensors.items()}


def actor_shapes(record: PolicyRecord) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of an actor; of one actor a task, those of all N tasks, (N, ...)."""
    sizes = [record.observation_size + record.feature_size, *[record.config.hidden] * record.config.layers]
    layers = {f"layers.{i}": (sizes[i + 1], sizes[i]) for i in range(record.config.layers)}
    layers |= dict.fromkeys(("mean", "log_std"), (record.action_size, sizes[-1]))
    stack = (len(record.tasks),) if record.tasks else ()
    return {
        f"{name}.{part}": stack + shape[: 2 if part == "weight" else 1]
        for name, shape in layers.items()
        for part in ("weight", "bias")
    }
