"""Adapt to all test tasks and seeds in lock-step, with every strategy, and score fresh episodes after each budget.

Shapes: P = N * S problems (N test tasks x S adaptation seeds, task-major), Z belief.
"""

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from idaq.adapt.config import AdaptConfig
from idaq.adapt.cross_returns import already_measured, episodes_of_each, measure_cross_returns, tasks_to_measure
from idaq.adapt.history import NOT_MEASURED, AdaptationHistory, known_prior
from idaq.adapt.live import misfit
from idaq.adapt.lockstep import EpisodeBatch, Rollouts
from idaq.adapt.policy import BeliefPolicy, Policy
from idaq.adapt.results import Results, StrategyResult, TestTask
from idaq.adapt.strategy import AdaptPlan, Strategy, adaptation_plan
from idaq.core.config import to_mapping
from idaq.core.errors import DatasetError, PluginError, RunError
from idaq.core.outside import raised_as
from idaq.core.registry import check_members
from idaq.core.seeds import episode_seed, generator
from idaq.core.splits import split_names
from idaq.core.types import Advance, Floats, ignore_progress
from idaq.format.documents import TaskRecord
from idaq.learn.algorithm import Agent, infer_tasks
from idaq.learn.checkpoint import weights_digest
from idaq.learn.cross_returns import CrossReturns
from idaq.learn.run import TaskSet, differences, task_set
from idaq.loader import Dataset
from idaq.tasks import Family, find_family

_FRESH = 1_000_000  # fresh episodes take their seeds from beyond the adaptation episodes


@dataclass(frozen=True, kw_only=True)
class Problems:
    """The test tasks, each with several seeds."""

    family: Family
    tasks: tuple[TaskRecord, ...]
    seeds: int
    agent: Agent
    dataset: Dataset | None
    """with the test tasks' own offline data, where it is at hand"""
    cross_returns: CrossReturns | None = None
    """for the strategies that use them"""

    @property
    def task_indices(self) -> NDArray[np.int64]:
        """(P,)"""
        return np.repeat([task.task_index for task in self.tasks], self.seeds)

    def offline_beliefs(self, size: int, seed: int) -> Floats:
        """(N, Z) each from `size` transitions of the task's own offline data. Raises RunError without a dataset."""
        if self.dataset is None:
            raise RunError("there is no dataset at hand, and so no offline data of the test tasks")
        indices = [task.task_index for task in self.tasks]
        beliefs: Floats = infer_tasks(self.agent, self.dataset.select(tasks=indices), size, seed)[1]
        return beliefs


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """Results, and the history of each strategy for those who draw it."""

    results: Results
    problems: Problems
    histories: dict[str, AdaptationHistory]
    """of the largest budget"""
    final: dict[str, EpisodeBatch]
    """fresh episodes at the end"""


def adapt(
    agent: Agent,
    data: Dataset | TaskSet,
    plan: AdaptPlan | None = None,
    *,
    allow: Collection[str] = (),
    cross_returns: CrossReturns | None = None,
    progress: Advance = ignore_progress,
    finished: Callable[[Adapted], None] | None = None,
) -> Adapted:
    """Run every strategy of a plan on every task of its split, each budget on its own; `progress` counts episodes.

    `data` is the dataset, or its tasks alone (`idaq.learn.run.run_tasks`): then no strategy can look at offline data.
    Without a plan, all built-in strategies run that can, with the defaults of the dataset's recipe; a warning names the
    others. All strategies draw from the same random numbers. `finished` is given each by itself, as soon as it is done.
    `cross_returns` are those measured before; a strategy that uses them has them measured here where there are none, of
    the plan's training tasks, which `progress` counts too. `allow` names code outside installed packages that the
    dataset's family may be.

    Raises UnknownNameError for a strategy, DatasetError for a dataset without test tasks or whose tasks are not the
    installed family's, RunError for an agent that a strategy cannot use and for code from outside that fails,
    PluginError for a policy or a score that is none.
    """
    tasks = data if isinstance(data, TaskSet) else task_set(data)
    if plan is None:
        plan, left_out = able(adaptation_plan(defaults=tasks.adapt, allow=allow), agent, isinstance(data, Dataset))
        for note in left_out:
            warnings.warn(note, stacklevel=2)
    blank = blank_results(agent, tasks, plan.config)
    problems = make_problems(agent, data, plan.config, allow=allow)
    for name, strategy in plan.strategies.items():
        problem = why_not(strategy, agent, has_data=problems.dataset is not None)
        if problem:
            raise RunError(f"strategy {name} cannot run: {problem}", hint="--strategies names those that can")
    if any(strategy.uses_cross_returns for strategy in plan.strategies.values()):
        measured = cross_returns or training_returns(agent, tasks, plan.config, allow=allow, progress=progress)
        problems = replace(problems, cross_returns=measured)
    rollouts = Rollouts(problems.family, agent.spec.view)
    simulation = _Simulation(problems=problems, config=plan.config, rollouts=rollouts, progress=progress)
    histories, results = dict[str, AdaptationHistory](), dict[str, StrategyResult]()
    final = dict[str, EpisodeBatch]()
    for name, strategy in plan.strategies.items():
        with raised_as(RunError, f"strategy {name}"):
            history, result, last = _run(simulation, name, strategy)
        histories[name], results[name], final[name] = history, result, last
        if finished is not None:
            alone = replace(blank, strategies={name: result})
            finished(Adapted(results=alone, problems=problems, histories={name: history}, final={name: last}))
    return Adapted(results=replace(blank, strategies=results), problems=problems, histories=histories, final=final)


