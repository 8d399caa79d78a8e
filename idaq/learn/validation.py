"""Returns on validation tasks along a training: when they are measured, which is best, when to stop. No torch here.

The rule: after every `every` steps, and after the last, the agent as it is then adapts to the tasks of the validation
split. The best has the highest mean return, of equals it is the earliest. After `patience` validations in a row that
are no new best, training stops. What the run gives is the agent of the best one. All of it follows from metrics.jsonl,
so that a resumed run decides as one that was never interrupted.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from idaq.learn.config import TrainConfig

if TYPE_CHECKING:
    from idaq.learn.algorithm import Agent

VALIDATION = "validation.return"
"""its name among the metrics"""
Validate = Callable[["Agent"], float]
"""an agent with its prior -> its mean return on validation tasks"""


@dataclass(kw_only=True)
class Validations:
    """Mean returns so far, each with the number of steps behind it."""

    config: TrainConfig
    returns: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def read(cls, config: TrainConfig, lines: Iterable[Mapping[str, int | float]]) -> "Validations":
        """Those that the lines of metrics.jsonl tell."""
        return cls(
            config=config, returns=[(int(line["step"]) + 1, line[VALIDATION]) for line in lines if VALIDATION in line]
        )

    def due(self, steps: int) -> bool:
        """Whether the agent is validated after so many steps."""
        every = self.config.validation.every
        return every > 0 and (steps % every == 0 or steps == self.config.steps)

    def add(self, steps: int, value: float) -> bool:
        """One more; whether it is the best."""
        self.returns.append((steps, value))
        return self.best == steps

    @property
    def best(self) -> int | None:
        """Steps behind the best one."""
        return max(self.returns, key=lambda one: (one[1], -one[0]))[0] if self.returns else None

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        since = [steps for steps, _ in self.returns if steps > (self.best or 0)]
        return 0 < self.config.validation.patience <= len(since)
