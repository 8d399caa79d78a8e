"""Settings of borel. No torch here."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from idaq.core.config import config
from idaq.core.types import AtLeastOne
from idaq.learn.config import AgentSpec, Depth, Rate, TrainConfig, Width
from idaq.learn.learners.config import LearnerConfig, SacConfig, Td3BcConfig

if TYPE_CHECKING:
    from idaq.learn.algorithms.borel import Borel


@config
class BeliefConfig:
    """The recurrent VAE whose posterior is the belief (VariBAD: Zintgraf et al., 2020). Sizes are BOReL's."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """the first steps of a training, which learn the belief alone; in the others it stays, and the policy learns"""
    latent: Width = 5
    hidden: Width = 128
    """of the GRU, whose state is carried from step to step and from episode to episode"""
    observation_features: Width = 32
    action_features: Width = 16
    reward_features: Width = 16
    decoder_hidden: Width = 32
    decoder_layers: Depth = 2
    lr: Rate = 3e-4
    kl_weight: Annotated[float, Field(ge=0)] = 0.05
    next_observation: bool = False
    """whether s' is decoded too: needed where dynamics differ between tasks"""
    elbo_terms: AtLeastOne = 50
    """at most so many beliefs of a trajectory are decoded in a step, drawn at random"""


@config
class BorelConfig(TrainConfig):
    """BOReL: a belief from a recurrent VAE, and a policy of state and belief over several episodes of one task."""

    algorithm: str = "borel"
    sampler: str = "trajectories"
    meta_batch: AtLeastOne = 16
    """trajectories in a batch, each of a task that is drawn with replacement"""
    episodes: AtLeastOne = 2
    """of a trajectory: over so many the policy learns to explore and to use what it has found"""
    belief: BeliefConfig = Field(default_factory=BeliefConfig)
    learner: LearnerConfig = Field(default_factory=SacConfig, discriminator="kind")
    """what learns the policy"""

    @model_validator(mode="after")
    def _both_parts_have_steps(self) -> "BorelConfig":
        if not 0 < self.belief_steps < self.steps:
            raise ValueError(f"of {self.steps} steps, belief.share leaves none to the belief or none to the policy")
        delay = self.learner.policy_delay if isinstance(self.learner, Td3BcConfig) else 1
        if self.log_every % delay:
            raise ValueError(f"log_every must be a multiple of learner.policy_delay = {delay}")
        return self

    @property
    def belief_steps(self) -> int:
        """How many steps learn the belief."""
        return round(self.steps * self.belief.share)

    def create(self, spec: AgentSpec, device: str) -> "Borel":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.borel import Borel

        return Borel(self, spec, device)
