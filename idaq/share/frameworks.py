"""Open datasets as what d3rlpy, TorchRL and torch train from. S transitions, M episodes, D observation, A action.

Numbers are float32, as the loader gives them. All take a `Dataset`, so `select(split="train", behaviour=...)` comes
first. d3rlpy and TorchRL are imported when used: neither comes with idaq.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from idaq.core.errors import DatasetError
from idaq.core.extras import optional
from idaq.core.types import Array
from idaq.loader import Dataset
from idaq.loader.dataset import Where

Example = dict[str, torch.Tensor]


def to_d3rlpy(dataset: Dataset, tasks: Iterable[int | str] | None = None) -> Any:
    """A `d3rlpy.dataset.MDPDataset` of the selected episodes, in order; `tasks` selects by index or id.

    d3rlpy takes s' from the row after, and an episode that did not terminate then loses its last transition. So such an
    episode gets one more row, (s_T, zeros, 0): it is the s' of the last transition, starts none itself, and adds
    nothing to a return. An episode that terminated has no such row; d3rlpy never uses its last s'. Hence every
    transition of Q-learning is there and a time limit bootstraps; sequence models (Decision Transformer) see that row
    as a step. d3rlpy has no column for tasks: episode k's is `dataset.episodes.task_index[dataset.numbers[k]]`.
    (`d3rlpy.datasets.get_minari` shifts observations against actions by one more row each episode: do not use it.)

    Raises MissingExtraError without d3rlpy, DatasetError for an empty selection or an episode that
    continues after a termination, UnknownNameError for a task that the dataset does not have.
    """
    d3rlpy = optional("d3rlpy")
    chosen = dataset if tasks is None else dataset.select(tasks=tasks)
    _refuse_empty(chosen)
    parts: dict[str, list[Array]] = {
        name: [] for name in ("observations", "actions", "rewards", "terminals", "timeouts")
    }
    for position, episode in enumerate(chosen):
        if episode.terminated[:-1].any():
            raise DatasetError(f"{chosen.dataset_id}: selected episode {position} continues after it terminated")
        length, ended = len(episode), bool(episode.terminated[-1])
        rows = length if ended else length + 1
        actions = episode.actions.reshape(length, -1).astype(np.float32)
        ends = np.arange(rows) == rows - 1
        parts["observations"].append(episode.observations[:rows].reshape(rows, -1).astype(np.float32))
        parts["actions"].append(np.concatenate([actions, np.zeros_like(actions[: rows - length])]))
        parts["rewards"].append(np.append(episode.rewards, np.zeros(rows - length)).astype(np.float32)[:, None])
        parts["terminals"].append((ends & ended).astype(np.float32))
        parts["timeouts"].append((ends & (not ended)).astype(np.float32))
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return d3rlpy.dataset.MDPDataset(
        **columns, action_space=d3rlpy.ActionSpace.CONTINUOUS, action_size=columns["actions"].shape[1]
    )


def to_tensordict(dataset: Dataset) -> Any:
    """A `TensorDict` of batch size (S,) in TorchRL's names, all in RAM.

    `observation` (D), `action` (A), `next`: `observation` (D), `reward` (1), `terminated` (1), `truncated` (1), `done`
    (1), either of the two; and `task_index`, `episode` (its number in the whole dataset), `step`, each without a last
    dimension. Raises MissingExtraError where tensordict is not installed, DatasetError for an empty selection.
    """
    tensordict = optional("tensordict")
    rows = TransitionDataset(dataset)
    found = rows.batch(np.arange(len(rows)))
    after = {name: found.pop(name)[:, None] for name in ("reward", "terminated", "truncated")}
    after["observation"] = found.pop("next_observation")
    after["done"] = after["terminated"] | after["truncated"]
    return tensordict.TensorDict({**found, "next": tensordict.TensorDict(after, [len(rows)])}, [len(rows)])


def to_torchrl(dataset: Dataset, batch_size: int) -> Any:
    """A `torchrl.data.TensorDictReplayBuffer` holding `to_tensordict(dataset)`; `sample()` gives `batch_size` of them.

    Raises MissingExtraError where TorchRL is not installed, DatasetError for an empty selection.
    """
    data = optional("torchrl.data")
    rows = to_tensordict(dataset)
    buffer = data.TensorDictReplayBuffer(storage=data.LazyTensorStorage(len(rows)), batch_size=batch_size)
    buffer.extend(rows)
    return buffer


def to_torch_dataset(dataset: Dataset, where: Where = "auto") -> "TransitionDataset":
    """A map-style torch Dataset of the transitions, memory-mapped or in RAM as `Dataset.transitions(where)`.

    Raises DatasetError for an empty selection, and for "map" where the dataset cannot be mapped.
    """
    return TransitionDataset(dataset, where)


class TransitionDataset(TorchDataset[Example]):
    """Transition i as tensors: `observation` (D,), `action` (A,), `reward`, `next_observation` (D,), `terminated`,
    `truncated`, `task_index`, `episode` (its number in the whole dataset) and `step`. A `DataLoader` collates them.
    """

    def __init__(self, dataset: Dataset, where: Where = "auto") -> None:
        numbers = dataset.numbers
        lengths = dataset.episodes.length[numbers]
        self._table = dataset.transitions(where)
        self._truncated = np.zeros(len(self._table), bool)
        self._truncated[lengths.cumsum() - 1] = dataset.episodes.truncated[numbers]  # an episode ends where it is cut
        self._episode = np.repeat(numbers, lengths)
        self._task_index = np.repeat(dataset.episodes.task_index[numbers], lengths)
        self._step = np.concatenate([np.arange(length) for length in lengths])

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> Example:
        """One transition. Raises IndexError."""
        return {name: values[0] for name, values in self.batch(np.array([index])).items()}

    def __getitems__(self, indices: list[int]) -> list[Example]:
        """Several, gathered at once: what a DataLoader asks for. Raises IndexError."""
        rows = self.batch(np.array(indices))
        return [{name: values[place] for name, values in rows.items()} for place in range(len(indices))]

    def batch(self, indices: NDArray[np.int64]) -> Example:
        """The transitions numbered `indices` (B,), stacked: `observation` (B, D) and so on. Raises IndexError."""
        rows = self._table.gather(indices)
        arrays: dict[str, Array] = {
            "observation": rows.observations,
            "action": rows.actions,
            "reward": rows.rewards,
            "next_observation": rows.next_observations,
            "terminated": rows.terminated,
            "truncated": self._truncated[indices],
            "task_index": self._task_index[indices],
            "episode": self._episode[indices],
            "step": self._step[indices],
        }
        return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}


def _refuse_empty(dataset: Dataset) -> None:
    if not len(dataset):
        raise DatasetError(f"no episode of {dataset.dataset_id} is selected", hint="loosen select(...)")
