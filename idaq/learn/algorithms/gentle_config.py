"""Settings of gentle. No torch here."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from idaq.core.config import config
from idaq.learn.config import AgentSpec, Depth, Width
from idaq.learn.latent.config import LatentConfig

if TYPE_CHECKING:
    from idaq.learn.latent.algorithm import LatentAlgorithm

Share = Annotated[float, Field(ge=0, le=1)]


@config
class AutoEncoderConfig:
    """The decoder: (s, a) and z -> what the encoder reads of the outcome."""

    hidden: Width = 256
    layers: Depth = 3


@config
class ModelsConfig:
    """An ensemble for each training task: (s, a) -> r and s'."""

    members: Annotated[int, Field(ge=1, le=100)] = 2
    hidden: Width = 64
    layers: Depth = 2
    steps_share: Share = 0.2
    """of the training steps, the first ones, in which they learn"""


@config
class GentleConfig(LatentConfig):
    """GENTLE (Zhou et al., 2024): a task auto-encoder, whose contexts are mostly made up by models of each task."""

    algorithm: str = "gentle"
    share: Share = 0.95
    """of each context that is made up once the models have learned"""
    own_share: Share = 0.25
    """of the made-up transitions whose states are the task's own; the others are of any task in the batch"""
    decoder: AutoEncoderConfig = Field(default_factory=AutoEncoderConfig)
    models: ModelsConfig = Field(default_factory=ModelsConfig)

    def create(self, spec: AgentSpec, device: str) -> "LatentAlgorithm":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.gentle import create

        return create(self, spec, device)
