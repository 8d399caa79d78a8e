"""idaq adapt"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idaq.core.errors import UsageError

from . import completion
from .adapt_env import EnvAsked, adapt_env
from .output import (
    EnvArg,
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
)

if TYPE_CHECKING:
    from idaq.adapt.results import Results
    from idaq.adapt.run import Adaptation


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
    plugin: Plugin = [],  # noqa: B006
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Adapt online to the test tasks with every strategy, and score fresh episodes after 1, 2, 5, 10, 20 of them.

    Writes results.json (and trace.safetensors, for the figures) into each run directory. Strategies that stand there
    already, of the same agent, dataset and settings, are kept; each is kept as soon as it is done, so that the same
    command resumes. --video films the trace that is there; without one, it adapts with the filmed strategy alone.

    --env adapts to one system of your own instead, with one strategy: no family, test tasks or references are needed.
    Each episode is kept when it ends; the folder gets the deployed policy and a report.

    [bold]Examples[/bold]

      idaq adapt runs/point
      idaq adapt runs/push --video
      idaq adapt runs/point-seed* --strategies idaq,best-of-prior,posterior --set seeds=8
      idaq adapt runs/point --strategies my_module:MyStrategy --set idaq.uncertainty=my_module:surprise
      idaq adapt runs/pendulum --env Pendulum-v1 --env-arg g=9.5 --set episodes=10 --set reference=5
      idaq adapt runs/arm --env my_lab.arm:make_env --strategies best-of-prior --out runs/arm-tuesday
      idaq adapt runs/point --out runs/point-brief --set episodes=10 --set reference=5 --set "report_at=[1, 2, 5, 10]"
    """
    from idaq.evaluate.protocol import summarise, summary_columns, summary_notes, summary_rows

    if out is not None and len(runs) > 1:
        raise UsageError("--out takes the results of one run", hint="adapt the runs one by one")
    trusted = [*plugin, *([family] if family else [])]
    _check_together(env, {"--family": family, "--root": root}, {"--env-arg": env_arg, "--max-steps": max_steps})
    if env is not None:
        if len(runs) > 1:
            raise UsageError("one system is adapted to with one run", hint="adapt the runs one by one")
        own = EnvAsked(
            env=env, env_args=env_arg, max_steps=max_steps, fresh=fresh, names=_names(strategies, False),
            settings=settings, force=force, video=video, trusted=trusted,
        )  # fmt: skip
        return adapt_env(runs[0], out, own, as_json)
    names = _names(strategies, video)
    asked = _Asked(names=names, settings=settings, root=root, video=video, force=force, trusted=trusted)
    plans = [asked.plan(run, out or run) for run in runs]
    kept = {planned.out: [name for name in planned.there.strategies if name not in planned.to_run] for planned in plans}
    with if_interrupted(lambda: _told(kept)):
        results = [adapt_run(planned, kept[planned.out]) for planned in plans]
        for planned in plans if video else []:
            film_run(planned)
    common = set.intersection(*(set(result.strategies) for result in results))
    summary = summarise([_restricted(result, common) for result in results])
    if as_json:
        from idaq.core.config import to_mapping

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


def _told(kept: dict[Path, list[str]]) -> str:
    """What is finished of each run."""
    return "; ".join(f"finished in {run}: {', '.join(names) or 'nothing'}" for run, names in kept.items())


def _restricted(results: "Results", names: set[str]) -> "Results":
    return replace(results, strategies={name: one for name, one in results.strategies.items() if name in names})


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the options ask for, of every run."""

    names: list[str] | None
    settings: list[str]
    root: Path | None
    video: bool
    force: bool
    trusted: list[str]

    def plan(self, run: Path, out: Path) -> "Adaptation":
        """What to run; a film of what is there takes its settings from there."""
        from idaq.adapt.results import RESULTS, read_results
        from idaq.adapt.run import load_run, resume_adaptation
        from idaq.adapt.strategy import adaptation_plan
        from idaq.adapt.trace import STRATEGY, has_trace
        from idaq.core.config import merge, override, to_mapping

        trained = load_run(run, self.root, allow=self.trusted)
        say(*(f"note: {note}" for note in trained.notes), err=True)
        defaults = trained.defaults
        if self.video and not self.settings and not self.force and (out / RESULTS).exists():
            there = read_results(out)
            traced = {STRATEGY: there.strategies[STRATEGY].settings} if STRATEGY in there.strategies else {}
            defaults = merge(defaults, {**to_mapping(there.config), **traced})
        chosen = adaptation_plan(self.names, override({}, self.settings), defaults, allow=self.trusted)
        if self.names is None:
            chosen, left_out = trained.able(chosen)
            say(*(f"note: {note}" for note in left_out), err=True)
        again = set(chosen.strategies) if self.force else {STRATEGY} if self.video and not has_trace(out) else set()
        return resume_adaptation(
            out, trained.agent, trained.data, chosen, again=again, force=self.force, allow=self.trusted
        )


def adapt_run(planned: "Adaptation", kept: list[str]) -> "Results":
    """Run what is missing and add it to `kept`; both are told."""
    from idaq.adapt.adapt import episodes_to_run
    from idaq.adapt.results import RESULTS
    from idaq.learn.loop import use_threads

    use_threads(planned.plan.config.threads)
    to_run = ", ".join(planned.to_run) or "nothing"
    say(f"{planned.out / RESULTS}: kept {', '.join(kept) or 'nothing'}; to run {to_run}", err=True)
    total = episodes_to_run(planned.plan.config, len(planned.to_run))
    with progress(f"adapting {planned.out}", total, "lock-step episodes") as advance:
        return planned.run(advance, kept.append)


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
