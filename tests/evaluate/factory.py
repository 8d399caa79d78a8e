"""Results, traces and run directories made by hand: no training, no adaptation."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from idaq.adapt.config import AdaptConfig
from idaq.adapt.results import TRACE, Results, StrategyResult, TestTask, write_results
from idaq.adapt.strategy import STRATEGIES
from idaq.core.config import to_mapping
from idaq.core.files import write_json
from idaq.core.metrics import append_metrics
from idaq.core.types import Array
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import AgentSpec
from idaq.learn.run import RUN, RunRecord

REPORT_AT = [1, 2, 4]
DIGEST = "ab" * 32
LEVELS = {"idaq": -4.0, "best-of-prior": -5.0, "posterior": -12.0, "offline-context": -3.5}
"""final return of each strategy, task and seed noise apart"""


def make_results(
    *,
    dataset_id: str = "idaq/point-robot/expert-v0",
    digest: str = DIGEST,
    train_seed: int = 0,
    tasks: int = 6,
    seeds: int = 2,
    levels: dict[str, float] = LEVELS,
    random: float = -20.0,
    noise: float = 0.3,
) -> Results:
    """Results whose strategies rise from random to their level over the reports, with reproducible noise."""
    rng = np.random.default_rng(train_seed)
    hard = np.random.default_rng(99).normal(0, noise, (1, tasks, 1))  # what every strategy feels alike
    strategies = {}
    for name, level in levels.items():
        start = level if name == "offline-context" else random
        rise = np.linspace(start, level, len(REPORT_AT))[:, None, None]
        returns = rise + hard + rng.normal(0, noise, (len(REPORT_AT), tasks, seeds))
        strategy = STRATEGIES.get(name) if name in STRATEGIES.names() else None
        strategies[name] = StrategyResult(
            role=strategy.role if strategy else "rival",
            settings=to_mapping(strategy) if strategy else {},
            returns=returns.tolist(),
            success=(returns > -6).tolist(),
            explored=np.full((4, tasks, seeds), -9.0).tolist(),
            reference=[2 if name.startswith("idaq") else 0] * len(REPORT_AT),
        )
    angles = np.linspace(0, np.pi, tasks)
    return Results(
        dataset_id=dataset_id,
        content_digest=digest,
        train_seed=train_seed,
        train_steps=40,
        config=AdaptConfig(episodes=4, report_at=REPORT_AT, seeds=seeds),
        each_budget=True,
        tasks=[
            TestTask(
                task_id=f"goal-{i:03d}",
                task_index=i,
                params={"goal": [float(np.cos(a)), float(np.sin(a))]},
                random=random,
                behaviour=-4.5,
            )
            for i, a in enumerate(angles)
        ],
        strategies=strategies,
    )


def make_trace(
    *, tests: list[int], training: list[int], episodes: int = 4, reference: int = 2, size: int = 2, latent: int = 5
) -> dict[str, Array]:
    """What adaptation would leave for `idaq`: straight walks of 6 steps, and beliefs on a curve.

    Observations of two numbers are a place; the last of another number of them is a velocity.
    """
    rng = np.random.default_rng(5)
    steps = rng.normal(0, 0.1, (len(tests), episodes + 1, 1, size)).repeat(6, 2)
    paths = np.concatenate([np.zeros((len(tests), episodes + 1, 1, size)), steps.cumsum(2)], 2)
    return {
        "observations": paths.astype(np.float32),
        "returns": -rng.random((len(tests), episodes + 1)),
        "z": rng.normal(size=(len(tests), episodes + 1, latent)).astype(np.float32),
        "valid": np.ones((len(tests), episodes + 1, 6), bool),
        "prior": rng.normal(size=(len(training), latent)).astype(np.float32),
        "prior_tasks": np.array(training),
        "offline": rng.normal(size=(len(tests), latent)).astype(np.float32),
        "test_tasks": np.array(tests),
        "reference": np.array([reference]),
        **({"place": np.array([0, 1])} if size == 2 else {"velocity": np.array([size - 1])}),
    }


def make_run(run: Path, results: Results, *, training: list[int] | None = None) -> Path:
    """A run directory as training and adaptation leave it; without `training` tasks there is no trace."""
    record = RunRecord(
        dataset_id=results.dataset_id,
        content_digest=results.content_digest,
        dataset_path="nowhere",
        config=to_mapping(FocalTd3BcConfig(steps=results.train_steps, seed=results.train_seed)),
        spec=AgentSpec(
            observation_mean=[0, 0],
            observation_std=[1, 1],
            change_std=[1, 1],
            reward_mean=0,
            reward_std=1,
            action_centre=[0, 0],
            action_scale=[1, 1],
        ),
        created="2026-01-02T03:04:05+00:00",
        versions={"idaq": "0.1.0", "numpy": "2.4.6"},
    )
    run.mkdir(parents=True)
    write_json(run / RUN, to_mapping(record))
    write_results(run, results)
    for step in (0, 20, 39):
        append_metrics(run, step, {"critic_loss": 1.0 / (1 + step), "q": -1.0 * step})
    if training is not None:
        trace = make_trace(tests=[task.task_index for task in results.tasks], training=training)
        save_file({name: np.ascontiguousarray(value) for name, value in trace.items()}, run / TRACE)
    return run
