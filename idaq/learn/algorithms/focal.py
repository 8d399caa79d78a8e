"""FOCAL: a context encoder that learns from distances between tasks (Li, Yang and Luo, ICLR 2021).

    focal-td3bc   with TD3+BC, the default of this toolkit
    focal-iql     with IQL
    focal-bc      with behaviour cloning: what the policy is without any value

The constants of the loss are those of the reference code of IDAQ. Shapes: M latents, Z latent.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from idaq.learn.algorithms.focal_config import FocalConfig
from idaq.learn.config import AgentSpec
from idaq.learn.latent.algorithm import LatentAlgorithm
from idaq.learn.latent.encoder import Encoded, Metrics, Objective


def focal_loss(
    z_MZ: Float[Tensor, "M Z"], task_M: Int[Tensor, "M"], *, eps: float = 1e-3, floor: float = 0.1
) -> tuple[Float[Tensor, ""], Metrics]:
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


class Focal(Objective):
    """The loss on either half of every context: each task has a same-task pair in every batch."""

    def loss(self, encoded: Encoded, step: int, rng: np.random.Generator) -> tuple[Float[Tensor, ""], Metrics]:
        """FOCAL's loss on 2 N latents."""
        return focal_loss(encoded.halves.flatten(0, 1), encoded.tasks.repeat_interleave(2))


def create(config: FocalConfig, spec: AgentSpec, device: str) -> LatentAlgorithm:
    """FOCAL beside the learner that the config names."""
    return LatentAlgorithm(config, spec, device, lambda _config, _spec: Focal())
