"""Settings of focal-td3bc. No torch here."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from idaq.core.config import config
from idaq.core.types import AtLeastOne
from idaq.learn.config import AgentSpec, Depth, Rate, TrainConfig, Width

if TYPE_CHECKING:
    from idaq.learn.algorithms.focal_td3bc import FocalTd3Bc


@config
class FocalConfig:
    """FOCAL context encoder (Li et al., 2021): distance metric learning over a meta-batch of tasks."""

    latent: Width = 20
    hidden: Width = 200
    layers: Depth = 3
    lr: Rate = 1e-3
    next_observation: bool = False
    """whether the context holds s' - s: needed where dynamics differ between tasks"""


@config
class Td3BcConfig:
    """TD3+BC (Fujimoto & Gu, 2021), conditioned on the latent z."""

    hidden: Width = 256
    layers: Depth = 2
    lr: Rate = 1e-3
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.99
    tau: Annotated[float, Field(gt=0, le=1)] = 0.005
    alpha: Annotated[float, Field(ge=0)] = 2.5
    """weight of Q against cloning; 0 is cloning alone"""
    policy_noise: Annotated[float, Field(ge=0)] = 0.2
    noise_clip: Annotated[float, Field(ge=0)] = 0.5
    policy_delay: AtLeastOne = 2


@config
class EnsembleConfig:
    """Ensemble of (r, s') predictors for uncertainty (IDAQ, section 4.2)."""

    members: Annotated[int, Field(ge=2, le=1000)] = 4
    hidden: Width = 128
    layers: Depth = 2
    lr: Rate = 1e-3


@config
class FocalTd3BcConfig(TrainConfig):
    """The default algorithm: FOCAL's encoder, a TD3+BC conditioned on its belief, and IDAQ's ensemble of predictors."""

    algorithm: str = "focal-td3bc"
    sampler: str = "meta-batches"
    meta_batch: Annotated[int, Field(ge=2)] = 16
    """tasks in a batch, drawn with replacement"""
    batch: AtLeastOne = 64
    """transitions for each task"""
    context: Annotated[int, Field(ge=2, multiple_of=2)] = 100
    """context transitions for each task; even, since each task is encoded twice, from either half"""
    lr_end: Annotated[float, Field(gt=0, le=1)] = 0.02
    """all learning rates fall linearly to this share of themselves by the last step"""
    encoder: FocalConfig = Field(default_factory=FocalConfig)
    learner: Td3BcConfig = Field(default_factory=Td3BcConfig)
    ensemble: EnsembleConfig = Field(default_factory=EnsembleConfig)

    @model_validator(mode="after")
    def _every_logged_step_updates_the_policy(self) -> "FocalTd3BcConfig":
        if self.log_every % self.learner.policy_delay:
            raise ValueError(f"log_every must be a multiple of learner.policy_delay = {self.learner.policy_delay}")
        return self

    def create(self, spec: AgentSpec, device: str) -> "FocalTd3Bc":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.focal_td3bc import FocalTd3Bc

        return FocalTd3Bc(self, spec, device)
