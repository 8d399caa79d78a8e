"""The whole update of cpearl and pearl by value, against a second implementation (`reference_cpearl`).

Three tasks, two of them with the same label, five transitions and a context of four each. Everything differs from
everything: s from s', r of each row, the value from its target, and normalisation from the identity.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idaq.learn.algorithms.cpearl import create
from idaq.learn.algorithms.cpearl_config import CpearlConfig
from idaq.learn.config import AgentSpec
from idaq.learn.latent.config import EncoderConfig, EnsembleConfig
from idaq.learn.learners.config import BracConfig
from idaq.loader.sampling import MetaBatch
from idaq.loader.transitions import Transitions
from tests.learn.reference_cpearl import Given, Reference, Settings
from tests.learn.reference_update import Networks

TASKS, BATCH, CONTEXT, SIZE, LATENT = 3, 5, 4, 2, 2
LABELS = np.array([4, 7, 4])
SEED = 13
"""whose first batch holds every case"""
SPEC = AgentSpec(
    observation_mean=[0.5, -1.0],
    observation_std=[2.0, 0.7],
    change_std=[0.4, 0.3],
    reward_mean=-1.5,
    reward_std=2.5,
    action_centre=[0.5, -0.25],
    action_scale=[1.5, 0.75],
)
KINDS = {
    "SAC alone": Settings(brac=False),
    "with BRAC": Settings(),
    "pearl": Settings(brac=False, bottleneck=True, critic_gradients=True, focal_weight=0.0),
    "every part": Settings(bottleneck=True, critic_gradients=True),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def settings(request: pytest.FixtureRequest) -> Settings:
    return request.param


def config(s: Settings) -> CpearlConfig:
    learner = BracConfig(
        hidden=6,
        layers=2,
        lr=s.lr,
        gamma=s.gamma,
        tau=s.tau,
        reward_scale=s.reward_scale,
        mean_weight=s.mean_weight,
        std_weight=s.std_weight,
        activation_weight=s.activation_weight,
        brac=s.brac,
        alpha=s.alpha,
        alpha_lr=s.alpha_lr,
        target_divergence=s.target_divergence,
        dual_lr=s.lr_dual,
        dual_steps=s.dual_steps,
        slope_weight=s.slope_weight,
    )
    return CpearlConfig(
        lr_end=1.0,
        focal_weight=s.focal_weight,
        bottleneck=s.bottleneck,
        kl_weight=s.kl_weight,
        critic_gradients=s.critic_gradients,
        encoder=EncoderConfig(latent=LATENT, hidden=4, layers=1, lr=s.lr_encoder),
        learner=learner,
        ensemble=EnsembleConfig(members=2, hidden=2, layers=1),
    )


class Pair:
    """The algorithm and its reference with the same random weights, and what to give them."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.algorithm = settings, create(config(settings), SPEC, "cpu")
        rng = np.random.default_rng([SEED, 99])
        with torch.no_grad():
            for parameter in self.algorithm.networks.parameters():
                parameter.copy_(torch.as_tensor(rng.normal(0, 0.5, parameter.shape)))
        self.reference = Reference(settings=settings, networks=self.networks(), reward_std=SPEC.reward_std)

    def step(self, number: int) -> tuple[dict[str, float], dict[str, float]]:
        """What both tell of one update."""
        drawn = self.batch(number)
        told = self.algorithm.update(number, drawn, np.random.default_rng(number))
        del told["prediction_loss"]  # `test_update` has it
        return {name: float(value) for name, value in told.items()}, self.reference.update(self._given(drawn, number))

    def batch(self, number: int) -> MetaBatch:
        """Another one at each update."""
        rng = np.random.default_rng([SEED, number])
        return MetaBatch(tasks=LABELS, transitions=_transitions(rng, BATCH), context=_transitions(rng, CONTEXT))

    def _given(self, drawn: MetaBatch, number: int) -> Given:
        s, rng = self.settings, np.random.default_rng(number)

        def normal(*shape: int) -> Tensor:
            return torch.as_tensor(rng.standard_normal(shape, np.float32)).double()

        def uniform(*shape: int) -> Tensor:
            return torch.as_tensor(rng.random(shape, np.float32)).double()

        rows = TASKS * BATCH
        z_noise = normal(TASKS, LATENT) if s.bottleneck else torch.zeros(TASKS, LATENT)
        policy_noise = normal(rows, SIZE)
        dual = [(normal(rows, SIZE), uniform(rows, 1)) for _ in range(s.dual_steps * s.brac)]
        return Given(
            data=_columns(drawn.transitions),
            context=_columns(drawn.context),
            labels=LABELS.tolist(),
            z_noise=z_noise,
            policy_noise=policy_noise,
            dual=dual,
        )

    def networks(self, of: Callable[[Tensor], Tensor] = lambda parameter: parameter.detach().clone()) -> Networks:
        """Weights (inputs, outputs) and biases by network."""
        networks = self.algorithm.networks
        policy: Any = networks.policy
        plain = {"encoder": networks.encoder.net, "actor": policy.actor, "value": policy.value}
        plain |= {"target_value": policy.target_value} | ({"dual": policy.dual} if self.settings.brac else {})
        found = {
            name: [(of(layer.weight).T, of(layer.bias)) for layer in net.modules() if isinstance(layer, nn.Linear)]
            for name, net in plain.items()
        }
        pairs = list(zip(policy.critic.weights, policy.critic.biases, strict=True))
        for member in (0, 1):
            found[f"critic_{member}"] = [(of(weight)[member], of(bias)[member, 0]) for weight, bias in pairs]
        return found


