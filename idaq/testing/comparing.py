"""What the suites compare by: to the bit, dtype and shape included."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from idaq.core.types import Episode, leaves_of


def assert_same_bits(found: Any, expected: Any) -> None:
    """Two dataclasses of arrays, or two arrays, are alike to the bit."""
    if isinstance(expected, Mapping):
        assert list(found) == list(expected)
        for name in expected:
            assert_same_bits(found[name], expected[name])
        return
    if not isinstance(expected, np.ndarray):
        for field in fields(expected):
            assert_same_bits(getattr(found, field.name), getattr(expected, field.name))
        return
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


def assert_aligned(episode: Episode) -> None:
    """T + 1 observations, T of everything else."""
    length = len(episode)
    assert {len(leaf) for leaf in leaves_of(episode.observations).values()} == {length + 1}
    for name in ("actions", "terminated", "truncated"):
        assert len(getattr(episode, name)) == length, name
