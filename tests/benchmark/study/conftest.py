"""Results made by hand, of which every number of the study can be calculated in the head."""

from collections.abc import Mapping, Sequence
from typing import Any

from idaq.adapt.config import AdaptConfig, Role
from idaq.adapt.results import TestTask
from idaq.adapt.run_job import Machine
from idaq.benchmark.matrix import Matrix
from idaq.benchmark.study.results import KeptResults, KeptRun, KeptStrategy
from idaq.benchmark.study.suites import Suite
from idaq.catalogue.suite import SetData
from idaq.core.config import from_mapping

ROLES: dict[str, Role] = {"best-of-prior": "control", "offline-context": "reference"}
ALL = ("best-of-prior", "policy-reuse", "posterior", "idaq", "offline-context")
BUDGETS = [1, 10]
Runs = Mapping[int, Mapping[str, Sequence[Sequence[float]]]]
"""training seed -> strategy -> (R, N) returns"""


def kept(name: str, runs: Runs, *, random: float = 0.0, behaviour: float = 100.0, **changes: Any) -> KeptResults:
    """Of the ML1 set `name`: two test tasks, one adaptation seed; an episode of at least 80 solves its task."""
    names = dict.fromkeys(strategy for run in runs.values() for strategy in run)
    data = SetData(
        dataset_id=f"idaq/ml1-{name}/expert-v0", family=f"ml1/{name}", content_digest="d", tasks=50, episodes=750,
        steps=1, size=1, mean=behaviour, std=1, minimum=0, maximum=200, success=1, random=random,
    )  # fmt: skip
    facts: dict[str, Any] = {
        "data": data,
        "config": AdaptConfig(episodes=10, report_at=BUDGETS, seeds=1),
        "algorithm": "focal-td3bc",
        "settings": [],
        "train_steps": 4000,
        "command": "idaq bench study/ml1",
        # unequal tasks: a mean of tasks' quotients is not the quotient of their means
        "tasks": [
            TestTask(task_id=f"t{i}", task_index=i, params={}, random=random, behaviour=behaviour + (10, -10)[i])
            for i in range(2)
        ],
        "strategies": {one: KeptStrategy(role=ROLES.get(one, "rival"), settings={}) for one in names},
        "runs": {seed: _run(run) for seed, run in runs.items()},
    }
    return KeptResults(**{**facts, **changes})


def _run(returns: Mapping[str, Sequence[Sequence[float]]]) -> KeptRun:
    each = {name: [[[value] for value in report] for report in reports] for name, reports in returns.items()}
    solved: dict[str, Any] = {
        n: [[[int(value >= 80)] for value in report] for report in reports] for n, reports in returns.items()
    }
    return KeptRun(
        agent_digest="a",
        returns=each,
        success=solved,
        cpu={"train": 3600.0, "adapt": 1800.0},
        machine=Machine(cores=2, processor="a processor", device="cpu"),
        versions={},
    )


def level(*values: float) -> list[list[float]]:
    """The same return on both tasks, report by report."""
    return [[value, value] for value in values]


def suite(*sets: KeptResults, strategies: Sequence[str] = ALL, absent: Sequence[str] = (), seeds: int = 2) -> Suite:
    """A suite `ml1` of these sets; of `absent` ones nothing is kept."""
    ids = [one.data.dataset_id for one in sets]
    matrix = {
        "bench_version": 1, "name": "ml1", "hours": 1, "seeds": seeds, "strategies": list(strategies),
        "protocol": {"episodes": 10, "report_at": BUDGETS, "seeds": 1},
        "datasets": [{"id": one} for one in (*ids, *(f"idaq/ml1-{name}/expert-v0" for name in absent))],
        "algorithms": [{"algorithm": "focal-td3bc"}],
    }  # fmt: skip
    return Suite(matrix=from_mapping(Matrix, matrix, where="by hand"), kept=dict(zip(ids, sets, strict=True)))


REACH = kept("reach", {
    seed: {"best-of-prior": level(20, 60), "policy-reuse": level(50, 60), "posterior": level(30, 10),
           "idaq": level(20, 50), "offline-context": level(90, 90)}
    for seed in (0, 1)
})  # fmt: skip
"""policy-reuse ahead after one episode and tied after ten, posterior ahead and then behind"""
PUSH = kept("push", {
    0: {"best-of-prior": level(40, 80), "policy-reuse": [[140, -60], [90, 70]], "posterior": level(40, 40),
        "idaq": level(40, 90), "offline-context": level(80, 80)},
    1: {"best-of-prior": level(40, 80), "policy-reuse": level(40, 80)},
}, random=-100.0)  # fmt: skip
"""its second run lacks strategies; policy-reuse tied, with tasks far apart"""
