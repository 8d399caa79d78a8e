"""IQL and cloning: losses by value and gradient, what each reduces to, and whole updates done a second time."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from idaq.core.seeds import generator
from idaq.learn.config import TrainConfig, training_config
from idaq.learn.learners.bc import Bc, cloning_loss
from idaq.learn.learners.config import BcConfig, IqlConfig
from idaq.learn.learners.iql import Iql, expectile_loss, q_loss, weighted_cloning_loss
from idaq.learn.learners.td3bc import critic_loss, td_target
from idaq.learn.networks import weights_drawn_from
from idaq.testing import AlgorithmContract
from tests.learn.test_contracts import SMALL

RNG = generator(0)


@pytest.mark.parametrize("name", ["focal-bc", "focal-iql"])
class TestFocalWith(AlgorithmContract):
    @pytest.fixture(autouse=True)
    def told(self, name: str) -> None:
        self.name = name

    def config(self, seed: int) -> TrainConfig:
        return training_config({**SMALL, "algorithm": self.name, "seed": seed})


# -- losses --------------------------------------------------------------------------------------------------------


def test_the_expectile_weighs_what_lies_above_and_below() -> None:
    """Differences 2 and -1: 0.8 * 4 and 0.2 * 1, mean of both."""
    value = torch.tensor([1.0, 3.0], requires_grad=True)
    loss, info = expectile_loss(value, torch.tensor([3.0, 2.0]), 0.8)
    assert loss.item() == pytest.approx((0.8 * 4 + 0.2 * 1) / 2)
    assert info["value"].item() == 2
    loss.backward()
    np.testing.assert_allclose(value.grad, [-0.8 * 2, 0.2 * 1], rtol=1e-6)


def test_the_expectile_of_a_half_is_half_the_squared_error() -> None:
    value, q = torch.tensor([1.0, 3.0, -2.0]), torch.tensor([3.0, 2.0, 5.0])
    torch.testing.assert_close(expectile_loss(value, q, 0.5)[0], (value - q).square().mean() / 2)


def test_a_higher_expectile_is_at_home_nearer_to_the_best_action() -> None:
    """The value that minimises the loss over q in {0, 1}: the expectile itself."""
    values = torch.linspace(0, 1, 101)
    losses = [expectile_loss(v.expand(2), torch.tensor([0.0, 1.0]), 0.9)[0] for v in values]
    assert values[int(torch.stack(losses).argmin())].item() == pytest.approx(0.9, abs=0.011)


def test_critics_are_held_against_the_value_of_what_follows_and_an_end_pays_no_more() -> None:
    q = torch.tensor([[1.0, 2.0], [0.0, 5.0]], requires_grad=True)
    reward, ended, following = torch.tensor([0.5, 1.0]), torch.tensor([0.0, 1.0]), torch.tensor([4.0, 9.0])
    loss, _ = q_loss(q, reward, ended, following, 0.5)
    targets = np.array([0.5 + 0.5 * 4, 1.0])
    assert loss.item() == pytest.approx(((1 - 2.5) ** 2 + (2 - 1) ** 2) / 2 + (2.5**2 + 4**2) / 2)
    loss.backward()
    np.testing.assert_allclose(q.grad, np.array([[1, 2], [0, 5]]) - targets, rtol=1e-6)
    same = td_target(reward, ended, following.expand(2, -1), 0.5)
    torch.testing.assert_close(loss, critic_loss(q, same)[0], msg="TD3's, where V stands for min Q'")


def test_cloning_weighs_rows_by_their_advantage_up_to_the_largest_weight() -> None:
    action = torch.tensor([[0.5, 0.0], [1.0, -1.0]], requires_grad=True)
    data, advantage = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0.25, 3.0])
    loss, info = weighted_cloning_loss(action, data, advantage, 2.0, 10.0)
    weights = [np.exp(0.5), 10.0]
    assert loss.item() == pytest.approx((weights[0] * 0.25 / 2 + weights[1] * 2 / 2) / 2, rel=1e-6)
    assert info["weight"].item() == pytest.approx(np.mean(weights), rel=1e-6)
    loss.backward()
    np.testing.assert_allclose(action.grad, [[weights[0] / 4, 0], [5, -5]], rtol=1e-6)


def test_without_beta_it_is_cloning_alone() -> None:
    action, data = torch.tensor([[0.5, -0.2], [0.1, 0.9]]), torch.tensor([[0.0, 0.3], [0.4, -0.1]])
    weighted, _ = weighted_cloning_loss(action, data, torch.tensor([5.0, -3.0]), 0.0, 100.0)
    torch.testing.assert_close(weighted, cloning_loss(action, data)[0])


# -- whole updates -------------------------------------------------------------------------------------------------


def rows() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Seven rows in which s, s', rewards and ends all differ."""
    given = torch.Generator().manual_seed(1)
    x, next_x = torch.randn(7, 3, generator=given), torch.randn(7, 3, generator=given)
    ended = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    action = torch.rand(7, 2, generator=given) * 1.8 - 0.9
    return x, next_x, {"action": action, "reward": torch.randn(7, generator=given), "terminated": ended}


