"""The one training loop: batches by (seed, step), checkpoints, exact resume, and a stop at the first NaN."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idaq.core.config import to_mapping
from idaq.core.errors import DatasetError, NonFiniteError, PluginError, RunError, UsageError
from idaq.core.files import write_json
from idaq.core.interrupts import interrupts_held
from idaq.core.machine import default_threads
from idaq.core.metrics import append_metrics, read_metrics, truncate_metrics
from idaq.core.outside import raised_as
from idaq.core.seeds import generator
from idaq.core.types import REWARDS, Advance, ignore_progress
from idaq.learn.algorithm import Agent, Algorithm, Prior, create_agent, create_algorithm
from idaq.learn.checkpoint import check_tensors, checkpoints, keep_best, restore, save_best, save_checkpoint
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.learn.device import check_device
from idaq.learn.loggers import OnMetrics, find_loggers, logging_to
from idaq.learn.prior import infer_prior, read_prior, write_prior
from idaq.learn.run import BEST, CHECKPOINTS, TASKS, claimed, new_record, start_or_resume, task_set
from idaq.learn.validation import VALIDATION, Validate, Validations
from idaq.loader import Dataset, Sampler, Statistics
from idaq.loader.samplers import make_sampler

_UPDATE_STREAM = 1


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a call to `train` came to."""

    agent: Agent
    resumed_at: int
    """step that this call started from"""
    stopped_at: int
    """steps behind the last one: those asked for, or fewer where patience ran out"""
    best_at: int | None = None
    """steps behind the agent, which is that of the best validation; None without validation: it is the last"""


def train(
    dataset: Dataset,
    config: TrainConfig,
    out: str | Path,
    *,
    progress: Advance = ignore_progress,
    on_metrics: OnMetrics = lambda _step, _values: None,
    device: str | None = None,
    log: Iterable[str] = (),
    validate: Validate | None = None,
) -> Trained:
    """Meta-train an agent into the run directory `out`, resuming what is there; `progress` counts steps.

    Bit-exact on CPU: 2k steps equal k steps, an interruption at any moment, and the rest. Ctrl-C and SIGTERM let the
    step under way end, and write its checkpoint; the second one stops at once. Metrics go to metrics.jsonl, to
    `on_metrics` and to the loggers that `log` names. `validate` is what `config.validation` asks for
    (`idaq.adapt.validation.validator` makes one); it changes no weight.

    Raises UsageError for a device or logger that there is not and DatasetError for data whose rewards nobody knows,
    before anything is written, RunError if `out` holds
    another run, another training writes it, or code from outside fails, PluginError for what is no sampler or
    algorithm, NonFiniteError (the last good checkpoint is kept) when a loss or a weight is NaN or infinite.
    """
    device, openers = check_device(device), find_loggers(log)
    if config.validation.every and validate is None:
        raise UsageError("validation.every is set, and nothing validates", hint="validate=validator(dataset, config)")
    check_rewards(dataset)
    out, dataset = Path(out).expanduser(), dataset.with_discrete(config.discrete)
    use_threads(config.threads)
    training = dataset.select(split=config.split)
    sampler = make_sampler(config.sampler, training, config)
    with raised_as(RunError, f"statistics of {config.sampler}"):
        statistics = sampler.statistics()
    spec = agent_spec(dataset, statistics)
    digest = dataset.manifest.content_digest if dataset.manifest else ""
    with claimed(out):
        start_or_resume(out, new_record(dataset.dataset_id, digest, dataset.path, config, spec))
        if dataset.manifest:
            write_json(out / TASKS, to_mapping(task_set(dataset)))
        algorithm = create_algorithm(config, spec, device)
        run = _Run(out=out, algorithm=algorithm, config=config, training=training, validate=validate)
        first = restore(out, algorithm)
        with logging_to(openers, out, to_mapping(config), first) as tell:
            truncate_metrics(out, first)
            progress(first)
            stopped_at = run.steps(first, sampler, progress, [tell, on_metrics])
        best_at = restore(out, algorithm, BEST) or None
        prior = run.keep_prior(best_at or stopped_at)
    agent = create_agent(algorithm, config, prior)
    return Trained(agent=agent, resumed_at=first, stopped_at=stopped_at, best_at=best_at)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A training under way."""

    out: Path
    algorithm: Algorithm
    config: TrainConfig
    training: Dataset
    validate: Validate | None

    def steps(self, first: int, sampler: Sampler[Any], progress: Advance, told: Sequence[OnMetrics]) -> int:
        """Steps from `first` on, to the end or until patience runs out; returns how many are done.

        An interruption comes out after a step and its checkpoint.
        """
        validations = Validations.read(self.config, read_metrics(self.out) if self.config.validation.every else [])
        keep_best(self.out, validations.best)
        done, stop = first, first == self.config.steps or validations.exhausted
        with interrupts_held() as interrupted:
            while not stop:
                values = self.step(done, sampler, validations)
                if values:
                    append_metrics(self.out, done, values)
                    for tell in told:
                        tell(done, values)
                done += 1
                stop = interrupted() or done == self.config.steps or validations.exhausted
                if stop or done % self.config.checkpoint_every == 0:
                    _check_weights(self.out, done - 1, self.algorithm, self.config)
                    save_checkpoint(self.out, done, self.algorithm)
                    keep_best(self.out, validations.best)
                progress(1)
        return done

    def step(self, step: int, sampler: Sampler[Any], validations: Validations) -> dict[str, float]:
        """One step, and a validation where one is due; what there is to log of both."""
        with raised_as(RunError, f"step {step} of {self.config.algorithm} on {self.config.sampler}"):
            info = training_step(self.algorithm, sampler, self.config.seed, step)
        values = _scalars(self.config, info) if step % self.config.log_every == 0 else {}
        _check_losses(self.out, step, values)
        if validations.due(step + 1):
            _check_weights(self.out, step, self.algorithm, self.config)
            values[VALIDATION] = self.validated()
            if validations.add(step + 1, values[VALIDATION]):
                save_best(self.out, step + 1, self.algorithm)
        return values

    def validated(self) -> float:
        """The return of the agent as it is now. Raises RunError for code from outside that fails."""
        assert self.validate is not None
        value = self.validate(create_agent(self.algorithm, self.config, self.prior()))
        if not math.isfinite(value):
            raise NonFiniteError(f"the return on validation tasks is {value}{_last_good(self.out)}", hint=_FIX)
        return value

    def prior(self) -> Prior:
        """Beliefs of the training tasks, of the agent as it is now."""
        return infer_prior(create_agent(self.algorithm, self.config, None), self.training)

    def keep_prior(self, steps: int) -> Prior:
        """The prior of the finished agent, of `steps` steps, inferred once."""
        there = read_prior(self.out, steps)
        if there is None:
            there = self.prior()
            write_prior(self.out, there, steps)
        return there


def training_step(algorithm: Algorithm, sampler: Sampler[Any], seed: int, step: int) -> Mapping[str, Tensor]:
    """One step, from nothing but the algorithm's state and (seed, step)."""
    return algorithm.update(step, sampler.at(step), generator(seed, step, _UPDATE_STREAM))


