"""PyTorch: a map-style Dataset of transitions."""

from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch.utils.data import Dataset as TorchDataset

from idaq.core.types import Array
from idaq.loader import Dataset
from idaq.share.frameworks.rows import TransitionRows

Example = dict[str, torch.Tensor]


def to_torch_dataset(dataset: Dataset, floats: DTypeLike | None = np.float32) -> "TransitionDataset":
    """A map-style torch Dataset of the transitions, read where they lie: of our own datasets, out of a memory map.

    Raises DatasetError for an empty selection.
    """
    return TransitionDataset(dataset, floats)


class TransitionDataset(TorchDataset[Example]):
    """Transition i as tensors, named as in `frameworks.rows`. A `DataLoader` collates them."""

    def __init__(self, dataset: Dataset, floats: DTypeLike | None = np.float32) -> None:
        self._rows = TransitionRows(dataset, floats)
        self.names = self._rows.names
        """of each column of the dataset: how it is called here, and what follows"""

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        """One transition. Raises IndexError."""
        return {name: values[0] for name, values in self.batch(np.array([index])).items()}

    def __getitems__(self, indices: list[int]) -> list[Example]:
        """Several, gathered at once: what a DataLoader asks for. Raises IndexError."""
        rows = self.batch(np.array(indices))
        return [{name: values[place] for name, values in rows.items()} for place in range(len(indices))]

    def batch(self, indices: NDArray[np.int64]) -> Example:
        """The transitions numbered `indices` (B,), stacked: `observation` (B, D) and so on. Raises IndexError."""
        return {name: tensor(values) for name, values in self._rows.batch(indices).items()}


def tensor(values: Array) -> torch.Tensor:
    """An array that nobody else holds, as a tensor. Its memory is shared."""
    native: Any = np.ascontiguousarray(values)
    return torch.from_numpy(native if native.flags.writeable else native.copy())
