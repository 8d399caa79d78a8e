"""The study's page says what the results say; the committed page and figures are of the committed results."""

import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from idaq.benchmark.study.files import FIGURES, PAGE, PAGES, figures_of, load_study, page_of, with_study, write_study
from idaq.benchmark.study.page import study_page
from idaq.benchmark.study.suites import SUITES, Suite
from idaq.benchmark.study.tables import (
    cost_table,
    headline_table,
    low_sets,
    mean_tables,
    missing,
    published_tables,
    set_table,
    standing_table,
    where,
)
from idaq.benchmark.study.tried import Tried, Try
from idaq.core.errors import UnknownNameError
from idaq.core.resources import resource_root
from tests.benchmark.study.conftest import PUSH, REACH, kept, level, suite

CHECKOUT, CATALOGUE = Path(__file__).parents[3], resource_root("datasets")
BOTH = suite(REACH, PUSH, absent=["sweep"])


@pytest.fixture(scope="module")
def study() -> list[Suite]:
    return load_study(CATALOGUE)


def test_the_committed_page_is_of_the_committed_results(study: list[Suite]) -> None:
    again = "python -m idaq.benchmark.study writes it again"
    assert (CHECKOUT / PAGE).read_text(encoding="utf-8") == page_of(study, CATALOGUE), again
    for page in PAGES:
        text = (CHECKOUT / page).read_text(encoding="utf-8")
        assert with_study(text, study) == text, again


def about(svg: str) -> str:
    found = ET.fromstring(svg.encode()).find("{http://www.w3.org/2000/svg}desc")
    assert found is not None
    return found.text or ""


def test_the_committed_figures_are_of_the_committed_results(study: list[Suite]) -> None:
    drawn = {name: svg for one in study for name, svg in figures_of(one).items()}
    there = {path.name: path.read_text(encoding="utf-8") for path in (CHECKOUT / FIGURES).glob("*")}
    assert there.keys() == drawn.keys()
    for name, svg in drawn.items():
        assert about(there[name]) == about(svg), "python -m idaq.benchmark.study draws it again"
    linked = set(re.findall(r"\(study/(\S+\.svg)\)", (CHECKOUT / PAGE).read_text(encoding="utf-8")))
    assert linked == drawn.keys()


