"""borel: its losses by value, one whole update against `reference_borel`, and a belief that is one on either path."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from idaq.adapt.adapt import adapt
from idaq.adapt.strategy import adaptation_plan
from idaq.collect.collect import Collected
from idaq.core.errors import ConfigError
from idaq.core.policy import Policy
from idaq.learn.algorithm import BelievingPolicy, EpisodicAgent
from idaq.learn.algorithms.borel import Borel, elbo_loss, kl_to_previous
from idaq.learn.algorithms.borel_config import BorelConfig
from idaq.learn.config import AgentSpec, TrainConfig, training_config
from idaq.learn.learners.config import SacConfig
from idaq.learn.loop import train
from idaq.loader import open_dataset
from idaq.loader.contexts import Experience
from idaq.loader.trajectories import TrajectoryBatch
from idaq.loader.transitions import Transitions
from idaq.testing import AlgorithmContract, PolicyContract
from tests.learn.reference_borel import (
    Step,
    Trajectory,
    Weights,
    elbo,
    hidden_states,
    relabelled,
    sac_critics,
    sac_policy,
)

BELIEF: dict[str, Any] = {
    "latent": 2, "hidden": 4, "observation_features": 3, "action_features": 2, "reward_features": 2,
    "decoder_hidden": 3,
}  # fmt: skip
SMALL: dict[str, Any] = {
    "algorithm": "borel",
    "meta_batch": 3,
    "belief": BELIEF,
    "learner": {"kind": "sac", "hidden": 4},
}
SPEC = AgentSpec(
    observation_mean=[0.5, -1.0],
    observation_std=[2.0, 0.7],
    change_std=[0.4, 0.3],
    reward_mean=-1.5,
    reward_std=2.5,
    action_centre=[0.5],
    action_scale=[1.5],
)
LENGTHS = (5, 3, 4)
STARTS = ((0, 2), (0,), (0, 1))
"""of each trajectory, where its episodes begin"""


@pytest.mark.parametrize("kind", ["sac", "td3bc", "bc"])
class TestBorel(AlgorithmContract):
    @pytest.fixture(autouse=True)
    def told(self, kind: str) -> None:
        self.kind = kind

    def config(self, seed: int) -> TrainConfig:
        """Two steps of the contract learn the belief, the others the policy."""
        learner = {"kind": self.kind, "hidden": 4}
        return training_config({**SMALL, "steps": 4, "seed": seed, "learner": learner, "log_every": 2})


class TestItsPolicy(PolicyContract):
    observation_size, action_size = 2, 1

    def policy(self, problems: int) -> Policy:
        beliefs = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4)[:problems]
        return subject().agent(None).policy(beliefs)


def subject(**belief: Any) -> Borel:
    """The algorithm on networks of two or three units, its weights all drawn: targets are no copies."""
    config = training_config({**SMALL, "belief": {**BELIEF, **belief}})
    assert isinstance(config, BorelConfig)
    algorithm = Borel(config, SPEC, "cpu")
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in algorithm.networks.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=draws))
    return algorithm


def experience() -> Experience:
    """Three trajectories of unequal length, of one or two episodes, in units that are not normal."""
    rng, lead = np.random.default_rng(3), (3, 5)
    valid = np.arange(5) < np.array(LENGTHS)[:, None]
    starts = np.zeros(lead, bool)
    for row, firsts in enumerate(STARTS):
        starts[row, list(firsts)] = True
    seen = rng.normal(0.5, 2, (*lead, 2)).astype(np.float32)
    return Experience(
        transitions=Transitions(
            observations=seen,
            actions=rng.uniform(-1, 2, (*lead, 1)).astype(np.float32),
            rewards=rng.normal(-1.5, 2.5, lead).astype(np.float32),
            next_observations=(seen + rng.normal(0.2, 0.5, seen.shape)).astype(np.float32),
            terminated=rng.random(lead) < 0.4,
        ),
        starts=starts,
        valid=valid,
    )


def trajectories(seen: Experience) -> list[Trajectory]:
    """The same, step by step in normalised units."""
    of, found = seen.transitions, []

    def numbers(values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    mean, std, change_std = map(numbers, (SPEC.observation_mean, SPEC.observation_std, SPEC.change_std))
    for n, length in enumerate(seen.valid.sum(1).tolist()):
        steps = []
        for t in range(length):
            s, following = numbers(of.observations[n, t]), numbers(of.next_observations[n, t])
            r = numbers([of.rewards[n, t]])
            steps.append(
                Step(
                    s=(s - mean) / std,
                    a=(numbers(of.actions[n, t]) - 0.5) / 1.5,
                    r=(r + 1.5) / 2.5,
                    change=(following - s) / change_std,
                    following=(following - mean) / std,
                    first=bool(seen.starts[n, t]),
                    terminated=bool(of.terminated[n, t]),
                    paid=r[0] / 2.5,
                )
            )
        found.append(steps)
    return found


def weights_of(algorithm: Borel) -> Weights:
    named = algorithm.networks.named_parameters()
    return {name: value.detach().double().clone().requires_grad_() for name, value in named}


def batch() -> TrajectoryBatch:
    return TrajectoryBatch(tasks=np.array([4, 7, 4]), experience=experience())


# -- losses ------------------------------------------------------------------------------------------------------


def test_the_kl_is_to_the_belief_before_and_at_first_to_a_unit_gaussian() -> None:
    """By hand: of N(1, 4) and N(0, 1) (4 + 1 - 1 - log 4) / 2, of N(3, 1) and N(1, 4) ((1 + 4) / 4 - 1 + log 4) / 2."""
    mean = torch.tensor([[[1.0], [3.0]]], requires_grad=True)
    logvar = torch.tensor([[[np.log(4)], [0.0]]], dtype=torch.float32, requires_grad=True)
    kl = kl_to_previous(mean, logvar)
    np.testing.assert_allclose(kl.detach(), [[(4 - np.log(4)) / 2, (0.25 + np.log(4)) / 2]], rtol=1e-6)
    kl.sum().backward()
    np.testing.assert_allclose(mean.grad, [[[1 - 0.5], [0.5]]], rtol=1e-6)
    np.testing.assert_allclose(logvar.grad, [[[1.5 + 0.5 - 5 / 8], [-0.5 + 1 / 8]]], rtol=1e-5)


def test_a_belief_that_does_not_move_costs_nothing() -> None:
    mean, logvar = torch.full((1, 3, 2), 0.7), torch.full((1, 3, 2), -1.3)
    kl = kl_to_previous(mean, logvar)
    assert kl[0, 0] > 0
    np.testing.assert_allclose(kl[0, 1:], 0, atol=1e-6)


def test_the_elbo_adds_over_steps_and_beliefs_and_averages_over_trajectories() -> None:
    """2 trajectories, 2 beliefs, 3 steps; the second trajectory has 2 steps and 1 of the beliefs."""
    error = torch.arange(1.0, 13).reshape(2, 2, 3).requires_grad_()
    kl = torch.tensor([[1.0, 2.0], [3.0, 50.0]], requires_grad=True)
    valid = torch.tensor([[True, True, True], [True, True, False]])
    counts = torch.tensor([[True, True], [True, False]])
    loss, info = elbo_loss(error, kl, valid, counts, 0.5)
    assert loss.item() == pytest.approx((1 + 2 + 3 + 4 + 5 + 6 + 0.5 * 3 + 7 + 8 + 0.5 * 3) / 2)
    assert info["reconstruction"].item() == pytest.approx((21 + 15) / 8)
    assert info["kl"].item() == pytest.approx((1 + 2 + 3) / 3)
    loss.backward()
    np.testing.assert_allclose(error.grad, [[[0.5] * 3, [0.5] * 3], [[0.5, 0.5, 0], [0, 0, 0]]])
    np.testing.assert_allclose(kl.grad, [[0.25, 0.25], [0.25, 0]])


# -- one whole update --------------------------------------------------------------------------------------------


def drawn(step: int, algorithm: Borel) -> tuple[list[int], list[list[Tensor]]]:
    """What a belief step draws: which beliefs are decoded, and noise."""
    rng = np.random.default_rng(step)
    chosen = np.sort(rng.permutation(6)[: algorithm.config.belief.elbo_terms])
    noise = rng.standard_normal((3, len(chosen), 2), np.float32)
    return chosen.tolist(), [list(of) for of in torch.as_tensor(noise).double()]


@pytest.mark.parametrize("next_observation", [False, True])
@pytest.mark.parametrize("elbo_terms", [50, 3])
def test_the_update_of_the_belief(next_observation: bool, elbo_terms: int) -> None:
    algorithm = subject(next_observation=next_observation, elbo_terms=elbo_terms, kl_weight=0.3, lr=0.01)
    weights, before = weights_of(algorithm), algorithm.state()
    kept = {name: value.clone() for name, value in before.items()}
    info = algorithm.update(0, batch(), np.random.default_rng(0))
    loss, metrics = elbo(weights, trajectories(experience()), *drawn(0, algorithm), 0.3)
    loss.backward()
    learned = [name for name in weights if not name.startswith("policy.")]
    assert len(learned) == (36 if next_observation else 25)
    after = dict(algorithm.networks.named_parameters())
    for name in weights:
        if name in learned:
            torch.testing.assert_close(after[name].grad.double(), weights[name].grad, rtol=2e-4, atol=1e-6, msg=name)
            moved = weights[name].detach() - 0.01 * weights[name].grad / (weights[name].grad.abs() + 1e-8)
            torch.testing.assert_close(after[name].detach().double(), moved, rtol=1e-3, atol=1e-4, msg=name)
        else:
            assert torch.equal(after[name], kept[f"agent.{name}"]), name
    assert {name: value.item() for name, value in info.items()} == pytest.approx(metrics, rel=1e-4)


def test_states_are_relabelled_with_the_belief_that_was_there() -> None:
    algorithm = subject()
    data, x, next_x = algorithm.relabelled(experience())
    rows = relabelled(weights_of(algorithm), trajectories(experience()))
    assert len(rows) == len(x) == sum(LENGTHS)
    torch.testing.assert_close(x.double(), torch.stack([row.x for row in rows]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(next_x.double(), torch.stack([row.next_x for row in rows]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(data["reward"], [row.step.paid for row in rows], rtol=1e-5)
    np.testing.assert_allclose(data["terminated"], [row.step.terminated for row in rows])
    assert [x.requires_grad, next_x.requires_grad] == [False, False]


def test_the_update_of_the_policy() -> None:
    """Critics, then the policy under the new critics, then the targets; the belief's networks keep every bit."""
    algorithm = subject()
    config = SacConfig(kind="sac", hidden=4, temperature=0.4, gamma=0.8, tau=0.1, lr=0.01)
    algorithm.learner.config = config  # type: ignore[attr-defined]
    for optimiser in ("critics", "actor"):
        algorithm._optimisers[optimiser].param_groups[0]["lr"] = config.lr
    weights = weights_of(algorithm)
    first = algorithm.config.belief_steps
    info = algorithm.update(first, batch(), np.random.default_rng(1))
    rng, rows = np.random.default_rng(1), relabelled(weights, trajectories(experience()))
    noises = [torch.as_tensor(rng.standard_normal((len(rows), 1), np.float32)).double() for _ in range(2)]
    loss = sac_critics(weights, rows, noises[0], 0.4, 0.8)
    gradients = of_loss(loss, weights, "policy.critic")
    after = dict(algorithm.networks.named_parameters())
    for name, gradient in gradients.items():
        with torch.no_grad():
            weights[name] = (weights[name] - 0.01 * gradient / (gradient.abs() + 1e-8)).requires_grad_()
        torch.testing.assert_close(after[name].grad.double(), gradient, rtol=2e-4, atol=1e-6, msg=name)
        torch.testing.assert_close(after[name].detach().double(), weights[name].detach(), rtol=1e-3, atol=1e-4)
    policy = sac_policy(weights, rows, noises[1], 0.4)
    for name, gradient in of_loss(policy, weights, "policy.actor").items():
        torch.testing.assert_close(after[name].grad.double(), gradient, rtol=1e-3, atol=1e-5, msg=name)
    for name, value in weights.items():
        if "target" in name:
            online = weights[name.replace("target_", "")].detach()
            torch.testing.assert_close(after[name].double(), 0.9 * value.detach() + 0.1 * online, rtol=1e-3, atol=1e-4)
        elif not name.startswith("policy"):
            assert torch.equal(after[name].double(), value.detach()), name
            assert after[name].grad is None, name
    assert info["critic_loss"].item() == pytest.approx(loss.item(), rel=1e-4)
    assert info["actor_loss"].item() == pytest.approx(policy.item(), rel=1e-3)


