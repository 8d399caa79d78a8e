"""The adaptation of a run directory: each strategy is kept there as soon as it is done, and is not run again."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from idaq.adapt.adapt import (
    Adapted,
    able,
    adapt,
    blank_results,
    episodes_to_measure,
    episodes_to_run,
    training_returns,
)
from idaq.adapt.results import TRACE, Results, StrategyResult, resume_results, write_results
from idaq.adapt.strategy import AdaptPlan
from idaq.adapt.trace import STRATEGY, write_trace
from idaq.core.config import to_mapping
from idaq.core.errors import DatasetNotFoundError, RunError
from idaq.core.types import Advance, ignore_progress
from idaq.learn.algorithm import Agent
from idaq.learn.checkpoint import load_agent, weights_digest
from idaq.learn.cross_returns import CrossReturns, write_cross_returns
from idaq.learn.run import TaskSet, run_dataset, run_tasks, task_set
from idaq.loader import Dataset

LOCK = ".adapt.lock"
"""held while a strategy joins the results: of two processes, neither loses what the other has added"""


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What is there, and what is still to be run."""

    out: Path
    agent: Agent
    data: Dataset | TaskSet
    plan: AdaptPlan
    there: Results
    """strategies that an earlier run finished"""
    to_run: tuple[str, ...]
    run_folder: Path
    """of the agent, where its cross returns are kept"""
    allow: tuple[str, ...] = ()
    """code outside installed packages that the dataset's family may be"""

    @property
    def episodes(self) -> int:
        """That are still to be run: what `progress` counts up to."""
        strategies = [self.plan.strategies[name] for name in self.to_run]
        playing = episodes_to_run(self.plan.config, strategies, len(self.there.tasks))
        return self.episodes_to_measure + playing

    @property
    def episodes_to_measure(self) -> int:
        """Of training tasks, for the strategies that are told their returns."""
        return episodes_to_measure(self.agent, self._tasks, self._missing, allow=self.allow)

    @property
    def family(self) -> str:
        """The task family's name, as the dataset has it."""
        return self._tasks.family

    @property
    def _tasks(self) -> TaskSet:
        return self.data if isinstance(self.data, TaskSet) else task_set(self.data)

    @property
    def _missing(self) -> AdaptPlan:
        return replace(self.plan, strategies={name: self.plan.strategies[name] for name in self.to_run})

    def _cross_returns(self, progress: Advance) -> CrossReturns | None:
        """Kept beside the agent as soon as they are measured."""
        if not any(strategy.uses_cross_returns for strategy in self._missing.strategies.values()):
            return None
        is_new = self.episodes_to_measure > 0
        measured = training_returns(self.agent, self._tasks, self.plan.config, allow=self.allow, progress=progress)
        if is_new:
            write_cross_returns(self.run_folder, measured, weights_digest(self.agent))
        return measured

    def run(
        self, progress: Advance = ignore_progress, finished: Callable[[str], object] = lambda _name: None
    ) -> Results:
        """Run what is missing, and return all; `progress` counts episodes, `finished` is told each name."""
        results = self.there

        def keep(adapted: Adapted) -> None:
            nonlocal results
            self.out.mkdir(parents=True, exist_ok=True)
            with FileLock(self.out / LOCK):
                beside = self._beside(adapted.results)
                results = replace(results, strategies={**beside, **results.strategies, **adapted.results.strategies})
                _write(self.out, results, adapted)
            for name in adapted.results.strategies:
                finished(name)

        if self.to_run:
            cross = self._cross_returns(progress)
            adapt(
                self.agent, self.data, self._missing, allow=self.allow, cross_returns=cross, progress=progress,
                finished=keep,
            )  # fmt: skip
        return results

    def _beside(self, mine: Results) -> dict[str, StrategyResult]:
        """What another process has added meanwhile, of the same agent, data and protocol."""
        try:
            return resume_results(self.out, replace(mine, strategies={}), {}).strategies
        except RunError:
            return {}


def resume_adaptation(
    out: Path,
    agent: Agent,
    data: Dataset | TaskSet,
    plan: AdaptPlan,
    *,
    run: Path | None = None,
    again: Collection[str] = (),
    force: bool = False,
    allow: Collection[str] = (),
) -> Adaptation:
    """Plan an adaptation into `out`: strategies there already are kept, except those of `again`. `run` is the agent's
    folder, where its cross returns are kept; `out` for None.

    Raises RunError if `out` holds results of another agent, dataset, protocol or of other settings of a strategy, or
    damaged ones, unless `force`, which replaces them.
    """
    tasks = data if isinstance(data, TaskSet) else task_set(data)
    settings = {name: to_mapping(strategy) for name, strategy in plan.strategies.items() if name not in again}
    there = resume_results(out, blank_results(agent, tasks, plan.config), settings, force=force)
    to_run = tuple(name for name in plan.strategies if name in again or name not in there.strategies)
    return Adaptation(
        out=out, agent=agent, data=data, plan=plan, there=there, to_run=to_run, run_folder=run or out,
        allow=tuple(allow),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A run directory's agent, and what it can adapt to."""

    agent: Agent
    data: Dataset | TaskSet
    """the dataset it was trained on; where that is not at hand, its tasks alone"""
    notes: tuple[str, ...]
    """what is missing, and what that means"""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Adaptation settings of the dataset's recipe: a document's word."""
        return (self.data if isinstance(self.data, TaskSet) else task_set(self.data)).adapt

    def able(self, plan: AdaptPlan) -> tuple[AdaptPlan, tuple[str, ...]]:
        """The strategies of a plan that can run with this agent and data, and why the others cannot."""
        return able(plan, self.agent, isinstance(self.data, Dataset))


def load_run(run: Path, root: Path | None = None, *, allow: Collection[str] = (), device: str = "cpu") -> LoadedRun:
    """The agent of a run, with its dataset below `root` or where it was; without it, with the tasks kept in the run.

    Raises RunError, CheckpointError, PluginError, UsageError for a device that is not there, and DatasetNotFoundError
    for a run without tasks of its own.
    """
    notes = list[str]()
    try:
        data: Dataset | TaskSet = run_dataset(run, root)
    except DatasetNotFoundError as error:
        kept = run_tasks(run)
        if kept is None:
            raise
        data = kept
        notes.append(f"{error.message}: without it, no strategy can look at offline data of the test tasks")
    agent = load_agent(run, device, allow=allow, dataset=data if isinstance(data, Dataset) else None)
    return LoadedRun(agent=agent, data=data, notes=tuple(notes))


def _write(out: Path, results: Results, adapted: Adapted) -> None:
    """The trace first: whoever sees its strategy in the results finds it."""
    if not write_trace(out, adapted) and STRATEGY not in results.strategies:
        (out / TRACE).unlink(missing_ok=True)  # of results that are replaced now
    write_results(out, results)
