"""Where randomness comes from: pure functions of a seed and a key, never a shared stream."""

import numpy as np


def episode_seed(root: int, task_index: int, behaviour_index: int, episode: int) -> int:
    """The 64-bit seed of one episode: the same whatever the number of workers or the order they finish in."""
    sequence = np.random.SeedSequence(root, spawn_key=(task_index, behaviour_index, episode))
    return int(sequence.generate_state(1, np.uint64)[0])


def generator(seed: int, *key: int) -> np.random.Generator:
    """An independent generator for every (seed, key)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def rng_state(rng: np.random.Generator) -> str:
    """The state of a `generator` as text: it goes on from there after `set_rng_state`, on a copy of the same seed."""
    state = rng.bit_generator.state
    return f"{state['state']['state']:032x}-{state['has_uint32']}-{state['uinteger']:08x}"


def set_rng_state(rng: np.random.Generator, text: str) -> None:
    """Let a generator of the same seed and key go on from a state that `rng_state` gave."""
    number, has_uint32, uinteger = text.split("-")
    state = rng.bit_generator.state
    state["state"]["state"] = int(number, 16)
    rng.bit_generator.state = {**state, "has_uint32": int(has_uint32), "uinteger": int(uinteger, 16)}
