"""The adaptation of a run directory: each strategy is kept there as soon as it is done, and is not run again."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from idaq.adapt.adapt import Adapted, adapt, blank_results, known_strategies
from idaq.adapt.config import AdaptConfig
from idaq.adapt.results import TRACE, Results, StrategyResult, resume_results, write_results
from idaq.adapt.trace import STRATEGY, write_trace
from idaq.core.errors import RunError
from idaq.core.types import Advance, ignore_progress
from idaq.learn.agent import Agent
from idaq.loader import Dataset


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What is there, and what is still to be run."""

    out: Path
    agent: Agent
    dataset: Dataset
    config: AdaptConfig
    there: Results
    """strategies that an earlier run finished"""
    to_run: tuple[str, ...]

    def run(
        self, progress: Advance = ignore_progress, finished: Callable[[str], object] = lambda _name: None
    ) -> Results:
        """Run what is missing, and return all; `progress` counts lock-step episodes, `finished` is told each name."""
        results = self.there

        def keep(adapted: Adapted) -> None:
            nonlocal results
            beside = self._beside(adapted.results)
            results = replace(results, strategies={**beside, **results.strategies, **adapted.results.strategies})
            _write(self.out, results, adapted)
            for name in adapted.results.strategies:
                finished(name)

        if self.to_run:
            adapt(self.agent, self.dataset, self.config, strategies=self.to_run, progress=progress, finished=keep)
        return results

    def _beside(self, mine: Results) -> dict[str, StrategyResult]:
        """What another process has added meanwhile, of the same agent, data and protocol."""
        try:
            return resume_results(self.out, replace(mine, strategies={})).strategies
        except RunError:
            return {}


def resume_adaptation(
    out: Path,
    agent: Agent,
    dataset: Dataset,
    config: AdaptConfig,
    strategies: Iterable[str],
    *,
    again: Collection[str] = (),
    force: bool = False,
) -> Adaptation:
    """Plan an adaptation into `out`: strategies there already are kept, except those of `again`.

    Raises UnknownNameError for a strategy, RunError if `out` holds results of another agent, dataset or protocol, or
    damaged ones, unless `force`, which replaces them.
    """
    asked = known_strategies(strategies)
    there = resume_results(out, blank_results(agent, dataset, config), force=force)
    to_run = tuple(name for name in asked if name in again or name not in there.strategies)
    return Adaptation(out=out, agent=agent, dataset=dataset, config=config, there=there, to_run=to_run)


def _write(out: Path, results: Results, adapted: Adapted) -> None:
    """The trace first: whoever sees its strategy in the results finds it."""
    out.mkdir(parents=True, exist_ok=True)
    if not write_trace(out, adapted) and STRATEGY not in results.strategies:
        (out / TRACE).unlink(missing_ok=True)  # of results that are replaced now
    write_results(out, results)
