"""idaq train"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .completion import datasets
from .output import Json, Plugin, Root, Settings, if_interrupted, path_option, print_json, progress, say


def train(
    dataset: Annotated[str, typer.Option(help="A dataset id, or the path of its folder.", autocompletion=datasets)],
    out: Annotated[Path | None, path_option(help="Run directory. \\[default: runs/<dataset>-seed<seed>]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and batches.")] = 0,
    config: Annotated[Path | None, path_option(help="A TOML file with settings.")] = None,
    settings: Settings = [],  # noqa: B006 - Typer copies it
    plugin: Plugin = [],  # noqa: B006
    device: Annotated[str | None, typer.Option(help="cpu or cuda. \\[default: cuda when present]")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Meta-train an agent from a dataset. Interrupted, the same command resumes, to the same bits on CPU.

    Settings are idaq's defaults, then the dataset recipe's [cyan]train[/cyan] table, then --config, then --set.

    [bold]Examples[/bold]

      idaq train --dataset idaq/point-robot/expert-v0 --out runs/point
      idaq train --dataset idaq/point-robot/expert-v0 --seed 3 --set steps=8000 --set learner.alpha=1
      idaq train --dataset s3://bucket/large.zarr --set pool=2000      2 GB of episodes at a time, from any store
      idaq train --dataset idaq/point-robot/expert-v0 --set algorithm=my_module:MyConfig     an algorithm of your own

    idaq plugins lists the algorithms that are installed.
    """
    from idaq.adapt.uses import uses_of_opened
    from idaq.core.config import merge, override, read_toml
    from idaq.learn.config import algorithm_of, training_config
    from idaq.learn.loop import train as run
    from idaq.loader import open_dataset

    opened = open_dataset(dataset, root)
    told = merge(read_toml(config) if config else {}, override({"seed": seed}, settings))
    defaults = opened.manifest.recipe.train if opened.manifest else {}
    chosen = training_config(told, defaults, allow=plugin)
    if defaults and chosen.algorithm != algorithm_of(defaults):
        said = f"the recipe's training settings are of {algorithm_of(defaults)}: {chosen.algorithm} takes none of them"
        say(f"note: {said}", err=True)
    known = uses_of_opened(opened)
    if known.adapt:
        say(f"note: {opened.dataset_id} {known.adapt_line()}", err=True)
    target = out or Path("runs") / f"{opened.dataset_id.replace('/', '-')}-seed{seed}"
    kept = if_interrupted(lambda: _kept(target, chosen.steps))
    with kept, progress(f"training {target}", chosen.steps, "steps") as advance:
        done = run(opened, chosen, target, progress=advance, device=device)
    if as_json:
        print_json({"run": str(target), "steps": chosen.steps, "resumed_at": done.resumed_at})
    else:
        say(f"{target}: {chosen.steps} steps" + (f", resumed at {done.resumed_at}" if done.resumed_at else ""))


def _kept(run: Path, steps: int) -> str:
    from idaq.learn.checkpoint import checkpoints, step_of

    files = checkpoints(run)
    if not files:
        return f"{run} has no checkpoint yet; the same command begins at step 0"
    command = shlex.join(["idaq", *sys.argv[1:]])
    return f"{run} has a checkpoint of step {step_of(files[-1])} of {steps}; this resumes it: {command}"
