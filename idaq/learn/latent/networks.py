"""All networks of an algorithm with a latent, by name."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from idaq.learn.latent.encoder import ContextEncoder, Objective
from idaq.learn.latent.ensemble import PredictorEnsemble


class Networks(nn.Module):
    """All that is learned."""

    def __init__(
        self,
        encoder: ContextEncoder,
        policy: Any,
        ensemble: PredictorEnsemble,
        objective: Objective,
        outcome: int,
    ) -> None:
        super().__init__()
        self.encoder, self.ensemble, self.objective = encoder, ensemble, objective
        self.policy: Any = policy
        """the learner's networks, whose `actor` gives the action"""
        self._outcome = outcome

    def context_rows(self, columns: Mapping[str, Tensor]) -> Tensor:
        """What the encoder reads of each transition: s, a, r and, if configured, s' - s. -> (..., I)"""
        return torch.cat([columns["obs"], columns["action"], columns["outcome"][..., : self._outcome]], -1)
