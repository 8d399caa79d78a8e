"""The loop around every training of behaviour policies: laps, a curve, checkpoints, snapshots, a record.

A lap is fresh episodes whose seeds follow from (seed, lap), then an evaluation and a checkpoint. What was stopped
resumes from the last lap and ends as if it had not been.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from idaq.collect.policies import as_policy, play, sizes
from idaq.collect.policy_record import (
    RECORD,
    CurvePoint,
    PolicyRecord,
    SacConfig,
    SacPerTaskConfig,
    Snapshot,
    Tensors,
    read_record,
    write_policy,
    write_record,
)
from idaq.core.errors import PolicyError
from idaq.core.files import write_bytes
from idaq.core.metrics import append_metrics, truncate_metrics
from idaq.core.types import Advance, ignore_progress
from idaq.tasks import Family

CHECKPOINT = "checkpoint.safetensors"
MEASURED = 40
"""about so many tasks, evenly spread, make a point of the curve: with ten, luck chose the best of it"""


class PolicyTraining(Protocol):
    """A training of behaviour policies, lap by lap."""

    packages: Sequence[str]
    """whose versions the record states"""

    @property
    def steps(self) -> int:
        """Control steps so far, as the config counts them."""
        ...

    def lap(self, steps: int) -> None:
        """Train that many control steps, from fresh episodes. Raises PolicyError if it diverges."""
        ...

    def losses(self) -> dict[str, float]:
        """What the last lap's last update minimised; nothing before the first update."""
        ...

    def actor(self) -> Tensors:
        """The policy's tensors under their names in a weights file."""
        ...

    def snapshots(self, curve: Sequence[CurvePoint]) -> dict[str, CurvePoint]:
        """Which points of the curve are kept, by name."""
        ...

    def state(self) -> Tensors:
        """Networks, optimisers and replay."""
        ...

    def load(self, tensors: Tensors) -> None:
        """Go on from a state. Raises KeyError, ValueError or RuntimeError for tensors that are none."""
        ...


MakeTraining = Callable[[Family, Any], PolicyTraining]
"""family, config -> a training from its start"""


def chosen_tasks(family: Family, tasks: Sequence[int]) -> NDArray[np.int64]:
    """The task indices that a config names; all, where it names none. Raises PolicyError."""
    count = len(family.tasks)
    if bad := [task for task in tasks if task >= count]:
        raise PolicyError(f"{family.name} has no tasks {bad}", hint=f"task indices from 0 to {count - 1}")
    return np.array(tasks or range(count))


def train_policy(
    family: Family,
    config: SacConfig | SacPerTaskConfig,
    folder: Path,
    command: str,
    progress: Advance = ignore_progress,
) -> PolicyRecord:
    """Train in `folder`, or go on there; ends with a weights file for each snapshot and record.json.

    `progress` counts control steps. With more `steps` than before a finished training goes on; other `snapshots` are
    chosen from what the folder has. Raises PolicyError for a folder of another training.
    """
    make = _maker(config)
    folder.mkdir(parents=True, exist_ok=True)
    training = make(family, config)
    record = _begun(family, config, folder, command, training.packages)
    if record.snapshots and record.config == config:
        progress(config.steps)
        return record
    record = replace(record, config=config, command=command, snapshots={})  # none until they are chosen anew
    _restore(training, folder)
    curve = [point for point in record.curve if point.steps <= min(training.steps, config.steps)]
    truncate_metrics(folder, training.steps + 1 if curve else 0)
    progress(training.steps)
    while not curve or training.steps < config.steps:
        began, before = time.perf_counter(), training.steps
        if curve:
            training.lap(min(config.evaluate_every, config.steps - training.steps))
        actor = training.actor()
        write_policy(folder / _weights(training.steps), actor, record.dtype)
        curve.append(_point(family, record, actor, training.steps, curve, began))
        append_metrics(folder, training.steps, {"return": curve[-1].mean} | training.losses())
        _write(folder, record, curve=curve)
        _save(training, folder)
        progress(training.steps - before)
    return _finish(family, folder, replace(record, curve=curve), training.snapshots(curve))


def _maker(config: SacConfig | SacPerTaskConfig) -> MakeTraining:
    if isinstance(config, SacPerTaskConfig):
        from idaq.collect.sac_per_task import SacPerTask

        return SacPerTask
    from idaq.collect.sac import ConditionedSac

    return ConditionedSac


