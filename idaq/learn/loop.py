"""The one training loop: batches by (seed, step), checkpoints, exact resume, and a stop at the first NaN."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idaq.core.config import to_mapping
from idaq.core.errors import DatasetError, NonFiniteError, PluginError, RunError
from idaq.core.files import write_json
from idaq.core.interrupts import interrupts_held
from idaq.core.machine import default_threads
from idaq.core.metrics import append_metrics, truncate_metrics
from idaq.core.outside import raised_as
from idaq.core.seeds import generator
from idaq.core.types import Advance, ignore_progress
from idaq.learn.algorithm import Agent, Algorithm, Prior, create_agent, create_algorithm
from idaq.learn.checkpoint import check_tensors, checkpoints, restore, save_checkpoint
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.learn.prior import infer_prior, read_prior, write_prior
from idaq.learn.run import CHECKPOINTS, TASKS, claimed, new_record, start_or_resume, task_set
from idaq.loader import Dataset, Sampler, Statistics
from idaq.loader.samplers import make_sampler

_UPDATE_STREAM = 1


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a call to `train` came to."""

    agent: Agent
    resumed_at: int
    """step that this call started from"""


def train(
    dataset: Dataset,
    config: TrainConfig,
    out: str | Path,
    *,
    progress: Advance = ignore_progress,
    device: str | None = None,
) -> Trained:
    """Meta-train an agent into the run directory `out`, resuming what is there; `progress` counts steps.

    Bit-exact on CPU: 2k steps equal k steps, an interruption at any moment, and the rest. Ctrl-C and SIGTERM let the
    step under way end, and write its checkpoint; the second one stops at once. Raises RunError if `out` holds another
    run, another training writes it, or code from outside fails, PluginError for what is no sampler or algorithm,
    NonFiniteError (the last good checkpoint is kept) when a loss or a weight is NaN or infinite.
    """
    out = Path(out).expanduser()
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
        algorithm = create_algorithm(config, spec, device or default_device())
        first = restore(out, algorithm)
        truncate_metrics(out, first)
        progress(first)
        _run(out, first, algorithm, config, sampler, progress)
        prior = _keep_prior(out, algorithm, config, training)
    return Trained(agent=create_agent(algorithm, config, prior), resumed_at=first)


def _run(
    out: Path, first: int, algorithm: Algorithm, config: TrainConfig, sampler: Sampler[Any], progress: Advance
) -> None:
    """Steps from `first` on, metrics and checkpoints; an interruption comes out after a step and its checkpoint."""
    with interrupts_held() as interrupted:
        for step in range(first, config.steps):
            with raised_as(RunError, f"step {step} of {config.algorithm} on {config.sampler}"):
                info = training_step(algorithm, sampler, config.seed, step)
            if step % config.log_every == 0:
                values = _scalars(config, info)
                _check_losses(out, step, values)
                append_metrics(out, step, values)
            stop = interrupted() or step + 1 == config.steps
            if stop or (step + 1) % config.checkpoint_every == 0:
                _check_weights(out, step, algorithm, config)
                save_checkpoint(out, step + 1, algorithm)
            progress(1)
            if stop:
                break


def training_step(algorithm: Algorithm, sampler: Sampler[Any], seed: int, step: int) -> Mapping[str, Tensor]:
    """One step, from nothing but the algorithm's state and (seed, step)."""
    return algorithm.update(step, sampler.at(step), generator(seed, step, _UPDATE_STREAM))


def _keep_prior(out: Path, algorithm: Algorithm, config: TrainConfig, training: Dataset) -> Prior:
    """The prior of the finished agent, inferred once."""
    there = read_prior(out, config.steps)
    if there is None:
        there = infer_prior(create_agent(algorithm, config, None), training)
        write_prior(out, there, config.steps)
    return there


def agent_spec(dataset: Dataset, statistics: Statistics) -> AgentSpec:
    """Sizes and normalisation of what the agent learns from.

    Raises DatasetError for numbers of the action without width or bounds, and for data that float32 cannot hold.
    """
    low, high = dataset.action_low.astype(np.float64), dataset.action_high.astype(np.float64)
    unusable = np.flatnonzero(~np.isfinite(high - low) | (high <= low)).tolist()
    if unusable:
        found = ", ".join(f"{number} in [{low[number]:g}, {high[number]:g}]" for number in unusable[:8])
        raise DatasetError(
            f"{dataset.dataset_id}: numbers of the action have no width or no bounds, so none can be chosen: {found}",
            hint="leave a constant out of the actions; idaq dataset import gives an unbounded one the data's bounds",
        )
    return AgentSpec(
        observation_mean=statistics.observation_mean.tolist(),
        observation_std=statistics.observation_std.tolist(),
        change_std=statistics.change_std.tolist(),
        reward_mean=statistics.reward_mean,
        reward_std=statistics.reward_std,
        action_centre=((low + high) / 2).tolist(),
        action_scale=((high - low) / 2).tolist(),
    )


def use_threads(threads: int) -> None:
    """Set torch's CPU threads; 0 = OMP_NUM_THREADS, or without it the cores this process may use, at most 8."""
    torch.set_num_threads(threads or default_threads())


def default_device() -> str:
    """CUDA when present."""
    return "cuda" if torch.cuda.is_available() else "cpu"


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
