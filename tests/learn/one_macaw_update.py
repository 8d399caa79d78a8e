"""macaw and its reference on the same small networks, and what they are given."""

from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idaq.learn.algorithms.macaw import Macaw
from idaq.learn.algorithms.macaw_config import AdaptedNetworkConfig, AdvantageWeightingConfig, MacawConfig
from idaq.learn.config import AgentSpec
from idaq.loader.sampling import SupportQueryBatch
from idaq.loader.transitions import Transitions
from tests.learn import reference_macaw as paper

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
