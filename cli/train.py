"""idaq train"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idaq.core.machine import cores

from . import completion
from .output import (
    Executor,
    Json,
    Plugin,
    Progress,
    Root,
    Settings,
    if_interrupted,
    path_option,
    print_json,
    progress,
    say,
    working,
)  # fmt: skip

if TYPE_CHECKING:
    from idaq.adapt.training import TrainedRun, Training
    from idaq.core.executors import ExecutorName
    from idaq.learn.loggers import OnMetrics

_DATASET = "A dataset id, or the path of its folder."
_OUT = "Run directory; of several seeds, -seed<seed> is added. \\[default: runs/<dataset>-seed<seed>]"
_VALIDATE = "Adapt to the tasks of split val after every so many steps; learn from others. \\[default: never]"
_PATIENCE = "Stop after so many validations without a new best. \\[default: never]"
_EPISODES = "Adaptation episodes of a validation. \\[default: 10]"
_STRATEGY = "What adapts in a validation. \\[default: best-of-prior]"
_LOG = "csv, tensorboard or wandb, beside metrics.jsonl; or yours. May be repeated."
KEPT = "run the same command again: each run resumes at its last checkpoint"
_KNOWN = completion.words("csv", "tensorboard", "wandb")


def train(
    dataset: Annotated[str, typer.Option(help=_DATASET, autocompletion=completion.datasets)],
    out: Annotated[Path | None, path_option(help=_OUT)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and batches.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Train so many runs, with the seeds from --seed on.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, one CPU thread each.")] = cores(),
    executor: Executor = "joblib",
    config: Annotated[Path | None, path_option(help="A TOML file with settings.")] = None,
    settings: Settings = [],  # noqa: B006 - Typer copies it
    validate_every: Annotated[int | None, typer.Option(min=1, metavar="STEPS", help=_VALIDATE)] = None,
    patience: Annotated[int | None, typer.Option(min=1, metavar="COUNT", help=_PATIENCE)] = None,
    validation_episodes: Annotated[int | None, typer.Option(min=1, metavar="COUNT", help=_EPISODES)] = None,
    validation_strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help=_STRATEGY, autocompletion=completion.strategies)
    ] = None,
    log: Annotated[list[str], typer.Option(metavar="NAME", help=_LOG, autocompletion=_KNOWN)] = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps. \\[default: cuda when present]")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Meta-train an agent from a dataset. Interrupted, the same command resumes, to the same bits on CPU.

    Settings are idaq's defaults, then the dataset recipe's [cyan]train[/cyan] table, then --config, then --set. With
    --validate-every the run gives the agent of the best validation, else the last one.

    [bold]Examples[/bold]

      idaq train --dataset idaq/point-robot/expert-v0 --out runs/point
      idaq train --dataset idaq/point-robot/expert-v0 --seed 3 --set steps=8000 --set learner.alpha=1
      idaq train --dataset idaq/point-robot/expert-v0 --seeds 5 --jobs 2                  five runs, two at a time
      idaq train --dataset idaq/point-robot/expert-v0 --seed $SLURM_ARRAY_TASK_ID        one of a job array
      idaq train --dataset idaq/point-robot/expert-v0 --set split=train --validate-every 500 --patience 3   stops early
      idaq train --dataset idaq/point-robot/expert-v0 --log tensorboard --device cuda:1
      idaq train --dataset s3://bucket/large.zarr --set pool=2000      2 GB of episodes at a time, from any store
      idaq train --dataset idaq/point-robot/expert-v0 --set algorithm=my_module:MyConfig     an algorithm of your own

    idaq plugins lists the algorithms and loggers that are installed.
    """
    say(f"training on {dataset}", err=True)
    with working("loading the dataset and PyTorch"):
        from idaq.adapt.training import TrainJob
        from idaq.core.config import merge, override, read_toml
        from idaq.learn.device import check_device

        given = {"every": validate_every, "patience": patience}
        given |= {"episodes": validation_episodes, "strategy": validation_strategy}
        validation = {name: value for name, value in given.items() if value is not None}
        told = merge(read_toml(config) if config else {}, {"validation": validation} if validation else {})
        told = override({**({"threads": 1} if seeds > 1 else {}), **told, "seed": seed}, settings)
        device, first = check_device(device), told["seed"]
        asked = [
            TrainJob(
                dataset=dataset,
                settings={**told, "seed": number},
                out=out if out is None or seeds == 1 else out.with_name(f"{out.name}-seed{number}"),
                root=root,
                device=device,
                log=tuple(log),
                allow=tuple(plugin),
            )
            for number in ([first] if seeds == 1 else range(first, first + seeds))
        ]
        trainings = [job.open() for job in asked]
    say(*(f"note: {note}" for note in trainings[0].notes), err=True)
    with if_interrupted(lambda: _kept(trainings)):
        done = _one(trainings[0]) if seeds == 1 else train_several(trainings, jobs, executor)
    _tell(done, as_json)


