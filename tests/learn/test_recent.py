"""Beliefs that are the last steps of an experience: what is kept of it, and in which order."""

import numpy as np
import pytest

from idaq.learn.config import AgentSpec
from idaq.learn.recent import pack, unpack
from idaq.loader.contexts import Experience, as_episode
from idaq.loader.transitions import Transitions

SPEC = AgentSpec(
    observation_mean=[0.0, 0.0],
    observation_std=[1.0, 1.0],
    change_std=[1.0, 1.0],
    reward_mean=0.0,
    reward_std=1.0,
    action_centre=[0.0],
    action_scale=[1.0],
)
WIDTH = 2 * 2 + 1 + 3


def experience(lengths: list[list[int]]) -> Experience:
    """Episodes of these lengths of each problem; step t has s = (t, -t), a = 10 t, r = 100 t, s' = (t + 1, 0.5)."""
    counts = [sum(of) for of in lengths]
    steps = np.arange(max(counts, default=0), dtype=np.float32)
    valid = steps < np.array(counts)[:, None]
    starts = np.zeros(valid.shape, bool)
    for problem, of in enumerate(lengths):
        starts[problem, np.cumsum([0, *of])[:-1]] = True
    t = np.where(valid, steps, 0).astype(np.float32)
    transitions = Transitions(
        observations=np.stack([t, -t], -1),
        actions=10 * t[..., None],
        rewards=100 * t,
        next_observations=np.stack([t + 1, np.full_like(t, 0.5)], -1) * valid[..., None],
        terminated=np.zeros(valid.shape, bool),
    )
    return Experience(transitions=transitions, starts=starts, valid=valid)


def test_the_last_steps_are_kept_in_order_and_what_is_missing_is_zeros_at_the_end() -> None:
    packed = pack(experience([[2, 3], [1, 1]]), 3).reshape(2, 3, WIDTH)
    assert packed.dtype == np.float32
    assert packed[0].tolist() == [
        [2, -2, 20, 200, 3, 0.5, 1, 1],
        [3, -3, 30, 300, 4, 0.5, 0, 1],
        [4, -4, 40, 400, 5, 0.5, 0, 1],
    ]
    assert packed[1].tolist() == [[0, 0, 0, 0, 1, 0.5, 1, 1], [1, -1, 10, 100, 2, 0.5, 1, 1], [0] * 8]


@pytest.mark.parametrize("steps", [1, 3, 5, 8])
def test_what_is_unpacked_was_packed(steps: int) -> None:
    given = experience([[2, 3], [1, 1]])
    found = unpack(pack(given, steps), SPEC)
    for problem, count in enumerate((5, 2)):
        kept = min(steps, count)
        assert found.valid[problem].tolist() == [True] * kept + [False] * (steps - kept)
        last = slice(count - kept, count)
        np.testing.assert_array_equal(found.starts[problem, :kept], given.starts[problem, last])
        for name in ("observations", "actions", "rewards", "next_observations"):
            column, expected = getattr(found.transitions, name), getattr(given.transitions, name)
            np.testing.assert_array_equal(column[problem, :kept], expected[problem, last])


def test_of_nothing_a_belief_is_as_long_and_holds_no_step() -> None:
    packed = pack(experience([[], []]), 4)
    assert packed.shape == (2, 4 * WIDTH)
    assert not packed.any()


def test_a_bag_of_transitions_is_one_episode_in_its_order() -> None:
    bag = experience([[4], [4]]).transitions
    episode = as_episode(bag)
    np.testing.assert_array_equal(episode.transitions.rewards, bag.rewards)
    assert episode.starts.tolist() == [[True, False, False, False]] * 2
    assert episode.valid.all()
