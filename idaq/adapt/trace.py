"""trace.safetensors: one adaptation in full, for those who draw it. Seed 0 of every test task, strategy idaq, the
largest budget.

Tensors, N test tasks, E adaptation episodes, T the family's horizon:
`observations` (N, E + 1, T + 1, D), the last episode being the fresh one; `returns` (N, E + 1); `z` (N, E + 1, Z);
`valid` (N, E + 1, T); `prior` (M, Z), `prior_tasks` (M,); `test_tasks` (N,); `reference` (1,), the episodes of the
reference stage; where the dataset was at hand, `offline` (N, Z), beliefs from the test tasks' own data; where the
family says so, `place` (2,) and `velocity` (1,), which of the D numbers are a place on a plane and the velocity that
the task is about.
"""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from idaq.adapt.adapt import Adapted
from idaq.adapt.beliefs import best_belief
from idaq.adapt.policy import BeliefPolicy
from idaq.adapt.results import TRACE
from idaq.core.errors import CorruptDatasetError, RunError
from idaq.core.files import write_bytes
from idaq.core.reading import LARGEST_TABLE, read_document
from idaq.core.types import Array

STRATEGY = "idaq"
_OFFLINE_CONTEXT = 400
"""transitions behind each belief from offline data"""


def write_trace(run: Path, adapted: Adapted) -> bool:
    """Write the trace of `idaq`, if that strategy ran and played under beliefs; returns whether it did."""
    history, problems = adapted.histories.get(STRATEGY), adapted.problems
    if history is None or not all(isinstance(policy, BeliefPolicy) for policy in history.policies):
        return False
    first = np.arange(len(problems.tasks)) * problems.seeds
    batches = [*history.episodes, adapted.final[STRATEGY]]
    seen = [
        np.concatenate([batch.transitions.observations[first], batch.transitions.next_observations[first, -1:]], 1)
        for batch in batches
    ]
    uncertainty = str(adapted.results.strategies[STRATEGY].settings["uncertainty"])
    tensors = {
        "observations": np.stack(seen, 1),
        "returns": np.stack([batch.returns[first] for batch in batches], 1),
        "z": np.stack([z[first] for z in [*history.beliefs, best_belief(history, uncertainty)]], 1),
        "valid": np.stack([batch.valid[first] for batch in batches], 1),
        "prior": history.prior.beliefs,
        "prior_tasks": history.prior.task_indices,
        "test_tasks": np.array([task.task_index for task in problems.tasks]),
        "reference": np.array(adapted.results.strategies[STRATEGY].reference[-1]),
    }
    if problems.dataset is not None:
        tensors["offline"] = problems.offline_beliefs(_OFFLINE_CONTEXT, adapted.results.config.seed)
    for name, columns in (("place", problems.family.place), ("velocity", problems.family.velocity)):
        if columns is not None:
            tensors[name] = np.atleast_1d(columns)
    write_bytes(run / TRACE, save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))
    return True


def has_trace(run: Path) -> bool:
    """Whether a whole trace is there."""
    try:
        read_trace(run)
    except RunError:
        return False
    return True


def read_trace(run: Path) -> dict[str, Array]:
    """The tensors by name. Raises RunError if the file is missing or damaged."""
    try:
        tensors = load(read_document(run / TRACE, LARGEST_TABLE))
        _check(tensors)
    except (CorruptDatasetError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"{run / TRACE} cannot be read: {error}", hint=f"idaq adapt {run} makes it anew") from None
    return tensors


def _check(tensors: dict[str, Array]) -> None:
    (tasks, played, steps), training = tensors["valid"].shape, len(tensors["prior_tasks"])
    numbers, latent = tensors["observations"].shape[-1], tensors["prior"].shape[-1]
    shapes = {
        "observations": (tasks, played, steps + 1, numbers),
        "returns": (tasks, played),
        "z": (tasks, played, latent),
        "prior": (training, latent),
        "prior_tasks": (training,),
        "test_tasks": (tasks,),
        "reference": (1,),
        "offline": (tasks, latent),
        "place": (2,),
        "velocity": (1,),
    }
    for name, tensor in tensors.items():
        if name in shapes and tensor.shape != shapes.pop(name):
            raise ValueError(f"{name} has shape {tensor.shape}")
    missing = shapes.keys() - {"offline", "place", "velocity"}
    columns = [column for name in ("place", "velocity") for column in tensors.get(name, np.array([], int)).tolist()]
    if missing or tensors["reference"].item() < 0 or not all(0 <= column < numbers for column in columns):
        raise ValueError("a tensor is missing or out of range")
