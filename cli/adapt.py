"""idaq adapt"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idaq.core.errors import UsageError
from idaq.core.machine import cores

from . import completion
from .adapt_env import EnvAsked, adapt_env
from .output import (
    EnvArg,
    Executor,
    Json,
    Plugin,
    Root,
    Settings,
    if_interrupted,
    path_argument,
    path_option,
    print_json,
    print_table,
    progress,
    say,
    working,
)

if TYPE_CHECKING:
    from idaq.adapt.jobs import AdaptJob
    from idaq.adapt.results import Results
    from idaq.adapt.run import Adaptation
    from idaq.core.executors import ExecutorName


def adapt(
    runs: Annotated[list[Path], path_argument(help="Run directories of one dataset.")],
    strategies: Annotated[
        str | None,
        typer.Option(help="Comma-separated names. \\[default: all built-in]", autocompletion=completion.strategies),
    ] = None,
    settings: Settings = [],  # noqa: B006 - Typer copies it
    video: Annotated[bool, typer.Option("--video", help="Film one task's adaptation: video.gif, stills.png.")] = False,
    out: Annotated[Path | None, path_option(help="Where to write, for one run. \\[default: the run]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run again what is there; replace other results.")] = False,
    family: Annotated[
        str | None, typer.Option(metavar="PACKAGE.MODULE:THING", help="The dataset's task family, where it is yours.")
    ] = None,
    env: Annotated[
        str | None, typer.Option(metavar="ENV", help="Your own system: a Gymnasium id, or package.module:function.")
    ] = None,
    env_arg: EnvArg = [],  # noqa: B006
    max_steps: Annotated[int | None, typer.Option(min=1, help="Cut an episode of --env here.")] = None,
    fresh: Annotated[int, typer.Option(min=0, help="Episodes of the deployed policy on --env.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, one CPU thread each.")] = cores(),
    executor: Executor = "joblib",
    device: Annotated[str, typer.Option(help="Where beliefs are inferred: cpu, cuda, cuda:1, mps.")] = "cpu",
    plugin: Plugin = [],  # noqa: B006
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Adapt online to the test tasks with every strategy, within budgets of 1, 2, 5, 10 and 20 episodes, and score
    fresh ones. Each budget is planned and run on its own.

    Writes results.json (and trace.safetensors, for the figures) into each run directory. Strategies that stand there
    already, of the same agent, dataset and settings, are kept; each is kept as soon as it is done, so that the same
    command resumes. --video films the trace that is there; without one, it adapts with the filmed strategy alone.

    --env adapts to one system of your own instead, with one strategy: no family, test tasks or references are needed.
    Each episode is kept when it ends; the folder gets the deployed policy and a report.

    [bold]Examples[/bold]

      idaq adapt runs/point
      idaq adapt runs/push --video
      idaq adapt runs/point-seed* --strategies idaq,best-of-prior,posterior --set seeds=8
      idaq adapt runs/point-seed* --jobs 2                  two runs at a time
      idaq adapt runs/point --strategies my_module:MyStrategy --set idaq.uncertainty=my_module:surprise
      idaq adapt runs/pendulum --env Pendulum-v1 --env-arg g=9.5 --set episodes=10
      idaq adapt runs/arm --env my_lab.arm:make_env --strategies best-of-prior --out runs/arm-tuesday
      idaq adapt runs/point --out runs/point-brief --set episodes=10 --set "report_at=[1, 2, 5, 10]"
    """
    say(f"adapting {', '.join(map(str, runs))}", err=True)
    with working("loading PyTorch"):
        from idaq.adapt.jobs import AdaptJob
        from idaq.core.config import override
        from idaq.learn.device import check_device

        device = check_device(device)

    if out is not None and len(runs) > 1:
        raise UsageError("--out takes the results of one run", hint="adapt the runs one by one")
    trusted = [*plugin, *([family] if family else [])]
    _check_together(env, {"--family": family, "--root": root}, {"--env-arg": env_arg, "--max-steps": max_steps})
    if env is not None:
        if len(runs) > 1:
            raise UsageError("one system is adapted to with one run", hint="adapt the runs one by one")
        own = EnvAsked(
            env=env, env_args=env_arg, max_steps=max_steps, fresh=fresh, names=_names(strategies, False),
            settings=settings, force=force, video=video, trusted=trusted, device=device,
        )  # fmt: skip
        return adapt_env(runs[0], out, own, as_json)
    given, names = override({}, settings), _names(strategies, video)
    asked = [
        AdaptJob(
            run=run, out=out or run, names=None if names is None else tuple(names), settings=given, root=root,
            device=device, traced=video, force=force, allow=tuple(trusted),
        )
        for run in runs
    ]  # fmt: skip
    _print(_adapted(asked, jobs, executor), as_json)


def _adapted(asked: "list[AdaptJob]", jobs: int, executor: "ExecutorName") -> "list[Results]":
    """Run what is missing of each run, side by side where there are several, and film what was asked for."""
    plans = [_planned(job) for job in asked]
    with if_interrupted(lambda: "; ".join(_told(planned) for planned in plans)):
        if len(asked) == 1:
            results = [adapt_run(planned) for planned in plans]
        else:
            results = _several(asked, plans, jobs, executor)
        for job, planned in zip(asked, plans, strict=True):
            if job.traced:
                film_run(planned)
    return results


