"""idaq bench"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idaq.core.errors import RunError
from idaq.core.machine import cores

from . import completion
from .output import (
    Executor,
    Json,
    Plugin,
    Root,
    duration,
    if_interrupted,
    path_option,
    print_json,
    print_table,
    progress,
    say,
    working,
)

if TYPE_CHECKING:
    from idaq.benchmark.bench import Bench, Estimate
    from idaq.benchmark.leaderboard import BoardTable
    from idaq.benchmark.rows import Row

_ONLY = "Rows by dataset id, label, or id/label; * is any part. May be repeated. \\[default: all]"
_PLAN = "Show the runs and what they will take; run none. Absent datasets are collected, to measure on them."
_BOARD = "Folder of leaderboard.json and leaderboard.md, whose other rows stay. \\[default: --out]"
_RESULTS = "Folder for what each run came to, as soon as it has: MATRIX/DATASET.json, which other seeds join."


def bench(
    matrix: Annotated[
        str, typer.Argument(help="A TOML file, or the name of a matrix that ships.", autocompletion=completion.matrices)
    ],
    only: Annotated[list[str], typer.Option(metavar="GLOB", help=_ONLY)] = [],  # noqa: B006 - Typer copies it
    plan: Annotated[bool, typer.Option("--plan", help=_PLAN)] = False,
    out: Annotated[Path, path_option(help="Folder of run directories; finished ones are not run again.")] = Path(
        "runs/bench"
    ),
    leaderboard: Annotated[Path | None, path_option(help=_BOARD)] = None,
    results: Annotated[Path | None, path_option(help=_RESULTS)] = None,
    figures: Annotated[Path | None, path_option(help="Folder for a figure of each dataset and strategy.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, one CPU thread each.")] = cores(),
    executor: Executor = "joblib",
    device: Annotated[str, typer.Option(help="Where to train: cpu, cuda, cuda:1, mps.")] = "cpu",
    plugin: Plugin = [],  # noqa: B006
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Compare algorithms: train and adapt each on each dataset with several seeds, under one protocol.

    One TOML file says which (schemas/bench.json). A run is a folder OUT/DATASET/LABEL-seedN, as idaq train and idaq
    adapt make it. The first thing measured is what the runs will take: more hours than the file allows are refused.
    Interrupted or killed, the same command resumes, to the same bits on CPU; two at once share the work. A run that
    fails is named while the others finish; one whose loss is NaN is a row that says so.

    [bold]Examples[/bold]

      idaq bench tiny                                  under a minute, to see how it goes
      idaq bench point-robots --plan                   the runs, what is finished, hours
      idaq bench point-robots --jobs 2
      idaq bench point-robots --only "*sparse*" --only focal-td3bc
      idaq bench point-robots --figures curves          returns against episodes, algorithm by algorithm
      idaq bench mine.toml --leaderboard board         in which algorithm = "my_module:MyConfig"

    A file of your own:

      bench_version = 1
      name = "mine"
      hours = 2
      seeds = 3
      strategies = \\["best-of-prior", "posterior", "offline-context"]
      datasets = \\[{ id = "idaq/point-robot/expert-v0", train = { "learner.gamma" = 0.9 } }]
      algorithms = \\[{ algorithm = "focal-td3bc" }, { algorithm = "my_module:MyConfig", label = "mine" }]
    """
    from idaq.benchmark.matrix import load_matrix

    asked = load_matrix(matrix)
    with working("loading PyTorch"):
        from idaq.benchmark.bench import KEPT, Bench, ignore
        from idaq.benchmark.leaderboard import update_board
        from idaq.benchmark.page import write_page
        from idaq.benchmark.rows import Place
        from idaq.benchmark.study.keeper import Keeper
        from idaq.learn.device import check_device

        place = Place(out=out, root=root, device=check_device(device), allow=tuple(plugin))
    told = Bench(
        matrix=asked, named=matrix, place=place, jobs=jobs, executor=executor, only=only, progress=progress,
        tell=lambda words: say(f"note: {words}", err=True),
    )  # fmt: skip
    with if_interrupted(lambda: KEPT):
        rows = told.rows()
        estimate = told.estimate(told.asked(rows))
        if plan:
            return _show_plan(told, estimate, as_json)
        say(_hours(told, estimate), err=True)
        told.check_budget(estimate)
        keep: Callable[[Row], object] = ignore
        if results is not None:
            keeper = Keeper(folder=results, bench=told)
            keeper.begin(told.asked(rows))
            keep = keeper.keep
        failed = _run(told, estimate, keep)
        tables = told.tables(rows)
        update_board(leaderboard or out, tables, told.tell)
        write_page(leaderboard or out)
    if figures is not None:
        from idaq.benchmark.figures import write_curves

        say(*(str(path) for table in tables for path in write_curves(table, figures)), err=True)
    _show(told, tables, leaderboard or out, as_json)
    if failed:
        raise failed