def doubles(networks: torch.nn.Module) -> Any:
    """The same networks in float64."""
    return copy.deepcopy(networks).double()


def apart(learner: Any) -> None:
    """Targets that are not what they follow, and critics that differ."""
    given = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in learner.networks.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=given))


def mean_square(left: Tensor, right: Tensor) -> Tensor:
    return ((left - right) ** 2).mean()


def adam(before: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """Adam's first step."""
    return before - lr * gradient / (gradient.abs() + 1e-8)


def test_one_update_of_iql_done_a_second_time() -> None:
    config = IqlConfig(hidden=5, layers=1, lr=0.01, gamma=0.9, tau=0.1, expectile=0.8, beta=2.0, largest_weight=1.5)
    with weights_drawn_from(3):
        learner = Iql(config, 3, 2)
    apart(learner)
    networks, (x, next_x, data) = doubles(learner.networks), rows()
    s, following, a = x.double(), next_x.double(), data["action"].double()

    def critic(net: Any, member: int) -> Tensor:
        hidden = torch.cat([s, a], 1) @ net.weights[0][member] + net.biases[0][member]
        return (hidden.relu() @ net.weights[1][member] + net.biases[1][member])[:, 0]

    def value(state: Tensor) -> Tensor:
        return networks.value(state)[:, 0]

    smaller = torch.minimum(critic(networks.target_critic, 0), critic(networks.target_critic, 1)).detach()
    difference = smaller - value(s)
    weight = torch.where(difference > 0, 0.8, 0.2)
    target = data["reward"].double() + 0.9 * (1 - data["terminated"].double()) * value(following).detach()
    expected = (weight * difference**2).mean()
    expected = expected + sum(mean_square(critic(networks.critic, k), target) for k in range(2))
    expected.backward()

    loss, info = learner.critic_loss(x, next_x, data, RNG)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(info) == {"value_loss", "value", "critic_loss", "q"}
    loss.backward()
    for name, parameter in learner.networks.named_parameters():
        there = networks.get_parameter(name).grad
        if name.startswith(("critic", "value")):
            np.testing.assert_allclose(parameter.grad, there, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert parameter.grad is None, name
    assert {id(p) for p in learner.shared()} == {
        id(p) for name, p in learner.networks.named_parameters() if name.startswith(("critic", "value"))
    }

    advantage = (smaller - value(s)).detach()
    rows_weight = torch.minimum((2.0 * advantage).exp(), torch.tensor(1.5, dtype=torch.float64))
    assert (rows_weight == 1.5).any()
    assert (rows_weight < 1).any()
    policy = (rows_weight * ((networks.actor(s).tanh() - a) ** 2).mean(1)).mean()
    gradients = torch.autograd.grad(policy, list(networks.actor.parameters()))
    before = {name: parameter.detach().clone() for name, parameter in learner.networks.named_parameters()}
    told = learner.improve(0, x, data, RNG)
    assert told["actor_loss"].item() == pytest.approx(policy.item(), rel=1e-5)
    for (name, parameter), gradient in zip(learner.networks.actor.named_parameters(), gradients, strict=True):
        moved = adam(before[f"actor.{name}"].double(), gradient, 0.01)
        np.testing.assert_allclose(parameter.detach(), moved, rtol=1e-4, atol=1e-6, err_msg=name)
    for name, parameter in learner.networks.named_parameters():
        if name.startswith("target_critic"):
            online = before[name.removeprefix("target_")]
            np.testing.assert_allclose(parameter, 0.9 * before[name] + 0.1 * online, rtol=1e-5, atol=1e-7)
        elif not name.startswith("actor"):
            assert torch.equal(parameter, before[name]), name


def test_one_update_of_cloning_done_a_second_time() -> None:
    with weights_drawn_from(3):
        learner = Bc(BcConfig(hidden=5, layers=1, lr=0.01), 3, 2)
    actor, (x, next_x, data) = doubles(learner.networks.actor), rows()
    assert learner.critic_loss(x, next_x, data, RNG)[0].item() == 0
    assert list(learner.shared()) == []
    expected = mean_square(actor(x.double()).tanh(), data["action"].double())
    gradients = torch.autograd.grad(expected, list(actor.parameters()))
    assert learner.improve(5, x, data, RNG)["cloning"].item() == pytest.approx(expected.item(), rel=1e-5)
    for parameter, before, gradient in zip(
        learner.networks.actor.parameters(), actor.parameters(), gradients, strict=True
    ):
        np.testing.assert_allclose(parameter.detach(), adam(before.detach(), gradient, 0.01), rtol=1e-4, atol=1e-6)
