"""Training configuration. One definition for code, TOML, `--set a.b=1` and the JSON Schema. No torch here."""

from typing import Annotated

from pydantic import Field, model_validator

from idaq.core.config import config

Positive = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=2**14)]
Depth = Annotated[int, Field(ge=1, le=64)]
Rate = Annotated[float, Field(gt=0)]


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
    """weight of Q against cloning"""
    policy_noise: Annotated[float, Field(ge=0)] = 0.2
    noise_clip: Annotated[float, Field(ge=0)] = 0.5
    policy_delay: Positive = 2


@config
class EnsembleConfig:
    """Ensemble of (r, s') predictors for uncertainty (IDAQ, section 4.2)."""

    members: Annotated[int, Field(ge=2, le=1000)] = 4
    hidden: Width = 128
    layers: Depth = 2
    lr: Rate = 1e-3


@config
class TrainConfig:
    """What a training run needs to know beside its dataset."""

    steps: Positive = 4000
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    meta_batch: Annotated[int, Field(ge=2)] = 16
    """tasks in a batch, drawn with replacement"""
    batch: Positive = 64
    """transitions for each task"""
    context: Annotated[int, Field(ge=2)] = 100
    """context transitions for each task"""
    lr_end: Annotated[float, Field(gt=0, le=1)] = 0.02
    """all learning rates fall linearly to this share of themselves by the last step"""
    split: str = "train"
    """tasks to learn from"""
    pool: Annotated[int, Field(ge=0)] = 0
    """megabytes for episodes in memory, renewed as training goes on, for data larger than memory; 0 = all of it"""
    checkpoint_every: Positive = 1000
    log_every: Positive = 100
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads; 0 = OMP_NUM_THREADS, or without it the cores this process may use, at most 8"""
    encoder: FocalConfig = Field(default_factory=FocalConfig)
    learner: Td3BcConfig = Field(default_factory=Td3BcConfig)
    ensemble: EnsembleConfig = Field(default_factory=EnsembleConfig)

    @model_validator(mode="after")
    def _every_logged_step_updates_the_policy(self) -> "TrainConfig":
        if self.log_every % self.learner.policy_delay:
            raise ValueError(f"log_every must be a multiple of learner.policy_delay = {self.learner.policy_delay}")
        return self


@config
class AgentSpec:
    """Sizes, units and normalisation of a dataset, as an agent needs them. D observation, A action."""

    observation_mean: list[float]
    """D"""
    observation_std: list[float]
    """D, each > 0"""
    change_std: list[float]
    """D standard deviations of s' - s, each > 0"""
    reward_mean: float
    reward_std: Rate
    action_centre: list[float]
    """A"""
    action_scale: list[float]
    """A half-widths of the action space, each > 0"""

    @property
    def observation_size(self) -> int:
        return len(self.observation_mean)

    @property
    def action_size(self) -> int:
        return len(self.action_centre)
