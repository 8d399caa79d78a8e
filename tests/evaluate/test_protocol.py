"""Summaries: right numbers, one document, and no mixing of what does not belong together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.adapt.strategy import STRATEGIES
from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import IdaqError, RunError
from idaq.evaluate.protocol import (
    Summary,
    headline,
    markdown_table,
    number,
    paired_with,
    steering_note,
    summarise,
    summary_columns,
    summary_rows,
    verdict,
)
from idaq.evaluate.runs import load_runs, summarise_runs
from idaq.evaluate.statistics import Estimate, estimate, mean
from tests.evaluate.factory import LEVELS, REPORT_AT, make_results, make_run


def test_a_summary_holds_the_means_of_every_strategy_and_report() -> None:
    results = [make_results(train_seed=seed) for seed in range(3)]
    summary = summarise(results, ["idaq adapt x"])
    for name in LEVELS:
        returns = np.array([r.strategies[name].returns for r in results])
        success = np.array([r.strategies[name].success for r in results])
        for i, report in enumerate(summary.strategies[name]):
            assert report.episodes == REPORT_AT[i]
            assert report.mean.value == pytest.approx(returns[:, i].mean())
            assert report.success.value == pytest.approx(success[:, i].mean())
            assert report.mean.low <= report.mean.value <= report.mean.high
        reached = summary.strategies[name][-1].mean.value
        assert summary.strategies[name][-1].share == pytest.approx((reached + 20) / 15.5)
    assert (summary.random, summary.behaviour) == (-20, -4.5)
    measured = summary.measured
    assert (measured.runs, measured.tasks, measured.adaptation_seeds) == (3, 6, 2)
    assert (measured.train_seeds, measured.commands) == ([0, 1, 2], ["idaq adapt x"])


def test_differences_to_other_agents_are_paired_by_training_seed() -> None:
    mine = {seed: make_results(train_seed=seed, noise=3) for seed in (0, 1, 2)}
    theirs = {seed: make_results(train_seed=10 + seed, noise=3) for seed in (2, 5, 1)}
    others = [replace(results, train_seed=seed) for seed, results in theirs.items()]
    pairs = paired_with(list(mine.values()), others, "idaq")
    assert pairs is not None
    for i, pair in enumerate(pairs):
        gaps = [
            np.mean(mine[seed].strategies["idaq"].returns[i], -1)
            - np.mean(theirs[seed].strategies["idaq"].returns[i], -1)
            for seed in (1, 2)
        ]
        assert pair.value == pytest.approx(np.mean(gaps))
        assert pair.low < pair.value < pair.high
    assert paired_with([mine[0]], others, "idaq") is None
    assert paired_with(list(mine.values()), others, "random-first") is None
    named = replace(others[0].strategies["idaq"], settings={"reference": 99})
    other = replace(others[0], strategies={**others[0].strategies, "idaq": named})
    assert paired_with([mine[2]], [other], "idaq") is None


def test_differences_to_best_of_prior_are_paired() -> None:
    results = [make_results(train_seed=seed, noise=3) for seed in range(3)]
    summary = summarise(results)
    returns = {n: np.array([r.strategies[n].returns for r in results]).mean(-1).swapaxes(0, 1) for n in LEVELS}
    for name, reports in summary.strategies.items():
        for i, report in enumerate(reports):
            if name == "best-of-prior":
                assert report.over_prior is None
            else:
                apart = returns[name][i] - returns["best-of-prior"][i]
                assert report.over_prior == estimate(mean, apart)
    alone = summarise([make_results(levels={"idaq": -4.0})])
    assert alone.strategies["idaq"][-1].over_prior is None


def test_what_a_strategy_reached_in_its_reference_stage_is_marked() -> None:
    summary = summarise([make_results()])
    marked = {name: [r.reference_stage for r in reports] for name, reports in summary.strategies.items()}
    assert marked.pop("idaq") == [True, True, False]
    assert all(not any(flags) for flags in marked.values())
    row = next(row for row in summary_rows(summary) if row[0] == "idaq")
    assert [text.endswith("\N{DAGGER}") for text in row[1:4]] == [True, True, False]
    assert "the very episodes of best-of-prior" in markdown_table(summary)
    assert "\N{DAGGER}" not in markdown_table(summarise([make_results(levels={"posterior": -4.0})]))


def test_each_budget_has_a_reference_stage_of_its_own() -> None:
    results = make_results()
    of_its_own = replace(results.strategies["idaq"], reference=[1, 1, 2])
    summary = summarise([replace(results, strategies={**results.strategies, "idaq": of_its_own})])
    assert [report.reference_stage for report in summary.strategies["idaq"]] == [True, False, False]
    assert summary.reference_stage == 1


def test_an_older_summary_says_that_one_adaptation_went_through_all_budgets() -> None:
    summary = summarise([make_results()])
    note = "One adaptation, planned for 4 episodes, went through all budgets."
    assert note not in markdown_table(summary)
    document = to_mapping(summary)
    assert document.pop("each_budget")
    older = from_mapping(Summary, document, where="baselines.json")
    assert note in markdown_table(older)
    assert markdown_table(older) == markdown_table(summarise([replace(make_results(), each_budget=False)]))
    with pytest.raises(RunError, match="differ in how budgets were run"):
        summarise([make_results(), replace(make_results(train_seed=1), each_budget=False)])


def test_a_latent_that_does_not_steer_is_flagged() -> None:
    loses = summarise([make_results(levels={"idaq": -4.0, "best-of-prior": -5.0, "offline-context": -9.0})])
    assert "The latent does not steer here: offline-context (-9.0" in markdown_table(loses)
    assert "95% interval -4" in markdown_table(loses)
    close = summarise([make_results(levels={"best-of-prior": -5.0, "offline-context": -5.5}, noise=2)])
    gap = close.strategies["offline-context"][-1].over_prior
    assert gap is not None
    assert gap.value < 0 < gap.high
    assert steering_note(close) is None, "not by chance"
    assert steering_note(summarise([make_results()])) is None
    kept = [replace(report, over_prior=None) for report in loses.strategies["offline-context"]]
    without = replace(loses, strategies={**loses.strategies, "offline-context": kept})
    assert "no paired interval was kept" in (steering_note(without) or "")


def test_a_summary_is_a_document() -> None:
    summary = summarise([make_results()])
    text = json.dumps(to_mapping(summary), allow_nan=False)
    assert from_mapping(Summary, json.loads(text), where="baselines.json") == summary
    assert summary == summarise([make_results()])


def test_adaptation_seeds_are_no_samples() -> None:
    """The same task scores, seen by 2 or by 20 adaptation seeds, have the same interval."""
    few = make_results(seeds=2, noise=0)
    strategy = few.strategies["posterior"]
    spread = np.random.default_rng(0).normal(size=(3, 6, 1))
    two = replace(strategy, returns=spread.repeat(2, 2).tolist())
    twenty = replace(strategy, returns=spread.repeat(20, 2).tolist(), success=np.zeros((3, 6, 20), bool).tolist())
    narrow = replace(few, strategies={"posterior": two})
    wide = replace(few, strategies={"posterior": twenty}, config=replace(few.config, seeds=20))
    narrow, wide = (summarise([r]).strategies["posterior"][-1].mean for r in (narrow, wide))
    assert (narrow.value, narrow.low, narrow.high) == pytest.approx((wide.value, wide.low, wide.high))


def test_adaptation_seeds_are_averaged_by_their_mean() -> None:
    one = make_results(seeds=3)
    returns = np.array(one.strategies["posterior"].returns)
    returns[..., 0] += 30
    skewed = replace(one.strategies["posterior"], returns=returns.tolist())
    summary = summarise([replace(one, strategies={"posterior": skewed})])
    assert summary.strategies["posterior"][-1].mean.value == pytest.approx(returns[-1].mean())


def test_a_variant_of_the_method_is_no_rival_of_it() -> None:
    lead = summarise([make_results(levels={"idaq-mixture": -4.0, "idaq-prediction-error": -3.9, "posterior": -9})]).lead
    assert lead is not None
    assert (lead.strategy, lead.rival) == ("idaq-mixture", "posterior")


def test_the_lead_is_over_the_best_rival_and_paired() -> None:
    lead = summarise([make_results()]).lead
    assert lead is not None
    assert (lead.strategy, lead.rival) == ("idaq", "best-of-prior")
    assert lead.difference.low > 0.5
    assert lead.difference.high < 1.5
    assert summarise([make_results(levels={"idaq": -4.0, "offline-context": -3.0})]).lead is None


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["offline-context", "posterior", "idaq-prediction-error", "idaq"], "idaq"),  # whichever ran first
        (["offline-context", "posterior", "idaq-prediction-error", "idaq-mixture"], "idaq-prediction-error"),
        (["offline-context", "posterior", "best-of-prior"], "posterior"),
        (["offline-context"], "offline-context"),
    ],
)
def test_the_headline_strategy(names: list[str], chosen: str) -> None:
    assert headline({name: STRATEGIES.get(name).role for name in names}) == chosen


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset_id": "idaq/point-robot-wind/expert-v0"}, "dataset"),
        ({"digest": "cd" * 32}, "dataset"),
        ({"tasks": 5}, "test tasks"),
        ({"seeds": 3}, "adaptation config"),
        ({"levels": {"offline-context": -3.5}}, "strategies"),
        ({"random": -21.0}, "test tasks"),
    ],
)
def test_mixtures_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(IdaqError, match=f"seeds 0 and 1 differ in .*{said}"):
        summarise([make_results(), make_results(train_seed=1, **changes)])  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"settings": {"context": 7}}, {"role": "variant"}])
def test_strategies_of_other_settings_or_roles_are_refused(changes: dict[str, Any]) -> None:
    other = make_results(train_seed=1)
    strategies = {**other.strategies, "idaq": replace(other.strategies["idaq"], **changes)}
    with pytest.raises(RunError, match="differ in strategies"):
        summarise([make_results(), replace(other, strategies=strategies)])


def test_training_steps_and_repeated_seeds_are_refused() -> None:
    with pytest.raises(RunError, match="training steps"):
        summarise([make_results(), replace(make_results(train_seed=1), train_steps=41)])
    with pytest.raises(RunError, match="a seed stands twice"):
        summarise([make_results(), make_results()])
    with pytest.raises(RunError, match="hold no strategy"):
        summarise([replace(make_results(), strategies={})])
    with pytest.raises(RunError, match="no results"):
        summarise([])


def test_threads_do_not_make_another_protocol() -> None:
    other = make_results(train_seed=1)
    assert summarise([make_results(), replace(other, config=replace(other.config, threads=3))]).measured.runs == 2


@pytest.mark.parametrize("damage", [[[[1.0, 2.0]]], [[[1.0], [2.0, 3.0]]], []])
def test_results_of_another_shape_are_refused(damage: list[list[list[float]]]) -> None:
    results = make_results()
    broken = replace(
        results, strategies={"offline-context": replace(results.strategies["offline-context"], returns=damage)}
    )
    with pytest.raises(RunError, match="'offline-context' does not hold 3 reports x 6 tasks x 2 seeds"):
        summarise([broken])


def test_one_task_one_seed_one_strategy() -> None:
    summary = summarise([make_results(tasks=1, seeds=1, levels={"posterior": -5.0})])
    (row,) = summary_rows(summary)
    assert (row[0], row[3 + 2]) == ("posterior", "")  # no best-of-prior, no difference
    assert "posterior reaches a return of" in verdict(summary)


def test_rows_are_best_first_and_fit_the_columns() -> None:
    summary = summarise([make_results()])
    columns, rows = summary_columns(summary), summary_rows(summary)
    assert columns == [
        "strategy",
        "after 1",
        "after 2",
        "after 4",
        "95% interval",
        "minus best-of-prior",
        "IQM",
        "success",
        "random to behaviour",
    ]
    assert [row[0] for row in rows] == ["offline-context", "idaq", "best-of-prior", "posterior"]
    assert all(len(row) == len(columns) for row in rows)
    assert rows[0][-2:] == ["100%", "107%"]
    noisy = summarise([make_results(levels={"posterior": -6.0}, noise=2)])
    solved = noisy.strategies["posterior"][-1].success
    assert solved.low < solved.value < solved.high
    assert summary_rows(noisy)[0][-2] == f"{solved.value:.0%}", "the value, not an end of its interval"


def test_success_that_is_unknown_is_not_printed_as_0() -> None:
    results = make_results()
    idaq = results.strategies["idaq"]
    unknown = [[[None] * len(seeds) for seeds in report] for report in idaq.success]
    summary = summarise([replace(results, strategies={**results.strategies, "idaq": replace(idaq, success=unknown)})])
    assert summary.strategies["idaq"][-1].success is None
    (row,) = (row for row in summary_rows(summary) if row[0] == "idaq")
    assert row[-2] == "unknown"
    assert "solves" not in verdict(summary)
    assert "solves" in verdict(summarise([results]))


def test_the_markdown_table_keeps_its_columns_whatever_the_names() -> None:
    table = markdown_table(summarise([make_results(levels={"a|b\n| c": -1.0, "offline-context": -0.5})]))
    lines = table.splitlines()
    assert len(lines) == 4
    assert "a\\|b \\| c" in table
    assert {line.replace("\\|", "").count("|") for line in lines} == {10}


def test_the_verdict_says_ahead_behind_or_undecided() -> None:
    summarised = summarise([make_results()])
    ahead, behind = verdict(summarised), {**LEVELS, "idaq": -9.0}
    assert "After 4 online episodes on each of 6 new tasks, idaq reaches" in ahead
    assert "ahead of the best rival, best-of-prior (-4.9" in ahead
    assert "behind the best rival" in verdict(summarise([make_results(levels=behind)]))
    level = {"idaq": -5.0, "posterior": -5.0, "offline-context": -3.0}
    assert "cannot be told apart" in verdict(summarise([make_results(levels=level, noise=1)]))
    assert summarised.lead is not None
    for low, high in ((-0.5, 1.5), (-1.5, 0.5), (0.0, 1.0)):
        gap = Estimate(value=(low + high) / 2, low=low, high=high)
        assert "cannot be told apart" in verdict(replace(summarised, lead=replace(summarised.lead, difference=gap)))


@pytest.mark.parametrize(
    ("value", "text"),
    [(-3.876, "-3.88"), (-0.001, "0.00"), (0.0, "0.00"), (-171.53, "-171.5"), (4805.2, "4805"), (99.996, "100.0")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_runs_are_loaded_by_seed_and_must_be_trained_alike(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / str(seed), make_results(train_seed=seed)) for seed in (1, 0)]
    runs = load_runs(paths)
    assert [run.record.seed for run in runs] == [0, 1]
    summary = summarise_runs(runs)
    assert summary.measured.train_seeds == [0, 1]
    assert summary.measured.commands[-1].startswith("idaq report runs/idaq-point-robot-expert-v0-seed0 ")
    document = json.loads((paths[0] / "run.json").read_text())
    document["config"]["learner"]["alpha"] = 9
    (paths[0] / "run.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match="other settings"):
        load_runs(paths)


def test_a_run_of_before_algorithms_had_names_is_reported_beside_one_of_now(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / str(seed), make_results(train_seed=seed)) for seed in (0, 1)]
    document = json.loads((paths[0] / "run.json").read_text())
    for name in ("algorithm", "sampler", "prior_context"):
        del document["config"][name]
    (paths[0] / "run.json").write_text(json.dumps(document))
    assert [run.record.seed for run in load_runs(paths)] == [0, 1]


def test_results_of_another_dataset_than_the_run_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", make_results())
    document = json.loads((run / "run.json").read_text())
    document["content_digest"] = "cd" * 32
    (run / "run.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match="another dataset") as caught:
        load_runs([run])
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("--force"), "without it, adapt refuses results of another dataset"
    (run / "results.json").unlink()
    with pytest.raises(RunError, match="idaq adapt"):
        load_runs([run])