def of_loss(loss: Tensor, weights: Weights, prefix: str) -> Weights:
    names = [name for name in weights if name.startswith(prefix)]
    return dict(zip(names, torch.autograd.grad(loss, [weights[name] for name in names]), strict=True))


def test_the_belief_learns_first_and_then_stays() -> None:
    config = training_config({**SMALL, "steps": 10, "belief": {**BELIEF, "share": 0.3}})
    algorithm = config.create(SPEC, "cpu")
    assert isinstance(algorithm, Borel)
    for step in range(10):
        before = {name: value.clone() for name, value in algorithm.networks.named_parameters()}
        algorithm.update(step, batch(), np.random.default_rng(step))
        moved = {
            name.partition(".")[0]
            for name, v in algorithm.networks.named_parameters()
            if not torch.equal(v, before[name])
        }
        assert moved == ({"encoder", "reward"} if step < 3 else {"policy"}), step


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_training_without_steps_for_either_part_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"of 4 steps, belief.share leaves none"):
        training_config({**SMALL, "steps": 4, "belief": {**BELIEF, "share": share}})


# -- the agent ---------------------------------------------------------------------------------------------------


def online(policy: Policy, seen: Experience, act: Callable[[np.ndarray], None] = lambda _actions: None) -> None:
    """Let a policy observe the experience step by step, problems side by side, each episode with its reset.

    All problems here begin and end their episodes alike.
    """
    of = seen.transitions
    for t in range(seen.valid.shape[1]):
        if seen.starts[0, t]:
            policy.reset()
        act(policy.act(of.observations[:, t]))
        over = t + 1 == seen.valid.shape[1] or bool(seen.starts[0, t + 1])
        ended = np.full(len(seen.valid), over)
        policy.observe(of.actions[:, t], of.rewards[:, t], of.next_observations[:, t], ended)


