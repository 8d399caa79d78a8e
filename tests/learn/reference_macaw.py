"""One meta-update of MACAW, written a second time from the paper: nothing here is idaq's.

Task by task, in float64. A layer is its code z, its transformation T, its offset c and the raw inner
rates of the three; its weights T z + c are formed anew from adapted copies of all of them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Layer = tuple[Tensor, Tensor, Tensor, Tensor]
"""z (C,), T (W, C), c (W,), raw rates (3,)"""
Rows = tuple[Tensor, Tensor, Tensor]
"""normalised s (B, D) and a (B, A), returns (B,) in units of the standard deviation of a reward"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an update depends on beside weights and data. No value is one at which a term drops out."""

    inner_steps: int = 2
    second_order: bool = True
    lr_value: float = 0.01
    lr_policy: float = 0.02
    lr_rates: float = 0.03
    action_std: float = 0.7
    temperature: float = 1.7
    max_weight: float = 1.5
    depth: int = 2
    """hidden layers of the policy; the layers after its last are the head's"""


def rate(raw: Tensor) -> Tensor:
    return (1 + raw.exp()).log()


def apply(layer: Layer, x: Tensor) -> Tensor:
    z, transform, offset, _ = layer
    weights, inputs = transform @ z + offset, x.shape[-1]
    outputs = len(weights) // (inputs + 1)
    return x @ weights[: inputs * outputs].reshape(inputs, outputs) + weights[inputs * outputs :]


def network(layers: list[Layer], x: Tensor) -> Tensor:
    for layer in layers[:-1]:
        x = apply(layer, x).clamp_min(0)
    return apply(layers[-1], x)


def value_loss(value: list[Layer], rows: Rows) -> Tensor:
    s, _, paid = rows
    return ((network(value, s)[:, 0] - paid) ** 2).mean()


def advantages(value: list[Layer], rows: Rows) -> Tensor:
    s, _, paid = rows
    return (paid - network(value, s)[:, 0]).detach()


def weights(advantage: Tensor, settings: Settings) -> Tensor:
    unit = (advantage - advantage.mean()) / advantage.std()
    return (unit / settings.temperature).exp().clamp_max(settings.max_weight)


def hidden(policy: list[Layer], s: Tensor, settings: Settings) -> Tensor:
    return network(policy[: settings.depth], s).clamp_min(0)


def action(policy: list[Layer], s: Tensor, settings: Settings) -> Tensor:
    return apply(policy[settings.depth], hidden(policy, s, settings)).tanh()


def policy_loss(policy: list[Layer], value: list[Layer], rows: Rows, settings: Settings) -> Tensor:
    (s, a, _), std = rows, settings.action_std
    away = (a - action(policy, s, settings)) / std
    log_prob = -(away**2).sum(1) / 2 - a.shape[1] * math.log(std * math.sqrt(2 * math.pi))
    return -(weights(advantages(value, rows), settings) * log_prob).mean()


def advantage_loss(policy: list[Layer], value: list[Layer], rows: Rows, settings: Settings) -> Tensor:
    s, a, _ = rows
    predicted = network(policy[settings.depth + 1 :], torch.cat([hidden(policy, s, settings), a], 1))
    return ((predicted[:, 0] - advantages(value, rows)) ** 2).mean()


def stepped(layers: list[Layer], loss: Tensor, settings: Settings) -> list[Layer]:
    """After one step of gradient descent on z, T and c of every layer.

    First order: the gradient of T z + c, which is that of c, is held constant; what follows from it by chain is not.
    """
    parts = [part for layer in layers for part in layer[:3]]
    slopes, moved = list(torch.autograd.grad(loss, parts, create_graph=True)), list[Layer]()
    for number, (z, transform, offset, raw) in enumerate(layers):
        of_z, of_transform, of_offset = slopes[3 * number : 3 * number + 3]
        if not settings.second_order:
            of_offset = of_offset.detach()
            of_z, of_transform = transform.T @ of_offset, torch.outer(of_offset, z)
        speed = rate(raw)
        moved.append((z - speed[0] * of_z, transform - speed[1] * of_transform, offset - speed[2] * of_offset, raw))
    return moved


class Reference:
    """The meta-parameters and one Adam a group of them."""

    def __init__(self, settings: Settings, value: list[Layer], policy: list[Layer], raw_coef: Tensor) -> None:
        self.settings, self.value, self.policy, self.raw_coef = settings, value, policy, raw_coef
        self.moments: dict[int, tuple[Tensor, Tensor]] = {}
        self.steps = 0

    @property
    def parameters(self) -> list[tuple[Tensor, float]]:
        """All that is meta-learned, with its learning rate."""
        settings, found = self.settings, []
        for layers, lr in ((self.value, settings.lr_value), (self.policy, settings.lr_policy)):
            for *adapting, raw in layers:
                found += [(part, lr) for part in adapting] + [(raw, settings.lr_rates)]
        return [*found, (self.raw_coef, settings.lr_rates)]

    def adapted(self, rows: Rows) -> tuple[list[Layer], list[Layer]]:
        """The value function's and the policy's layers after the inner loop on one task's rows."""
        settings, value, policy = self.settings, self.value, self.policy
        for _ in range(settings.inner_steps):
            value = stepped(value, value_loss(value, rows), settings)
        for _ in range(settings.inner_steps):
            richer = rate(self.raw_coef) * advantage_loss(policy, value, rows, settings)
            policy = stepped(policy, policy_loss(policy, value, rows, settings) + richer, settings)
        return value, policy

    def losses(self, support: list[Rows], query: list[Rows]) -> tuple[Tensor, Tensor]:
        """Mean over tasks of both outer losses."""
        of_value, of_policy = [], []
        for seen, judged in zip(support, query, strict=True):
            value, policy = self.adapted(seen)
            of_value.append(value_loss(value, judged))
            of_policy.append(policy_loss(policy, value, judged, self.settings))
        return torch.stack(of_value).mean(), torch.stack(of_policy).mean()

    def gradients(self, support: list[Rows], query: list[Rows]) -> list[Tensor]:
        """Of `parameters`: each network learns from its own loss alone."""
        parts = [part for part, _ in self.parameters]
        own = len(self.value) * 4
        loss_value, loss_policy = self.losses(support, query)
        found = [
            *torch.autograd.grad(loss_value, parts[:own], allow_unused=True),
            *torch.autograd.grad(loss_policy, parts[own:], allow_unused=True),
        ]
        return [torch.zeros_like(part) if slope is None else slope for part, slope in zip(parts, found, strict=True)]

    def update(self, support: list[Rows], query: list[Rows]) -> dict[str, float]:
        """One step of Adam; the metrics."""
        loss_value, loss_policy = self.losses(support, query)
        slopes, self.steps = self.gradients(support, query), self.steps + 1
        with torch.no_grad():
            for number, ((part, lr), slope) in enumerate(zip(self.parameters, slopes, strict=True)):
                first, second = self.moments.get(number, (torch.zeros_like(part), torch.zeros_like(part)))
                first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
                self.moments[number] = first, second
                ahead, spread = first / (1 - 0.9**self.steps), second / (1 - 0.999**self.steps)
                part -= lr * ahead / (spread.sqrt() + 1e-8)
        return {
            "value_loss": loss_value.item(),
            "policy_loss": loss_policy.item(),
            "advantage_coef": rate(self.raw_coef).item(),
        }
