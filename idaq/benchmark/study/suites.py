"""The suites of the study, and what is calculated from their results.

R reports, M training runs, N test tasks. A suite's strategies are compared on the same rows: a mean over sets takes
those sets, and of each those runs, that hold every strategy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from idaq.adapt.strategy import STRATEGIES
from idaq.benchmark.matrix import Matrix, load_matrix
from idaq.benchmark.study.results import KeptResults, read_kept
from idaq.core.errors import RunError
from idaq.core.types import Doubles
from idaq.evaluate.protocol import PRIOR
from idaq.evaluate.statistics import Estimate, estimate, mean, mean_difference, share_of_way

SUITES = ("point-robots", "ml1", "ml1-held", "bodies", "held-out")
HEADLINE = "policy-reuse"
"""the strategy that the study is about"""
SIMULATED = tuple(name for name in STRATEGIES.builtin if STRATEGIES.get(name).uses_cross_returns)
"""strategies that are told what each training task's policy earns on other training tasks, by simulation"""
FEW = 5
"""episodes: the rival is chosen by what it reaches within these"""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A matrix of the study, and what is kept of its runs."""

    matrix: Matrix
    kept: Mapping[str, KeptResults]
    """by dataset id, in the matrix's order; a dataset without runs is not there"""

    @property
    def budgets(self) -> list[int]:
        """Adaptation episodes before each report."""
        return self.matrix.protocol.report_at or []

    @cached_property
    def strategies(self) -> list[str]:
        """Those that any run holds, as the matrix orders them."""
        there = {name for kept in self.kept.values() for run in kept.runs.values() for name in run.returns}
        return [name for name in self.matrix.strategies if name in there]

    def is_reference(self, name: str) -> bool:
        """Whether a strategy is told more of the test task than it would be."""
        return any(kept.strategies[name].role == "reference" for kept in self.kept.values() if name in kept.strategies)

    def whole_runs(self, kept: KeptResults) -> list[int]:
        """Training seeds whose run holds every strategy."""
        return kept.seeds(*self.strategies)

    @property
    def compared(self) -> list[str]:
        """The strategies that stand in every comparison: the headline, and the best that is told no simulation."""
        return [name for name in (HEADLINE, self.rival) if name and name in self.strategies]

    @cached_property
    def rival(self) -> str | None:
        """Of the strategies that are told no simulation, the control and references apart, the best within a few
        episodes; None where there is none."""
        shares = means(self, share).by_strategy
        early = [i for i, budget in enumerate(self.budgets) if budget <= FEW]
        untold = [n for n in shares if n not in (PRIOR, *SIMULATED) and not self.is_reference(n)]
        return max(untold, key=lambda name: sum(shares[name][i] for i in early), default=None)


@dataclass(frozen=True, kw_only=True)
class Means:
    """Means over sets, the same for every strategy."""

    sets: tuple[str, ...]
    by_strategy: dict[str, list[float]]
    """(R,) of each; empty where no set holds all"""
    per_set: dict[str, Doubles]
    """(sets, R) of each"""


Measure = Callable[[KeptResults, str, Sequence[int]], list[float] | None]
"""(R,) of a strategy's runs of some training seeds on a dataset; None where it is not defined"""


def load_suite(folder: Path, name: str) -> Suite:
    """A suite of a study's folder. Raises RunError for results of another protocol than the matrix's, and what
    damaged documents raise."""
    matrix = load_matrix(str(folder / f"{name}.toml"))
    found = [read_kept(path) for path in sorted((folder / "results" / name).glob("*.json"))]
    for kept in found:
        if kept.config.report_at != matrix.protocol.report_at:
            raise RunError(
                f"{name}: results of {kept.data.dataset_id} are of the budgets {kept.config.report_at}, the matrix asks"
                f" for {matrix.protocol.report_at}",
                hint="run it again into another folder, and remove that file",
            )
    by_id = {kept.data.dataset_id: kept for kept in found}
    return Suite(matrix=matrix, kept={one.id: by_id[one.id] for one in matrix.datasets if one.id in by_id})


def short(kept: KeptResults) -> str:
    """How tables and figures name a dataset: a suite's set by its name, another by family and quality."""
    family, _, name = kept.data.family.partition("/")
    return name or f"{family}/{kept.data.dataset_id.rpartition('/')[2].rpartition('-v')[0]}"


