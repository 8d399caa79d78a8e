"""Adaptation configuration. No torch here."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from idaq.core.config import config

Count = Annotated[int, Field(ge=1)]
UncertaintyName = Literal["return", "prediction-error", "prediction-variance"]


@config
class AdaptConfig:
    """The protocol: how many online episodes, and when fresh ones are scored."""

    episodes: Count = 20
    """adaptation episodes on each test task"""
    reference: Count = 10
    """n_r: episodes of the reference stage"""
    num_accepted: Count = 3
    """`idaq-mixture`: how many of the best episodes it mixes"""
    offline_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """`idaq-mixture`, `nearest-training-task`: no episode counts as in-distribution that came less than this share of
    the way from random actions to what the training tasks' offline episodes earn; until one does, the reference stage
    goes on. 0: online episodes alone calibrate the threshold"""
    candidates: Count = 20
    """n_c: latents drawn for each choice of the farthest"""
    context: Annotated[int, Field(ge=2)] = 100
    """transitions drawn from the accepted episodes for each belief"""
    report_at: Annotated[list[Count], Field(min_length=1)] = Field(default_factory=lambda: [1, 2, 5, 10, 20])
    """fresh episodes are run after this many adaptation episodes"""
    seeds: Count = 4
    """adaptation seeds for each test task"""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """what the adaptation seeds are derived from"""
    offline_context: Annotated[int, Field(ge=2)] = 400
    """offline transitions behind each belief of the prior and of `offline-context`"""
    split: str = "test"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """as in training"""

    @model_validator(mode="after")
    def _reports_lie_within(self) -> "AdaptConfig":
        if sorted(set(self.report_at)) != self.report_at or self.report_at[-1] > self.episodes:
            raise ValueError(f"report_at must rise and end by episodes = {self.episodes}, got {self.report_at}")
        return self
