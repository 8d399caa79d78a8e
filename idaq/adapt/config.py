"""The protocol of adaptation: budgets, seeds, split. Each strategy has settings of its own. No torch here."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from idaq.core.config import config
from idaq.core.splits import SplitNames
from idaq.core.types import AtLeastOne

Role = Literal["method", "variant", "rival", "control", "reference"]
"""method: what a report is about. variant: of the method, not compared with it. rival: compared with it. control: the
rival that every strategy's difference is given to. reference: knows more than it would be told; drawn as a line"""


@config
class AdaptConfig:
    """How many online episodes on which tasks, and when fresh ones are scored: the same for every strategy."""

    episodes: AtLeastOne = 20
    """adaptation episodes on each test task: the largest budget"""
    report_at: Annotated[list[AtLeastOne], Field(min_length=1)] = Field(default_factory=lambda: [1, 2, 5, 10, 20])
    """the budgets: each is planned and run on its own, and then fresh episodes are scored"""
    seeds: AtLeastOne = 4
    """adaptation seeds for each test task"""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """what the adaptation seeds are derived from"""
    split: SplitNames = "test"
    """its tasks are adapted to"""
    cross_tasks: AtLeastOne | None = None
    """training tasks that are simulated for the strategies that use cross returns, each under every belief of the
    prior; None = all of them"""
    cross_episodes: AtLeastOne = 2
    """episodes of each such pair; one where the family is deterministic. Pairs played once are taken to be free of
    noise"""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """as in training"""

    @model_validator(mode="after")
    def _budgets_rise_to_the_largest(self) -> "AdaptConfig":
        if sorted(set(self.report_at)) != self.report_at or self.report_at[-1] != self.episodes:
            raise ValueError(f"report_at must rise and end at episodes = {self.episodes}, got {self.report_at}")
        return self
