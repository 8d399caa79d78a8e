"""Settings of focal-td3bc, focal-iql and focal-bc. No torch here."""

from typing import TYPE_CHECKING

from pydantic import Field

from idaq.core.config import config
from idaq.learn.config import AgentSpec
from idaq.learn.latent.config import LatentConfig
from idaq.learn.learners.config import BcConfig, IqlConfig, Td3BcConfig

if TYPE_CHECKING:
    from idaq.learn.latent.algorithm import LatentAlgorithm


@config
class FocalConfig(LatentConfig):
    """FOCAL's encoder, with one of the learners."""

    algorithm: str = "focal-td3bc"

    def create(self, spec: AgentSpec, device: str) -> "LatentAlgorithm":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.focal import create

        return create(self, spec, device)


@config
class FocalTd3BcConfig(FocalConfig):
    """The default algorithm: FOCAL's encoder, a TD3+BC conditioned on its belief, and IDAQ's ensemble of predictors."""

    learner: Td3BcConfig = Field(default_factory=Td3BcConfig)


@config
class FocalIqlConfig(FocalConfig):
    """FOCAL's encoder with IQL: a control, which tells what the learner gives from what the encoder gives."""

    algorithm: str = "focal-iql"
    learner: IqlConfig = Field(default_factory=IqlConfig)


@config
class FocalBcConfig(FocalConfig):
    """FOCAL's encoder with behaviour cloning: a control, whose policy knows no rewards."""

    algorithm: str = "focal-bc"
    learner: BcConfig = Field(default_factory=BcConfig)
