"""Verifying many short episodes, against asking HDF5 of each episode alone."""

import time
from collections.abc import Callable

from idaq.collect.collect import Collected
from idaq.format.verify import verify
from tests.format.slow_verify import slow_verify


def test_verify_against_asking_hdf5_of_every_episode(say: Callable[[str], None], full_size: Collected) -> None:
    """4,500 episodes of 20 steps."""
    verify(full_size.path)
    start = time.perf_counter()
    assert verify(full_size.path) == []
    between = time.perf_counter()
    assert slow_verify(full_size.path) == []
    fast, slow = between - start, time.perf_counter() - between
    say(f"verify, 4,500 episodes of 20 steps: {fast:.2f} s; episode by episode {slow:.2f} s = {slow / fast:.1f} x")
    assert slow > 5 * fast
