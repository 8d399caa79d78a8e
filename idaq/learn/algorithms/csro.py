"""csro: FOCAL's encoder, kept from telling which states and actions it saw: another policy's context then does no harm.

CSRO: Gao et al., NeurIPS 2023 (code: MoreanP/CSRO). CLUB, its bound of the mutual information: Cheng et al., ICML 2020.
Online it begins with random actions: strategy `random-first`.

    encoder   FOCAL's loss + weight * the bound of I(z; s, a), under a Gaussian q(z | s, a) that is held still
    q         its likelihood, of embeddings that are held still

Where its paper and its code differ:
- The bound compares pairs of transitions. In the paper they are of any two tasks, in the code of one task: it then
  bounds I(z; s, a | task), which is no obstacle to telling tasks apart. The code's pairs are the default.
- The code leaves out the half in log q and takes means over Z, with a weight of 10 to 50, and of 10 for FOCAL. In
  terms of mean log q and of 1 for FOCAL that is 2 (cheetah-vel), 5 (point-robot, hopper, walker), 10 (ant-goal,
  humanoid). As in the code, the outputs of q go through tanh, so that its variance is from 0.31 to 1.31.
What differs from both: q learns in the same step as the encoder, not in one before it.

Shapes: N tasks, K context transitions a task, Z latent.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from idaq.learn.algorithms.csro_config import CsroConfig, Pairs
from idaq.learn.algorithms.focal import Focal
from idaq.learn.config import AgentSpec
from idaq.learn.latent.algorithm import LatentAlgorithm
from idaq.learn.latent.encoder import Encoded, Metrics, Objective
from idaq.learn.networks import mlp

# -- losses ------------------------------------------------------------------------------------------------------


def variational_loss(
    z_NKZ: Float[Tensor, "N K Z"], mean_NKZ: Float[Tensor, "N K Z"], variance_NKZ: Float[Tensor, "N K Z"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """-mean log q(z | s, a) of a Gaussian, up to a constant (CSRO, L_VD): mean of (z - m)^2 / 2v + log(v) / 2."""
    loss = ((z_NKZ - mean_NKZ).square() / variance_NKZ + variance_NKZ.log()).mean() / 2
    return loss, {"variational_loss": loss.detach()}


def club_loss(
    z_NKZ: Float[Tensor, "N K Z"],
    mean_NKZ: Float[Tensor, "N K Z"],
    variance_NKZ: Float[Tensor, "N K Z"],
    pairs: Pairs = "task",
) -> tuple[Float[Tensor, ""], Metrics]:
    """I(z; s, a) from above: mean_i log q(z_i | s_i, a_i) - mean_ij log q(z_j | s_i, a_i), mean over Z (CSRO, L_minMI).

    (s_i, a_i) stays and z_j goes through all transitions of i's task, or of the batch. Of log q only -(z - m)^2 / 2v
    differs between the terms, and mean_j (z_j - m)^2 = mean z^2 - 2 m mean z + m^2, so all pairs cost as one.
    """
    over = 1 if pairs == "task" else (0, 1)
    first, second = z_NKZ.mean(over, keepdim=True), z_NKZ.square().mean(over, keepdim=True)
    loss = ((second - z_NKZ.square() + 2 * mean_NKZ * (z_NKZ - first)) / (2 * variance_NKZ)).mean()
    return loss, {"club_loss": loss.detach()}


# -- the objective -----------------------------------------------------------------------------------------------


class Csro(Objective):
    """FOCAL's loss, the bound, and the fit of q."""

    def __init__(self, config: CsroConfig, spec: AgentSpec) -> None:
        super().__init__()
        self.config, self.focal = config.club, Focal()
        inputs = spec.observation_size + spec.action_size
        self.q = mlp(inputs, config.club.hidden, config.club.layers, 2 * config.encoder.latent)

    def loss(self, encoded: Encoded, step: int, rng: np.random.Generator) -> tuple[Float[Tensor, ""], Metrics]:
        """The bound moves the encoder alone, the fit q alone."""
        z_NKZ = encoded.embeddings
        outputs = self.q(torch.cat([encoded.context["obs"], encoded.context["action"]], -1)).tanh()
        mean_NKZ, variance_NKZ = outputs[..., : z_NKZ.shape[-1]], F.softplus(outputs[..., z_NKZ.shape[-1] :])
        loss_focal, info = self.focal.loss(encoded, step, rng)
        loss_club, info_club = club_loss(z_NKZ, mean_NKZ.detach(), variance_NKZ.detach(), self.config.pairs)
        loss_fit, info_fit = variational_loss(z_NKZ.detach(), mean_NKZ, variance_NKZ)
        return loss_focal + self.config.weight * loss_club + loss_fit, info | info_club | info_fit


def create(config: CsroConfig, spec: AgentSpec, device: str) -> LatentAlgorithm:
    """CSRO beside the learner that the config names."""
    return LatentAlgorithm(config, spec, device, Csro)
