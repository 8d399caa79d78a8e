"""What the action head says of actions: tables of values and gradients, and what it draws."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from idaq.learn.action_head import ActionHead
from idaq.learn.config import AgentSpec
from idaq.loader.flat import FlatLeaf, FlatView


def head(action: FlatLeaf | None, size: int) -> ActionHead:
    seen = FlatLeaf(column="observations", encoding="numbers", shape=[1], dtype="<f4")
    spec = AgentSpec(
        observation_mean=[0.0],
        observation_std=[1.0],
        change_std=[1.0],
        reward_mean=0.0,
        reward_std=1.0,
        action_centre=[0.0] * size,
        action_scale=[1.0] * size,
        view=FlatView(observations=[seen], actions=action) if action else None,
    )
    return ActionHead(4, spec)


CHOICES = FlatLeaf(column="actions", encoding="one-hot", shape=[2], dtype="<i8", low=[0, 5], counts=[3, 2])
"""a MultiDiscrete of three and of two values"""


def test_cross_entropy_of_each_choice() -> None:
    """p = (1/2, 1/4, 1/4) of the first, (1/5, 4/5) of the second; the action is the second of either."""
    outputs = torch.tensor([[math.log(2), 0.0, 0.0, 0.0, math.log(4)]], requires_grad=True)
    loss = head(CHOICES, 5).negative_log_likelihood(outputs, torch.tensor([[-1.0, 1, -1, -1, 1]]))
    assert loss.tolist() == pytest.approx([math.log(4) + math.log(5 / 4)])
    loss.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.flatten().tolist() == pytest.approx([0.5, -0.75, 0.25, 0.2, -0.2])


def test_even_odds_cost_the_logarithm_of_the_choices() -> None:
    action = torch.tensor([[1.0, -1, -1, 1, -1]])
    assert head(CHOICES, 5).negative_log_likelihood(torch.zeros(1, 5), action).item() == pytest.approx(math.log(6))


def test_gaussian_of_each_number() -> None:
    """Means 0.5 and -1, deviations 1 and 2; the errors are -0.5 and 1."""
    outputs = torch.tensor([[0.5, -1.0, 0.0, math.log(2)]], requires_grad=True)
    loss = head(None, 2).negative_log_likelihood(outputs, torch.tensor([[0.0, 0.0]]))
    assert loss.item() == pytest.approx(0.125 + 0.125 + math.log(2))
    loss.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.flatten().tolist() == pytest.approx([0.5, -0.25, 1 - 0.25, 1 - 0.25])


def test_a_unit_deviation_is_half_the_squared_error() -> None:
    mean, action = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(7, 2)
    loss = head(None, 2).negative_log_likelihood(torch.cat([mean, torch.zeros(7, 2)], -1), action)
    torch.testing.assert_close(loss, mean.square().sum(-1) / 2)


@pytest.mark.parametrize(("given", "used"), [(-9.0, -4.0), (5.0, 1.0)])
def test_deviations_stay_within_limits(given: float, used: float) -> None:
    outputs = torch.tensor([[0.3, given]], requires_grad=True)
    loss = head(None, 1).negative_log_likelihood(outputs, torch.tensor([[0.0]]))
    assert loss.item() == pytest.approx(0.5 * (0.3 / math.exp(used)) ** 2 + used)


def test_the_mode_is_the_likeliest_choice_of_each_and_a_mean_within_bounds() -> None:
    assert head(CHOICES, 5).mode(torch.tensor([[0.0, 2, 1, 3, 2], [5, 5, 0, 0, 0]])).tolist() == [
        [-1, 1, -1, 1, -1],
        [1, -1, -1, 1, -1],
    ], "the first of equal ones, never two"
    assert head(None, 2).mode(torch.tensor([[0.25, -7.0, 0.9, 0.9]])).tolist() == [[0.25, -1]]


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([math.log(2), 0.0, 0.0, 0.0, math.log(4)]).expand(20_000, -1)
    drawn = (head(CHOICES, 5).sample(logits, np.random.default_rng(0)) + 1) / 2
    assert drawn.sum(-1).unique().tolist() == [2]
    assert drawn.mean(0).tolist() == pytest.approx([0.5, 0.25, 0.25, 0.2, 0.8], abs=0.015)
    outputs = torch.tensor([0.2, -0.1, math.log(0.1), math.log(0.3)]).expand(20_000, -1)
    numbers = head(None, 2).sample(outputs, np.random.default_rng(0))
    assert numbers.mean(0).tolist() == pytest.approx([0.2, -0.1], abs=0.01)
    assert numbers.std(0).tolist() == pytest.approx([0.1, 0.3], abs=0.01)
    assert head(None, 1).sample(torch.tensor([[3.0, 0.0]]), np.random.default_rng(0)).tolist() == [[1]]


def test_draws_are_of_the_generator_alone() -> None:
    def drawn(seed: int) -> list[Tensor]:
        rng = np.random.default_rng(seed)
        return [head(CHOICES, 5).sample(torch.zeros(9, 5), rng) for _ in range(2)]

    first, again, other = drawn(0), drawn(0), drawn(1)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first[0] != first[1]).any(), "each draw is its own"
    assert (first[0] != other[0]).any()


def test_values_that_are_no_one_hot_choices_are_numbers() -> None:
    index = FlatLeaf(column="actions", encoding="numbers", shape=[1], dtype="<i8", low=[0], counts=[5])
    made = head(index, 1)
    assert made.choices == ()
    assert made(torch.zeros(3, 4)).shape == (3, 2)
