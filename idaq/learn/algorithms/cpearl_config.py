"""Settings of cpearl and pearl. No torch here."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from idaq.core.config import config
from idaq.learn.config import AgentSpec
from idaq.learn.latent.config import LatentConfig
from idaq.learn.learners.config import BracConfig

if TYPE_CHECKING:
    from idaq.learn.latent.algorithm import LatentAlgorithm

NotNegative = Annotated[float, Field(ge=0)]


@config
class CpearlConfig(LatentConfig):
    """The learner of the IDAQ reference code: FOCAL's encoder, SAC with a state value, BRAC's penalty."""

    algorithm: str = "cpearl"
    focal_weight: NotNegative = 10.0
    """of FOCAL's loss; 0 = the encoder does not learn from it"""
    bottleneck: bool = False
    """whether a transition says a Gaussian of z, and the belief is the product of them (PEARL)"""
    kl_weight: NotNegative = 0.1
    """with the bottleneck: of the belief's divergence from the unit Gaussian"""
    task_weight: NotNegative = 0.0
    """of telling the training task from z, by cross-entropy; 0 = no classifier"""
    critic_gradients: bool = False
    """whether the encoder learns from the critics' loss too (PEARL)"""
    learner: BracConfig = Field(default_factory=BracConfig)

    @model_validator(mode="after")
    def _the_encoder_learns(self) -> "CpearlConfig":
        if not (self.focal_weight or self.task_weight or self.critic_gradients):
            raise ValueError("the encoder learns from nothing: set focal_weight above 0, or critic_gradients")
        return self

    def create(self, spec: AgentSpec, device: str) -> "LatentAlgorithm":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.cpearl import create

        return create(self, spec, device)


@config
class PearlConfig(CpearlConfig):
    """PEARL (Rakelly et al., 2019) on offline data alone."""

    algorithm: str = "pearl"
    focal_weight: NotNegative = 0.0
    bottleneck: bool = True
    critic_gradients: bool = True
    learner: BracConfig = Field(default_factory=lambda: BracConfig(brac=False))
