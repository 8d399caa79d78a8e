"""Checkpoints: one safetensors file each, weights, targets, normalisation and optimiser state; written atomically.

Everything random in training is a pure function of (seed, step), so there is no generator state to keep.
"""

import json
import re
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from idaq.core.errors import CheckpointError
from idaq.core.files import replacing
from idaq.learn.agent import Agent, Optimisation
from idaq.learn.run import CHECKPOINTS, read_run

KEEP = 2
_NAME = re.compile(r"step-[0-9]{8,18}\.safetensors")


def save_checkpoint(out: Path, step: int, agent: Agent, optimisation: Optimisation) -> None:
    """Write checkpoint/step-<step>.safetensors, whole or not at all, and drop all but the last two."""
    folder = out / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    tensors = {f"agent.{name}": value.contiguous() for name, value in agent.state_dict().items()}
    tensors |= _optimiser_tensors(optimisation)
    with replacing(folder / f"step-{step:08d}.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"step": str(step)})
    for old in checkpoints(out)[:-KEEP]:
        old.unlink(missing_ok=True)


def checkpoints(out: Path) -> list[Path]:
    """Checkpoint files, oldest first; plain files alone, by the names that `save_checkpoint` gives."""
    found = [path for path in (out / CHECKPOINTS).glob("step-*.safetensors") if _NAME.fullmatch(path.name)]
    return sorted((path for path in found if path.is_file()), key=step_of)


def step_of(path: Path) -> int:
    """The number of training steps a checkpoint has behind it."""
    return int(path.stem.removeprefix("step-"))


def restore(out: Path, agent: Agent, optimisation: Optimisation | None) -> int:
    """Load the newest readable checkpoint; returns its step, or 0 if there is none.

    Raises CheckpointError if there are checkpoints but none can be read.
    """
    files = checkpoints(out)
    for path in reversed(files):
        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("step") != str(step_of(path)):
                    continue  # renamed: it would resume at another step than its own
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            agent.load_state_dict({k.removeprefix("agent."): v for k, v in tensors.items() if k.startswith("agent.")})
            if optimisation is not None:
                _restore_optimisers(optimisation, tensors)
        except (SafetensorError, OSError, RuntimeError, KeyError, ValueError, struct.error, json.JSONDecodeError):
            continue
        return step_of(path)
    if files:
        raise CheckpointError(
            f"none of the {len(files)} checkpoints in {out / CHECKPOINTS} can be read",
            hint=f"remove {out} and train again",
        )
    return 0


def load_agent(out: Path, device: str | torch.device = "cpu") -> Agent:
    """The agent of a run directory, at its newest checkpoint. Raises RunError or CheckpointError."""
    record = read_run(out)
    agent = Agent(record.config, record.spec)
    if restore(out, agent, None) == 0:
        raise CheckpointError(f"{out} has no checkpoint yet", hint="let idaq train run to its first checkpoint")
    return agent.to(device).eval()


def _optimiser_tensors(optimisation: Optimisation) -> dict[str, Tensor]:
    return {
        f"optimiser.{name}.{index}.{key}": value.contiguous()
        for name, optimiser in optimisation.named()
        for index, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
    }


def _restore_optimisers(optimisation: Optimisation, tensors: dict[str, Tensor]) -> None:
    for name, optimiser in optimisation.named():
        prefix = f"optimiser.{name}."
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(prefix):
                index, field = key.removeprefix(prefix).split(".")
                state.setdefault(int(index), {})[field] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
