import itertools

import numpy as np
import pytest

from idaq.core.seeds import episode_seed, generator


def test_the_seed_of_an_episode_is_the_one_that_the_format_states() -> None:
    """SeedSequence(recipe.seed, spawn_key=(task_index, behaviour_index, episode)); another value breaks datasets."""
    assert episode_seed(100, 3, 1, 7) == 11_065_027_774_643_363_712
    expected = np.random.SeedSequence(100, spawn_key=(3, 1, 7)).generate_state(1, np.uint64)[0]
    assert episode_seed(100, 3, 1, 7) == int(expected)


def test_every_episode_of_a_dataset_has_a_seed_of_its_own() -> None:
    keys = list(itertools.product((0, 1), range(20), range(3), range(20)))
    assert len({episode_seed(*key) for key in keys}) == len(keys)


@pytest.mark.parametrize("key", [(), (1,), (1, 2), (2, 1)])
def test_a_generator_is_a_pure_function_of_seed_and_key(key: tuple[int, ...]) -> None:
    first = generator(5, *key).random(4)
    np.random.default_rng().random(3)
    np.testing.assert_array_equal(generator(5, *key).random(4), first)


def test_generators_of_other_seeds_or_keys_differ() -> None:
    draws = [generator(seed, *key).random() for seed in (0, 1) for key in ((), (0,), (1,), (0, 0), (0, 1), (1, 0))]
    assert len(set(draws)) == len(draws)
