"""macaw: its losses by value, its inner loop and one whole meta-update against `reference_macaw`, its agent."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from idaq.core.policy import Policy
from idaq.learn.algorithm import EpisodicAgent
from idaq.learn.algorithms import macaw
from idaq.learn.algorithms.macaw import (
    Macaw,
    TransformedLayer,
    advantage_loss,
    advantage_weights,
    mlp,
    policy_loss,
    returns_to_go,
    value_loss,
)
from idaq.learn.algorithms.macaw_config import AdaptedNetworkConfig, AdvantageWeightingConfig, MacawConfig
from idaq.learn.config import AgentSpec, TrainConfig, training_config
from idaq.loader.contexts import Experience
from idaq.loader.sampling import SupportQueryBatch
from idaq.loader.transitions import Transitions
from idaq.testing import AlgorithmContract, PolicyContract
from tests.learn import reference_macaw as paper

ALL = torch.ones(1, 3)


# -- losses ------------------------------------------------------------------------------------------------------


def test_value_loss_by_value_and_gradient() -> None:
    value = torch.tensor([[1.0, 2.0, 5.0], [1.0, 0.0, 9.0]], requires_grad=True)
    paid = torch.tensor([[2.0, 4.0, 4.0], [3.0, 0.5, 7.0]])
    valid = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    loss, info = value_loss(value, paid, valid)
    torch.testing.assert_close(loss, torch.tensor([2.0, 2.125]))
    assert info["value_loss"].item() == pytest.approx(2.0625)
    (gradient,) = torch.autograd.grad(loss.sum(), value)
    torch.testing.assert_close(gradient, torch.tensor([[-2 / 3, -4 / 3, 2 / 3], [-2.0, -0.5, 0.0]]))


def test_advantage_weights_by_value() -> None:
    """Of advantages 1, 2, 6: mean 3, standard deviation sqrt(7)."""
    unit = torch.tensor([[-2.0, -1.0, 3.0]]) / math.sqrt(7)
    advantage = torch.tensor([[1.0, 2.0, 6.0]])
    torch.testing.assert_close(advantage_weights(advantage, ALL, 1.0, 20.0), unit.exp())
    torch.testing.assert_close(advantage_weights(advantage, ALL, 0.5, 20.0), (2 * unit).exp())
    clamped = torch.tensor([[math.exp(-2 / math.sqrt(7)), math.exp(-1 / math.sqrt(7)), 1.5]])
    torch.testing.assert_close(advantage_weights(advantage, ALL, 1.0, 1.5), clamped)
    torch.testing.assert_close(advantage_weights(100 * advantage - 7, ALL, 1.0, 20.0), unit.exp())


def test_advantage_weights_see_valid_transitions_of_their_own_task_alone() -> None:
    advantage, valid = torch.tensor([[1.0, 2.0, 6.0, 99.0], [5.0, 7.0, -9.0, -9.0]]), torch.ones(2, 4)
    valid[0, 3:], valid[1, 2:] = 0, 0
    found = advantage_weights(advantage, valid, 1.0, 20.0)
    torch.testing.assert_close(found[:1, :3], advantage_weights(advantage[:1, :3], ALL, 1.0, 20.0))
    torch.testing.assert_close(found[1, :2], torch.tensor([-1.0, 1.0]).div(math.sqrt(2)).exp())


def test_advantages_that_do_not_differ_weigh_one() -> None:
    for advantage in (torch.full((1, 3), 4.0), torch.tensor([[4.0, -7.0, 9.0]])):
        valid = ALL if advantage[0, 0] == advantage[0, 1] else torch.tensor([[1.0, 0.0, 0.0]])
        assert advantage_weights(advantage, valid, 1.0, 20.0)[0, 0].item() == pytest.approx(1)


def test_policy_loss_by_value_and_gradient() -> None:
    """One number of action, width 0.5: log pi = -2 (a - m)^2 - log(0.5 sqrt(2 pi)); two numbers add up."""
    mean = torch.tensor([[[0.0], [0.5], [9.0]]], requires_grad=True)
    action, weight = torch.tensor([[[1.0], [0.25], [0.0]]]), torch.tensor([[2.0, 0.5, 3.0]])
    valid, constant = torch.tensor([[1.0, 1.0, 0.0]]), math.log(0.5 * math.sqrt(2 * math.pi))
    loss, info = policy_loss(mean, action, weight, valid, 0.5)
    expected = (2 * (2 + constant) + 0.5 * (2 * 0.0625 + constant)) / 2
    assert loss.item() == info["policy_loss"].item() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(loss.sum(), mean)
    torch.testing.assert_close(gradient, torch.tensor([[[-4.0], [0.25], [0.0]]]))
    pair = policy_loss(mean.expand(1, 3, 2), action.expand(1, 3, 2), weight, valid, 0.5)[0]
    torch.testing.assert_close(pair, 2 * loss)


def test_policy_loss_of_equal_weights_is_cloning() -> None:
    rng = np.random.default_rng(0)
    mean, action = (torch.as_tensor(rng.normal(size=(2, 5, 3))).float() for _ in range(2))
    loss, _ = policy_loss(mean, action, torch.ones(2, 5), torch.ones(2, 5), 0.2)
    cloning = (mean - action).square().sum(-1).mean(-1) / (2 * 0.2**2)
    torch.testing.assert_close(loss, cloning + 3 * math.log(0.2 * math.sqrt(2 * math.pi)))


def test_advantage_loss_by_value_and_gradient() -> None:
    predicted = torch.tensor([[0.0, 2.0, 1.0]], requires_grad=True)
    loss, info = advantage_loss(predicted, torch.tensor([[1.0, -1.0, 5.0]]), torch.tensor([[1.0, 1.0, 0.0]]))
    assert loss.item() == info["advantage_loss"].item() == pytest.approx(5)
    (gradient,) = torch.autograd.grad(loss.sum(), predicted)
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, 3.0, 0.0]]))


def test_returns_end_with_their_episode() -> None:
    rewards = np.array([[1.0, 2.0, 4.0, 8.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    starts = np.array([[True, False, True, False, False], [True, True, False, False, False]])
    expected = [[1 + 0.5 * 2, 2, 4 + 0.5 * 8, 8, 0], [1, 1.875, 1.75, 1.5, 1]]
    np.testing.assert_allclose(returns_to_go(rewards, starts, 0.5), expected)
    np.testing.assert_allclose(returns_to_go(rewards, starts, 0.0), rewards)


# -- the inner loop ----------------------------------------------------------------------------------------------


def test_plain_layers_descend_by_the_rate_of_their_offset() -> None:
    """Without a code MACAW's inner loop is MAML's: w - alpha g, then from there."""
    layer, slopes = TransformedLayer(3, 2, 0, inner_lr=0.25), torch.randn(2, 4, 8)
    at = layer.start(4)
    for gradient in slopes:
        at = layer.descend(at, gradient)
    rate = math.log(1.25)
    torch.testing.assert_close(layer.weights(at), layer.offset - rate * (slopes[0] + slopes[1]))


def test_a_layers_weights_lie_row_by_row_and_biases_come_last() -> None:
    weights = torch.arange(8.0).expand(2, 8)
    x = torch.tensor([[[1.0, 10.0, 100.0]], [[0.0, 0.0, 1.0]]])
    torch.testing.assert_close(mlp([weights], x), torch.tensor([[[426.0, 538.0]], [[10.0, 12.0]]]))


TASKS, SUPPORT, QUERY, OBSERVATION, ACTION, DISCOUNT = 3, 5, 4, 2, 2, 0.8
SEED = 39
"""of weights with which every layer adapts to every task"""
SPEC = AgentSpec(
    observation_mean=[0.4, -0.3],
    observation_std=[1.7, 0.6],
    change_std=[0.5, 0.8],
    reward_mean=-0.7,
    reward_std=2.5,
    action_centre=[0.1, -0.2],
    action_scale=[1.3, 0.9],
)


def algorithm_of(settings: paper.Settings) -> Macaw:
    """On networks of two or three units, all of whose weights and rates differ."""
    config = MacawConfig(
        discount=DISCOUNT,
        inner_steps=settings.inner_steps,
        second_order=settings.second_order,
        lr_rates=settings.lr_rates,
        value=AdaptedNetworkConfig(hidden=3, layers=1, code=2, lr=settings.lr_value),
        policy=AdvantageWeightingConfig(
            hidden=3,
            layers=settings.depth,
            code=3,
            lr=settings.lr_policy,
            action_std=settings.action_std,
            temperature=settings.temperature,
            max_weight=settings.max_weight,
            head=2,
        ),
    )
    made, rng = Macaw(config, SPEC, "cpu"), np.random.default_rng(SEED)
    with torch.no_grad():
        for name, parameter in made.networks.named_parameters():
            mean, std = (-3.5 if "rates" in name else 0.0, 0.6)
            parameter.copy_(torch.as_tensor(rng.normal(mean, std, parameter.shape)))
    return made


def reference_of(settings: paper.Settings, subject: Macaw) -> paper.Reference:
    """On the same weights."""

    def layers(network: Any) -> list[paper.Layer]:
        return [
            tuple(
                part.detach().double().clone().requires_grad_()
                for part in (layer.code, layer.transform, layer.offset, layer.raw_rates)
            )
            for layer in network.layers
        ]

    networks = subject.networks
    raw_coef = networks.raw_advantage_coef.detach().double().clone().requires_grad_()
    return paper.Reference(settings, layers(networks.value), layers(networks.policy), raw_coef)


def parameters_of(subject: Macaw) -> list[Tensor]:
    """In the order of `Reference.parameters`."""
    networks = subject.networks
    each = [
        (layer.code, layer.transform, layer.offset, layer.raw_rates)
        for network in (networks.value, networks.policy)
        for layer in network.layers
    ]
    return [*chain(*each), networks.raw_advantage_coef]


def transitions(rng: np.random.Generator, rows: int) -> Transitions:
    s = rng.normal(0.4, 1.5, (TASKS, rows, OBSERVATION))
    return Transitions(
        observations=s.astype(np.float32),
        actions=rng.uniform(-1, 1, (TASKS, rows, ACTION)).astype(np.float32),
        rewards=rng.normal(-1.5, 2.5, (TASKS, rows)).astype(np.float32),
        next_observations=(s + rng.normal(0.2, 0.5, s.shape)).astype(np.float32),
        terminated=rng.random((TASKS, rows)) < 0.3,
    )


def batch_at(number: int) -> SupportQueryBatch:
    """Returns that have nothing to do with the rewards: what is read is seen."""
    rng = np.random.default_rng([7, number])
    return SupportQueryBatch(
        tasks=np.array([4, 7, 4]),
        support=transitions(rng, SUPPORT),
        query=transitions(rng, QUERY),
        support_returns=rng.normal(-4, 5, (TASKS, SUPPORT)).astype(np.float32),
        query_returns=rng.normal(-4, 5, (TASKS, QUERY)).astype(np.float32),
    )


def rows_of(data: Transitions, returns: Any) -> list[paper.Rows]:
    """The same in normalised units, task by task."""
    s = torch.as_tensor((data.observations.astype(float) - SPEC.observation_mean) / SPEC.observation_std)
    a = torch.as_tensor((data.actions.astype(float) - SPEC.action_centre) / SPEC.action_scale)
    return list(zip(s, a, torch.as_tensor(returns.astype(float) / SPEC.reward_std), strict=True))


def sets_of(batch: SupportQueryBatch) -> tuple[list[paper.Rows], list[paper.Rows]]:
    return rows_of(batch.support, batch.support_returns), rows_of(batch.query, batch.query_returns)


SETTINGS = {
    "one step": paper.Settings(inner_steps=1),
    "two steps": paper.Settings(),
    "first order": paper.Settings(second_order=False),
    "three steps, one hidden layer": paper.Settings(inner_steps=3, depth=1),
}


@pytest.fixture(params=SETTINGS.values(), ids=list(SETTINGS))
def settings(request: pytest.FixtureRequest) -> paper.Settings:
    return request.param


def test_the_example_holds_every_case(settings: paper.Settings) -> None:
    """Else a wrong update could agree by chance."""
    reference = reference_of(settings, algorithm_of(settings))
    support, query = sets_of(batch_at(0))
    clamped, dead = list[bool](), list[Tensor]()
    for seen, judged in zip(support, query, strict=True):
        value, policy = reference.adapted(seen)
        for rows in (seen, judged):
            clamped += (paper.weights(paper.advantages(value, rows), settings) == settings.max_weight).tolist()
            dead.append(paper.hidden(policy, rows[0], settings) == 0)
        for before, after in zip(reference.value + reference.policy, value + policy, strict=True):
            moved = [float((b - a).detach().abs().max()) for b, a in zip(before[:3], after[:3], strict=True)]
            assert min(moved) > 1e-3
            assert max(moved) < 0.5
    assert 5 < sum(clamped) < len(clamped) - 5
    assert 5 < torch.cat(dead).sum() < torch.cat(dead).numel() - 5


def test_gradients_of_every_meta_parameter(settings: paper.Settings) -> None:
    subject = algorithm_of(settings)
    reference, batch = reference_of(settings, subject), batch_at(0)
    subject.update(0, batch, np.random.default_rng(0))
    expected = reference.gradients(*sets_of(batch))
    for number, (parameter, wanted) in enumerate(zip(parameters_of(subject), expected, strict=True)):
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(
            found.double(), wanted, rtol=1e-4, atol=1e-6, msg=lambda m, number=number: f"parameter {number}: {m}"
        )


@pytest.mark.parametrize("steps", [1, 2])
def test_gradients_agree_with_finite_differences(steps: int) -> None:
    """Of the outer losses after adaptation, along a random direction of each tensor, rates and lambda included.

    No backward pass through the inner loop has computed them.
    """
    settings = paper.Settings(inner_steps=steps)
    subject, rng = algorithm_of(settings), np.random.default_rng(6)
    reference, batch = reference_of(settings, subject), batch_at(0)
    support, query = sets_of(batch)
    subject.update(0, batch, rng)
    own = len(reference.value) * 4
    for number, ((part, _), parameter) in enumerate(zip(reference.parameters, parameters_of(subject), strict=True)):
        along = torch.as_tensor(rng.normal(size=part.shape))
        expected = slope(part, along, lambda n=number: reference.losses(support, query)[n >= own])
        found = 0.0 if parameter.grad is None else float((parameter.grad.double() * along).sum())
        assert found == pytest.approx(expected, rel=1e-3, abs=2e-5), number


def slope(part: Tensor, along: Tensor, loss: Callable[[], Tensor], width: float = 1e-5) -> float:
    """The central difference of `loss` along a direction of `part`."""
    kept, ends = part.data.clone(), []
    for shift in (width, -width):
        part.data = kept + shift * along
        ends.append(loss().item())
    part.data = kept
    return (ends[0] - ends[1]) / (2 * width)


def test_rates_and_lambda_learn_where_second_order_lets_them() -> None:
    """With one inner step the head's own rates move nothing that is judged."""
    subject = algorithm_of(paper.Settings(inner_steps=1))
    subject.update(0, batch_at(0), np.random.default_rng(0))
    *trunk, first, second = subject.networks.policy.layers
    for layer in (*subject.networks.value.layers, *trunk):
        assert layer.raw_rates.grad is not None
        assert (layer.raw_rates.grad != 0).all()
    assert all(layer.raw_rates.grad is None or not layer.raw_rates.grad.any() for layer in (first, second))
    coef = subject.networks.raw_advantage_coef.grad
    assert coef is not None
    assert coef != 0


