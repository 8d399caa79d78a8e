"""TD3+BC: targets, losses and gradients by value, and what they reduce to."""

import pytest
import torch

from idaq.learn.learners.config import Td3BcConfig
from idaq.learn.learners.td3bc import ActorCritic, actor_loss, critic_loss, td_target


@pytest.mark.parametrize(
    ("reward", "terminated", "next_q", "gamma", "expected"),
    [
        (1.0, 0.0, [2.0, 3.0], 0.9, 1 + 0.9 * 2),  # the smaller critic
        (1.0, 0.0, [3.0, 2.0], 0.9, 1 + 0.9 * 2),
        (1.0, 1.0, [9.0, 9.0], 0.9, 1.0),  # a termination does not bootstrap
        (-2.0, 0.0, [-1.0, -4.0], 0.5, -4.0),
        (0.5, 0.0, [7.0, 7.0], 0.0, 0.5),  # gamma 0: the reward alone
    ],
)
def test_td_target(reward: float, terminated: float, next_q: list[float], gamma: float, expected: float) -> None:
    target = td_target(torch.tensor([reward]), torch.tensor([terminated]), torch.tensor(next_q)[:, None], gamma)
    assert target.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("q", "target", "value", "gradient"),
    [
        ([[1.0, 2.0], [1.0, 2.0]], [1.0, 2.0], 0.0, [[0.0, 0.0], [0.0, 0.0]]),
        ([[2.0, 2.0], [1.0, 2.0]], [1.0, 2.0], 0.5, [[1.0, 0.0], [0.0, 0.0]]),  # critic 0 is off by one on row 0
        ([[3.0, 0.0], [1.0, 4.0]], [1.0, 2.0], 4.0 + 2.0, [[2.0, -2.0], [0.0, 2.0]]),
    ],
)
def test_critic_loss(q: list[list[float]], target: list[float], value: float, gradient: list[list[float]]) -> None:
    values = torch.tensor(q, requires_grad=True)
    loss, _ = critic_loss(values, torch.tensor(target))
    loss.backward()
    assert loss.item() == pytest.approx(value)
    torch.testing.assert_close(values.grad, torch.tensor(gradient))


@pytest.mark.parametrize(
    ("q", "action", "data", "alpha", "value"),
    [
        ([2.0, 2.0], [[0.0], [0.0]], [[0.0], [0.0]], 2.5, -2.5),  # lambda |Q| = alpha: the scale of Q does not matter
        ([200.0, 200.0], [[0.0], [0.0]], [[0.0], [0.0]], 2.5, -2.5),
        ([-3.0, -1.0], [[0.0], [0.0]], [[0.0], [0.0]], 2.0, 2.0),
        ([1.0, 3.0], [[1.0], [0.0]], [[0.0], [0.0]], 0.0, 0.5),  # alpha 0: cloning alone
    ],
)
def test_actor_loss(
    q: list[float], action: list[list[float]], data: list[list[float]], alpha: float, value: float
) -> None:
    loss, info = actor_loss(torch.tensor(q), torch.tensor(action), torch.tensor(data), alpha)
    assert loss.item() == pytest.approx(value)
    assert info["cloning"].item() == pytest.approx(((torch.tensor(action) - torch.tensor(data)) ** 2).mean().item())


def test_actor_gradient_holds_lambda_constant() -> None:
    q = torch.tensor([1.0, 3.0], requires_grad=True)
    actor_loss(q, torch.zeros(2, 1), torch.zeros(2, 1), 2.5)[0].backward()
    torch.testing.assert_close(q.grad, torch.full((2,), -2.5 / 2 / 2))  # -alpha / mean|Q| / rows


def test_twin_critics_as_one_product_are_two_separate_networks() -> None:
    torch.manual_seed(0)
    policy = ActorCritic(Td3BcConfig(hidden=16), input_size=5, action_size=2)
    x, action = torch.randn(7, 5), torch.randn(7, 2)
    both = policy.q(policy.critic, x, action)
    rows = torch.cat([x, action], -1)
    for member in range(2):
        hidden = rows
        for layer, (weight, bias) in enumerate(zip(policy.critic.weights, policy.critic.biases, strict=True)):
            hidden = hidden @ weight[member] + bias[member]
            hidden = hidden.relu() if layer < len(policy.critic.weights) - 1 else hidden
        torch.testing.assert_close(both[member], hidden[:, 0])
    torch.testing.assert_close(policy.q(policy.critic, x, action, critics=1), both[:1])


def test_targets_start_equal_follow_by_tau_and_never_take_gradients() -> None:
    policy = ActorCritic(Td3BcConfig(hidden=8, tau=0.25), input_size=3, action_size=1)
    before = [p.clone() for p in policy.target_critic.parameters()]
    torch.testing.assert_close(before, [p.data for p in policy.critic.parameters()])
    with torch.no_grad():
        for parameter in policy.critic.parameters():
            parameter.add_(1.0)
    policy.update_targets()
    for old, new in zip(before, policy.target_critic.parameters(), strict=True):
        torch.testing.assert_close(new.data, old + 0.25)
    assert not any(p.requires_grad for p in [*policy.target_actor.parameters(), *policy.target_critic.parameters()])


def test_target_policy_smoothing_is_clipped() -> None:
    torch.manual_seed(0)
    policy = ActorCritic(Td3BcConfig(hidden=8, policy_noise=1e6, noise_clip=0.0), input_size=3, action_size=1)
    x, reward, terminated = torch.randn(4, 3), torch.zeros(4), torch.zeros(4)
    quiet = policy.target(reward, terminated, x, torch.zeros(4, 1))
    torch.testing.assert_close(policy.target(reward, terminated, x, torch.ones(4, 1)), quiet)
