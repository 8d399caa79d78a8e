"""The protocol: adapt to all test tasks and seeds in lock-step, and score fresh episodes along the way.

Shapes: P = N * S problems (N test tasks x S adaptation seeds, task-major), E adaptation episodes, Z latent.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from idaq.adapt.config import AdaptConfig
from idaq.adapt.lockstep import EpisodeBatch, Policy, Rollouts
from idaq.adapt.results import Results, StrategyResult, TestTask
from idaq.adapt.strategies import STRATEGIES, Strategy, Trial
from idaq.adapt.uncertainty import UNCERTAINTIES
from idaq.core.errors import DatasetError, RunError, unknown_name
from idaq.core.seeds import episode_seed, generator
from idaq.core.types import Advance, Array, ignore_progress
from idaq.format.documents import Manifest, TaskRecord, mean_random
from idaq.learn.agent import Agent
from idaq.learn.checkpoint import weights_digest
from idaq.loader import Dataset
from idaq.loader.sampling import task_contexts
from idaq.loader.transitions import Floats
from idaq.tasks import Family, find_family

_FRESH = 1_000_000  # fresh episodes take their seeds from beyond the adaptation episodes


@dataclass(frozen=True, kw_only=True)
class Problems:
    """What is adapted to."""

    family: Family
    tasks: tuple[TaskRecord, ...]
    seeds: int
    prior: Floats
    """(M, Z) beliefs of the training tasks from their offline data"""
    prior_tasks: NDArray[np.int64]
    """(M,) task index of each"""
    offline: Floats
    """(N, Z) beliefs of the test tasks from their offline data"""
    least: float
    """the return that an in-distribution episode has at least"""

    @property
    def task_indices(self) -> NDArray[np.int64]:
        """(P,)"""
        return np.repeat([task.task_index for task in self.tasks], self.seeds)


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """Results, and the trial of each strategy for those who draw it."""

    results: Results
    problems: Problems
    trials: dict[str, Trial]
    final: dict[str, EpisodeBatch]
    """fresh episodes at the end"""


def adapt(
    agent: Agent,
    dataset: Dataset,
    config: AdaptConfig,
    *,
    strategies: Iterable[str] = tuple(STRATEGIES),
    progress: Advance = ignore_progress,
    finished: Callable[[Adapted], None] | None = None,
) -> Adapted:
    """Run every strategy on every task of `config.split`; `progress` counts lock-step episodes.

    All strategies draw from the same random numbers. `finished` is given each by itself, as soon as it is done. Raises
    UnknownNameError for a strategy, DatasetError for a dataset without test tasks or whose tasks are not the installed
    family's.
    """
    names = known_strategies(strategies)
    blank = blank_results(agent, dataset, config)
    problems = pose(agent, dataset, config)
    rollouts = Rollouts(problems.family, agent.acting())
    trials, results, final = {}, {}, {}
    for name in names:
        trial, result, last = _run(agent, problems, config, STRATEGIES[name], rollouts, progress)
        trials[name], results[name], final[name] = trial, result, last
        if finished is not None:
            alone = replace(blank, strategies={name: result})
            finished(Adapted(results=alone, problems=problems, trials={name: trial}, final={name: last}))
    return Adapted(results=replace(blank, strategies=results), problems=problems, trials=trials, final=final)


def known_strategies(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once. Raises UnknownNameError."""
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in STRATEGIES:
            raise unknown_name("strategy", name, STRATEGIES)
    return chosen


def blank_results(agent: Agent, dataset: Dataset, config: AdaptConfig) -> Results:
    """The document before a strategy has run. Raises DatasetError as `adapt` says."""
    manifest, tasks = _tests(dataset, config)
    return Results(
        dataset_id=dataset.dataset_id,
        content_digest=manifest.content_digest,
        train_seed=agent.config.seed,
        train_steps=agent.config.steps,
        agent_digest=weights_digest(agent),
        config=config,
        tasks=[_test_task(task) for task in tasks],
        strategies={},
    )


