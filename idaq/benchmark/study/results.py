"""What finished runs came to: a file for each dataset, from which everything that a study says is calculated.

R reports, N test tasks, S adaptation seeds.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from idaq.adapt.config import AdaptConfig, Role
from idaq.adapt.results import TestTask
from idaq.adapt.run_job import Machine
from idaq.catalogue.suite import SetData
from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.files import read_json, write_text
from idaq.core.types import AtLeastOne, PlainData

DIGITS = 5
"""of a return; the others are noise"""


@config
class KeptStrategy:
    """What a strategy is, the same in all runs."""

    role: Role
    settings: PlainData


@config
class KeptRun:
    """A training seed: fresh episodes of each strategy that it ran, and what it took."""

    agent_digest: str
    """SHA-256 of the agent's weights"""
    returns: dict[str, list[list[list[float]]]]
    """by strategy, (R, N, S)"""
    success: dict[str, list[list[list[Literal[0, 1] | None]]]]
    """of the same episodes; null on a task that does not say what success is"""
    cpu: dict[str, float]
    """seconds of processor time, by part of the run"""
    machine: Machine
    versions: dict[str, str]


@config
class KeptResults:
    """The document: one algorithm on one dataset under one protocol."""

    kept_version: Literal[1] = 1
    data: SetData
    config: AdaptConfig
    algorithm: str
    settings: list[str]
    """key=value, in which its training differs from the algorithm's defaults"""
    train_steps: AtLeastOne
    command: str
    """what makes the runs again"""
    tasks: list[TestTask] = Field(default_factory=list)
    """empty where no run has finished"""
    strategies: dict[str, KeptStrategy]
    """all that were asked for"""
    runs: dict[int, KeptRun] = Field(default_factory=dict)
    """by training seed"""
    diverged: dict[int, str] = Field(default_factory=dict)
    """training seed -> where NaN or infinity came up"""

    def seeds(self, *names: str) -> list[int]:
        """Training seeds whose run holds all of these strategies."""
        return [seed for seed, run in self.runs.items() if run.returns.keys() >= {*names}]


def read_kept(path: Path) -> KeptResults:
    """The document in a file. Raises ConfigError or CorruptDatasetError for a damaged one."""
    return from_mapping(KeptResults, read_json(path), where=str(path))


def write_kept(path: Path, kept: KeptResults) -> None:
    """Replace the document in a file: the same content, the same bytes."""
    plain = to_mapping(kept)
    for name in ("strategies", "runs", "diverged"):
        plain[name] = dict(sorted(plain[name].items(), key=lambda item: (len(str(item[0])), item[0])))
    write_text(path, _lines(plain) + "\n")


def nested(values: Any, of: Callable[[Any], Any]) -> Any:
    """Nested lists with `of` each value in its place."""
    return [nested(value, of) for value in values] if isinstance(values, list) else of(values)


def rounded(value: float) -> float:
    """To `DIGITS` digits."""
    return float(f"{value:.{DIGITS}g}")


def as_digit(solved: bool | None) -> int | None:
    """0 or 1, shorter than false and true."""
    return None if solved is None else int(solved)


def _lines(value: Any, indent: str = "") -> str:
    """JSON: a line for each key, and for each list."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    inner = f"{indent} "
    lines = [
        f"{inner}{json.dumps(str(key), ensure_ascii=False)}: {_lines(below, inner)}" for key, below in value.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
