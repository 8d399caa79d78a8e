"""What the study calculates, by value, on results made by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idaq.benchmark.study.results import KeptResults, write_kept
from idaq.benchmark.study.suites import (
    SIMULATED,
    SUITES,
    Standing,
    load_suite,
    means,
    over_behaviour,
    over_sets,
    paired,
    share,
    short,
    standing,
    success,
)
from idaq.core.errors import RunError
from idaq.core.resources import resource_root
from idaq.evaluate.statistics import Estimate
from tests.benchmark.study.conftest import ALL, PUSH, REACH, kept, level, suite

BOTH = suite(REACH, PUSH)
IDS = ["idaq/ml1-reach/expert-v0", "idaq/ml1-push/expert-v0"]


@pytest.mark.parametrize(
    ("of", "name", "seeds", "score", "ratio", "solved"),
    [
        (REACH, "policy-reuse", [0, 1], [0.5, 0.6], [0.5, 0.6], [0.0, 0.0]),
        (PUSH, "policy-reuse", [0, 1], [0.7, 0.9], [0.4, 0.8], [0.25, 0.75]),
        (PUSH, "policy-reuse", [0], [0.7, 0.9], [0.4, 0.8], [0.5, 0.5]),
        (PUSH, "best-of-prior", [1], [0.7, 0.9], [0.4, 0.8], [0.0, 1.0]),
    ],
)
def test_scores_by_value(
    of: KeptResults, name: str, seeds: list[int], score: list[float], ratio: list[float], solved: list[float]
) -> None:
    assert share(of, name, seeds) == pytest.approx(score)
    assert over_behaviour(of, name, seeds) == pytest.approx(ratio)
    assert success(of, name, seeds) == pytest.approx(solved)


def test_what_is_not_defined_is_not_given() -> None:
    runs = {0: {"posterior": level(-3, -2)}}
    assert over_behaviour(kept("a", runs, random=-9, behaviour=-4), "posterior", [0]) is None
    assert share(kept("a", runs, random=-4, behaviour=-4), "posterior", [0]) is None
    unknown = replace(REACH.runs[0], success={"idaq": [[[None], [1]], [[1], [1]]]})
    assert success(replace(REACH, runs={0: unknown}), "idaq", [0]) is None


def test_a_mean_is_of_the_same_sets_and_runs_for_every_strategy() -> None:
    found = means(BOTH, over_behaviour)
    assert found.sets == tuple(IDS)
    assert found.by_strategy["policy-reuse"] == pytest.approx([0.45, 0.7])  # of push the first run alone
    assert found.by_strategy["idaq"] == pytest.approx([0.3, 0.7])
    assert found.per_set["idaq"] == pytest.approx(np.array([[0.2, 0.5], [0.4, 0.9]]))
    short_of_one = replace(PUSH, runs={1: PUSH.runs[1]})
    assert means(suite(REACH, short_of_one), over_behaviour).sets == (IDS[0],)
    assert means(suite(short_of_one), over_behaviour).sets == (IDS[1],)  # nobody has run the others
    negative = replace(PUSH, tasks=kept("push", {}, random=-100, behaviour=-3).tasks)
    assert means(suite(REACH, negative), share).sets == tuple(IDS)
    assert means(suite(REACH, negative), over_behaviour).sets == (IDS[0],)


def test_a_set_of_which_a_measure_is_not_known_for_all_strategies_is_in_no_mean() -> None:
    run = REACH.runs[0]
    half = replace(REACH, runs={0: replace(run, success=run.success | {"idaq": [[[None], [None]], [[None], [None]]]})})
    assert means(suite(half, PUSH), success).sets == (IDS[1],)


def test_differences_are_paired_and_over_the_way_from_random_to_behaviour() -> None:
    found = paired(BOTH, "policy-reuse", "best-of-prior")
    assert list(found) == IDS
    for one, value in zip(found[IDS[0]], (0.3, 0.0), strict=True):
        assert (one.low, one.value, one.high) == pytest.approx((value, value, value))
    first, last = found[IDS[1]]  # way 200; run 0: +100 and -100 after one episode, +10 and -10 after ten; run 1: 0
    assert (first.value, last.value) == pytest.approx((0, 0))
    assert (first.low, first.high) == pytest.approx((-0.5, 0.5))
    assert (last.low, last.high) == pytest.approx((-0.05, 0.05))
    assert list(paired(BOTH, "idaq", "best-of-prior")) == IDS
    assert list(paired(suite(replace(PUSH, runs={1: PUSH.runs[1]})), "idaq", "best-of-prior")) == []


@pytest.mark.parametrize(
    ("name", "report", "counts"),
    [
        ("policy-reuse", 0, "1 / 1 / 0"),
        ("policy-reuse", 1, "0 / 2 / 0"),
        ("posterior", 0, "1 / 1 / 0"),
        ("posterior", 1, "0 / 0 / 2"),
        ("idaq", 1, "1 / 0 / 1"),
        ("offline-context", 0, "2 / 0 / 0"),
    ],
)
def test_sets_ahead_tied_and_behind(name: str, report: int, counts: str) -> None:
    assert str(standing(paired(BOTH, name, "best-of-prior"), report)) == counts


def test_an_interval_that_holds_zero_is_a_tie() -> None:
    ends = [(-1, 2), (0, 2), (-2, 1), (-2, 0), (0.1, 2), (0.2, 2), (-2, -0.1)]
    gaps = {str(i): [Estimate(value=(low + high) / 2, low=low, high=high)] for i, (low, high) in enumerate(ends)}
    assert standing(gaps, 0) == Standing(ahead=2, tied=4, behind=1)


def test_the_rival_is_told_no_simulation_and_is_neither_control_nor_reference() -> None:
    assert SIMULATED == ("policy-reuse", "best-average")
    assert BOTH.strategies == list(ALL)
    assert BOTH.rival == "posterior"  # the best after one episode; idaq is after ten
    assert BOTH.compared == ["policy-reuse", "posterior"]
    alone = suite(kept("reach", {0: {"best-of-prior": level(1, 1), "policy-reuse": level(2, 2)}}))
    assert alone.compared == ["policy-reuse"]


def test_an_interval_over_sets_draws_sets() -> None:
    found = over_sets(np.array([0.0, 1.0]))
    assert (found.low, found.value, found.high) == (0, 0.5, 1)


def test_names_are_short() -> None:
    assert short(REACH) == "reach"
    other = replace(REACH.data, dataset_id="idaq/ant-dir/medium-v0", family="ant-dir")
    assert short(replace(REACH, data=other)) == "ant-dir/medium"


def written(folder: Path, *sets: KeptResults) -> Path:
    (folder / "results/ml1").mkdir(parents=True)
    (folder / "ml1.toml").write_text("""
        bench_version = 1
        name = "ml1"
        hours = 1
        seeds = 2
        strategies = ["best-of-prior"]
        protocol = { episodes = 10, report_at = [1, 10] }
        datasets = [{ id = "idaq/ml1-reach/expert-v0" }, { id = "idaq/ml1-push/expert-v0" }]
        algorithms = [{ algorithm = "focal-td3bc" }]
    """)
    for number, one in enumerate(sets):
        write_kept(folder / f"results/ml1/{number}.json", one)
    return folder


def test_results_are_read_in_the_order_of_the_matrix(tmp_path: Path) -> None:
    found = load_suite(written(tmp_path, PUSH, REACH), "ml1")
    assert list(found.kept.values()) == [REACH, PUSH]
    assert found.strategies == ["best-of-prior"]  # others are not asked for


def test_results_under_other_budgets_are_refused(tmp_path: Path) -> None:
    other = replace(REACH, config=replace(REACH.config, report_at=[2, 10]))
    with pytest.raises(RunError, match=r"idaq/ml1-reach/expert-v0 are of the budgets \[2, 10\]"):
        load_suite(written(tmp_path, other), "ml1")


def different(values: Sequence[object]) -> list[object]:
    return [value for value in values if value != values[0]]


@pytest.mark.parametrize("name", SUITES)
def test_the_committed_results_of_a_suite_are_of_one_configuration(name: str) -> None:
    found = load_suite(resource_root("datasets") / "study", name)
    for strategy in found.strategies:
        there = [kept.strategies[strategy] for kept in found.kept.values() if strategy in kept.strategies]
        assert different([one.settings for one in there]) == []
    assert different([kept.config for kept in found.kept.values()]) == []
