"""Checkpoints: one safetensors file each, all that an algorithm's next step depends on; written atomically.

Everything random in training is a pure function of (seed, step), so there is no generator state to keep.
"""

import hashlib
import json
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from idaq.core.digest import little_endian
from idaq.core.errors import CheckpointError, PluginError, RunError
from idaq.core.files import write_bytes
from idaq.core.outside import raised_as
from idaq.learn.algorithm import Agent, Algorithm, create_agent, create_algorithm
from idaq.learn.cross_returns import CROSS_RETURNS, read_cross_returns
from idaq.learn.device import check_device
from idaq.learn.prior import check_fits, infer_prior, read_prior
from idaq.learn.run import BEST, CHECKPOINTS, read_run
from idaq.loader import Dataset

KEEP = 2
_UNREADABLE = (
    *(SafetensorError, OSError, struct.error, json.JSONDecodeError),
    *(AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError),
)
_NAME = re.compile(r"step-[0-9]{8,18}\.safetensors")


def save_checkpoint(out: Path, step: int, algorithm: Algorithm) -> None:
    """Write checkpoint/step-<step>.safetensors, whole or not at all; drop all but the last two, and what kills left."""
    _save(out / CHECKPOINTS, step, algorithm)
    for old in checkpoints(out)[:-KEEP]:
        old.unlink(missing_ok=True)


def save_best(out: Path, step: int, algorithm: Algorithm) -> None:
    """Write best/step-<step>.safetensors, whole or not at all."""
    _save(out / BEST, step, algorithm)


def keep_best(out: Path, step: int | None) -> None:
    """Drop all but the best, of `step`, once a checkpoint stands behind it. Raises CheckpointError if it is gone."""
    steps = {step_of(path): path for path in checkpoints(out, BEST)}
    if step is not None and step not in steps:
        raise CheckpointError(f"{out / BEST} has no checkpoint of step {step}, the best", hint=f"remove {out}")
    for other in steps.keys() - {step}:
        steps[other].unlink(missing_ok=True)


def _save(folder: Path, step: int, algorithm: Algorithm) -> None:
    folder.mkdir(exist_ok=True)
    tensors = {name: value.contiguous() for name, value in algorithm.state().items()}
    write_bytes(folder / f"step-{step:08d}.safetensors", save(tensors, metadata={"step": str(step)}))
    for left in folder.glob(".step-*.tmp"):
        left.unlink(missing_ok=True)


def checkpoints(out: Path, kind: str = CHECKPOINTS) -> list[Path]:
    """Checkpoint files of a kind, oldest first; plain files alone, by the names that `save_checkpoint` gives."""
    found = [path for path in (out / kind).glob("step-*.safetensors") if _NAME.fullmatch(path.name)]
    return sorted((path for path in found if path.is_file()), key=step_of)


def step_of(path: Path) -> int:
    """The number of training steps a checkpoint has behind it."""
    return int(path.stem.removeprefix("step-"))


def restore(out: Path, algorithm: Algorithm, kind: str = CHECKPOINTS) -> int:
    """Load the newest readable checkpoint, or the best; returns its step, or 0 if there is none.

    Raises CheckpointError if there are checkpoints but none can be read.
    """
    files, reasons = checkpoints(out, kind), list[str]()
    for path in reversed(files):
        try:
            with cast(Any, safe_open(path, framework="pt")) as file:
                if (file.metadata() or dict[str, str]()).get("step") != str(step_of(path)):
                    continue  # renamed: it would resume at another step than its own
                tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            if not all(torch.isfinite(value).all() for value in tensors.values()):
                continue  # none is written with NaN or infinity
            algorithm.load_state(tensors)
        except _UNREADABLE as error:
            reasons.append(f"{path.name}: {type(error).__name__}: {error}")
            continue
        return step_of(path)
    if files:
        raise CheckpointError(
            f"none of the {len(files)} checkpoints in {out / kind} can be read",
            hint=f"remove {out} and train again",
            details=reasons,
        )
    return 0


def check_tensors(tensors: object, what: str) -> None:
    """Raise PluginError for what is no table of tensors by name; `what` says what gave it."""
    table = cast("Mapping[str, object]", tensors) if isinstance(tensors, Mapping) else {"all of it": tensors}
    for name, value in table.items():
        if not isinstance(value, Tensor):
            raise PluginError(
                f"{what}: {name} is of type {type(value).__name__}; tensors by name were expected",
                hint="torch.as_tensor makes one of a number or an array",
            )


def weights_digest(agent: Agent) -> str:
    """SHA-256 of all that an agent has learned: each tensor's name, dtype, shape and bytes, by name."""
    with raised_as(RunError, f"tensors of {agent.config.algorithm}"):
        tensors = agent.tensors()
    check_tensors(tensors, f"tensors of {agent.config.algorithm}")
    state = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        array = little_endian(tensor.cpu().numpy())
        state.update(f"{name}:{array.dtype.str}:{','.join(map(str, array.shape))};".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def load_agent(
    out: str | Path,
    device: str | torch.device = "cpu",
    *,
    allow: Collection[str] = (),
    dataset: Dataset | None = None,
) -> Agent:
    """The agent of a run directory, with the prior that the finished run has kept: of the best validation, or, in a run
    without validation, of the newest checkpoint.

    Where there is no prior, of a run that was stopped, it is inferred from the `dataset`, if that is given. `allow`
    names code outside installed packages (`package.module:thing`) that the run may be of. Raises RunError,
    CheckpointError or PluginError, and UsageError for a device that is not there.
    """
    out, device = Path(out).expanduser(), check_device(str(device))
    record = read_run(out)
    config = record.training(allow)
    algorithm = create_algorithm(config, record.spec, device)
    step = restore(out, algorithm, BEST) or restore(out, algorithm)
    if step == 0:
        raise CheckpointError(f"{out} has no checkpoint yet", hint="let idaq train run to its first checkpoint")
    prior = read_prior(out, step)
    if prior is not None:
        blank = create_agent(algorithm, config, None)
        check_fits(out, prior, blank)
        if (out / CROSS_RETURNS).is_file():
            measured = read_cross_returns(out, len(prior.beliefs), weights_digest(blank))
            prior = replace(prior, cross_returns=measured)
    elif dataset is not None:
        training = dataset.with_discrete(config.discrete).select(split=config.split)
        prior = infer_prior(create_agent(algorithm, config, None), training)
    return create_agent(algorithm, config, prior)
