"""One update of an algorithm with a latent, for the tests of what its encoder learns from.

Small networks, all of their weights redrawn, in units that are not normal; `test_update.Given` says what a step is
given: three tasks, two of them with the same label. `reference` networks are copies in float64, in lists of layers, as
`reference_update` calculates with them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idaq.learn.config import AgentSpec, training_config
from idaq.learn.latent.algorithm import LatentAlgorithm
from idaq.loader.sampling import MetaBatch
from idaq.loader.transitions import Transitions
from tests.learn.one_update import GivenNoise
from tests.learn.reference_update import Layers, Metrics, Networks, Settings, forward
from tests.learn.test_update import LABELS, Given

TASKS = 8
"""more than there are labels in the batch"""
RATE = 0.01
SMALL = {
    "steps": 10,
    "log_every": 2,
    "encoder": {"latent": 2, "hidden": 3, "layers": 1, "lr": RATE},
    "learner": {"hidden": 3},
    "ensemble": {"members": 2, "hidden": 2, "layers": 1},
}
SMALL_RUN = {**SMALL, "meta_batch": 3, "batch": 8, "context": 4}
"""for the contract of algorithms"""


class Subject:
    """An algorithm by its name, and its networks by theirs."""

    def __init__(self, name: str, settings: Settings, own: Mapping[str, Any]) -> None:
        encoder = {**SMALL["encoder"], "next_observation": settings.next_observation}
        config = training_config({**SMALL, **own, "algorithm": name, "encoder": encoder})
        algorithm = config.create(spec_of(settings), "cpu")
        assert isinstance(algorithm, LatentAlgorithm)
        self.algorithm, self.networks = algorithm, algorithm.networks
        self.load(self.networks)

    @torch.no_grad()
    def load(self, networks: nn.Module) -> None:
        """Redraw all weights, by name: those of one name are the same in every algorithm."""
        for name, weight in networks.named_parameters():
            drawn = np.random.default_rng([7, *name.encode()]).normal(0, 1, weight.shape)
            weight.copy_(torch.as_tensor(drawn))

    def update(self, number: int, context: Transitions, given: Given) -> Metrics:
        """One step, whose contexts may be others than the given ones."""
        batch, _, noise = given.at(0)
        info = self.algorithm.update(
            number, MetaBatch(tasks=LABELS, transitions=batch, context=context), GivenNoise(noise)
        )
        return {name: float(value) for name, value in info.items()}

    def gradients(self, part: nn.Module) -> dict[str, Tensor | None]:
        """Of the last update, by name."""
        return {name: weight.grad for name, weight in part.named_parameters()}


def reference(network: nn.Module) -> Layers:
    """The layers of a plain MLP in float64, with gradients of their own."""
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [(leaf(layer.weight.T), leaf(layer.bias)) for layer in linear]


def leaf(weight: Tensor) -> Tensor:
    return weight.detach().double().clone().requires_grad_()


def embedding(networks: Networks, settings: Settings, row: Any) -> Tensor:
    """What one transition says of z."""
    seen = slice(None) if settings.next_observation else slice(1)
    return forward(networks["encoder"], row.s, row.a, row.outcome[seen]).tanh()


def assert_gradients(found: nn.Module, expected: Layers) -> None:
    """Each layer's gradient as the reference has it, none of them 0."""
    linear = [layer for layer in found.modules() if isinstance(layer, nn.Linear)]
    for layer, (weight, bias) in zip(linear, expected, strict=True):
        assert weight.grad is not None
        assert bias.grad is not None
        assert weight.grad.abs().max() > 1e-4
        for ours, theirs in ((layer.weight, weight.grad.T), (layer.bias, bias.grad)):
            assert ours.grad is not None
            torch.testing.assert_close(ours.grad.double(), theirs, rtol=1e-4, atol=1e-6)


def assert_learns_as_focal(
    subject: Subject, info: Metrics, settings: Settings, context: Transitions, number: int = 0
) -> None:
    """Critics, policy and ensemble learn what they learn beside FOCAL, of the same contexts."""
    focal = Subject("focal-td3bc", settings, {})
    told = focal.update(number, context, Given(settings))
    for part in ("policy", "ensemble"):
        ours, theirs = (each.gradients(getattr(each.networks, part)) for each in (subject, focal))
        for name, gradient in theirs.items():
            torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6, msg=f"{part}.{name}")
    names = [name for name in told if not name.startswith("focal")]
    assert {"critic_loss", "q", "prediction_loss", "actor_loss", "cloning"} == set(names)
    assert {name: info[name] for name in names} == pytest.approx({name: told[name] for name in names}, rel=1e-4)


def moved(subject: Subject, part: nn.Module, step: Callable[[], Any]) -> list[float]:
    """How far each weight of a part goes by a step, where it has a gradient."""
    before = [weight.detach().clone() for weight in part.parameters()]
    step()
    pairs = zip(before, part.parameters(), strict=True)
    return [(now - was).abs().max().item() for was, now in pairs if now.grad is not None and now.grad.abs().max() > 0]


def spec_of(settings: Settings) -> AgentSpec:
    """The units of the example."""
    return AgentSpec(
        observation_mean=list(settings.observation_mean),
        observation_std=list(settings.observation_std),
        change_std=list(settings.change_std),
        reward_mean=settings.reward_mean,
        reward_std=settings.reward_std,
        action_centre=list(settings.action_centre),
        action_scale=list(settings.action_scale),
        num_tasks=TASKS,
    )