def training_returns(
    agent: Agent,
    tasks: TaskSet,
    config: AdaptConfig,
    *,
    allow: Collection[str] = (),
    progress: Advance = ignore_progress,
) -> CrossReturns:
    """The cross returns that a config asks for: those in the agent's prior, or measured now, which `progress` counts.

    Raises DatasetError where the training tasks are not those of the installed family, RunError for an agent without a
    prior.
    """
    prior, family = known_prior(agent), find_family(tasks.family, allow)
    if there := already_measured(prior, family, config.cross_tasks, config.cross_episodes):
        return there
    records = {task.task_index: task for task in tasks.tasks}
    for index in tasks_to_measure(prior, config.cross_tasks).tolist():
        if index not in records:
            raise DatasetError(
                f"{tasks.dataset_id} has no task {index}, from which the agent has learned",
                hint="adapt with the dataset that it was trained on, or without policy-reuse and best-average",
            )
        _check_same(family, records[index], tasks.simulators)
    with raised_as(RunError, "the policies of the training tasks"):
        return measure_cross_returns(agent, prior, family, config.cross_tasks, config.cross_episodes, progress)


def episodes_to_measure(agent: Agent, tasks: TaskSet, plan: AdaptPlan, *, allow: Collection[str] = ()) -> int:
    """Episodes of training tasks that a plan's strategies need and nobody has played yet."""
    if not any(strategy.uses_cross_returns for strategy in plan.strategies.values()) or agent.prior is None:
        return 0
    family, config = find_family(tasks.family, allow), plan.config
    if already_measured(agent.prior, family, config.cross_tasks, config.cross_episodes):
        return 0
    rows = len(tasks_to_measure(agent.prior, config.cross_tasks))
    return rows * len(agent.prior.beliefs) * episodes_of_each(family, config.cross_episodes)


def why_not(strategy: Strategy, agent: Agent, *, has_data: bool, simulated: bool = True) -> str | None:
    """Why a strategy cannot run with an agent and what is at hand; None where it can.

    `simulated`: whether training tasks can be played, where that has not been done yet.
    """
    if strategy.uses_cross_returns and not (simulated or (agent.prior and agent.prior.cross_returns)):
        return NOT_MEASURED
    if strategy.uses_offline_data and not has_data:
        return "it looks at the test tasks' offline data, and there is no dataset"
    if not isinstance(agent, strategy.requires):
        return f"an agent of {agent.config.algorithm} is no {strategy.requires.__name__}"
    return None


def able(plan: AdaptPlan, agent: Agent, has_data: bool) -> tuple[AdaptPlan, tuple[str, ...]]:
    """The strategies of a plan that can run with an agent and what is at hand, and why the others cannot.

    What is the own way of another kind of agent is no loss to this one, and goes without a word.
    """
    offered = {name: one for name, one in plan.strategies.items() if isinstance(agent, one.own_way_of)}
    reasons = {name: why_not(one, agent, has_data=has_data) for name, one in offered.items()}
    notes = tuple(f"{name} is left out: {reason}" for name, reason in reasons.items() if reason)
    return replace(plan, strategies={name: plan.strategies[name] for name in reasons if reasons[name] is None}), notes


