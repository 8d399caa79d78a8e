"""SAC with V and BRAC's penalty: losses and gradients by value, and what they reduce to."""

import math

import numpy as np
import pytest
import torch

from idaq.learn.learners.brac import (
    adapted,
    dual_critic_loss,
    dual_kl,
    policy_loss,
    regulariser,
    value_loss,
)

ONE = math.log(math.e - 1)
"""c of a density ratio of 1: softplus(ONE) = 1"""


def double(*values: object) -> torch.Tensor:
    return torch.tensor(*values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("value", "q", "log_prob", "loss", "gradient"),
    [
        ([1.0, 3.0], [[2.0, 2.0], [3.0, 5.0]], [1.0, -1.0], 0.0, [0.0, 0.0]),  # V = min Q - log pi
        ([2.0, 3.0], [[2.0, 2.0], [3.0, 5.0]], [1.0, -1.0], 0.5, [1.0, 0.0]),
        ([2.0, 0.0], [[9.0, 2.0], [3.0, 5.0]], [1.0, -1.0], 4.5, [0.0, -3.0]),  # the other critic is the smaller
    ],
)
def test_value_loss(
    value: list[float], q: list[list[float]], log_prob: list[float], loss: float, gradient: list[float]
) -> None:
    given = [torch.tensor(numbers, requires_grad=True) for numbers in (value, q, log_prob)]
    found, info = value_loss(*given)
    found.backward()
    assert found.item() == pytest.approx(loss)
    assert info["value"].item() == pytest.approx(sum(value) / 2)
    torch.testing.assert_close(given[0].grad, torch.tensor(gradient))
    assert given[1].grad is None
    assert given[2].grad is None


def test_policy_loss() -> None:
    q = torch.tensor([[2.0, 4.0], [3.0, 1.0]], requires_grad=True)
    log_prob, penalty = (torch.tensor(numbers, requires_grad=True) for numbers in ([0.5, -1.5], [3.0, 6.0]))
    loss, info = policy_loss(q, log_prob, penalty)
    loss.backward()
    assert loss.item() == pytest.approx(((0.5 - 2 + 3) + (-1.5 - 1 + 6)) / 2)
    assert info["entropy"].item() == pytest.approx(0.5)
    torch.testing.assert_close(q.grad, torch.tensor([[-0.5, 0.0], [0.0, -0.5]]))
    torch.testing.assert_close(log_prob.grad, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(penalty.grad, torch.tensor([0.5, 0.5]))


def test_without_a_penalty_the_policys_loss_is_minus_what_its_value_should_be() -> None:
    """SAC: V = E[min Q - log pi], and the policy maximises it."""
    rng = np.random.default_rng(0)
    q, log_prob = double(rng.normal(size=(2, 9))), double(rng.normal(size=9))
    best = -policy_loss(q, log_prob, 0.0)[0]
    assert value_loss((q.amin(0) - log_prob), q, log_prob)[0].item() == 0
    assert best.item() == pytest.approx((q.amin(0) - log_prob).mean().item())


def test_regulariser() -> None:
    mean, log_std, u = double([[1.0, 3.0]]), double([[-2.0, 0.0]]), double([[2.0, 1.0]])
    assert regulariser(mean, log_std, u, (1.0, 0.0, 0.0)).item() == pytest.approx(5)  # averaged over A
    assert regulariser(mean, log_std, u, (0.0, 1.0, 0.0)).item() == pytest.approx(2)
    assert regulariser(mean, log_std, u, (0.0, 0.0, 1.0)).item() == pytest.approx(5)  # summed over A
    assert regulariser(mean, log_std, u, (0.1, 10.0, 0.01)).item() == pytest.approx(0.5 + 20 + 0.05)


@pytest.mark.parametrize(
    ("policy", "data", "value", "slopes"),
    [
        (ONE, ONE, 0.0, (1 - 1 / math.e, -(1 - 1 / math.e))),  # nowhere else than the data
        (0.0, 0.0, 1 + math.log(math.log(2)) - math.log(2), (0.5 / math.log(2), -0.5)),
        (50.0, -50.0, 1 + math.log(50), (1 / 50, 0.0)),  # sure that the actions are the policy's
    ],
)
def test_dual_kl(policy: float, data: float, value: float, slopes: tuple[float, float]) -> None:
    given = [double([number]).requires_grad_() for number in (policy, data)]
    found = dual_kl(*given)
    assert found.item() == pytest.approx(value, abs=1e-7)
    found.sum().backward()
    assert [number.grad.item() for number in given] == pytest.approx(slopes, abs=1e-7)


def test_at_its_best_the_dual_is_the_divergence() -> None:
    """Of two distributions over four actions, c found by ascent: KL(policy | data), and not the other way."""
    policy, data = double([0.1, 0.2, 0.3, 0.4]), double([0.4, 0.1, 0.2, 0.3])
    c = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([c], lr=0.05)

    def estimate() -> torch.Tensor:
        return (policy[:, None] * data).flatten() @ dual_kl(c.repeat_interleave(4), c.repeat(4))

    for _ in range(500):
        optimiser.zero_grad()
        (-estimate()).backward()
        optimiser.step()
    assert estimate().item() == pytest.approx((policy * (policy / data).log()).sum().item(), abs=1e-6)
    torch.testing.assert_close(torch.nn.functional.softplus(c), policy / data, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("divergence", "slope", "weight", "loss", "gradient"),
    [
        ([1.0, 3.0], [[0.6, 0.0], [0.0, 0.8]], 5.0, -2.0, [[0.0, 0.0], [0.0, 0.0]]),  # no steeper than 1
        ([1.0, 3.0], [[3.0, 4.0], [0.0, 0.8]], 5.0, -2.0 + 5 * 16 / 2, [[12.0, 16.0], [0.0, 0.0]]),
        ([1.0, 3.0], [[3.0, 4.0], [0.0, -2.0]], 0.5, -2.0 + 0.5 * 17 / 2, [[1.2, 1.6], [0.0, -0.5]]),
    ],
)
def test_dual_critic_loss(
    divergence: list[float], slope: list[list[float]], weight: float, loss: float, gradient: list[list[float]]
) -> None:
    d, slopes = double(divergence).requires_grad_(), double(slope).requires_grad_()
    found, info = dual_critic_loss(d, slopes, weight)
    found.backward()
    assert found.item() == pytest.approx(loss, abs=1e-6)
    assert info["dual_penalty"].item() == pytest.approx((loss + 2) / weight, abs=1e-6)
    torch.testing.assert_close(d.grad, double([-0.5, -0.5]))
    torch.testing.assert_close(slopes.grad, double(gradient), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("alpha", "divergence", "expected"),
    [
        (50.0, [0.25, 0.05], 50.2),  # farther than 0.05 on average: heavier
        (50.0, [-0.25, 0.15], 49.8),
        (0.1, [-1.0, -1.0], 0.0),  # never below 0
        (1999.0, [9.0, 9.0], 2000.0),  # nor above the highest
    ],
)
def test_adapted(alpha: float, divergence: list[float], expected: float) -> None:
    assert adapted(double(alpha), double(divergence), 0.05, 2.0, 2000.0).item() == pytest.approx(expected)
