"""idaq rehearse"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idaq.core.errors import UsageError

from . import completion
from .output import Json, Plugin, Settings, path_argument, print_json, print_table, progress, say, working

if TYPE_CHECKING:
    from idaq.adapt.rehearsal import Rehearsal
    from idaq.adapt.strategy import AdaptPlan
    from idaq.learn.algorithm import Agent

_STRATEGIES = "policy-reuse,best-average,nearest-training-task,best-of-prior"


def rehearse(
    runs: Annotated[list[Path], path_argument(help="Run directories of one dataset, with cross returns.")],
    strategies: Annotated[
        str, typer.Option(help="Comma-separated names; best-of-prior joins them.", autocompletion=completion.strategies)
    ] = _STRATEGIES,
    budgets: Annotated[str, typer.Option(metavar="N,N,...", help="Episodes of adaptation.")] = "1,2,3,5,10",
    tasks: Annotated[int | None, typer.Option(min=1, help="Leave out so many tasks. \\[default: all measured]")] = None,
    settings: Settings = [],  # noqa: B006 - Typer copies it
    plugin: Plugin = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Compare strategies and their settings on training tasks alone: no validation or test task is seen, and nothing is
    simulated.

    Each training task is left out in turn: its row of the run's cross returns and its own arm are taken away, and its
    episodes earn what stands in that row. For strategies that choose among the training tasks' beliefs by returns:
    policy-reuse, best-average, best-of-prior, nearest-training-task, gaussian-process. The table knows no point between
    beliefs: here policy-reuse has between=1 and gaussian-process features=latents.
    idaq adapt RUN --strategies policy-reuse measures the cross returns.

    [bold]Examples[/bold]

      idaq rehearse runs/point
      idaq rehearse runs/point-seed* --strategies policy-reuse --set bandwidth=0.5 --budgets 1,5
      idaq rehearse runs/point --strategies gaussian-process --set seeds=8
    """
    say(f"rehearsing with {', '.join(map(str, runs))}", err=True)
    from idaq.core.config import to_mapping
    from idaq.evaluate.protocol import PRIOR
    from idaq.evaluate.rehearsal import (
        difference_rows,
        rehearsal_columns,
        rehearsal_notes,
        rehearsal_rows,
        summarise_rehearsals,
    )

    plans = _plans(runs, strategies, budgets, settings, plugin)
    agents = [_agent(run, plugin) for run in runs]
    rehearsals = [_rehearsed(*each, tasks) for each in zip(runs, agents, plans, strict=True)]
    summary = summarise_rehearsals(rehearsals, plans[0].strategies)
    if as_json:
        print_json(to_mapping(summary))
        return
    columns = rehearsal_columns(summary)
    print_table(f"Return on {summary.tasks} training tasks, each left out", columns, rehearsal_rows(summary))
    print_table(f"Minus {PRIOR} (95% interval)", columns, difference_rows(summary))
    say(*rehearsal_notes(summary))


def _plans(
    runs: list[Path], strategies: str, budgets: str, settings: list[str], plugin: list[str]
) -> "list[AdaptPlan]":
    """A plan for each run, of which the dataset's recipe may set defaults; no point between beliefs is played."""
    from idaq.adapt.rehearsal import LISTED
    from idaq.adapt.strategy import adaptation_plan
    from idaq.core.config import merge, override
    from idaq.core.errors import RunError
    from idaq.evaluate.protocol import PRIOR
    from idaq.learn.run import read_run, run_tasks

    if len({read_run(run).content_digest for run in runs}) > 1:
        raise RunError("the runs are of several datasets", hint="rehearse those of each dataset apart")
    names = [*dict.fromkeys([*(name.strip() for name in strategies.split(",") if name.strip()), PRIOR])]
    given, after = override({}, settings), _budgets(budgets)
    _check_used(given)
    given |= {"episodes": after[-1], "report_at": after}
    recipes = [tasks.adapt if (tasks := run_tasks(run)) is not None else {} for run in runs]
    return [adaptation_plan(names, given, merge(defaults, LISTED), allow=plugin) for defaults in recipes]


def _budgets(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--budgets {text!r} is no list of numbers of episodes", hint="--budgets 1,2,5")
    return sorted({int(part) for part in parts})


def _check_used(given: dict[str, Any]) -> None:
    """Settings of the protocol that mean nothing here are refused, not ignored."""
    from dataclasses import fields

    from idaq.adapt.config import AdaptConfig

    idle = [field.name for field in fields(AdaptConfig) if field.name in given and field.name not in ("seed", "seeds")]
    if idle:
        raise UsageError(f"{', '.join(idle)} says nothing in a rehearsal", hint="--budgets, --tasks, --set seeds=8")


def _agent(run: Path, plugin: list[str]) -> "Agent":
    """The agent of a run with cross returns."""
    from idaq.adapt.history import NOT_MEASURED, known_prior
    from idaq.core.errors import RunError
    from idaq.learn.checkpoint import load_agent

    with working(f"loading {run}"):
        agent = load_agent(run, allow=plugin)
    if known_prior(agent).cross_returns is None:
        raise RunError(f"{run}: {NOT_MEASURED}", hint=f"idaq adapt {run} --strategies policy-reuse measures it")
    return agent


def _rehearsed(run: Path, agent: "Agent", plan: "AdaptPlan", tasks: int | None) -> "Rehearsal":
    from idaq.adapt.history import known_prior
    from idaq.adapt.rehearsal import rehearse as rehearse_agent

    known = known_prior(agent).cross_returns
    rows = 0 if known is None else len(known.tasks[:tasks])
    with progress(f"rehearsing {run}", rows * len(plan.strategies), "tasks") as counted:
        return rehearse_agent(agent, plan, tasks, counted)
