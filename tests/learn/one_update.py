"""focal-td3bc as the tests of its update reach it: the one place that knows its classes.

`Subject` has the shape of `reference_update.Reference`: networks by name, gradients by name, and `update`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from idaq.learn.algorithms.focal import create
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import AgentSpec
from idaq.learn.latent.agent import LatentAgent
from idaq.learn.latent.config import EncoderConfig, EnsembleConfig
from idaq.learn.learners.config import Td3BcConfig
from idaq.loader.sampling import MetaBatch
from idaq.loader.transitions import Transitions
from tests.learn.reference_update import Layers, Metrics, Networks, Settings


class GivenNoise(np.random.Generator):
    """A generator that gives the normal numbers of the test."""

    def __init__(self, noise: NDArray[Any]) -> None:
        super().__init__(np.random.PCG64(0))
        self._noise = noise

    def standard_normal(self, size: Any = None, dtype: Any = None, out: Any = None) -> Any:
        assert size == self._noise.shape
        return self._noise


class Subject:
    """The algorithm on networks of two or three units."""

    def __init__(self, settings: Settings) -> None:
        self.algorithm = create(_config(settings), _spec(settings), "cpu")

    def update(
        self, number: int, batch: Transitions, context: Transitions, tasks: NDArray[Any], noise: NDArray[Any]
    ) -> Metrics:
        """One step; `noise` (N * B, A)."""
        drawn = MetaBatch(tasks=tasks, transitions=batch, context=context)
        info = self.algorithm.update(number, drawn, GivenNoise(noise))
        return {name: float(value) for name, value in info.items()}

    def agent(self) -> LatentAgent:
        """What adaptation gets of it."""
        return self.algorithm.agent(None)

    def networks(self) -> Networks:
        """Copies of all weights."""
        return self._parts(lambda parameter: parameter.detach().clone())

    def gradients(self) -> Networks:
        """Of the last update, of the networks that learn."""
        found = self._parts(lambda parameter: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        return {name: layers for name, layers in found.items() if not name.startswith("target_")}

    @torch.no_grad()
    def load(self, networks: Networks) -> None:
        """Set all weights."""
        for name, layers in self._parts(lambda parameter: parameter.data).items():
            for layer, given in zip(layers, networks[name], strict=True):
                layer[0].copy_(given[0])
                layer[1].copy_(given[1])

    def _parts(self, of: Callable[[Tensor], Tensor]) -> Networks:
        networks = self.algorithm.networks
        policy, predictors = networks.policy, networks.ensemble.net
        found = {
            "encoder": _plain(networks.encoder.net, of),
            "actor": _plain(policy.actor, of),
            "target_actor": _plain(policy.target_actor, of),
        }
        for member in range(2):
            found[f"critic_{member}"] = _member(policy.critic, member, of)
            found[f"target_critic_{member}"] = _member(policy.target_critic, member, of)
        for member in range(self.algorithm.config.ensemble.members):
            found[f"predictor_{member}"] = _member(predictors, member, of)
        return found


def _plain(network: nn.Module, of: Callable[[Tensor], Tensor]) -> Layers:
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    return [(of(layer.weight).T, of(layer.bias)) for layer in linear]


def _member(network: Any, member: int, of: Callable[[Tensor], Tensor]) -> Layers:
    pairs = zip(network.weights, network.biases, strict=True)
    return [(of(weight)[member], of(bias)[member, 0]) for weight, bias in pairs]


def _config(settings: Settings) -> FocalTd3BcConfig:
    return FocalTd3BcConfig(
        steps=settings.steps,
        lr_end=settings.lr_end,
        log_every=settings.policy_delay,
        encoder=EncoderConfig(
            latent=2, hidden=3, layers=1, lr=settings.lr_encoder, next_observation=settings.next_observation
        ),
        learner=Td3BcConfig(
            hidden=3,
            layers=2,
            lr=settings.lr_policy,
            gamma=settings.gamma,
            tau=settings.tau,
            alpha=settings.alpha,
            policy_noise=settings.policy_noise,
            noise_clip=settings.noise_clip,
            policy_delay=settings.policy_delay,
        ),
        ensemble=EnsembleConfig(members=2, hidden=2, layers=1, lr=settings.lr_predictors),
    )


def _spec(settings: Settings) -> AgentSpec:
    return AgentSpec(
        observation_mean=list(settings.observation_mean),
        observation_std=list(settings.observation_std),
        change_std=list(settings.change_std),
        reward_mean=settings.reward_mean,
        reward_std=settings.reward_std,
        action_centre=list(settings.action_centre),
        action_scale=list(settings.action_scale),
    )
