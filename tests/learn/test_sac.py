"""SAC's losses: tables of values and gradients, and what each reduces to. The whole update is in test_borel."""

import math

import numpy as np
import pytest
import torch

from idaq.learn.learners.config import SacConfig
from idaq.learn.learners.sac import Sac, critic_loss, policy_loss, soft_target, tanh_gaussian
from idaq.learn.learners.td3bc import td_target
from idaq.learn.networks import weights_drawn_from


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_squashed_gaussian_by_torchs_own_distribution(row: int) -> None:
    """Two actions each; the likelihood is that of the action, not of u."""
    mean = torch.tensor([[0.3, -0.5], [2.0, 0.0], [-1.0, 1.0]])[row : row + 1]
    log_std = torch.tensor([[-1.0, 0.2], [0.0, -2.0], [0.5, 0.5]])[row : row + 1]
    noise = torch.tensor([[0.7, -1.1], [1.5, 0.0], [-0.2, 0.4]])[row : row + 1]
    action, log_prob = tanh_gaussian(mean, log_std, noise)
    normal = torch.distributions.Normal(mean.double(), log_std.double().exp())
    squashed = torch.distributions.TransformedDistribution(normal, torch.distributions.TanhTransform())
    u = mean + log_std.exp() * noise
    torch.testing.assert_close(action, u.tanh())
    torch.testing.assert_close(log_prob.double(), squashed.log_prob(action.double()).sum(-1), rtol=1e-4, atol=1e-4)


def test_far_out_the_likelihood_stays_finite_and_its_gradient_too() -> None:
    mean = torch.tensor([[40.0]], requires_grad=True)
    action, log_prob = tanh_gaussian(mean, torch.zeros(1, 1), torch.zeros(1, 1))
    log_prob.sum().backward()
    assert action.item() == 1
    assert log_prob.item() == pytest.approx(-0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 40), rel=1e-6)
    np.testing.assert_allclose(mean.grad, [[2.0]], rtol=1e-6)


def test_the_soft_target() -> None:
    """Row by row: both critics, an end, a likelihood above 1."""
    reward, ended = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([0.0, 1.0, 0.0])
    q = torch.tensor([[3.0, 9.0, 5.0], [4.0, 9.0, 2.0]])
    log_prob = torch.tensor([-2.0, 1.0, 0.5])
    found = soft_target(reward, ended, q, log_prob, 0.5, 0.1)
    np.testing.assert_allclose(found, [1 + 0.5 * (3 + 0.2), 2, -1 + 0.5 * (2 - 0.05)], rtol=1e-6)
    torch.testing.assert_close(
        soft_target(reward, ended, q, log_prob, 0.5, 0.0), td_target(reward, ended, q, 0.5), msg="without entropy TD3's"
    )


def test_the_critics_loss_adds_over_critics_and_averages_over_rows() -> None:
    q = torch.tensor([[1.0, 2.0], [4.0, 0.0]], requires_grad=True)
    loss, info = critic_loss(q, torch.tensor([2.0, 4.0]))
    assert loss.item() == pytest.approx((1 + 4) / 2 + (4 + 16) / 2)
    assert info["q"].item() == pytest.approx(1.75)
    loss.backward()
    np.testing.assert_allclose(q.grad, [[-1.0, -2.0], [2.0, -4.0]])


def test_the_policys_loss() -> None:
    """The smaller critic of each row takes the gradient."""
    q = torch.tensor([[1.0, 5.0], [3.0, 2.0]], requires_grad=True)
    log_prob = torch.tensor([0.5, -1.5], requires_grad=True)
    loss, info = policy_loss(q, log_prob, 0.2)
    assert loss.item() == pytest.approx(((0.1 - 1) + (-0.3 - 2)) / 2)
    assert info["entropy"].item() == pytest.approx(0.5)
    loss.backward()
    np.testing.assert_allclose(q.grad, [[-0.5, 0], [0, -0.5]])
    np.testing.assert_allclose(log_prob.grad, [0.1, 0.1], rtol=1e-6)


@pytest.mark.parametrize(("given", "expected"), [(-50.0, -20.0), (50.0, 2.0)])
def test_the_policys_width_is_bounded(given: float, expected: float) -> None:
    with weights_drawn_from(0):
        learner = Sac(SacConfig(hidden=2), 3, 1)
    last = list(learner.networks.parameters())[5]
    with torch.no_grad():
        last.copy_(torch.tensor([0.0, given]))
        list(learner.networks.parameters())[4].zero_()
    x, noise = torch.zeros(1, 3), torch.full((1, 1), 0.1)
    action, log_prob = learner.networks.sample(x, noise)
    wanted = tanh_gaussian(torch.zeros(1, 1), torch.full((1, 1), expected), noise)
    torch.testing.assert_close((action, log_prob), wanted)
