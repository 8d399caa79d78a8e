"""Where randomness comes from: pure functions of a seed and a key, never a shared stream."""

import numpy as np


def episode_seed(root: int, task_index: int, behaviour_index: int, episode: int) -> int:
    """The 64-bit seed of one episode: the same whatever the number of workers or the order they finish in."""
    sequence = np.random.SeedSequence(root, spawn_key=(task_index, behaviour_index, episode))
    return int(sequence.generate_state(1, np.uint64)[0])


def generator(seed: int, *key: int) -> np.random.Generator:
    """An independent generator for every (seed, key)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
