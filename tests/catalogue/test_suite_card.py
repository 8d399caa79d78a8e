"""A suite's card: scores as shares of the data's mean return; published ones beside them where that is fair."""

from dataclasses import replace
from pathlib import Path

import pytest

from idaq.catalogue.suite import BASELINES, DATA, SetData, SuiteBaselines, SuiteData, describe, put
from idaq.catalogue.suite_card import paired, published_table, reached, scores_table, suite_card, write_suite_card
from idaq.collect.collect import Collected
from idaq.evaluate.protocol import Summary, summarise
from idaq.format.reader import open_stored
from tests.evaluate.factory import LEVELS, make_results

PUBLISHED = {
    "sets": {name: {"idaq": 0.5, "focal": 0.25, "best": 0.75} for name in ("push", "door", "press", "sweep")},
    "data": {"push": -4.0, "door": -4.4, "press": -9.0},
}


@pytest.fixture(scope="module")
def facts(collected: Collected) -> SetData:
    return replace(describe(open_stored(collected.path)), mean=-4.0, maximum=-2.0)


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarise([make_results(train_seed=0), make_results(train_seed=1)])


def cells(text: str, name: str) -> list[str]:
    row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_scores_are_divided_by_the_datasets_mean_return(facts: SetData, summary: Summary) -> None:
    last = {name: reports[-1].mean.value for name, reports in summary.strategies.items()}
    row = cells(scores_table({"push": summary}, {"push": facts}), "push")
    assert row[1:3] == ["2", f"{last['idaq']:.2f}"]
    assert row[4] == f"**{last['idaq'] / -4:.2f}**", "ahead of best-of-prior by the paired interval"
    assert row[7:] == [
        f"{last['best-of-prior'] / -4:.2f}",
        "",  # random-first did not run
        f"{last['posterior'] / -4:.2f}",
        f"{last['offline-context'] / -4:.2f}",
        f"{-4.5 / -4:.2f}",
        "0.50",
    ]


def test_nothing_is_bold_that_the_paired_interval_does_not_say(facts: SetData) -> None:
    level = summarise([make_results(levels={**LEVELS, "idaq": -5.0})])
    assert "**" not in scores_table({"push": level}, {"push": facts})
    idaq = [replace(report, over_prior=None) for report in level.strategies["idaq"]]
    unknown = replace(level, lead=None, strategies={**level.strategies, "idaq": idaq})
    assert cells(scores_table({"push": unknown}, {"push": facts}), "push")[5] == "unknown"


def test_published_scores_stand_beside_both_quotients_and_means_take_the_same_rows(
    facts: SetData, summary: Summary
) -> None:
    sets = dict.fromkeys(PUBLISHED["sets"], summary)
    text = published_table(reached(sets), dict.fromkeys(sets, facts), PUBLISHED)
    value = summary.strategies["idaq"][-1].mean.value
    quotient = f"{value / -4:.2f}"
    assert cells(text, "push")[1:6] == [f"{value:.2f}", "-4.00", "-4.00", quotient, quotient]
    assert cells(text, "push")[6:] == ["0.50", "0.25", "0.75", ""]
    assert cells(text, "press")[5:] == [f"{value / -9:.2f}", "0.50", "0.25", "0.75", "data differ"]
    assert cells(text, "sweep")[3:6:2] == ["unknown", "unknown"]
    mean = cells(text, "mean of the 2 whose data agree")  # push and door: press differs, sweep's data is not known
    assert mean[4:] == [f"{value / -4:.2f}", f"{(value / -4 + value / -4.4) / 2:.2f}", "0.50", "0.25", "0.75", ""]


def test_a_mean_over_other_sets_is_never_printed(facts: SetData, summary: Summary) -> None:
    card = suite_card("t", {"press": facts}, {"press": summary}, published=PUBLISHED, diagnosis={})
    assert "whose data agree |" not in card
    assert "data differ" in card