def _begun(
    family: Family, config: SacConfig | SacPerTaskConfig, folder: Path, command: str, packages: Sequence[str]
) -> PolicyRecord:
    if (folder / RECORD).exists():
        record = read_record(folder)
        free = {name: value for name, value in vars(config).items() if name in ("snapshots", "steps")}
        if type(record.config) is not type(config) or (record.family, replace(record.config, **free)) != (
            family.name,
            config,
        ):
            raise PolicyError(
                f"{folder} holds a training of {record.family} with another config", hint="choose another folder: --out"
            )
        return record
    alone = isinstance(config, SacPerTaskConfig)
    observations, features, actions = sizes(family, family.spaces(), conditioned=not alone)
    record = PolicyRecord(
        family=family.name,
        algorithm="SAC",
        versions={name: version(name) for name in packages},
        command=command,
        observation_size=observations,
        feature_size=features,
        action_size=actions,
        tasks=chosen_tasks(family, config.tasks).tolist() if alone else [],
        dtype="float16" if alone else "float32",
        config=config,
        curve=[],
        snapshots={},
    )
    write_record(folder, record)
    return record


def _evaluate(family: Family, record: PolicyRecord, actor: Tensors, tasks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return of the mean action on each task, one episode, always from the same start states."""
    policy = as_policy({name: value.astype(record.dtype).astype(np.float32) for name, value in actor.items()}, record)
    return play(family, policy, tasks, np.arange(len(tasks), dtype=np.uint64), 0.0).returns


def _point(
    family: Family, record: PolicyRecord, actor: Tensors, steps: int, curve: Sequence[CurvePoint], began: float
) -> CurvePoint:
    tasks = chosen_tasks(family, record.config.tasks)
    returns = _evaluate(family, record, actor, tasks[:: max(1, len(tasks) // MEASURED)])
    if not np.isfinite(returns).all():
        raise PolicyError("the policy drives the simulation to NaN or infinity", hint="a lower --set lr=")
    return CurvePoint(
        steps=steps,
        mean=float(returns.mean()),
        minimum=float(returns.min()),
        maximum=float(returns.max()),
        seconds=time.perf_counter() - began + (curve[-1].seconds if curve else 0),
    )


def _finish(family: Family, folder: Path, record: PolicyRecord, kept: Mapping[str, CurvePoint]) -> PolicyRecord:
    """Measure the snapshots on all tasks, and write them."""
    snapshots = {}
    for name, point in kept.items():
        actor = load_file(folder / _weights(point.steps))
        returns = _evaluate(family, record, actor, chosen_tasks(family, record.config.tasks))
        snapshots[name] = Snapshot(
            sha256=write_policy(folder / f"{name}.safetensors", actor, record.dtype),
            steps=point.steps,
            mean=float(returns.mean()),
            std=float(returns.std()),
            minimum=float(returns.min()),
            maximum=float(returns.max()),
        )
    return _write(folder, record, snapshots=snapshots)


def _weights(steps: int) -> str:
    return f"step-{steps:09d}.safetensors"


def _write(folder: Path, record: PolicyRecord, **changes: Any) -> PolicyRecord:
    changed = replace(record, **changes)
    write_record(folder, changed)
    return changed


def _save(training: PolicyTraining, folder: Path) -> None:
    """Write the state, whole or not at all."""
    content = save({name: np.ascontiguousarray(value) for name, value in training.state().items()})
    write_bytes(folder / CHECKPOINT, content)


def _restore(training: PolicyTraining, folder: Path) -> None:
    """Go on from the folder's checkpoint, if there is one. Raises PolicyError if it cannot be read."""
    path = folder / CHECKPOINT
    if not path.exists():
        return
    try:
        training.load(load_file(path))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        hint = f"remove {folder} and train again"
        raise PolicyError(f"checkpoint {path} cannot be read: {error}", hint=hint) from None


def first_at(curve: Sequence[CurvePoint], share: float) -> CurvePoint:
    """The first point that is `share` of the way from the curve's first to its best."""
    first, best = curve[0].mean, max(point.mean for point in curve)
    wanted = min(first + share * (best - first), best)  # rounding may lead beyond the best
    return next(point for point in curve if point.mean >= wanted)
