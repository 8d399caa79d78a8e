"""Actions as a distribution: what sequence models are trained to predict, and act by.

One-hot choices are categorical, each Discrete its own; numbers of a box are Gaussian, in normalised units. Shapes: any
leading dimensions `...`, H features, A action, O outputs: A logits, or A means and A logarithms of deviations.
"""

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from idaq.learn.config import AgentSpec

_LOG_STD = (-4.0, 1.0)


class ActionHead(nn.Module):
    """A linear layer, and what its outputs say of actions in normalised units (`Units`)."""

    def __init__(self, width: int, spec: AgentSpec) -> None:
        super().__init__()
        leaf = spec.view.actions if spec.view is not None else None
        self.choices = tuple(leaf.counts) if leaf is not None and leaf.encoding == "one-hot" else ()
        """sizes of one-hot choices, which follow each other in an action; none for numbers"""
        self.linear = nn.Linear(width, spec.action_size * (1 if self.choices else 2))

    def forward(self, x: Float[Tensor, "*lead H"]) -> Float[Tensor, "*lead O"]:
        """Logits, or means and logarithms of deviations side by side."""
        return self.linear(x)

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "*lead O"], action: Float[Tensor, "*lead A"]
    ) -> Float[Tensor, "*lead"]:
        """-log p(action): cross-entropy summed over choices, or a Gaussian's over numbers, its constant left out.

        One-hot actions stand in normalised units as -1 and 1.
        """
        if self.choices:
            return -((action + 1) / 2 * self._log_probabilities(outputs)).sum(-1)
        mean, log_std = self._gaussian(outputs)
        return (0.5 * ((action - mean) / log_std.exp()).square() + log_std).sum(-1)

    def mode(self, outputs: Float[Tensor, "*lead O"]) -> Float[Tensor, "*lead A"]:
        """The likeliest action, in the normalised bounds [-1, 1]."""
        return self._one_hot(outputs) if self.choices else self._gaussian(outputs)[0].clamp(-1, 1)

    def sample(self, outputs: Float[Tensor, "*lead O"], rng: np.random.Generator) -> Float[Tensor, "*lead A"]:
        """A drawn action, in the normalised bounds [-1, 1]; choices by the Gumbel-max trick."""
        if self.choices:
            noise = rng.gumbel(size=outputs.shape)
            return self._one_hot(outputs + torch.as_tensor(noise, dtype=torch.float32, device=outputs.device))
        mean, log_std = self._gaussian(outputs)
        noise = torch.as_tensor(rng.standard_normal(mean.shape, np.float32), device=mean.device)
        return (mean + log_std.exp() * noise).clamp(-1, 1)

    def _log_probabilities(self, logits: Tensor) -> Tensor:
        return torch.cat([part.log_softmax(-1) for part in self._parts(logits)], -1)

    def _one_hot(self, logits: Tensor) -> Tensor:
        chosen = [F.one_hot(part.argmax(-1), part.shape[-1]) for part in self._parts(logits)]
        return 2.0 * torch.cat(chosen, -1) - 1.0

    def _parts(self, logits: Tensor) -> Iterable[Tensor]:
        edges = np.cumsum(self.choices)[:-1].tolist()
        return torch.tensor_split(logits, edges, -1)

    @staticmethod
    def _gaussian(outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = outputs.chunk(2, -1)
        return mean, log_std.clamp(*_LOG_STD)
