"""macaw: its losses by value, its agent, the contracts. `test_macaw_update` holds the whole meta-update."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from idaq.core.policy import Policy
from idaq.learn.algorithm import BelievingPolicy, EpisodicAgent, SamplingAgent
from idaq.learn.algorithms import macaw
from idaq.learn.algorithms.macaw import advantage_loss, advantage_weights, policy_loss, returns_to_go, value_loss
from idaq.learn.config import TrainConfig, training_config
from idaq.loader.contexts import Experience
from idaq.loader.transitions import Transitions
from idaq.testing import AlgorithmContract, PolicyContract
from tests.learn import reference_macaw as paper
from tests.learn.one_macaw_update import (
    ACTION,
    DISCOUNT,
    OBSERVATION,
    SETTINGS,
    SPEC,
    algorithm_of,
    batch_at,
    reference_of,
    rows_of,
)

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


# -- the agent ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=SETTINGS.values(), ids=list(SETTINGS))
def settings(request: pytest.FixtureRequest) -> paper.Settings:
    return request.param


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


def test_it_explores_by_its_gaussian() -> None:
    """Of width 0.7 of the action space's half-width, and never beyond its bounds."""
    agent = algorithm_of(paper.Settings()).agent(None)
    beliefs, seen = agent.infer_episodes(episodes([[2]] * 40)), np.zeros((40, OBSERVATION), np.float32)
    beliefs[:] = beliefs[0]
    policy = agent.sampled_policy(beliefs, np.random.default_rng(3))
    assert isinstance(policy, BelievingPolicy)
    drawn, mean = policy.act(seen), agent.policy(beliefs).act(seen)[0]
    unit = (drawn - SPEC.action_centre) / SPEC.action_scale
    assert np.abs(unit).max() == pytest.approx(1, abs=1e-6)
    mode = (mean - SPEC.action_centre) / SPEC.action_scale
    expected = np.clip(mode + 0.7 * np.random.default_rng(3).standard_normal(unit.shape, np.float32), -1, 1)
    np.testing.assert_allclose(unit, expected, atol=1e-5)


def test_all_that_it_has_learned_is_the_agents() -> None:
    subject = algorithm_of(paper.Settings())
    learned = {name.removeprefix("agent.") for name in subject.state() if name.startswith("agent.")}
    assert set(subject.agent(None).tensors()) == learned
    assert {name for name, _ in subject.networks.named_parameters()} < learned


@pytest.mark.parametrize(("contexts", "steps"), [(4, 2**16), (64, 6), (64, 1)])
def test_more_contexts_than_adapt_at_once(contexts: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, seen = algorithm_of(paper.Settings()).agent(None), episodes([[2], [3], [3], [1], [2]])
    beliefs = agent.infer_episodes(seen)
    monkeypatch.setattr(macaw, "_CONTEXTS", contexts)
    monkeypatch.setattr(macaw, "_TRANSITIONS", steps)
    np.testing.assert_allclose(agent.infer_episodes(seen), beliefs, rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize("drawing", [False, True], ids=["deployed", "exploring"])
class TestItsPolicy(PolicyContract):
    observation_size, action_size = OBSERVATION, ACTION

    @pytest.fixture(autouse=True)
    def told(self, drawing: bool) -> None:
        self.drawing = drawing

    def policy(self, problems: int) -> Policy:
        agent = training_config(SMALL).create(SPEC, "cpu").agent(None)
        assert isinstance(agent, EpisodicAgent)
        assert isinstance(agent, SamplingAgent)
        beliefs = agent.infer_episodes(episodes([[4]] * 8))[:problems]
        return agent.sampled_policy(beliefs, np.random.default_rng(1)) if self.drawing else agent.policy(beliefs)
