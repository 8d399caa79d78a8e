"""trace.safetensors: one adaptation in full, for those who draw it. Seed 0 of every test task, strategy idaq-return.

Tensors, N test tasks, E adaptation episodes, T the family's horizon:
`observations` (N, E + 1, T + 1, D), the last episode being the fresh one; `returns` (N, E + 1); `z` (N, E + 1, Z);
`valid` (N, E + 1, T); `prior` (M, Z), `prior_tasks` (M,); `oracle` (N, Z), `test_tasks` (N,); `reference` (1,), the
episodes of the reference stage; where the family says so, `place` (2,) and `velocity` (1,), which of the D numbers are
a place on a plane and the velocity that the task is about.
"""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from idaq.adapt.adapt import Adapted
from idaq.adapt.results import TRACE
from idaq.adapt.strategies import best_episode
from idaq.core.errors import CorruptDatasetError, RunError
from idaq.core.files import replacing
from idaq.core.reading import LARGEST_TABLE, read_document
from idaq.core.types import Array

STRATEGY = "idaq-return"


def write_trace(run: Path, adapted: Adapted) -> bool:
    """Write the trace of `idaq-return`, if that strategy ran; returns whether it did."""
    if STRATEGY not in adapted.trials:
        return False
    trial, problems = adapted.trials[STRATEGY], adapted.problems
    first = np.arange(len(problems.tasks)) * problems.seeds
    batches = [*trial.episodes, adapted.final[STRATEGY]]
    seen = [
        np.concatenate([batch.transitions.observations[first], batch.transitions.next_observations[first, -1:]], 1)
        for batch in batches
    ]
    tensors = {
        "observations": np.stack(seen, 1),
        "returns": np.stack([batch.returns[first] for batch in batches], 1),
        "z": np.stack([z[first] for z in [*trial.tried, best_episode(trial)]], 1),
        "valid": np.stack([batch.valid[first] for batch in batches], 1),
        "prior": problems.prior,
        "prior_tasks": problems.prior_tasks,
        "oracle": problems.oracle,
        "test_tasks": np.array([task.task_index for task in problems.tasks]),
        "reference": np.array(trial.config.reference),
    }
    for name, columns in (("place", problems.family.place), ("velocity", problems.family.velocity)):
        if columns is not None:
            tensors[name] = np.atleast_1d(columns)
    with replacing(run / TRACE) as temporary:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, temporary)
    return True


def read_trace(run: Path) -> dict[str, Array]:
    """The tensors by name. Raises RunError if the file is missing or damaged."""
    try:
        return load(read_document(run / TRACE, LARGEST_TABLE))
    except (CorruptDatasetError, SafetensorError) as error:
        raise RunError(f"{run / TRACE} cannot be read: {error}", hint=f"idaq adapt {run} makes it anew") from None