def test_weights_and_metrics_after_each_of_six_updates(settings: paper.Settings) -> None:
    subject = algorithm_of(settings)
    reference = reference_of(settings, subject)
    for number in range(6):
        batch = batch_at(number)
        found = subject.update(number, batch, np.random.default_rng(0))
        expected = reference.update(*sets_of(batch))
        assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-3), number
        for parameter, (part, _) in zip(parameters_of(subject), reference.parameters, strict=True):
            torch.testing.assert_close(parameter.detach().double(), part.detach(), rtol=1e-3, atol=2e-4)


# -- the agent ---------------------------------------------------------------------------------------------------


def episodes(lengths: list[list[int]], seed: int = 5) -> Experience:
    """Of each problem, so many steps of each episode."""
    rng, longest = np.random.default_rng(seed), max(map(max, lengths))
    most, shape = max(map(len, lengths)), (len(lengths), max(map(len, lengths)), longest)
    ends = np.array([each + [0] * (most - len(each)) for each in lengths])
    played = Transitions(
        observations=rng.normal(0.4, 1.5, (*shape, OBSERVATION)).astype(np.float32),
        actions=rng.uniform(-1, 1, (*shape, ACTION)).astype(np.float32),
        rewards=rng.normal(-1.5, 2.5, shape).astype(np.float32),
        next_observations=rng.normal(0.4, 1.5, (*shape, OBSERVATION)).astype(np.float32),
        terminated=np.zeros(shape, bool),
    )
    return Experience.of_episodes(played, np.arange(longest) < ends[..., None])


