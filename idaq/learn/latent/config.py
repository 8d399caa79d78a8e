"""What the settings of all algorithms with a latent have in common. No torch here."""

from abc import ABC
from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import Field, field_validator, model_validator

from idaq.core.config import config
from idaq.core.types import AtLeastOne
from idaq.learn.config import Depth, Rate, TrainConfig, Width
from idaq.learn.learners.config import LearnerConfig, Td3BcConfig


@config
class EncoderConfig:
    """The context encoder: an MLP on each transition, whose outputs are averaged over the context."""

    latent: Width = 20
    hidden: Width = 200
    layers: Depth = 3
    lr: Rate = 1e-3
    next_observation: bool = False
    """whether the context holds s' - s: needed where dynamics differ between tasks"""


@config
class EnsembleConfig:
    """Ensemble of (r, s') predictors for uncertainty (IDAQ, section 4.2)."""

    members: Annotated[int, Field(ge=2, le=1000)] = 4
    hidden: Width = 128
    layers: Depth = 2
    lr: Rate = 1e-3


@config
class LatentConfig(TrainConfig, ABC):
    """Settings beside those of the loop, whatever the encoder learns from and whatever learns the policy."""

    sampler: str = "meta-batches"
    meta_batch: Annotated[int, Field(ge=2)] = 16
    """tasks in a batch, drawn with replacement"""
    batch: AtLeastOne = 64
    """transitions for each task"""
    context: Annotated[int, Field(ge=2, multiple_of=2)] = 100
    """context transitions for each task; even, since each task is encoded twice, from either half"""
    lr_end: Annotated[float, Field(gt=0, le=1)] = 0.02
    """all learning rates fall linearly to this share of themselves by the last step"""
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    learner: LearnerConfig = Field(default_factory=Td3BcConfig, discriminator="kind")
    """what learns the policy"""
    ensemble: EnsembleConfig = Field(default_factory=EnsembleConfig)

    @field_validator("learner", mode="before")
    @classmethod
    def _of_the_usual_kind_unless_named(cls, given: object) -> object:
        usual = cast(Any, cls).__pydantic_fields__["learner"].default_factory()
        return {"kind": usual.kind, **cast(Mapping[str, Any], given)} if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _every_logged_step_updates_the_policy(self) -> "LatentConfig":
        delay = self.learner.policy_delay if isinstance(self.learner, Td3BcConfig) else 1
        if self.log_every % delay:
            raise ValueError(f"log_every must be a multiple of learner.policy_delay = {delay}")
        return self
