"""JAX: arrays of all transitions; and a Flashbax item buffer of them."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from idaq.core.errors import DatasetError
from idaq.core.extras import optional
from idaq.core.types import Array
from idaq.loader import Dataset
from idaq.share.frameworks.rows import TransitionRows


def to_jax(dataset: Dataset, floats: DTypeLike | None = np.float32) -> dict[str, Any]:
    """All transitions as arrays of JAX, on its default device: (S, ...) of each, named as in `frameworks.rows`.

    Unless `jax_enable_x64` is set JAX has 32 bits: it makes float32 of float64, whatever `floats` is, and integers
    that int32 does not hold raise DatasetError. So does an empty selection; MissingExtraError without JAX.
    """
    jax, numpy = optional("jax"), optional("jax.numpy")
    rows = TransitionRows(dataset, floats).all()
    kept = {name: values if jax.config.jax_enable_x64 else _in_32_bits(name, values) for name, values in rows.items()}
    return {name: numpy.asarray(values) for name, values in kept.items()}


def to_flashbax(dataset: Dataset, batch_size: int, floats: DTypeLike | None = np.float32) -> tuple[Any, Any]:
    """A Flashbax item buffer and its state, which holds `to_jax(dataset)`; a sample's `experience` has `batch_size`.

        buffer, state = to_flashbax(dataset, 256)
        batch = buffer.sample(state, jax.random.key(0)).experience

    Raises MissingExtraError without Flashbax, DatasetError for an empty selection or one of fewer transitions.
    """
    flashbax, jax = optional("flashbax"), optional("jax")
    rows = to_jax(dataset, floats)
    size = len(rows["reward"])
    if size < batch_size:
        raise DatasetError(f"{dataset.dataset_id}: {size} transitions are selected, fewer than a batch of {batch_size}")
    buffer = flashbax.make_item_buffer(max_length=size, min_length=1, sample_batch_size=batch_size, add_sequences=True)
    state = buffer.init(jax.tree.map(lambda values: values[0], rows))
    return buffer, buffer.add(state, rows)


def _in_32_bits(name: str, values: Array) -> Array:
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8:
        return values.astype(np.float32) if values.dtype == np.float64 else values
    kind = np.dtype(np.int32 if values.dtype.kind == "i" else np.uint32)
    limits = np.iinfo(kind)
    if len(values) and (values.min() < limits.min or values.max() > limits.max):
        raise DatasetError(
            f"{name} has numbers that {kind} does not hold, and JAX has 32 bits",
            hint='jax.config.update("jax_enable_x64", True) before it is used',
        )
    return values.astype(kind)
