"""IDAQ's ensemble of predictors, from which an episode's prediction error and variance come (IDAQ, section 4.2).

Shapes: R rows, I = [s, z, a] inputs, Q = 1 + D predicted numbers (reward and change of observation), E members.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from idaq.learn.latent.config import EnsembleConfig
from idaq.learn.latent.encoder import Metrics
from idaq.learn.networks import EnsembleMLP


def prediction_loss(
    predicted_ERQ: Float[Tensor, "E R Q"], target_ERQ: Float[Tensor, "E R Q"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """Sum over members of mean squared error: the gradient of one member does not depend on the others."""
    per_member = (predicted_ERQ - target_ERQ).square().mean(dim=(1, 2))
    return per_member.sum(), {"prediction_loss": per_member.detach().mean()}


class PredictorEnsemble(nn.Module):
    """E predictors of normalised (r, s' - s) given (s, z, a).

    Each trains on its own share of the batch, so members differ in data as well as in initial weights.
    """

    def __init__(self, config: EnsembleConfig, input_size: int, observation_size: int) -> None:
        super().__init__()
        self.members = config.members
        self.net = EnsembleMLP(config.members, input_size, config.hidden, config.layers, 1 + observation_size)

    def forward(self, x_RI: Float[Tensor, "R I"]) -> Float[Tensor, "E R Q"]:
        """The same rows to every member."""
        return self.net(x_RI.expand(self.members, -1, -1))

    def split(self, rows: Shaped[Tensor, "R *rest"]) -> Shaped[Tensor, "E S *rest"]:
        """Deal rows out to the members like cards: (R, ...) -> (E, R // E, ...)"""
        share = len(rows) // self.members
        return torch.unflatten(rows[: share * self.members], 0, (share, self.members)).transpose(0, 1)

    def loss(self, x_RI: Float[Tensor, "R I"], target_RQ: Float[Tensor, "R Q"]) -> tuple[Float[Tensor, ""], Metrics]:
        """Every member's loss on its own share of the rows."""
        return prediction_loss(self.net(self.split(x_RI)), self.split(target_RQ))