def test_a_scripted_policy_that_is_no_expert_is_named(facts: SetData, summary: Summary) -> None:
    solved = replace(facts, success=1.0, mean=1000.0)
    data = {"door": solved, "press": solved, "push": replace(solved, success=0.5), "sweep": solved}
    published = {"data": {"door": 1100, "press": 4000, "push": 4000}}
    card = suite_card("t", data, {}, published=published, diagnosis={})
    line = next(line for line in card.splitlines() if line.startswith("**Where the scripted policy is no expert.**"))
    assert "press (1000 of 4000)" in line
    assert "door" not in line
    assert "push" not in line
    better = {"press": replace(solved, mean=3800.0), "door": replace(solved, mean=900.0), "elsewhere": solved}
    others = {"expert": data, "held": better}
    card = suite_card("t", data, {}, published=published, diagnosis={}, others=others)
    assert f"{line} The quality `held` has data that earn more: press (3800).\n" in card


def test_sets_whose_latent_does_not_steer_are_named(facts: SetData, summary: Summary) -> None:
    loses = summarise([make_results(levels={**LEVELS, "offline-context": -9.0})])
    card = suite_card("t", {"a": facts, "b": facts}, {"a": summary, "b": loses}, published={}, diagnosis={})
    line = next(line for line in card.splitlines() if line.startswith("**Where the latent may not steer.**"))
    assert line.endswith(": b.")


def test_the_card_is_written_from_its_documents(tmp_path: Path, facts: SetData, summary: Summary) -> None:
    folder = tmp_path / "ml1" / "expert"
    folder.mkdir(parents=True)
    for name in ("push", "reach"):
        put(folder / DATA, SuiteData, name, facts)
        put(folder / BASELINES, SuiteBaselines, name, summary)
    put(folder / DATA, SuiteData, "hammer", facts)
    (folder.parent / "published.toml").write_text(
        "[sets]\npush = { idaq = 0.55, focal = 0.34, best = 0.82 }\n[data]\npush = -4.0\n"
    )
    (folder / "diagnosis.toml").write_text('push = "because"\n')
    write_suite_card(folder, "idaq/ml1-*/expert-v0")
    text = (folder / "card.md").read_text()
    assert text.startswith("# idaq/ml1-*/expert-v0\n")
    assert "- **push**: because\n" in text
    assert "| 0.55 | 0.34 | 0.82 |" in text
    assert sum(line.startswith("| hammer |") for line in text.splitlines()) == 1, "data, and no scores yet"


def test_the_card_reads_the_data_of_other_quality_levels(tmp_path: Path, facts: SetData) -> None:
    for quality, mean in (("expert", 1000.0), ("held", 3800.0)):
        (tmp_path / quality).mkdir()
        put(tmp_path / quality / DATA, SuiteData, "press", replace(facts, success=1.0, mean=mean))
    (tmp_path / "published.toml").write_text("[data]\npress = 4000\n")
    write_suite_card(tmp_path / "expert", "t")
    assert "The quality `held` has data that earn more: press (3800)." in (tmp_path / "expert" / "card.md").read_text()


def test_data_agree_up_to_fifteen_per_cent_and_no_further(facts: SetData, summary: Summary) -> None:
    for ours, note in ((-4.59, ""), (-4.61, "data differ"), (-3.41, ""), (-3.39, "data differ")):
        text = published_table(reached({"push": summary}), {"push": replace(facts, mean=ours)}, PUBLISHED)
        assert cells(text, "push")[-1] == note, ours


def test_a_lead_over_another_rival_is_not_taken_for_one_over_best_of_prior(summary: Summary) -> None:
    idaq = [replace(report, over_prior=None) for report in summary.strategies["idaq"]]
    assert summary.lead is not None
    kept = replace(summary, strategies={**summary.strategies, "idaq": idaq})
    assert paired(kept, "idaq") == summary.lead.difference
    assert paired(replace(kept, lead=replace(summary.lead, rival="posterior")), "idaq") is None
