"""Content digests: of values, never of the layout that holds them."""

import hashlib
from collections.abc import Iterable

import numpy as np

from idaq.core.config import canonical_json
from idaq.core.types import TERMINATIONS, TRUNCATIONS, Array, Episode

_LABELS = {TERMINATIONS: "terminated", TRUNCATIONS: "truncated"}
"""columns that digest under another name than their own"""


def episode_digest(episode: Episode, *, task_index: int, seed: int | None) -> str:
    """SHA-256 of one episode: each column's name, little-endian dtype, shape and C-order bytes; then task and seed.

    Two files with different chunking, compression, order or offsets give the same digest. An unknown seed is
    None, and digests as no text.
    """
    state = hashlib.sha256()
    for name, column in episode.columns.items():
        array = little_endian(column)
        state.update(f"{_LABELS.get(name, name)}:{array.dtype.str}:{','.join(map(str, array.shape))};".encode())
        state.update(array.tobytes())
    state.update(f"task:{task_index};seed:{'' if seed is None else seed}".encode())
    return state.hexdigest()


def dataset_digest(episode_digests: Iterable[str]) -> str:
    """SHA-256 of the episodes' hex digests in order, one a line."""
    state = hashlib.sha256()
    for digest in episode_digests:
        state.update(f"{digest}\n".encode())
    return state.hexdigest()


def value_digest(value: object) -> str:
    """SHA-256 of plain data (a recipe, a config) in canonical JSON."""
    # A lone surrogate is no text, but a hostile document may hold one: it must digest, not raise.
    return hashlib.sha256(canonical_json(value).encode(errors="surrogatepass")).hexdigest()


def little_endian(array: Array) -> Array:
    """The values in C order and little-endian bytes, as they are digested and stored."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