def _one(training: "Training") -> "list[TrainedRun]":
    """Here, with the losses beside the bar."""
    with progress(f"training {training.out}", training.config.steps, "steps") as counted:
        return [training.run(counted, _losses(counted))]


def train_several(trainings: "list[Training]", jobs: int, executor: "ExecutorName") -> "list[TrainedRun]":
    """In processes; how far they are stands in their run directories."""
    from idaq.adapt.training import TrainJob
    from idaq.core.jobs import run_jobs, watched

    done: dict[Path, TrainedRun] = {}
    total = sum(training.config.steps for training in trainings)
    calls = {str(training.out): (training.job,) for training in trainings}
    with (
        progress(f"training {len(trainings)} runs", total, "steps") as counted,
        watched(lambda: sum(training.steps_done() for training in trainings), counted),
    ):
        for run in run_jobs(TrainJob.run, calls, workers=jobs, executor=executor, kept=KEPT):
            done[run.run] = run
            counted.tell(f"{len(done)} of {len(trainings)} runs done")
    return [done[training.out] for training in trainings]


def _losses(counted: Progress) -> "OnMetrics":
    """Tells the newest losses, or what else the algorithm logs, and the newest validation."""
    from idaq.learn.validation import VALIDATION

    newest = dict[str, float]()

    def tell(_step: int, values: Mapping[str, float]) -> None:
        newest.update(values)
        losses = [name for name in newest if "loss" in name] or [name for name in newest if name != VALIDATION]
        shown = [*losses[:4], *([VALIDATION] if VALIDATION in newest else [])]
        counted.tell(", ".join(f"{name} {newest[name]:.3g}" for name in shown))

    return tell


def _tell(done: "list[TrainedRun]", as_json: bool) -> None:
    if as_json:
        facts = [{**vars(run), "run": str(run.run)} for run in done]
        print_json(facts if len(facts) > 1 else facts[0])
        return
    for run in done:
        resumed = f", resumed at {run.resumed_at}" if run.resumed_at else ""
        early = ", stopped early" if run.early else ""
        best = f"; its agent is that of step {run.best_at}, the best validation" if run.best_at else ""
        say(f"{run.run}: {run.steps} steps{resumed}{early}{best}")


def _kept(trainings: "list[Training]") -> str:
    """How far each is, and the command that resumes them all."""
    from idaq.learn.checkpoint import checkpoints, step_of

    told = list[str]()
    for training in trainings:
        files, steps = checkpoints(training.out), training.config.steps
        far = f"a checkpoint of step {step_of(files[-1])} of {steps}" if files else "no checkpoint yet"
        told.append(f"{training.out} has {far}")
    command = shlex.join(["idaq", *sys.argv[1:]])
    return f"{'; '.join(told)}; this resumes {'it' if len(told) == 1 else 'them'}: {command}"
