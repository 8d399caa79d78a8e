"""Settings of unicorn-ss and unicorn-sup. No torch here."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from idaq.core.config import config
from idaq.learn.config import AgentSpec, Depth, Width
from idaq.learn.latent.config import LatentConfig

if TYPE_CHECKING:
    from idaq.learn.latent.algorithm import LatentAlgorithm


@config
class DecoderConfig:
    """p(r, s' | z, s, a)"""

    hidden: Width = 128
    layers: Depth = 2


@config
class ClassifierConfig:
    """p(task | z)"""

    hidden: Width = 128
    layers: Depth = 1


@config
class UnicornSsConfig(LatentConfig):
    """UNICORN, self-supervised (Li et al., 2024): the encoder learns to reconstruct outcomes, and from FOCAL's loss."""

    algorithm: str = "unicorn-ss"
    focal_weight: Annotated[float, Field(ge=0)] = 0.15
    """beside 1 for the reconstruction"""
    decoder: DecoderConfig = Field(default_factory=DecoderConfig)

    def create(self, spec: AgentSpec, device: str) -> "LatentAlgorithm":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.unicorn import create

        return create(self, spec, device)


@config
class UnicornSupConfig(LatentConfig):
    """UNICORN, supervised (Li et al., 2024): the encoder learns to tell the training tasks apart by their names."""

    algorithm: str = "unicorn-sup"
    classifier: ClassifierConfig = Field(default_factory=ClassifierConfig)

    def create(self, spec: AgentSpec, device: str) -> "LatentAlgorithm":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.unicorn import create

        return create(self, spec, device)