def blank_results(agent: Agent, tasks: TaskSet, config: AdaptConfig) -> Results:
    """The document before a strategy has run. Raises DatasetError as `adapt` says."""
    return Results(
        dataset_id=tasks.dataset_id,
        content_digest=tasks.content_digest,
        train_seed=agent.config.seed,
        train_steps=agent.config.steps,
        agent_digest=weights_digest(agent),
        config=config,
        each_budget=True,
        tasks=[_test_task(task) for task in _tests(tasks, config)],
        strategies={},
    )


def make_problems(
    agent: Agent, data: Dataset | TaskSet, config: AdaptConfig, *, allow: Collection[str] = ()
) -> Problems:
    """What adaptation starts from. Raises DatasetError or RunError as `adapt` says."""
    tasks = data if isinstance(data, TaskSet) else task_set(data)
    family = find_family(tasks.family, allow)
    tests = _tests(tasks, config)
    for task in tests:
        _check_same(family, task, tasks.simulators)
    spaces = family.spaces()
    if fault := misfit(agent, spaces.observations, spaces.actions):
        raise RunError(f"{tasks.family} has {fault}", hint="adapt to the family of the data that it was trained on")
    dataset = data.with_discrete(agent.config.discrete) if isinstance(data, Dataset) else None
    return Problems(family=family, tasks=tests, seeds=config.seeds, agent=agent, dataset=dataset)


def _tests(tasks: TaskSet, config: AdaptConfig) -> tuple[TaskRecord, ...]:
    names, there = split_names(config.split), {task.split for task in tasks.tasks}
    for name in names:
        if name not in there:
            raise DatasetError(
                f"{tasks.dataset_id} has no tasks in split {name!r}",
                hint=f"idaq dataset split {tasks.dataset_id} --{name} TASKS, then train on that version"
                if name in ("train", "val", "test")
                else "--set split=test",
            )
    return tuple(task for task in tasks.tasks if task.split in names)


def planned_runs(config: AdaptConfig, strategy: Strategy) -> list[list[int]]:
    """The budgets of each run of a strategy, which is told the last: a run for each, one for all where `anytime`."""
    return [config.report_at] if strategy.anytime else [[budget] for budget in config.report_at]


def episodes_to_run(config: AdaptConfig, strategies: Iterable[Strategy], tasks: int) -> int:
    """Episodes of an adaptation to so many test tasks, the fresh ones too: what `progress` counts up to.

    What a deterministic family is remembered to do counts as well, though it costs nothing.
    """
    runs = [budgets for strategy in strategies for budgets in planned_runs(config, strategy)]
    return tasks * config.seeds * sum(budgets[-1] + len(budgets) for budgets in runs)


def new_history(problems: Problems, config: AdaptConfig, strategy: Strategy, budget: int) -> AdaptationHistory:
    """A history without episodes, of all problems."""

    def offline(size: int) -> Floats:
        return problems.offline_beliefs(size, config.seed).repeat(problems.seeds, 0)

    return AdaptationHistory(
        agent=problems.agent,
        problems=len(problems.task_indices),
        budget=budget,
        rng=generator(config.seed),
        offline=offline if strategy.uses_offline_data else None,
        measured=problems.cross_returns if strategy.uses_cross_returns else None,
    )


@dataclass(frozen=True, kw_only=True)
class _Simulation:
    """Where episodes are played."""

    problems: Problems
    config: AdaptConfig
    rollouts: Rollouts
    progress: Advance

    def play(self, policy: Policy, number: int, whose: str) -> EpisodeBatch:
        """The episode of that number of every problem: its seeds are the same under every strategy and budget."""
        tasks = self.problems.task_indices
        episodes = self.rollouts.run(tasks, _seeds(self.problems, self.config, number), policy, whose)
        self.progress(len(tasks))
        return episodes


