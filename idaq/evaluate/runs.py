"""Run directories as evaluation reads them: what must be there, and what may be missing or damaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idaq.adapt.results import Results, read_results
from idaq.adapt.system_run import SYSTEM
from idaq.core.config import to_mapping
from idaq.core.errors import RunError, UsageError
from idaq.evaluate.commands import reproduce
from idaq.evaluate.protocol import Summary, summarise
from idaq.format.recipe import Recipe
from idaq.learn.run import RunRecord, read_run

_NO_MATTER = {"seed": None, "threads": None, "checkpoint_every": None, "log_every": None}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trained and adapted run."""

    path: Path
    record: RunRecord
    results: Results


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs of one summary, by seed. Raises RunError for a run that is incomplete or was trained differently."""
    for path in paths:
        if (path / SYSTEM).exists():
            hint = f"open {path / 'report.html'}, which idaq adapt --env wrote"
            raise RunError(f"{path} holds an adaptation to one system, not a run", hint=hint)
    runs = [Run(path=path, record=read_run(path), results=read_results(path)) for path in paths]
    for run in runs:
        if run.results.content_digest != run.record.content_digest:
            raise RunError(
                f"{run.path}: results.json is of another dataset than run.json", hint=f"idaq adapt {run.path} --force"
            )
        if _settings(run) != _settings(runs[0]):
            raise RunError(
                f"{run.path} and {runs[0].path} were trained with other settings",
                hint="report them apart: one summary takes runs that differ in their seed alone",
            )
    return sorted(runs, key=lambda run: run.record.seed)


def summarise_runs(runs: Sequence[Run], recipe: Recipe | None = None) -> Summary:
    """`summarise`, with the commands that make these runs again; `recipe` gives the dataset's default settings."""
    if not runs:
        return summarise([])
    commands = reproduce([run.record for run in runs], runs[0].results, recipe)
    return summarise([run.results for run in runs], commands)


def _settings(run: Run) -> dict[str, object]:
    """The training settings that runs of one summary share, with the defaults of what an older run.json leaves out."""
    try:
        settings = to_mapping(run.record.training())
    except (UsageError, RunError):  # an algorithm that is not installed, or other settings than it has here
        settings = run.record.config
    return {**settings, **_NO_MATTER}
