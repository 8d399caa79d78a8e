"""The three uncertainties by value: over members, not over time; in normalised units; within the episode."""

import numpy as np
import pytest

from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.policy import BeliefPolicy, RandomPolicy
from idaq.adapt.uncertainty import negative_return, prediction_error, prediction_variance
from idaq.core.errors import RunError
from idaq.core.seeds import generator
from idaq.core.types import Floats
from idaq.loader.transitions import Transitions
from tests.adapt.test_strategies import SPEC, EchoAgent, episodes


class Oracle(EchoAgent):
    """An agent with two members that predict what the test says, whatever they are shown."""

    predicted: Floats
    """(E, 1 + D) of every row"""
    actual: Floats
    """(1 + D)"""

    def predict(self, data: Transitions, beliefs: Floats) -> tuple[Floats, Floats]:
        rows = len(data)
        return self.predicted[:, None].repeat(rows, 1), self.actual[None].repeat(rows, 0)


def oracle(predicted: list[list[float]], actual: list[float]) -> Oracle:
    agent = Oracle()
    agent.predicted, agent.actual = np.array(predicted, np.float32), np.array(actual, np.float32)
    return agent


def under(beliefs: Floats) -> BeliefPolicy:
    return Oracle().policy(beliefs)


Z = under(np.zeros((1, 1), np.float32))


def test_return_is_the_negative_sum_of_rewards_up_to_the_end() -> None:
    batch = episodes([[1.0, 2.0, 100.0]], lengths=[2])
    assert negative_return(oracle([[0, 0], [0, 0]], [0, 0]), batch, Z).tolist() == [-3.0]


@pytest.mark.parametrize(
    ("predicted", "actual", "error", "variance"),
    [
        ([[1, 2], [1, 2]], [1, 2], 0.0, 0.0),  # right and agreed
        ([[3, 2], [3, 2]], [1, 2], 4.0, 0.0),  # wrong and agreed
        ([[0, 2], [2, 2]], [1, 2], 1.0, 1.0),  # disagreed about the reward
        ([[1, 0], [1, 4]], [1, 2], 4.0, 2.0),  # disagreed about the next state
    ],
)
def test_by_value(predicted: list[list[float]], actual: list[float], error: float, variance: float) -> None:
    batch = episodes([[0.0, 0.0, 0.0]])
    assert prediction_error(oracle(predicted, actual), batch, Z)[0] == pytest.approx(error)
    assert prediction_variance(oracle(predicted, actual), batch, Z)[0] == pytest.approx(variance)


def test_a_prediction_that_only_varies_in_time_has_no_variance() -> None:
    """The reference code takes the spread over time; members that agree must score zero."""

    class Wavering(Oracle):
        def predict(self, data: Transitions, beliefs: Floats) -> tuple[Floats, Floats]:
            wave = np.linspace(-5, 5, len(data), dtype=np.float32)[None, :, None]
            return np.repeat(np.repeat(wave, 2, 2), 2, 0), np.zeros((len(data), 2), np.float32)

    agent = Wavering()
    assert prediction_variance(agent, episodes([[0.0] * 6]), Z)[0] == 0.0


def test_steps_after_the_end_do_not_count() -> None:
    class Late(Oracle):
        def predict(self, data: Transitions, beliefs: Floats) -> tuple[Floats, Floats]:
            actual = np.zeros((len(data), 2), np.float32)
            return np.stack([actual, actual + data.rewards[:, None]]), actual

    agent = Late()
    batch: EpisodeBatch = episodes([[2.0, 2.0, 50.0]], lengths=[2])
    assert prediction_error(agent, batch, Z)[0] == pytest.approx((4 + 4) / 2)
    assert prediction_variance(agent, batch, Z)[0] == pytest.approx(1 + 1)


def test_each_episode_is_predicted_under_the_latent_that_made_it() -> None:
    class Echo(Oracle):
        def predict(self, data: Transitions, beliefs: Floats) -> tuple[Floats, Floats]:
            actual = np.zeros((len(data), 2), np.float32)
            actual[:, 0] = data.rewards
            return np.stack([np.concatenate([beliefs, beliefs * 0], 1)] * 2), actual

    agent = Echo()
    z = np.array([[3.0], [7.0]], np.float32)
    assert prediction_error(agent, episodes([[3.0] * 3, [7.0] * 3]), under(z)).tolist() == [0.0, 0.0]


def test_an_agent_or_a_policy_that_predicts_nothing_is_told() -> None:
    random = RandomPolicy(SPEC, 1, generator(0))
    for agent, policy in ((EchoAgent(), Z), (oracle([[0, 0]], [0, 0]), random)):
        with pytest.raises(RunError, match="predicts no outcomes") as caught:
            prediction_error(agent, episodes([[1.0]]), policy)
        assert "--set uncertainty=return" in str(caught.value)


def test_each_episode_is_averaged_over_its_own_steps() -> None:
    agent = oracle([[3, 0], [3, 0]], [0, 0])
    batch = episodes([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], lengths=[1, 3])
    policy = under(np.zeros((2, 1), np.float32))
    assert prediction_error(agent, batch, policy).tolist() == pytest.approx([9.0, 9.0])
