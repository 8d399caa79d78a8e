"""results.json: what every strategy reached on every test task. Plain data; evaluate/ turns it into statistics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from idaq.adapt.config import AdaptConfig, Role
from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.errors import ConfigError, CorruptDatasetError, IdaqError, RunError
from idaq.core.files import read_json, write_json
from idaq.core.types import PlainData, TaskParams
from idaq.learn.run import differences

RESULTS = "results.json"
TRACE = "trace.safetensors"
_SHOWN = 5
"""differences that a refusal names"""


@config
class TestTask:
    """A test task and its reference returns."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    task_id: str
    task_index: int
    params: TaskParams
    random: float
    """mean return of random actions"""
    behaviour: float
    """mean return of the task's behaviour policies"""


@config
class StrategyResult:
    """One strategy. R reports, N test tasks, S adaptation seeds, E adaptation episodes."""

    role: Role
    """what it is in a comparison"""
    settings: PlainData
    """of the strategy"""
    returns: list[list[list[float]]]
    """(R, N, S) return of a fresh episode after the budget of `report_at[r]` adaptation episodes"""
    success: list[list[list[bool | None]]]
    """(R, N, S) of the same episodes; None on a task that does not say what success is"""
    explored: list[list[list[float]]]
    """(E, N, S) return of each adaptation episode of the largest budget"""
    reference: list[Annotated[int, Field(ge=0)]]
    """(R,) episodes at the beginning of each budget in which it draws from the prior alone, as best-of-prior does"""

    @field_validator("reference", mode="before")
    @classmethod
    def _of_each_budget(cls, value: object, known: Any) -> object:
        """Older documents hold one number for all. (`known` is a ValidationInfo, which beartype cannot check.)"""
        return [value] * len(known.data.get("returns", ())) if isinstance(value, int) else value


@config
class Results:
    """The document."""

    results_version: Literal[2] = 2
    dataset_id: str
    content_digest: str
    train_seed: int
    train_steps: int
    """asked for; of a run with validation, the agent is that of the best validation among them"""
    agent_digest: str | None = None
    """SHA-256 of the agent's weights; None in documents of before it was noted"""
    config: AdaptConfig
    each_budget: bool = False
    """whether each budget was planned and run on its own; false in older documents: one adaptation, planned for the
    largest budget, went through all of them"""
    tasks: Annotated[list[TestTask], Field(min_length=1)]
    strategies: dict[str, StrategyResult]


def resume_results(
    out: Path, blank: Results, settings: Mapping[str, Mapping[str, Any]], *, force: bool = False
) -> Results:
    """What `out` holds, if more strategies of `blank`'s agent, data and protocol may join it; `blank` if it holds none.

    `settings` are those asked for of each strategy by name; those that are there must be of the same. Raises RunError
    naming what differs, or for damaged results; with `force`, returns `blank` then.
    """
    if not (out / RESULTS).exists():
        return blank
    try:
        there = read_results(out)
        kept = {name: there.strategies[name].settings for name in settings if name in there.strategies}
        differing = [
            *differences(_shared(there), _shared(blank)),
            *differences(kept, {name: dict(settings[name]) for name in kept}),
        ]
        if differing:
            more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
            raise RunError(
                f"{out / RESULTS} holds other results: {', '.join(differing[:_SHOWN])}{more}",
                hint=f"give the same settings, another --out, or replace them: idaq adapt {out} --force",
            )
    except RunError:
        if force:
            return blank
        raise
    return there


def _shared(results: Results) -> dict[str, object]:
    """What the strategies of one document share, as plain data by name."""
    tasks = {task.task_id: to_mapping(task) for task in results.tasks}
    protocol = {**to_mapping(results.config), "threads": None}
    return {**to_mapping(results), "config": protocol, "tasks": tasks, "strategies": None}


def write_results(run: Path, results: Results) -> None:
    """Replace results.json of a run directory."""
    write_json(run / RESULTS, to_mapping(results))


def read_results(run: Path) -> Results:
    """results.json of a run directory. Raises RunError if it is missing or damaged."""
    if not (run / RESULTS).is_file():
        raise RunError(f"{run} has no {RESULTS}", hint=f"idaq adapt {run} makes it")
    try:
        return from_mapping(Results, read_json(run / RESULTS), where=str(run / RESULTS))
    except (ConfigError, CorruptDatasetError) as error:
        raise RunError(error.message, hint=f"replace it: idaq adapt {run} --force") from None


def finished_strategies(run: Path) -> list[str]:
    """Those in results.json of a folder now, by name, whichever process writes it; none where it is damaged."""
    try:
        return list(read_json(run / RESULTS)["strategies"])
    except (OSError, IdaqError, KeyError, TypeError):
        return []