def _transitions(rng: np.random.Generator, rows: int) -> Transitions:
    """Random ones of each task, in units that are not normal; a third are terminations."""
    lead = (TASKS, rows)
    s, a = rng.normal(0.5, 2.0, (*lead, SIZE)), rng.uniform(-1, 1, (*lead, SIZE))
    return Transitions(
        observations=s.astype(np.float32),
        actions=(np.array(SPEC.action_centre) + a * SPEC.action_scale).astype(np.float32),
        rewards=rng.normal(-1.5, 2.5, lead).astype(np.float32),
        next_observations=(s + rng.normal(0.2, 0.5, s.shape)).astype(np.float32),
        terminated=np.add.outer(np.arange(TASKS), np.arange(rows)) % 3 == 0,
    )


def _columns(data: Transitions) -> dict[str, Tensor]:
    """Normalised, in float64."""

    def of(column: Any) -> Tensor:
        return torch.as_tensor(np.asarray(column)).double()

    mean, std = of(SPEC.observation_mean), of(SPEC.observation_std)
    return {
        "obs": (of(data.observations) - mean) / std,
        "next_obs": (of(data.next_observations) - mean) / std,
        "action": (of(data.actions) - of(SPEC.action_centre)) / of(SPEC.action_scale),
        "reward": of(data.rewards) / SPEC.reward_std,
        "outcome": ((of(data.rewards) - SPEC.reward_mean) / SPEC.reward_std)[..., None],
        "terminated": of(data.terminated),
    }


def test_gradients_of_every_network(settings: Settings) -> None:
    pair = Pair(settings)
    pair.step(0)
    found = pair.networks(lambda p: torch.zeros_like(p) if p.grad is None else p.grad)
    for name, expected in pair.reference.gradients.items():
        flat = [part for layer in found[name] for part in layer]
        for number, (ours, theirs) in enumerate(zip(flat, expected, strict=True)):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-4, msg=f"{name} {number}")
            assert theirs.abs().max() > 1e-4, f"{name} {number}: nothing is learned, so that nothing is tested"


def test_weights_targets_alpha_and_metrics_after_each_of_four_updates(settings: Settings) -> None:
    pair = Pair(settings)
    for number in range(4):
        found, expected = pair.step(number)
        assert found == pytest.approx(expected, rel=2e-3, abs=2e-4), number
        ours = pair.networks()
        for name, layers in pair.reference.networks.items():
            for a, b in zip(ours[name], layers, strict=True):
                for part, theirs in zip(a, b, strict=True):
                    torch.testing.assert_close(part.double(), theirs.detach(), rtol=1e-3, atol=1e-3, msg=name)
        assert pair.algorithm.networks.policy.alpha.item() == pytest.approx(pair.reference.alpha, rel=1e-3)


def test_the_example_holds_every_case() -> None:
    """Else a wrong update could agree by chance."""
    pair = Pair(KINDS["with BRAC"])
    policy: Any = pair.algorithm.networks.policy
    rows = {name: column.flatten(0, 1).float() for name, column in _columns(pair.batch(0).transitions).items()}
    x = torch.cat([rows["obs"], torch.zeros(TASKS * BATCH, LATENT)], -1)
    q = policy.q(x, rows["action"])
    above = policy.actor(x).chunk(2, -1)[1] > 0  # where the deviation is clamped
    steep = policy.slope(x, rows["action"]).norm(dim=-1) > 1
    for case in (above, q[0] < q[1], steep, rows["terminated"] > 0):
        assert 1 < case.sum() < case.numel() - 1


def test_without_brac_the_dual_critic_and_alpha_stay() -> None:
    pair = Pair(KINDS["SAC alone"])
    policy: Any = pair.algorithm.networks.policy
    before = [parameter.clone() for parameter in policy.dual.parameters()]
    pair.step(0)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.dual.parameters(), strict=True))
    assert policy.alpha.item() == KINDS["SAC alone"].alpha


def test_the_encoder_learns_from_the_contexts_alone_unless_the_critics_teach_it() -> None:
    for critic_gradients in (False, True):
        learned = []
        for seed in (5, 6):
            pair = Pair(replace(KINDS["with BRAC"], critic_gradients=critic_gradients))
            context = _transitions(np.random.default_rng(1), CONTEXT)
            data = _transitions(np.random.default_rng(seed), BATCH)
            drawn = MetaBatch(tasks=LABELS, transitions=data, context=context)
            pair.algorithm.update(0, drawn, np.random.default_rng(seed))
            learned.append([p.clone() for p in pair.algorithm.networks.encoder.parameters()])
        assert all(torch.equal(a, b) for a, b in zip(*learned, strict=True)) is not critic_gradients
