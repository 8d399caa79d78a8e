"""Ensemble of (r, s' - s) predictors given (s, a, z): what IDAQ's uncertainty is measured with (section 4.2).

Every member trains, each on its own share of the batch, so members differ in data as well as in initial weights.
Shapes: E members, R rows, P = 1 + D predicted numbers (normalised reward, normalised change of observation).
"""

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from idaq.learn.config import EnsembleConfig
from idaq.learn.networks import EnsembleMLP


def prediction_loss(
    predicted_ERP: Float[Tensor, "E R P"], target_ERP: Float[Tensor, "E R P"]
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Sum over members of mean squared error: the gradient of one member does not depend on the others."""
    per_member = (predicted_ERP - target_ERP).square().mean(dim=(1, 2))
    loss = per_member.sum()
    return loss, {"prediction_loss": per_member.detach().mean()}


class PredictorEnsemble(nn.Module):
    """E predictors of normalised (r, s' - s)."""

    def __init__(self, config: EnsembleConfig, input_size: int, observation_size: int) -> None:
        super().__init__()
        self.members = config.members
        self.net = EnsembleMLP(config.members, input_size, config.hidden, config.layers, 1 + observation_size)

    def forward(self, x_RI: Float[Tensor, "R I"]) -> Float[Tensor, "E R P"]:
        """The same rows to every member: (R, I) -> (E, R, P)"""
        return self.net(x_RI.expand(self.members, -1, -1))

    def split(self, rows: Shaped[Tensor, "R *rest"]) -> Shaped[Tensor, "E S *rest"]:
        """Deal rows out to the members like cards: (R, ...) -> (E, R // E, ...)"""
        share = len(rows) // self.members
        return rows[: share * self.members].unflatten(0, (share, self.members)).transpose(0, 1)

    def loss(
        self, x_RI: Float[Tensor, "R I"], target_RP: Float[Tensor, "R P"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Train every member on its own share of the rows."""
        return prediction_loss(self.net(self.split(x_RI)), self.split(target_RP))