def aligned() -> Experience:
    """The experience with the episodes of the first trajectory in every one."""
    seen = experience()
    return Experience(transitions=seen.transitions, starts=seen.starts[:1].repeat(3, 0), valid=np.ones_like(seen.valid))


def test_relabelling_a_trajectory_and_acting_through_it_give_the_same_beliefs_and_actions() -> None:
    """Over two episodes: what the policy was trained on is what it meets."""
    algorithm, seen, acted = subject(), aligned(), list[np.ndarray]()
    agent = algorithm.agent(None)
    assert isinstance(agent, EpisodicAgent)
    _, x, _ = algorithm.relabelled(seen)
    policy = agent.policy(np.zeros((3, 4), np.float32))
    online(policy, seen, lambda actions: acted.append(actions))
    expected = algorithm.networks.act(x).detach().numpy().reshape(3, 5, 1) * 1.5 + 0.5
    np.testing.assert_allclose(np.stack(acted, 1), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(policy._hidden, agent.infer_episodes(seen), rtol=1e-5, atol=1e-6)  # type: ignore[attr-defined]


def test_a_belief_goes_on_from_where_it_was_inferred() -> None:
    """Of the first episode, then through the second: as of both."""
    agent, seen = subject().agent(None), aligned()
    parts = [
        Experience(transitions=seen.transitions[:, steps], starts=seen.starts[:, steps], valid=seen.valid[:, steps])
        for steps in (slice(2), slice(2, None))
    ]
    policy = agent.policy(agent.infer_episodes(parts[0]))
    assert isinstance(policy, BelievingPolicy)
    online(policy, parts[1])
    np.testing.assert_allclose(policy._hidden, agent.infer_episodes(seen), rtol=1e-5, atol=1e-6)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(policy.beliefs, agent.infer_episodes(parts[0]))


def test_a_belief_of_episodes_of_unequal_length_is_that_of_the_valid_steps() -> None:
    algorithm = subject()
    weights, found = weights_of(algorithm), algorithm.agent(None).infer_episodes(experience())
    for row, trajectory in zip(found, trajectories(experience()), strict=True):
        np.testing.assert_allclose(row, hidden_states(weights, trajectory)[-1].detach(), rtol=1e-4, atol=1e-5)


def test_nothing_seen_is_the_belief_of_zeros_and_a_bag_is_one_episode() -> None:
    agent, seen = subject().agent(None), experience()
    nothing = Experience(transitions=seen.transitions[:, :0], starts=seen.starts[:, :0], valid=seen.valid[:, :0])
    np.testing.assert_array_equal(agent.infer_episodes(nothing), np.zeros((3, 4)))
    first = np.arange(5) == np.zeros((3, 1))
    one = Experience(transitions=seen.transitions, starts=first, valid=np.ones((3, 5), bool))
    np.testing.assert_array_equal(agent.infer(seen.transitions), agent.infer_episodes(one))
    assert not np.allclose(agent.infer(seen.transitions), agent.infer_episodes(aligned())), "starts are seen"


def test_what_comes_after_an_episodes_end_is_not_observed() -> None:
    agent, seen = subject().agent(None), aligned().transitions
    policy = agent.policy(np.zeros((3, 4), np.float32))
    policy.reset()
    states = []
    for t, ended in enumerate(([False, True, False], [False, True, True], [True, True, True])):
        policy.act(seen.observations[:, t])
        policy.observe(seen.actions[:, t], seen.rewards[:, t], seen.next_observations[:, t], np.array(ended))
        states.append(policy._hidden.numpy().copy())  # type: ignore[attr-defined]
    expected = Experience(
        transitions=seen[:, :3],
        starts=np.arange(3) == np.zeros((3, 1)),
        valid=np.array([[True, True, True], [True, False, False], [True, True, False]]),
    )
    np.testing.assert_allclose(states[-1], agent.infer_episodes(expected), rtol=1e-5, atol=1e-6)


def test_every_strategy_adapts_with_it(collected: Collected, tmp_path: Path) -> None:
    """Those that draw beliefs from the prior, those that infer them from own episodes, and its own way."""
    dataset = open_dataset(collected.path)
    agent = train(dataset, training_config({**SMALL, "steps": 4, "log_every": 1}), tmp_path / "run").agent
    assert agent.prior is not None
    assert agent.prior.beliefs.shape == (6, 4)
    names = ["in-context", "idaq", "posterior", "best-of-prior", "random-first", "offline-context"]
    plan = adaptation_plan(names, {"episodes": 4, "report_at": [1, 4], "seeds": 1, "reference": 2, "candidates": 2})
    results = adapt(agent, dataset, plan).results.strategies
    assert all(np.isfinite(results[name].returns).all() for name in names)
    assert results.keys() == set(names)