def _print(results: "list[Results]", as_json: bool) -> None:
    """The summary of the strategies that all runs have."""
    from idaq.core.config import to_mapping
    from idaq.evaluate.protocol import summarise, summary_columns, summary_notes, summary_rows

    common = set.intersection(*(set(result.strategies) for result in results))
    summary = summarise([_restricted(result, common) for result in results])
    if as_json:
        print_json(to_mapping(summary))
        return
    print_table(f"Return of fresh episodes on {results[0].dataset_id}", summary_columns(summary), summary_rows(summary))
    say(*summary_notes(summary))


def _check_together(env: str | None, of_tasks: dict[str, Any], of_env: dict[str, Any]) -> None:
    """Options that mean nothing beside the others are refused, not ignored."""
    idle = [name for name, value in (of_env if env is None else of_tasks).items() if value]
    if idle:
        beside = "without --env" if env is None else "with --env, which has no test tasks"
        raise UsageError(f"{', '.join(idle)} says nothing {beside}", hint="leave it out")


def _names(strategies: str | None, video: bool) -> list[str] | None:
    """The strategies asked for, None for all; a film needs the traced one."""
    from idaq.adapt.strategy import STRATEGIES
    from idaq.adapt.trace import STRATEGY

    names = [name.strip() for name in (strategies or "").split(",") if name.strip()]
    if strategies is not None and not names:
        raise UsageError("no strategy is named", hint=f"some of {', '.join(STRATEGIES.names())}, or all")
    if names == ["all"] or not (names or video):
        return None
    return list(dict.fromkeys([*names, STRATEGY] if video else names))


def _planned(job: "AdaptJob") -> "Adaptation":
    """What is to be run, told."""
    from idaq.adapt.results import RESULTS

    planned = job.plan(lambda note: say(f"note: {note}", err=True))
    kept = [name for name in planned.there.strategies if name not in planned.to_run]
    to_run = ", ".join(planned.to_run) or "nothing"
    say(f"{planned.out / RESULTS}: kept {', '.join(kept) or 'nothing'}; to run {to_run}", err=True)
    if first := planned.episodes_to_measure:
        say(f"first, {first:,} episodes of training tasks: what the training tasks' policies earn on them", err=True)
    return planned


def _told(planned: "Adaptation") -> str:
    """What is finished, when an interruption asks."""
    from idaq.adapt.results import finished_strategies

    return f"finished in {planned.out}: {', '.join(finished_strategies(planned.out)) or 'nothing'}"


def _restricted(results: "Results", names: set[str]) -> "Results":
    return replace(results, strategies={name: one for name, one in results.strategies.items() if name in names})


def adapt_run(planned: "Adaptation") -> "Results":
    """Here: run what is missing and add it to what is there."""
    from idaq.learn.loop import use_threads

    use_threads(planned.plan.config.threads)
    with progress(f"adapting {planned.out}", planned.episodes, "episodes") as counted:
        done = list[str]()

        def finished(name: str) -> None:
            done.append(name)
            counted.tell(f"{len(done)} of {len(planned.to_run)} strategies done")

        return planned.run(counted, finished)


def _several(
    asked: "list[AdaptJob]", plans: "list[Adaptation]", jobs: int, executor: "ExecutorName"
) -> "list[Results]":
    """In processes, run by run; how far they are stands in their results.json."""
    from idaq.adapt.jobs import AdaptJob
    from idaq.adapt.results import finished_strategies, read_results
    from idaq.core.jobs import run_jobs, watched

    def done() -> int:
        left = [sum(name not in finished_strategies(plan.out) for name in plan.to_run) for plan in plans]
        return sum(p.episodes * (len(p.to_run) - n) // max(len(p.to_run), 1) for p, n in zip(plans, left, strict=True))

    total, calls = sum(planned.episodes for planned in plans), {str(job.out): (job,) for job in asked}
    with progress(f"adapting {len(plans)} runs", total, "episodes") as counted, watched(done, counted):
        for number, _ in enumerate(run_jobs(AdaptJob.adapt, calls, workers=jobs, executor=executor), 1):
            counted.tell(f"{number} of {len(plans)} runs done")
    return [read_results(job.out) for job in asked]


def film_run(planned: "Adaptation") -> None:
    """Film the traced adaptation to the test task of median return."""
    from idaq.adapt.trace import read_trace
    from idaq.evaluate.report import median_task
    from idaq.evaluate.video import STILLS_FILE, VIDEO_FILE, film, write_stills, write_video
    from idaq.tasks import find_family

    out, trace = planned.out, read_trace(planned.out)
    with progress(f"filming {out}", 3, "episodes") as advance:
        scenes = film(planned.agent, find_family(planned.family, planned.allow), trace, median_task(trace), advance)
    write_video(scenes, out / VIDEO_FILE)
    write_stills(scenes, out / STILLS_FILE)
    say(str(out / VIDEO_FILE), str(out / STILLS_FILE), err=True)