def returns(kept: KeptResults, name: str, seeds: Sequence[int]) -> Doubles:
    """(R, M, N) of a strategy's fresh episodes, adaptation seeds averaged."""
    return np.array([kept.runs[seed].returns[name] for seed in seeds], np.float64).mean(-1).swapaxes(0, 1)


def references(kept: KeptResults) -> tuple[Doubles, Doubles]:
    """(N,) mean returns of random actions and of the behaviour policies on the test tasks."""
    return np.array([task.random for task in kept.tasks]), np.array([task.behaviour for task in kept.tasks])


def beats_random(kept: KeptResults) -> bool:
    """Whether the behaviour policies do, by the means over the test tasks: only then is there a score."""
    random, behaviour = references(kept)
    return bool(behaviour.mean() > random.mean())


def share(kept: KeptResults, name: str, seeds: Sequence[int]) -> list[float] | None:
    """(return - random) / (behaviour - random), a ratio of means; None where the behaviour does not beat random."""
    shares = [share_of_way(report, *references(kept)) for report in returns(kept, name, seeds)]
    known = [one for one in shares if one is not None]
    return known if len(known) == len(shares) else None


def over_behaviour(kept: KeptResults, name: str, seeds: Sequence[int]) -> list[float] | None:
    """return / behaviour, a ratio of means; None where the behaviour's mean is not positive."""
    behaviour = float(references(kept)[1].mean())
    return None if behaviour <= 0 else [float(mean(one)) / behaviour for one in returns(kept, name, seeds)]


def success(kept: KeptResults, name: str, seeds: Sequence[int]) -> list[float] | None:
    """Share of fresh episodes that solve their task; None where a task does not say what success is."""
    solved = np.array([kept.runs[seed].success[name] for seed in seeds], np.float64)
    return None if np.isnan(solved).any() else solved.mean((0, 2, 3)).tolist()


def means(suite: Suite, of: Measure) -> Means:
    """Of every strategy over the sets that have runs with all of them, and of which the measure is defined."""
    values = dict[str, dict[str, list[float]]]()
    for dataset, kept in suite.kept.items():
        seeds = suite.whole_runs(kept)
        here = {name: of(kept, name, seeds) for name in suite.strategies} if seeds else {}
        known = {name: value for name, value in here.items() if value is not None}
        if known and len(known) == len(suite.strategies):
            values[dataset] = known
    per_set = {name: np.array([one[name] for one in values.values()]) for name in suite.strategies if values}
    return Means(
        sets=tuple(values),
        by_strategy={name: array.mean(0).tolist() for name, array in per_set.items()},
        per_set=per_set,
    )


def paired(suite: Suite, name: str, other: str) -> dict[str, list[Estimate]]:
    """By dataset, at each report: difference of two strategies' scores with its interval, paired by run and task.

    Scores are as `share`: returns over the way from random to behaviour. Only runs that hold both count; a dataset
    without such a run, or whose behaviour does not beat random actions, is not there.
    """
    found = dict[str, list[Estimate]]()
    for dataset, kept in suite.kept.items():
        seeds = kept.seeds(name, other)
        random, behaviour = references(kept)
        way = float(behaviour.mean() - random.mean()) if seeds else 0.0
        if way > 0:
            both = zip(returns(kept, name, seeds), returns(kept, other, seeds), strict=True)
            found[dataset] = [estimate(mean_difference, mine / way, theirs / way) for mine, theirs in both]
    return found


@dataclass(frozen=True, kw_only=True)
class Standing:
    """On how many sets one strategy leads another, by the interval of the paired difference."""

    ahead: int
    tied: int
    behind: int

    def __str__(self) -> str:
        return f"{self.ahead} / {self.tied} / {self.behind}"


def standing(differences: Mapping[str, Sequence[Estimate]], report: int) -> Standing:
    """At one report: ahead where the interval lies above zero, behind where below, tied where it holds zero."""
    there = [of_set[report] for of_set in differences.values()]
    ahead, behind = sum(one.low > 0 for one in there), sum(one.high < 0 for one in there)
    return Standing(ahead=ahead, tied=len(there) - ahead - behind, behind=behind)


def over_sets(values: Doubles) -> Estimate:
    """Mean over sets (sets,) and its interval, the sets drawn again with replacement."""
    return estimate(mean, values[None])
