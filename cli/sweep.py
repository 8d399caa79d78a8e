"""idaq sweep"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idaq.core.machine import cores

from . import completion
from .output import (
    Executor,
    Json,
    Plugin,
    Root,
    Settings,
    if_interrupted,
    path_option,
    print_json,
    print_table,
    say,
    working,
)
from .train import KEPT, train_several

if TYPE_CHECKING:
    from idaq.adapt.training import Combination, TrainedRun

_VARY = "Values of one setting, each with all the others. May be repeated."


def sweep(
    dataset: Annotated[
        str, typer.Option(help="A dataset id, or the path of its folder.", autocompletion=completion.datasets)
    ],
    vary: Annotated[list[str], typer.Option(metavar="KEY=A,B,...", help=_VARY)],
    out: Annotated[Path, path_option(help="Folder of run directories, each named by what is its own.")],
    settings: Settings = [],  # noqa: B006 - Typer copies it
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds of each, from --seed on.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, one CPU thread each.")] = cores(),
    executor: Executor = "joblib",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps. \\[default: cuda when present]")] = None,
    plugin: Plugin = [],  # noqa: B006
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Train one run for each combination of settings, and show the matrix. Interrupted, the same command resumes.

    Choose by validation tasks (--set validation.every=500), never by test tasks.

    [bold]Examples[/bold]

      idaq sweep --dataset idaq/point-robot/expert-v0 --vary learner.alpha=1,2,4 --seeds 3 --out runs/alpha
      idaq sweep --dataset me/point/held-out-v0 --vary batch=32,64 --vary learner.lr=1e-3,3e-4 --out runs/grid \\
        --set validation.every=500
      idaq adapt runs/alpha/* --jobs 2        adapts all of them
    """
    say(f"training on {dataset}", err=True)
    with working("loading the dataset and PyTorch"):
        from idaq.adapt.training import TrainJob, combinations
        from idaq.core.config import override
        from idaq.learn.device import check_device

        device = check_device(device)
        cells = [(one, number) for one in combinations(vary) for number in range(seed, seed + seeds)]
        trainings = [
            TrainJob(
                dataset=dataset,
                settings=override({"threads": 1}, [*settings, *one.settings, f"seed={number}"]),
                out=out / f"{one.name}-seed{number}",
                root=root,
                device=device,
                allow=tuple(plugin),
            ).open()
            for one, number in cells
        ]
    say(f"{len(trainings)} runs in {out}", err=True)
    with if_interrupted(lambda: KEPT):
        done = train_several(trainings, jobs, executor)
    _tell([(one, number, run) for (one, number), run in zip(cells, done, strict=True)], dataset, as_json)


def _tell(done: "list[tuple[Combination, int, TrainedRun]]", dataset: str, as_json: bool) -> None:
    if as_json:
        print_json([{"settings": one.settings, "seed": seed, **vars(r), "run": str(r.run)} for one, seed, r in done])
        return
    rows = list[list[str]]()
    for one, seed, run in done:
        best = "-" if run.best_return is None else f"{run.best_return:.2f}"
        values = [setting.partition("=")[2] for setting in one.settings]
        rows.append([str(run.run), *values, str(seed), str(run.steps), best])
    keys = [setting.partition("=")[0] for setting in done[0][0].settings]
    print_table(f"Runs on {dataset}", ["run", *keys, "seed", "steps", "best validation"], rows)