def test_a_belief_is_the_adapted_weights_of_the_policy(settings: paper.Settings) -> None:
    """Of episodes of unequal lengths, whose returns-to-go are summed here."""
    subject = algorithm_of(settings)
    reference, seen = reference_of(settings, subject), episodes([[3, 4], [6], [2, 2, 1]])
    beliefs = subject.agent(None).infer_episodes(seen)
    for problem, lengths in enumerate([[3, 4], [6], [2, 2, 1]]):
        returns, at = [], 0
        for length in lengths:
            paid = seen.transitions.rewards[problem, at : at + length].tolist()
            returns += [sum(r * DISCOUNT**k for k, r in enumerate(paid[t:])) for t in range(length)]
            at += length
        rows = rows_of(seen.transitions[problem : problem + 1, :at], np.array([returns]))[0]
        _, policy = reference.adapted(rows)
        weights = [transform @ z + offset for z, transform, offset, _ in policy[: settings.depth + 1]]
        np.testing.assert_allclose(beliefs[problem], torch.cat(weights).detach(), rtol=1e-3, atol=1e-4)


def test_it_acts_as_the_adapted_policy_does(settings: paper.Settings) -> None:
    subject = algorithm_of(settings)
    reference, batch = reference_of(settings, subject), batch_at(0)
    agent, seen = subject.agent(None), batch.query.observations[:, 0]
    starts = np.zeros(batch.support.rewards.shape, bool)
    starts[:, 0] = True
    one_episode = rows_of(batch.support, returns_to_go(batch.support.rewards, starts, DISCOUNT))
    expected = []
    for problem, rows in enumerate(one_episode):
        _, policy = reference.adapted(rows)
        s = torch.tensor((seen[problem].astype(float) - SPEC.observation_mean) / SPEC.observation_std)
        expected.append(paper.action(policy, s, settings).detach().numpy() * SPEC.action_scale + SPEC.action_centre)
    acted = agent.policy(agent.infer(batch.support)).act(seen)
    assert acted.dtype == np.float32
    np.testing.assert_allclose(acted, np.stack(expected), rtol=1e-3, atol=1e-4)


