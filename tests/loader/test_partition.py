"""Which piece a number lies in, as a search says, whatever the lengths of the pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.loader.partition import Partition

lengths = st.one_of(
    st.lists(st.integers(1, 60), min_size=1, max_size=40),
    st.lists(st.sampled_from([1, 1, 1, 1, 900]), min_size=1, max_size=60),
    st.builds(lambda length, count: [length] * count, st.integers(1, 70), st.integers(1, 30)),
)


@given(lengths)
def test_every_number_is_found_in_its_piece(given: list[int]) -> None:
    partition = Partition(np.array(given))
    expected = np.repeat(np.arange(len(given)), given)
    assert (len(partition), partition.size) == (len(given), sum(given))
    np.testing.assert_array_equal(partition.of(np.arange(partition.size)), expected)
    np.testing.assert_array_equal(partition.lengths, given)
    backwards = np.arange(partition.size)[::-1].reshape(-1, 1)
    np.testing.assert_array_equal(partition.of(backwards), expected[::-1].reshape(-1, 1))


@pytest.mark.parametrize("unequal", [False, True])
def test_its_memory_follows_the_pieces_and_not_the_numbers(unequal: bool) -> None:
    lengths = np.full(1000, 10**9)
    lengths[0] += unequal
    assert Partition(lengths).nbytes < 64 * 1000


def test_many_short_pieces_among_long_ones_are_found_too() -> None:
    lengths = np.array([10**6, *[1] * 500, 10**6])
    partition = Partition(lengths)
    numbers = np.array([0, 10**6 - 1, 10**6, 10**6 + 499, 10**6 + 500, partition.size - 1])
    assert partition.of(numbers).tolist() == [0, 0, 1, 500, 501, 501]
