"""The prior of a run: beliefs of the training tasks, kept in prior.safetensors, so that an agent needs no dataset."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from idaq.core.errors import CorruptDatasetError, RunError
from idaq.core.files import write_bytes
from idaq.core.outside import raised_as
from idaq.core.reading import LARGEST_TABLE, read_document
from idaq.core.types import Floats
from idaq.format.documents import TaskRecord, mean_random
from idaq.learn.algorithm import Agent, Prior, infer_tasks
from idaq.loader import Dataset
from idaq.loader.transitions import Transitions

PRIOR = "prior.safetensors"
_SEED = 0
"""of the contexts: agents of several training seeds remember their tasks by the same transitions"""


def infer_prior(agent: Agent, training: Dataset) -> Prior:
    """Beliefs of the tasks that an agent was trained on, each from `config.prior_context` offline transitions.

    Raises RunError for beliefs that are none, or not finite.
    """
    records = [task for task in training.tasks if isinstance(task, TaskRecord)]
    name = agent.config.algorithm
    with raised_as(RunError, f"infer of {name}"):
        indices, beliefs = infer_tasks(agent, training, agent.config.prior_context, _SEED)
    return Prior(
        beliefs=_beliefs(beliefs, len(indices), f"infer of {name}"),
        task_indices=indices,
        offline_return=float(training.episodes.total_reward[training.numbers].mean()),
        random_return=mean_random(records) if records else None,
    )


def _beliefs(given: object, tasks: int, what: str) -> Floats:
    """(tasks, Z) as an agent gave them. Raises RunError."""
    found = f"a {type(given).__name__}"
    if isinstance(given, np.ndarray):
        array = cast(NDArray[Any], given)
        if array.dtype == np.float32 and array.ndim == 2 and len(array) == tasks and np.isfinite(array).all():
            return array
        found = f"beliefs of {array.dtype} {array.shape}, or NaN"
    raise RunError(
        f"{what} gave {found} for contexts of {tasks} tasks",
        hint=f"a float32 NumPy array of {tasks} rows, all of it finite",
    )


def write_prior(out: Path, prior: Prior, step: int) -> None:
    """Write prior.safetensors of an agent of `step` training steps, whole or not at all."""
    tensors = {
        "beliefs": prior.beliefs,
        "task_indices": prior.task_indices,
        "offline_return": np.array(prior.offline_return),
        "step": np.array(step),
    }
    if prior.random_return is not None:
        tensors["random_return"] = np.array(prior.random_return)
    write_bytes(out / PRIOR, save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))


def read_prior(out: Path, step: int) -> Prior | None:
    """The prior of a run's agent of `step` steps; None where none was written of that agent. Raises RunError."""
    if not (out / PRIOR).is_file():
        return None
    try:
        tensors = load(read_document(out / PRIOR, LARGEST_TABLE))
        prior = Prior(
            beliefs=tensors["beliefs"],
            task_indices=tensors["task_indices"],
            offline_return=float(tensors["offline_return"].item()),
            random_return=float(tensors["random_return"].item()) if "random_return" in tensors else None,
        )
        mine = int(tensors["step"].item()) == step
        _check(prior)
    except (CorruptDatasetError, SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{out / PRIOR} cannot be read: {error}", hint=f"remove it: rm {out / PRIOR}") from None
    return prior if mine else None


def check_fits(out: Path, prior: Prior, agent: Agent) -> None:
    """Raise RunError for a prior of other beliefs than the agent infers."""
    there, wanted = prior.beliefs.shape[1], belief_size(agent)
    if there != wanted:
        raise RunError(f"{out / PRIOR} holds beliefs of {there} numbers, not of {wanted}", hint=f"rm {out / PRIOR}")


def belief_size(agent: Agent) -> int:
    """Z: how many numbers a belief of the agent has."""
    leading, spec = (1, 2), agent.spec
    observations = np.zeros((*leading, spec.observation_size), np.float32)
    nothing = Transitions(
        observations=observations,
        actions=np.zeros((*leading, spec.action_size), np.float32),
        rewards=np.zeros(leading, np.float32),
        next_observations=observations,
        terminated=np.zeros(leading, bool),
    )
    return agent.infer(nothing).shape[1]


def _check(prior: Prior) -> None:
    numbers = [prior.offline_return, *([] if prior.random_return is None else [prior.random_return])]
    if prior.beliefs.ndim != 2 or prior.beliefs.dtype != np.float32 or not len(prior.beliefs):
        raise ValueError(f"beliefs are {prior.beliefs.dtype} {prior.beliefs.shape}")
    if prior.task_indices.shape != prior.beliefs.shape[:1] or prior.task_indices.dtype != np.int64:
        raise ValueError(f"task_indices are {prior.task_indices.dtype} {prior.task_indices.shape}")
    if not (np.isfinite(prior.beliefs).all() and np.isfinite(numbers).all()):
        raise ValueError("NaN or infinity")
