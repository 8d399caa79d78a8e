import hashlib
from dataclasses import replace

import numpy as np
import pytest

from idaq.core.digest import dataset_digest, episode_digest, little_endian, value_digest
from idaq.core.types import Episode

FIELDS = ("observations", "actions", "rewards", "terminated", "truncated")
RNG = np.random.default_rng(0)
EPISODE = Episode(
    observations=RNG.standard_normal((6, 3)).astype(np.float32),
    actions=RNG.standard_normal((5, 2)),
    rewards=RNG.standard_normal(5).astype(np.float32),
    terminated=np.array([False] * 4 + [True]),
    truncated=np.zeros(5, bool),
)


def test_the_digest_of_an_episode_is_the_one_that_the_format_states() -> None:
    """Name, little-endian dtype, shape and bytes of each column, then task and seed, spelled out by hand."""
    text = b"observations:<f4:6,3;" + EPISODE.observations.astype("<f4").tobytes()
    text += b"actions:<f8:5,2;" + EPISODE.actions.astype("<f8").tobytes()
    text += b"rewards:<f4:5;" + EPISODE.rewards.astype("<f4").tobytes()
    text += (
        b"terminated:|b1:5;"
        + bytes([0, 0, 0, 0, 1])
        + b"truncated:|b1:5;"
        + bytes(5)
        + b"task:7;seed:18446744073709551615"
    )
    assert episode_digest(EPISODE, task_index=7, seed=2**64 - 1) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("name", FIELDS)
def test_a_digest_does_not_depend_on_layout_or_byte_order(name: str) -> None:
    array = getattr(EPISODE, name)
    spread = np.zeros((*array.shape, 2), array.dtype)
    spread[..., 1] = array
    layouts = {
        "fortran": np.asfortranarray(array),
        "strided": spread[..., 1],
        "reversed": array[::-1].copy()[::-1],
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "read-only": np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    }
    expected = episode_digest(EPISODE, task_index=0, seed=0)
    for layout, other in layouts.items():
        assert episode_digest(replace(EPISODE, **{name: other}), task_index=0, seed=0) == expected, layout


FIELDS = ("observations", "actions", "rewards", "terminated", "truncated")


@pytest.mark.parametrize("name", FIELDS)
def test_a_digest_changes_with_any_value_dtype_or_shape(name: str) -> None:
    array = getattr(EPISODE, name)
    flipped = array.copy()
    flipped.view(np.uint8).ravel()[-1] ^= 1
    others = [flipped, array.astype(np.float16), array.astype(np.uint8), array[..., None], array[1:]]
    digests = {episode_digest(replace(EPISODE, **{name: other}), task_index=0, seed=0) for other in [array, *others]}
    assert len(digests) == 1 + len(others)


def test_a_digest_changes_with_task_and_seed() -> None:
    digests = {
        episode_digest(EPISODE, task_index=t, seed=s) for t, s in ((0, 0), (1, 0), (0, 1), (1, 1), (11, 1), (1, 11))
    }
    assert len(digests) == 6


def test_the_digest_of_a_dataset_depends_on_the_order_of_its_episodes() -> None:
    assert dataset_digest(["a", "b"]) == hashlib.sha256(b"a\nb\n").hexdigest()
    assert dataset_digest(["b", "a"]) != dataset_digest(["a", "b"]) != dataset_digest(["ab"])


def test_the_digest_of_a_value_does_not_depend_on_the_order_of_keys() -> None:
    assert value_digest({"a": 1, "b": "ü"}) == value_digest({"b": "ü", "a": 1})
    assert value_digest({"a": 1, "b": "ü"}) == hashlib.sha256('{"a":1,"b":"ü"}'.encode()).hexdigest()


def test_even_text_that_is_not_unicode_has_a_digest() -> None:
    assert value_digest("\ud800") != value_digest("?")


def test_values_are_stored_little_endian_and_in_c_order() -> None:
    stored = little_endian(np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)))
    assert stored.dtype.str == "<i4"
    assert stored.flags.c_contiguous
    np.testing.assert_array_equal(stored, [[0, 1, 2], [3, 4, 5]])


def test_the_return_is_added_in_float64() -> None:
    rewards = np.full(5, np.float32(0.1))
    assert replace(EPISODE, rewards=rewards).total_reward == pytest.approx(5 * float(np.float32(0.1)), abs=1e-15)
    assert len(EPISODE) == 5
