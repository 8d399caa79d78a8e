"""A Transformer, an action head and AdamW, written a second time: token by token, in float64. Nothing here is idaq's.

Weights are a dict by name, as in a state. `sees(l, s)` says whether token l looks at token s.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Weights = dict[str, Tensor]
Sees = Callable[[int, int], bool]


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    """W x + b"""
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Layer normalisation."""
    spread = ((x - x.mean()) ** 2).mean()
    return (x - x.mean()) / (spread + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    """x times the chance that a standard normal number is below x."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def attend(queries: list[Tensor], keys: list[Tensor], values: list[Tensor], sees: Sees) -> list[Tensor]:
    """One head: the mean of the values that a token sees, weighed by exp(q k / sqrt(d))."""
    found = []
    for number, query in enumerate(queries):
        seen = [s for s in range(len(keys)) if sees(number, s)]
        weigh = torch.stack([(query @ keys[s] / math.sqrt(len(query))).exp() for s in seen])
        found.append(sum(w * values[s] for w, s in zip(weigh / weigh.sum(), seen, strict=True)))
    return found


def block(weights: Weights, name: str, tokens: list[Tensor], sees: Sees, heads: int) -> list[Tensor]:
    """x + attention(norm(x)), then x + mlp(norm(x))"""
    width, size = len(tokens[0]), len(tokens[0]) // heads
    parts = [
        linear(weights, f"{name}.query_key_value", norm(weights, f"{name}.attention_norm", x)).split(width)
        for x in tokens
    ]
    mixed = [
        attend(*([part[kind][head * size : (head + 1) * size] for part in parts] for kind in range(3)), sees)
        for head in range(heads)
    ]
    after = []
    for number, x in enumerate(tokens):
        x = x + linear(weights, f"{name}.mixed", torch.cat([head[number] for head in mixed]))
        hidden = gelu(linear(weights, f"{name}.mlp.0", norm(weights, f"{name}.mlp_norm", x)))
        after.append(x + linear(weights, f"{name}.mlp.2", hidden))
    return after


def transformer(weights: Weights, tokens: list[Tensor], sees: Sees, layers: int, heads: int) -> list[Tensor]:
    """All blocks, and the norm at the end."""
    for layer in range(layers):
        tokens = block(weights, f"transformer.blocks.{layer}", tokens, sees, heads)
    return [norm(weights, "transformer.norm", x) for x in tokens]


def gaussian_surprise(outputs: Tensor, action: Tensor) -> Tensor:
    """-log of a Gaussian, without the constant."""
    mean, log_std = outputs[: len(action)], outputs[len(action) :].clamp(-4, 1)
    return (((action - mean) / log_std.exp()) ** 2 / 2 + log_std).sum()


class AdamW:
    """Loshchilov and Hutter (2019), algorithm 2, with the moments' default rates."""

    def __init__(self, decay: float) -> None:
        self._decay, self._count = decay, 0
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}

    def step(self, weights: Weights, loss: Tensor, rate: float) -> Weights:
        """Weights after a step; those that the loss does not depend on have a gradient of 0."""
        self._count += 1
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        moved = Weights()
        for (name, weight), given in zip(weights.items(), gradients, strict=True):
            gradient = torch.zeros_like(weight) if given is None else given
            m, v = self._moments.get(name, (torch.zeros_like(weight), torch.zeros_like(weight)))
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            self._moments[name] = (m, v)
            move = (m / (1 - 0.9**self._count)) / ((v / (1 - 0.999**self._count)).sqrt() + 1e-8)
            moved[name] = (weight * (1 - rate * self._decay) - rate * move).detach().requires_grad_()
        return moved


def weights_of(module: torch.nn.Module) -> Weights:
    """A copy in float64, to take gradients by."""
    return {name: value.detach().double().clone().requires_grad_() for name, value in module.state_dict().items()}


def check_weights(module: torch.nn.Module, expected: Weights) -> None:
    """Raise AssertionError where the weights differ.

    All attention weights are the same whatever is added to every key: a key's bias has no gradient but rounding, which
    Adam would magnify, and is left out.
    """
    for name, value in module.state_dict().items():
        found, wanted = value.double(), expected[name].detach()
        if name.endswith("query_key_value.bias"):
            found, wanted = (torch.cat([part[: len(part) // 3], part[-len(part) // 3 :]]) for part in (found, wanted))
        torch.testing.assert_close(found, wanted, rtol=2e-3, atol=2e-4, msg=lambda said, n=name: f"{n}: {said}")
