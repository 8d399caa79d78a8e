"""The leaderboard says what the runs' own files say, calculated here a second time; no row is lost in silence."""

import json
import multiprocessing
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idaq.benchmark.leaderboard import (
    BASELINE,
    BoardRow,
    BoardTable,
    Leaderboard,
    make_tables,
    merged,
    read_board,
    update_board,
)
from idaq.benchmark.page import PAGE, leaderboard_page, return_cell, write_page
from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import ConfigError
from idaq.core.resources import resource_root
from idaq.evaluate.statistics import Estimate
from tests.benchmark.conftest import FOCAL, ID, STRATEGIES, Ran, matrix


@pytest.fixture
def table(ran: Ran) -> BoardTable:
    (table,) = ran.tables
    return table


def returns_of(ran: Ran, label: str, strategy: str, report: int) -> list[list[float]]:
    """(runs, tasks) adaptation seeds averaged, from results.json alone."""
    found = list[list[float]]()
    for seed in (0, 1):
        path = ran.bench.place.out / "idaq-point-robot-expert-v0" / f"{label}-seed{seed}" / "results.json"
        tasks = json.loads(path.read_text())["strategies"][strategy]["returns"][report]
        found.append([sum(seeds) / len(seeds) for seeds in tasks])
    return found


def two_way_interval(scores: list[list[float]], draws: int = 4000) -> tuple[float, float]:
    """Percentile interval of the mean over runs and tasks, both drawn with replacement."""
    chance = random.Random(3)
    runs, tasks = len(scores), len(scores[0])
    means = list[float]()
    for _ in range(draws):
        rows, columns = chance.choices(range(runs), k=runs), chance.choices(range(tasks), k=tasks)
        means.append(sum(scores[r][c] for r in rows for c in columns) / (runs * tasks))
    means.sort()
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


def check(estimated: Estimate, scores: list[list[float]]) -> None:
    flat = [score for run in scores for score in run]
    low, high = two_way_interval(scores)
    width = max(flat) - min(flat)
    assert estimated.value == pytest.approx(sum(flat) / len(flat))
    assert estimated.low == pytest.approx(low, abs=0.03 * width + 1e-9)
    assert estimated.high == pytest.approx(high, abs=0.03 * width + 1e-9)


