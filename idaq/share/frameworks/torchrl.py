"""TorchRL: a TensorDict of all transitions, a replay buffer of them, and a source for its own `load_dataset`."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from idaq.core.extras import optional
from idaq.loader import Dataset, open_dataset
from idaq.share.frameworks.rows import TransitionRows

_ONE_NUMBER = ("next/reward", "next/terminated", "next/truncated", "next/done")
"""what TorchRL has as rows of one"""


def to_tensordict(dataset: Dataset, floats: DTypeLike | None = np.float32) -> Any:
    """A `TensorDict` of batch size (S,) in TorchRL's names, all in RAM.

    `observation` (D), `action` (A), `next`: `observation` (D), `reward` (1), `terminated` (1), `truncated` (1), `done`
    (1), either of the two; and `task_index`, `episode` (its number in the whole dataset), `step`, each without a last
    dimension. Of a Dict its parts, nested; extra columns by their names, nested where `/` stands in them. Raises
    MissingExtraError where tensordict is not installed, DatasetError for an empty selection.
    """
    tensordict = optional("tensordict")
    from idaq.share.frameworks.torch_data import tensor

    rows = TransitionRows(dataset, floats)
    found = rows.all()
    after = {here[1]: f"next/{here[0]}" for here in rows.names.values() if len(here) == 2}
    after |= {name: f"next/{name}" for name in ("reward", "terminated", "truncated")}
    named = {after.get(name, name): values for name, values in found.items()}
    named["next/done"] = named["next/terminated"] | named["next/truncated"]
    whole = tensordict.TensorDict({}, [len(rows)])
    for name, values in named.items():
        whole[tuple(name.split("/"))] = tensor(values[:, None] if name in _ONE_NUMBER else values)
    return whole


def to_torchrl(dataset: Dataset, batch_size: int, *, floats: DTypeLike | None = np.float32, **options: Any) -> Any:
    """A `torchrl.data.TensorDictReplayBuffer` holding `to_tensordict(dataset)`; `sample()` gives `batch_size` of them.

    `options` are the buffer's own: `sampler=`, `transform=`, ... Raises MissingExtraError where TorchRL is not
    installed, DatasetError for an empty selection.
    """
    data = optional("torchrl.data")
    rows = to_tensordict(dataset, floats)
    storage = data.LazyTensorStorage(len(rows))
    buffer = data.TensorDictReplayBuffer(storage=storage, batch_size=batch_size, **options)
    buffer.extend(rows)
    return buffer


def torchrl_source(
    dataset_id: str,
    *,
    batch_size: int,
    root: str | os.PathLike[str] | None = None,
    split: str | None = None,
    tasks: Iterable[int | str] | None = None,
    behaviour: str | None = None,
    **options: Any,
) -> Any:
    """`to_torchrl` of a dataset by its id, path or URL, for TorchRL's own way to name datasets (0.13 and later):

        torchrl.data.datasets.register_dataset("idaq", "idaq.share.frameworks:torchrl_source")
        torchrl.data.datasets.load_dataset("idaq:idaq/point-robot/expert-v0", batch_size=256, split="train")

    `split`, `tasks` and `behaviour` are those of `Dataset.select`. Raises what `open_dataset` and `to_torchrl` raise.
    """
    dataset = open_dataset(dataset_id, None if root is None else Path(root))
    chosen = dataset.select(split=split, tasks=tasks, behaviour=behaviour)
    return to_torchrl(chosen, batch_size, **options)
