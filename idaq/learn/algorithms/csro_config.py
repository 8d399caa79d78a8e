"""Settings of csro. No torch here."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from idaq.core.config import config
from idaq.learn.config import AgentSpec, Depth, Width
from idaq.learn.latent.config import LatentConfig

if TYPE_CHECKING:
    from idaq.learn.latent.algorithm import LatentAlgorithm

Pairs = Literal["task", "batch"]


@config
class ClubConfig:
    """CLUB (Cheng et al., 2020): how much an embedding may tell of its transition's state and action."""

    weight: Annotated[float, Field(ge=0)] = 5.0
    """beside 1 for FOCAL's loss"""
    pairs: Pairs = "task"
    """which transitions are compared: those of one task (CSRO's code), or of all tasks in the batch (its paper)"""
    hidden: Width = 200
    """of q(z | s, a)"""
    layers: Depth = 3


@config
class CsroConfig(LatentConfig):
    """CSRO (Gao et al., 2023): FOCAL's encoder, kept from telling which states and actions it saw."""

    algorithm: str = "csro"
    club: ClubConfig = Field(default_factory=ClubConfig)

    def create(self, spec: AgentSpec, device: str) -> "LatentAlgorithm":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.csro import create

        return create(self, spec, device)
