"""Settings of ad. No torch here."""

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from idaq.core.config import config
from idaq.core.types import AtLeastOne
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.learn.transformer_config import TransformerConfig
from idaq.loader.segments import Within

if TYPE_CHECKING:
    from idaq.learn.algorithms.ad import Ad


@config
class AdConfig(TrainConfig):
    """Algorithm Distillation (Laskin et al., 2023): the next action of a learning history that goes across episodes."""

    algorithm: str = "ad"
    sampler: str = "segments"
    steps: AtLeastOne = 2500
    meta_batch: AtLeastOne = 32
    """learning histories in a batch"""
    length: AtLeastOne = 100
    """steps of a history that the Transformer sees: several episodes"""
    context: AtLeastOne = 80
    """steps before the episode that the belief holds: `length` less the steps of an episode"""
    within: Within = "history"
    """which episodes follow each other"""
    every: AtLeastOne = 1
    """every how manieth episode of a history is seen, which then improves so much faster"""
    network: TransformerConfig = Field(default_factory=TransformerConfig)

    @model_validator(mode="after")
    def _an_episode_fits_behind_the_context(self) -> "AdConfig":
        if self.context >= self.length:
            raise ValueError(f"context must be less than length = {self.length}: an episode follows it")
        return self

    def create(self, spec: AgentSpec, device: str) -> "Ad":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.ad import Ad

        return Ad(self, spec, device)