def _run(
    simulation: _Simulation, name: str, strategy: Strategy
) -> tuple[AdaptationHistory, StrategyResult, EpisodeBatch]:
    """The history of the largest budget, what all of them came to, and the last fresh episodes."""
    settings, problems, config = to_mapping(strategy), simulation.problems, simulation.config
    runs = [_adapted(simulation, name, strategy, budgets) for budgets in planned_runs(config, strategy)]
    history, fresh = runs[-1][0], [batch for _, reports in runs for batch in reports]
    if changed := differences(settings, to_mapping(strategy)):
        raise PluginError(
            f"strategy {name} changed its own settings while it ran: {', '.join(changed)}",
            hint="all that a strategy may remember is in the history",
        )
    shape = (-1, len(problems.tasks), config.seeds)
    result = StrategyResult(
        role=strategy.role,
        settings=settings,
        returns=np.stack([batch.returns for batch in fresh]).reshape(shape).tolist(),
        success=_known_success(problems, np.stack([batch.success for batch in fresh]).reshape(shape)),
        explored=np.stack([batch.returns for batch in history.episodes]).reshape(shape).tolist(),
        reference=[strategy.reference_stage(budget) for budget in config.report_at],
    )
    return history, result, fresh[-1]


def _adapted(
    simulation: _Simulation, name: str, strategy: Strategy, budgets: list[int]
) -> tuple[AdaptationHistory, list[EpisodeBatch]]:
    """One run to the last of its budgets, which the strategy is told, and fresh episodes after each of them."""
    history, fresh = new_history(simulation.problems, simulation.config, strategy, budgets[-1]), list[EpisodeBatch]()
    for number in range(history.budget):
        policy = checked_policy(strategy.explore(history), f"explore of strategy {name}", history.problems)
        history.add(policy, simulation.play(policy, number, f"the policy of {name}"))
        if number + 1 in budgets:
            deployed = checked_policy(strategy.deploy(history), f"deploy of strategy {name}", history.problems)
            fresh.append(simulation.play(deployed, _FRESH + number, f"the policy that {name} deploys"))
    return history, fresh


def _known_success(problems: Problems, success_RNS: NDArray[np.bool_]) -> list[list[list[bool | None]]]:
    """The same as lists, with None on tasks that do not say what success is."""
    defined = [task.success is not None for task in problems.tasks]
    return [
        [seeds if known else [None] * len(seeds) for known, seeds in zip(defined, report, strict=True)]
        for report in success_RNS.tolist()
    ]


def checked_policy(policy: object, what: str, problems: int) -> Policy:
    """The policy that a strategy gave. Raises PluginError for what is none, or is of another number of problems."""
    check_members(Policy, policy, what)
    if isinstance(policy, BeliefPolicy) and np.shape(policy.beliefs)[:1] != (problems,):
        raise PluginError(
            f"{what} gave a policy of beliefs {np.shape(policy.beliefs)}; there are {problems} problems",
            hint="a row for each problem: history.problems of them",
        )
    return cast(Policy, policy)


def _seeds(problems: Problems, config: AdaptConfig, number: int) -> NDArray[np.uint64]:
    return np.array(
        [episode_seed(config.seed, task.task_index, s, number) for task in problems.tasks for s in range(config.seeds)],
        np.uint64,
    )


def _check_same(family: Family, task: TaskRecord, simulators: Mapping[str, str]) -> None:
    there = {t.task_index: t.params for t in family.tasks}.get(task.task_index)
    if there != task.params:
        made = "".join(f" {name} {made_with}" for name, made_with in simulators.items())
        raise DatasetError(
            f"task {task.task_id} of the dataset has {task.params}; the installed family {family.name} has {there}",
            hint=f"install what the dataset was made with:{made}" if made else "collect the dataset again",
        )


def _test_task(task: TaskRecord) -> TestTask:
    if task.reference.random is None:
        raise DatasetError(
            f"task {task.task_id} has no random reference to score against",
            hint="idaq dataset reference ID --family NAME (or --env ENV) measures it, as a new version",
        )
    if task.reference.behaviour is None:
        hint = "idaq dataset relabel, or import it with rewards"
        raise DatasetError(f"task {task.task_id} has no behaviour reference: rewards are not known", hint=hint)
    return TestTask(
        task_id=task.task_id,
        task_index=task.task_index,
        params=task.params,
        random=task.reference.random.mean,
        behaviour=task.reference.behaviour.mean,
    )