def pose(agent: Agent, dataset: Dataset, config: AdaptConfig) -> Problems:
    """Everything adaptation starts from. Raises DatasetError or RunError as `adapt` says."""
    manifest, tasks = _tests(dataset, config)
    family, tests = find_family(manifest.family), dataset.select(split=config.split)
    for task in tasks:
        _check_same(family, task, manifest.provenance.simulators)
    training = dataset.select(split=agent.config.split)
    known = training.transitions()
    offline = tests.transitions()
    if agent.spec.observation_size != offline.gather(np.zeros(1, np.int64)).observations.shape[1]:
        raise RunError(f"the agent was trained on other observations than {dataset.dataset_id} holds")
    size = config.offline_context
    return Problems(
        family=family,
        tasks=tasks,
        seeds=config.seeds,
        prior=agent.encode(task_contexts(known, np.arange(len(known.task_indices)), size, config.seed)),
        prior_tasks=known.task_indices,
        offline=agent.encode(task_contexts(offline, np.arange(len(offline.task_indices)), size, config.seed)),
        least=_least(training, config.offline_share),
    )


def _tests(dataset: Dataset, config: AdaptConfig) -> tuple[Manifest, tuple[TaskRecord, ...]]:
    if dataset.manifest is None:
        raise DatasetError(f"{dataset.dataset_id} was not written by idaq: it does not say what its tasks are")
    tasks = tuple(task for task in dataset.select(split=config.split).tasks if isinstance(task, TaskRecord))
    if not tasks:
        raise DatasetError(f"{dataset.dataset_id} has no tasks in split {config.split!r}")
    return dataset.manifest, tasks


def episodes_to_run(config: AdaptConfig, strategies: int) -> int:
    """Lock-step episodes of an adaptation: what `progress` counts up to."""
    return strategies * (config.episodes + len(config.report_at))


def _run(
    agent: Agent, problems: Problems, config: AdaptConfig, strategy: Strategy, rollouts: Rollouts, progress: Advance
) -> tuple[Trial, StrategyResult, EpisodeBatch]:
    trial = Trial(
        agent=agent,
        config=config,
        prior=problems.prior,
        offline=problems.offline.repeat(config.seeds, 0),
        rng=generator(config.seed),
        loosest=-problems.least if strategy.uncertainty == "return" else np.inf,
    )
    tasks, fresh = problems.task_indices, list[EpisodeBatch]()
    for number in range(config.episodes):
        latents, seeds = strategy.explore(trial), _seeds(problems, config, number)
        if latents is None:
            tried = np.full_like(trial.offline, np.nan)
            episodes = rollouts.run(tasks, seeds, random_policy(problems, trial))
        else:
            tried, episodes = latents, rollouts.with_latents(tasks, seeds, latents)
        trial.tried.append(tried)
        trial.episodes.append(episodes)
        trial.embeddings.append(agent.embed(episodes.transitions))
        trial.scores.append(UNCERTAINTIES[strategy.uncertainty](agent, episodes, tried))
        progress(1)
        if number + 1 in config.report_at:
            seeds = _seeds(problems, config, _FRESH + number)
            fresh.append(rollouts.with_latents(tasks, seeds, strategy.deploy(trial)))
            progress(1)
    shape = (-1, len(problems.tasks), config.seeds)
    result = StrategyResult(
        returns=np.stack([batch.returns for batch in fresh]).reshape(shape).tolist(),
        success=np.stack([batch.success for batch in fresh]).reshape(shape).tolist(),
        explored=np.stack([batch.returns for batch in trial.episodes]).reshape(shape).tolist(),
        reference=config.reference if strategy.has_reference_stage else 0,
    )
    return trial, result, fresh[-1]


def _least(training: Dataset, share: float) -> float:
    """`share` of the way from random actions to what offline episodes earn. Raises DatasetError where no random actions
    were measured."""
    if share == 0:
        return -np.inf
    random = mean_random([task for task in training.tasks if isinstance(task, TaskRecord)])
    if random is None:
        raise DatasetError(
            f"not every training task of {training.dataset_id} has a random reference, which offline_share asks for",
            hint="--set offline_share=0, or collect one with idaq",
        )
    return random + share * (float(training.episodes.total_reward[training.numbers].mean()) - random)


def random_policy(problems: Problems, trial: Trial) -> Policy:
    """Uniform random actions in the agent's action bounds."""
    spec = trial.agent.spec
    centre, scale = np.array(spec.action_centre), np.array(spec.action_scale)
    shape = (trial.problems, spec.action_size)

    def act(_observations: Array, _step: int) -> Array:
        return (centre + scale * trial.rng.uniform(-1, 1, shape)).astype(np.float32)

    return act


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
            f"task {task.task_id} has no random reference to score against", hint="collect one with idaq"
        )
    return TestTask(
        task_id=task.task_id,
        task_index=task.task_index,
        params=task.params,
        random=task.reference.random.mean,
        behaviour=task.reference.behaviour.mean,
    )