def check_rewards(dataset: Dataset) -> None:
    """Raise DatasetError for a dataset whose rewards nobody knows: they are written as 0."""
    if not dataset.column_info[REWARDS].known:
        raise DatasetError(
            f"the rewards of {dataset.dataset_id} are not known: there is nothing to learn returns from",
            hint="import the data again with rewards; a learner of your own reads the columns: idaq.open_dataset",
        )


def agent_spec(dataset: Dataset, statistics: Statistics) -> AgentSpec:
    """Sizes and normalisation of what the agent learns from. One-hot numbers and images stay as they are.

    Raises DatasetError for numbers of the action without width or bounds, and for data that float32 cannot hold.
    """
    view = dataset.view
    bounds = view.actions.bounds or (dataset.action_low, dataset.action_high)
    low, high = (bound.astype(np.float64) for bound in bounds)
    unusable = np.flatnonzero(~np.isfinite(high - low) | (high <= low)).tolist()
    if unusable:
        found = ", ".join(f"{number} in [{low[number]:g}, {high[number]:g}]" for number in unusable[:8])
        raise DatasetError(
            f"{dataset.dataset_id}: numbers of the action have no width or no bounds, so none can be chosen: {found}",
            hint="leave a constant out of the actions; idaq dataset import gives an unbounded one the data's bounds",
        )
    scaled = view.scaled
    return AgentSpec(
        observation_mean=np.where(scaled, 0, statistics.observation_mean).tolist(),
        observation_std=np.where(scaled, 1, statistics.observation_std).tolist(),
        change_std=np.where(scaled, 1, statistics.change_std).tolist(),
        reward_mean=statistics.reward_mean,
        reward_std=statistics.reward_std,
        action_centre=((low + high) / 2).tolist(),
        action_scale=((high - low) / 2).tolist(),
        num_tasks=1 + max(task.task_index for task in dataset.all_tasks),
        view=None if view.is_plain else view,
    )


def use_threads(threads: int) -> None:
    """Set torch's CPU threads; 0 = OMP_NUM_THREADS, or without it the cores this process may use, at most 8."""
    torch.set_num_threads(threads or default_threads())


def _check_losses(out: Path, step: int, values: dict[str, float]) -> None:
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if bad:
        raise NonFiniteError(f"step {step}: {bad}{_last_good(out)}", hint=_FIX)


def _scalars(config: TrainConfig, info: Any) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in info.items()}
    except (AttributeError, RuntimeError, TypeError, ValueError):
        raise PluginError(
            f"update of {config.algorithm} gave {info!r:.80}; numbers to log, by name, were expected",
            hint='such as return {"loss": loss.detach()}',
        ) from None


def _check_weights(out: Path, step: int, algorithm: Algorithm, config: TrainConfig) -> None:
    with raised_as(RunError, f"state of {config.algorithm}"):
        state = algorithm.state()
    check_tensors(state, f"state of {config.algorithm}")
    bad = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if bad:
        raise NonFiniteError(f"step {step}: NaN or infinity in weights {bad[:3]}{_last_good(out)}", hint=_FIX)


_FIX = (
    "train into another --out with lower learning rates (focal-td3bc: --set learner.lr=1e-4), or check the data: idaq"
    " dataset verify"
)


def _last_good(out: Path) -> str:
    files = checkpoints(out)
    return f"; the last good checkpoint is {out / CHECKPOINTS / files[-1].name}" if files else "; no checkpoint yet"
