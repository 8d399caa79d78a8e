"""What every Policy must do: act in P problems side by side, each as if the others were not there."""

from collections.abc import Callable

import numpy as np
import pytest

from idaq.core.policy import Policy
from idaq.core.types import Array

PROBLEMS, STEPS = 4, 6


class PolicyContract:
    """Subclass it, give `policy` and how long its observations and actions are."""

    observation_size: int
    action_size: int

    def policy(self, problems: int) -> Policy:
        """A fresh policy for that many problems; what it knows of problem p does not depend on how many there are."""
        raise NotImplementedError

    def test_it_acts_in_every_problem(self) -> None:
        for actions in self.play(lambda step: step):
            assert actions.shape == (PROBLEMS, self.action_size)
            assert np.isfinite(actions).all()

    def test_fresh_policies_act_alike(self) -> None:
        for first, second in zip(self.play(lambda step: step), self.play(lambda step: step), strict=True):
            np.testing.assert_array_equal(first, second)

    def test_what_it_is_given_is_not_altered(self) -> None:
        policy, given = self.policy(PROBLEMS), self.drawn(0)
        policy.reset()
        kept = [array.copy() for array in given]
        actions = policy.act(given[0])
        before = actions.copy()
        policy.observe(actions, given[1], given[2], np.zeros(PROBLEMS, bool))
        for array, expected in zip([*given, actions], [*kept, before], strict=True):
            np.testing.assert_array_equal(array, expected)

    @pytest.mark.parametrize("episodes", [1, 2])
    def test_what_happens_in_one_problem_does_not_reach_another(self, episodes: int) -> None:
        """Even where that one has ended, and shows what is to be ignored."""

        def strange(arrays: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            for array in arrays:
                array[1] = 1e3
            return arrays

        alone = self.play(lambda step: step, episodes)
        beside = self.play(strange, episodes, ended=1)
        for first, second in zip(alone, beside, strict=True):
            np.testing.assert_allclose(np.delete(second, 1, 0), np.delete(first, 1, 0), rtol=1e-5, atol=1e-6)

    def play(
        self,
        alter: Callable[[tuple[Array, Array, Array]], tuple[Array, Array, Array]],
        episodes: int = 2,
        ended: int | None = None,
    ) -> list[Array]:
        """The actions (P, A) of some episodes whose observations and rewards are drawn, then altered."""
        policy, actions = self.policy(PROBLEMS), []
        for episode in range(episodes):
            policy.reset()
            for step in range(STEPS):
                observations, rewards, following = alter(self.drawn(episode * STEPS + step))
                actions.append(np.array(policy.act(observations)))
                over = np.zeros(PROBLEMS, bool)
                if ended is not None:
                    over[ended] = True
                policy.observe(actions[-1], rewards, following, over)
        return actions

    def drawn(self, number: int) -> tuple[Array, Array, Array]:
        """Observations (P, D), rewards (P,) and next observations (P, D) of a step."""
        rng = np.random.default_rng(number)
        shapes = ((PROBLEMS, self.observation_size), (PROBLEMS,), (PROBLEMS, self.observation_size))
        observations, rewards, following = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        return observations, rewards, following