def minus(scores: list[list[float]], others: list[list[float]]) -> list[list[float]]:
    return [[a - b for a, b in zip(run, other, strict=True)] for run, other in zip(scores, others, strict=True)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("report", [0, 1])
def test_means_intervals_and_paired_differences(ran: Ran, table: BoardTable, strategy: str, report: int) -> None:
    for label, row in table.rows.items():
        assert row.summary is not None
        scores, there = returns_of(ran, label, strategy, report), row.summary.strategies[strategy][report]
        assert there.episodes == [1, 2][report]
        check(there.mean, scores)
        if strategy != "best-of-prior":
            assert there.over_prior is not None
            check(there.over_prior, minus(scores, returns_of(ran, label, "best-of-prior", report)))
    cloning = table.rows["cloning"]
    theirs = returns_of(ran, BASELINE, strategy, report)
    check(cloning.over_baseline[strategy][report], minus(returns_of(ran, "cloning", strategy, report), theirs))
    assert table.rows[BASELINE].over_baseline == {}


def test_the_way_from_random_to_behaviour_and_what_the_row_is_of(ran: Ran, table: BoardTable) -> None:
    row = table.rows["cloning"]
    results = json.loads((ran.rows[1].jobs[0].out / "results.json").read_text())
    low, high = (sum(task[name] for task in results["tasks"]) / 2 for name in ("random", "behaviour"))
    assert row.summary is not None
    offline = row.summary.strategies["offline-context"][-1]
    assert offline.share == pytest.approx((offline.mean.value - low) / (high - low))
    assert (row.summary.random, row.summary.behaviour) == (pytest.approx(low), pytest.approx(high))
    assert (table.dataset_id, table.content_digest) == (ID, results["content_digest"])
    assert row.agents == {seed: json.loads((ran.rows[1].jobs[seed].out / "results.json").read_text())["agent_digest"]
                          for seed in (0, 1)}  # fmt: skip
    assert row.baseline == table.rows[BASELINE].agents
    assert {"learner.alpha=0.0", "learner.gamma=0.9", "steps=12"} <= set(row.settings)
    assert not [setting for setting in row.settings if setting.startswith(("seed", "threads", "algorithm"))]
    assert row.command == f"idaq bench small.toml --only {ID}/cloning"
    jobs = [json.loads((job.out / "job.json").read_text()) for job in ran.rows[1].jobs.values()]
    assert row.compute.train == pytest.approx(sum(job["train"]["cpu"] for job in jobs) / 2)
    assert row.compute.adapt == pytest.approx(sum(job["adapt"]["cpu"] for job in jobs) / 2)
    rates = [job["train"]["count"] / job["train"]["counting"] for job in jobs]
    assert row.compute.steps_per_second == pytest.approx(sum(rates) / 2)
    assert from_mapping(Leaderboard, json.loads(json.dumps(to_mapping(Leaderboard(tables=[table])))), where="x") == (
        Leaderboard(tables=[table])
    )


def test_one_row_alone_is_compared_with_the_baseline_that_is_there(ran: Ran, root: Path) -> None:
    alone = Ran(matrix(), ran.bench.place.out, root, only=("cloning",))
    assert {cell.row.label for cell in alone.estimate.cells} == {"cloning"}
    (table,) = alone.run().tables
    assert table.rows == {"cloning": ran.tables[0].rows["cloning"]}
    without = make_tables([row for row in ran.rows if row.label == "cloning"], [], "small.toml")
    assert without[0].rows["cloning"].over_baseline == {}
    more = Ran(matrix(seeds=[1]), ran.bench.place.out, root)  # one seed of two: pairs are of that one
    (paired,) = make_tables([more.rows[1]], [ran.rows[0]], "small.toml")
    scores = minus(returns_of(ran, "cloning", "posterior", 1)[1:], returns_of(ran, BASELINE, "posterior", 1)[1:])
    check(paired.rows["cloning"].over_baseline["posterior"][1], scores)


def test_rows_join_and_replace_and_none_is_lost(table: BoardTable) -> None:
    notes = list[str]()
    first, cloning = table.rows[BASELINE], table.rows["cloning"]
    board = merged(Leaderboard(), [replace(table, rows={BASELINE: first})], notes.append)
    board = merged(board, [replace(table, rows={"cloning": cloning})], notes.append)
    assert board.tables == [table]
    assert merged(board, [table], notes.append) == board
    assert notes == []
    retrained = replace(cloning, agents={0: "new"}, command="idaq bench other.toml")
    board = merged(board, [replace(table, rows={"cloning": retrained})], notes.append)
    assert board.tables[0].rows == {BASELINE: first, "cloning": retrained}
    assert notes == [f"{ID}: cloning replaced: training seeds 0, before training seeds 0, 1"]


def test_a_comparison_with_a_baseline_that_is_replaced_is_taken_out(table: BoardTable) -> None:
    notes = list[str]()
    other = replace(table.rows[BASELINE], agents={0: "new", 1: "newer"})
    board = merged(Leaderboard(tables=[table]), [replace(table, rows={BASELINE: other})], notes.append)
    assert board.tables[0].rows["cloning"] == replace(table.rows["cloning"], over_baseline={}, baseline={})
    assert notes[1] == (
        f"{ID}: cloning was compared with other runs of {BASELINE}; idaq bench small.toml --only {ID}/cloning compares"
        " again"
    )


def test_other_data_or_another_protocol_make_a_table_of_their_own(table: BoardTable) -> None:
    notes = list[str]()
    board = Leaderboard(tables=[table])
    others = [
        replace(table, content_digest="0" * 64),
        replace(table, config=replace(table.config, seeds=3)),
        replace(table, each_budget=False),
        replace(table, dataset_id="idaq/another/expert-v0"),
    ]
    board = merged(board, others, notes.append)
    assert len(board.tables) == 5
    assert table in board.tables
    assert notes == [f"{ID}: other data or another protocol than before: a table of its own"] * 3
    assert (
        merged(board, [replace(table, config=replace(table.config, threads=7))], notes.append).tables[1:]
        == (board.tables[1:])
    )


def _add(folder: Path, table: BoardTable, label: str) -> None:
    update_board(folder, [replace(table, rows={label: table.rows["cloning"]})], print)


def test_several_commands_may_write_it_at_once(table: BoardTable, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    labels = [f"row-{number}" for number in range(4)]
    writers = [context.Process(target=_add, args=(tmp_path, table, label)) for label in labels]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert set(read_board(tmp_path).tables[0].rows) == set(labels)


@pytest.mark.parametrize("text", ['{"leaderboard_version": 2}', '{"tables": [{"dataset_id": 3}]}'])
def test_a_damaged_board_is_not_replaced(tmp_path: Path, table: BoardTable, text: str) -> None:
    (tmp_path / "leaderboard.json").write_text(text)
    with pytest.raises(ConfigError, match=r"leaderboard\.json"):
        update_board(tmp_path, [table], print)
    assert (tmp_path / "leaderboard.json").read_text() == text


def shifted(row: BoardRow, strategy: str, **changes: Any) -> BoardRow:
    assert row.summary is not None
    reports = row.summary.strategies[strategy]
    last = [*reports[:-1], replace(reports[-1], **changes)]
    return replace(row, summary=replace(row.summary, strategies={**row.summary.strategies, strategy: last}))


def test_a_number_is_bold_or_marked_only_where_its_interval_says_so(table: BoardTable) -> None:
    row = replace(table.rows["cloning"], over_baseline={})
    row = shifted(row, "posterior", mean=Estimate(value=-4, low=-5, high=-3), over_prior=None)
    assert return_cell(row, "posterior") == "-4.00 (-5.00 to -3.00)"
    ahead, about = Estimate(value=1, low=0.1, high=2), Estimate(value=1, low=-0.1, high=2)
    assert return_cell(replace(row, over_baseline={"posterior": [ahead, about]}), "posterior").startswith("-4.00 ")
    assert return_cell(replace(row, over_baseline={"posterior": [about, ahead]}), "posterior").startswith("**-4.00** ")
    assert return_cell(shifted(row, "posterior", over_prior=about), "posterior") == "-4.00 (-5.00 to -3.00)"
    assert return_cell(shifted(row, "posterior", over_prior=ahead), "posterior") == "-4.00 ▲ (-5.00 to -3.00)"
    assert return_cell(row, "idaq") == "not run"
    assert return_cell(replace(row, cannot=["idaq"]), "idaq") == "cannot run"
    assert return_cell(replace(row, summary=None), "posterior") == "diverged"


def test_the_page_says_what_is_known_and_what_is_not(table: BoardTable, tmp_path: Path) -> None:
    cloning = replace(table.rows["cloning"], diverged={2: "step 7: {'loss': nan}"})
    lost = replace(
        cloning, summary=None, agents={}, compute=replace(cloning.compute, steps_per_second=None, adapt=None)
    )
    board = Leaderboard(tables=[replace(table, rows={**table.rows, "cloning": cloning, "lost": lost})])
    update_board(tmp_path, board.tables, print)
    write_page(tmp_path)
    page = (tmp_path / PAGE).read_text()
    assert page == leaderboard_page(board)
    lines = page.splitlines()
    (head,) = [line for line in lines if line.startswith("|  | `offline-context` | `best-of-prior`, 2 |")]
    assert head.endswith("| way | train, minutes | steps/s | adapt, minutes |")
    assert any(line.startswith("| `cloning` (1 of 3 runs diverged) | ") for line in lines)
    last, _success = [
        line for line in lines if line.startswith("| `lost` (1 of 1 runs diverged) | diverged | diverged ")
    ]
    assert last.endswith("| unknown |")
    assert last.count("unknown") == 3
    budgets = "budgets of 1, 2 adaptation episodes, each planned and run on its own"
    assert f"- protocol: {budgets}; 2 tasks of split test, adaptation seeds of each: 2" in lines
    assert any(
        line.startswith("- `cloning`: training seeds 0, 1; ") and line.endswith(f"--only {ID}/cloning`")
        for line in lines
    )
    assert "- `lost`, training seed 2, diverged: step 7: {'loss': nan}" in lines


def test_the_committed_page_is_that_of_the_committed_board() -> None:
    folder = resource_root("datasets")
    assert (folder / PAGE).read_text(encoding="utf-8") == leaderboard_page(read_board(folder))


def test_a_strategy_of_other_settings_is_not_compared(root: Path, tmp_path: Path) -> None:
    here: Any = {"seeds": 1, "strategies": ["best-of-prior"]}
    one = Ran(matrix(FOCAL, **here), tmp_path / "one", root).run()
    other = Ran(matrix({**FOCAL, "label": "x"}, **here, datasets=[{**to_dataset(), "adapt": {"candidates": 2}}]),
                tmp_path / "two", root).run()  # fmt: skip
    (table,) = make_tables(other.rows, one.rows, "small.toml")
    assert table.rows["x"].over_baseline == {}


def to_dataset() -> dict[str, Any]:
    return {"id": ID, "train": to_mapping(matrix().datasets[0])["train"]}