def _run(bench: "Bench", estimate: "Estimate", finished: "Callable[[Row], object]") -> RunError | None:
    """Run what is to run; gives what failed, once the others are finished."""
    if not estimate.to_run:
        return None
    try:
        with progress(f"bench {bench.matrix.name}", round(3600 * estimate.hours), "s of work") as counted:
            bench.run(estimate, counted, counted.tell, finished)
    except RunError as error:
        return error
    return None


def _show(bench: "Bench", tables: "list[BoardTable]", folder: Path, as_json: bool) -> None:
    """The rows asked for."""
    from idaq.benchmark.page import PAGE, board_columns, board_lines
    from idaq.core.config import to_mapping

    if as_json:
        return print_json({"matrix": bench.matrix.name, "tables": [to_mapping(table) for table in tables]})
    for table in tables:
        plain = [[cell.replace("`", "").replace("**", "") for cell in line] for line in board_lines(table)]
        print_table(table.dataset_id, [head.replace("`", "") for head in board_columns(table)], plain)
    say(str(folder / PAGE))


def _hours(bench: "Bench", estimate: "Estimate") -> str:
    """What is to come, in words."""
    left, workers = len(estimate.to_run), max(1, min(bench.jobs, len(estimate.to_run)))
    if not left:
        return f"{len(estimate.cells)} runs, all finished"
    seconds = 3600 * estimate.hours
    unknown = f"; not known of {', '.join(estimate.unknown)}" if estimate.unknown else ""
    return (
        f"{left} of {len(estimate.cells)} runs to do: about {duration(seconds)} of processor time,"
        f" {duration(seconds / workers)} on {workers} {'core' if workers == 1 else 'cores'} of their own{unknown}"
    )


def _show_plan(bench: "Bench", estimate: "Estimate", as_json: bool) -> None:
    if as_json:
        cells = [
            {
                "dataset": cell.row.dataset,
                "label": cell.row.label,
                "seed": cell.seed,
                "run": str(cell.job.out),
                "state": cell.state,
                "hours": None if cell.cost is None else cell.cost.total / 3600,
            }
            for cell in estimate.cells
        ]
        return print_json({"matrix": bench.matrix.name, "cells": cells, "hours": estimate.hours})
    rows = list[list[str]]()
    for name in dict.fromkeys(cell.row.name for cell in estimate.cells):
        cells = [cell for cell in estimate.cells if cell.row.name == name]
        cost, states = cells[0].cost, [cell.state for cell in cells]
        counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        times = ["unknown"] * 3 if cost is None else [f"{1 / max(cost.step, 1e-9):,.0f}", duration(cost.total),
                 "runs" if cost.measured else "a probe"]  # fmt: skip
        rows.append([cells[0].row.dataset, cells[0].row.label, counted, str(cells[0].row.config.steps), *times])
    head = ["dataset", "row", "runs", "steps", "steps/s", "time of a run", "measured by"]
    print_table(f"{bench.matrix.name}: {_hours(bench, estimate)}", head, rows)