def test_nothing_seen_is_the_meta_policy() -> None:
    subject = algorithm_of(paper.Settings())
    agent, (*layers, _, _) = subject.agent(None), subject.networks.policy.layers
    meta = torch.cat([layer.transform @ layer.code + layer.offset for layer in layers]).detach().numpy()
    nothing = episodes([[2], [3]])
    empty = Experience(transitions=nothing.transitions[:, :0], starts=nothing.starts[:, :0], valid=nothing.valid[:, :0])
    np.testing.assert_allclose(agent.infer_episodes(empty), np.stack([meta, meta]), rtol=1e-5, atol=1e-6)
    none_of_one = replace(nothing, valid=nothing.valid & np.array([[True], [False]]))
    adapted, same = agent.infer_episodes(none_of_one)
    np.testing.assert_allclose(same, meta, rtol=1e-5, atol=1e-6)
    assert np.abs(adapted - meta).max() > 1e-2


def test_what_is_filled_up_and_what_stands_beside_does_not_count() -> None:
    agent = algorithm_of(paper.Settings()).agent(None)
    together = episodes([[3, 4], [6], [2]])
    beliefs = agent.infer_episodes(together)
    for problem, steps in enumerate((7, 6, 2)):
        one = slice(problem, problem + 1)
        alone = Experience(
            transitions=together.transitions[one, :steps],
            starts=together.starts[one, :steps],
            valid=together.valid[one, :steps],
        )
        np.testing.assert_allclose(agent.infer_episodes(alone)[0], beliefs[problem], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("at_once", [2**16, 9, 1], ids=["many", "three", "one"])
def test_more_contexts_than_adapt_at_once(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macaw, "_TRANSITIONS", at_once)
    agent, seen = algorithm_of(paper.Settings()).agent(None), episodes([[2], [3]] * 70)
    beliefs = agent.infer_episodes(seen)
    assert beliefs.shape[0] == 140
    last = Experience(transitions=seen.transitions[139:], starts=seen.starts[139:], valid=seen.valid[139:])
    np.testing.assert_allclose(agent.infer_episodes(last)[0], beliefs[139], rtol=1e-4, atol=1e-5)


# -- contracts ---------------------------------------------------------------------------------------------------

SMALL = {
    "algorithm": "macaw",
    "meta_batch": 3,
    "support": 8,
    "query": 6,
    "value": {"hidden": 8, "layers": 2, "code": 4, "inner_lr": 0.05},
    "policy": {"hidden": 8, "layers": 2, "code": 4, "head": 4, "inner_lr": 0.05},
}


@pytest.mark.parametrize("changed", [{}, {"inner_steps": 2}, {"second_order": False}], ids=["default", "two", "first"])
class TestMacaw(AlgorithmContract):
    @pytest.fixture(autouse=True)
    def told(self, changed: dict[str, Any]) -> None:
        self.changed = changed

    def config(self, seed: int) -> TrainConfig:
        return training_config({**SMALL, **self.changed, "seed": seed})


class TestItsPolicy(PolicyContract):
    observation_size, action_size = OBSERVATION, ACTION

    def policy(self, problems: int) -> Policy:
        agent = training_config(SMALL).create(SPEC, "cpu").agent(None)
        assert isinstance(agent, EpisodicAgent)
        seen = episodes([[4]] * 8)
        return agent.policy(agent.infer_episodes(seen)[:problems])