def cells(text: str, first: str) -> list[str]:
    """Of the table row that begins so."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("| ").split("|")][1:]


def test_tables_by_value() -> None:
    head = headline_table(BOTH)
    assert cells(head, "`policy-reuse` ‡ minus `best-of-prior`") == [
        "2", "1 / 1 / 0; +0.15", "0 / 2 / 0; +0.00",
    ]  # fmt: skip
    assert cells(head, "`posterior` minus `best-of-prior`")[1].startswith("1 / 1 / 0; +0.05")
    assert cells(head, "`policy-reuse` ‡ minus `posterior`")[2].startswith("2 / 0 / 0; +0.35")
    assert cells(standing_table(BOTH), "`idaq`") == ["2", "0 / 2 / 0", "1 / 0 / 1"]
    score, ratio, solved = re.split(r"\n(?=Return|Success)", mean_tables(BOTH))
    assert "over 2 sets" in score
    assert cells(score, "`idaq`") == ["0.45", "0.72"]
    assert cells(ratio, "`policy-reuse` ‡") == ["0.45 / 0.45", "0.70 / 0.70"]
    assert cells(solved, "`idaq`") == ["0%", "50%"]
    assert cells(set_table(BOTH), "push") == [
        "1 x 1", "2", "750", "80.00", "40.00", "80.00", "80.00", "100.0", "-100.0", "50% / 0% / 100% / 100%",
    ]  # fmt: skip
    assert cells(cost_table([BOTH]), "ml1") == ["4", "4.0", "2.0", "90.0", "a processor"]


def test_where_the_headline_leads_and_where_it_is_behind() -> None:
    assert where(BOTH) == (
        "`policy-reuse` ‡ is ahead of `best-of-prior` at a budget of at most 5 on 1 of 2 sets; at any budget it is"
        " behind on none.\n"
    )
    late = kept("sweep", {0: {"best-of-prior": level(40, 50), "policy-reuse": level(40, 60)}})  # ahead after 10 alone
    low = kept("soccer", {0: {"best-of-prior": level(40, 80), "policy-reuse": level(30, 79.9946)}})
    lower = kept("basketball", {0: {"best-of-prior": level(40, 80), "policy-reuse": level(40, 40)}})
    apart = kept("hammer", {0: {"best-of-prior": level(40, 80), "policy-reuse": [[120, -200], [79, 79]]}})
    head, _, *lines = where(suite(REACH, apart, late, lower, low)).splitlines()
    assert "on 1 of 5 sets; at any budget it is behind on 3, the difference of scores beside the budget:" in head
    assert lines == [
        "- basketball: -0.4 (-0.4 to -0.4) after 10",
        "- soccer: -0.1 (-0.1 to -0.1) after 1, -0.000054 (-0.000054 to -0.000054) after 10",
        "- hammer: -0.01 (-0.01 to -0.01) after 10",
    ]
    assert where(suite(kept("reach", {0: {"best-of-prior": level(1, 2)}}))) == ""


def test_what_is_missing_is_said() -> None:
    said = missing(replace_seeds(BOTH))
    assert "- no run yet: idaq/ml1-sweep/expert-v0\n" in said
    assert "- of 3 training seeds: reach has 2, push has 2\n" in said
    assert "- `idaq` has not run, or not with every seed, on push\n" in said
    assert "policy-reuse" not in said
    low = replace(REACH, tasks=kept("reach", {}, random=100, behaviour=3).tasks, diverged={7: "loss is nan"})
    said = missing(suite(low, strategies=["posterior", "nobody"]))
    assert "- no score: on reach the behaviour does not beat random actions\n" in said
    assert "- `nobody` has not run, or not with every seed, on any set\n" in said
    assert "- reach, training seed 7, diverged: loss is nan\n" in said
    assert missing(suite(REACH)) == ""


def replace_seeds(one: Suite) -> Suite:
    return replace(one, matrix=replace(one.matrix, seeds=3))


def test_sets_far_below_the_behaviour_are_named_with_what_is_known() -> None:
    good = kept("sweep", {0: {"policy-reuse": level(50, 91)}})
    said = low_sets(suite(REACH, PUSH, good), {"reach": "too few episodes."})
    assert "below 90% of the behaviour's return, of 3:" in said
    assert "- **reach**, 0.60 (2 training seeds): too few episodes.\n" in said
    assert "- **push**, 0.80 (2 training seeds): why is not known.\n" in said
    assert "sweep" not in said
    assert "- none" in low_sets(suite(good), {})


def test_published_scores_stand_beside_like_data_alone() -> None:
    scores = {"idaq": 0.5, "focal": 0.4, "best": 0.9}
    published = {"sets": {"reach": scores, "push": scores}, "data": {"reach": 110, "push": 200}}
    said = published_tables(BOTH, published)
    assert said.index("`posterior`:") < said.index("`policy-reuse` ‡:")
    ours = said.partition("`policy-reuse` ‡:")[2]
    assert cells(ours, "reach") == ["60.00", "100.0", "110.0", "0.60", "0.55", "0.50", "0.40", "0.90"]
    assert "push" not in said
    assert published_tables(BOTH, {"sets": {}, "data": {}}) == ""


def test_the_page_without_results_and_with() -> None:
    empty = suite(kept("reach", {}))
    page = study_page([empty], Tried(), {})
    assert "**0 of 2 runs are finished.**" in page
    assert "No run is finished yet." in page
    assert "svg" not in page
    assert "Nothing is noted yet." in page
    one = Try(what="a | b", data="reach, 1 seed", split="val", figures="3 for 4", command="")
    page = study_page([BOTH], Tried(tried=[one]), {"ml1": ("LOW", "BESIDE")})
    assert "**4 of 6 runs are finished.** What is missing" in page
    assert r"| a \| b | reach, 1 seed | val | 3 for 4 |" in page
    order = [page.index(word) for word in ("study/ml1-forest.svg", "LOW", "### Beside published", "BESIDE")]
    assert order == sorted(order)
    assert "`policy-reuse` and `best-average` (‡) need a **simulator of the training tasks**" in page
    assert "‡: told what every training task's policy earns on all training tasks in 2 episodes each, or in one" in page


def test_marked_tables_of_other_pages_are_filled_in() -> None:
    text = "a\n<!-- study ml1 -->\nold\n<!-- end -->\nb"
    filled = with_study(text, [BOTH])
    assert filled == f"a\n<!-- study ml1 -->\n{headline_table(BOTH)}<!-- end -->\nb"
    assert with_study(filled, [BOTH]) == filled
    with pytest.raises(UnknownNameError, match="unknown suite 'ml2'"):
        with_study(text.replace("ml1", "ml2"), [BOTH])


def test_each_kept_command_runs_the_study_of_anybodys_checkout(study: list[Suite]) -> None:
    commands = {dataset: kept.command for one in study for dataset, kept in one.kept.items()}
    ours = {d: f"idaq bench study/{one.matrix.name} --only {d}" for one in study for d in one.kept}
    assert commands == ours
    assert {one.matrix.name for one in study} == {*SUITES}


def test_one_command_writes_page_and_figures(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for page in PAGES:
        shutil.copy(CHECKOUT / page, tmp_path / page)
    write_study(CATALOGUE, tmp_path)
    assert (tmp_path / PAGE).read_bytes() == (CHECKOUT / PAGE).read_bytes()
    assert figures_of(BOTH).keys() == {"ml1-forest.svg", "ml1-curves.svg"}
