"""FOCAL: a context encoder trained by distance metric learning alone (Li et al., ICLR 2021, section 4).

Shapes: N tasks in a meta-batch, K context transitions, Z latent.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from idaq.learn.config import FocalConfig
from idaq.learn.networks import mlp


def focal_loss(
    z_MZ: Float[Tensor, "M Z"], task_M: Int[Tensor, "M"], *, eps: float = 1e-3, floor: float = 0.1
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Pull latents of the same task together, push others apart (FOCAL eq. 13; constants of the IDAQ reference code).

    With d = mean over Z of (z_i - z_j)^2, over all pairs i < j of the M latents:
    `mean over same-task pairs of sqrt(d + eps)` + `mean over other pairs of 1 / (d + floor)`.
    `task_M`: integer label of each latent. A kind of pair that does not occur contributes 0.
    """
    i, j = torch.triu_indices(len(z_MZ), len(z_MZ), offset=1)
    gram = z_MZ @ z_MZ.T
    squares = gram.diagonal()
    distance = ((squares[i] + squares[j] - 2 * gram[i, j]) / z_MZ.shape[1]).clamp_min(0)
    same = (task_M[i] == task_M[j]).to(z_MZ.dtype)
    pull = ((distance + eps).sqrt() * same).sum() / same.sum().clamp_min(1)
    push = ((1 - same) / (distance + floor)).sum() / (1 - same).sum().clamp_min(1)
    return pull + push, {"focal_pull": pull.detach(), "focal_push": push.detach()}


class FocalEncoder(nn.Module):
    """z = mean over context transitions of embed(transition); a set function, so order does not matter."""

    def __init__(self, config: FocalConfig, transition_size: int) -> None:
        super().__init__()
        self.net = mlp(transition_size, config.hidden, config.layers, config.latent)

    def embed(self, transitions: Float[Tensor, "*lead I"]) -> Float[Tensor, "*lead Z"]:
        """tanh(MLP(transition)): (..., I) -> (..., Z)"""
        return self.net(transitions).tanh()

    def forward(self, context: Float[Tensor, "*lead K I"]) -> Float[Tensor, "*lead Z"]:
        """The belief of each context of K transitions."""
        return self.embed(context).mean(dim=-2)
