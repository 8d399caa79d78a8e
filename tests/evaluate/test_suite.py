"""A suite's documents and card: one row a set, scores as shares of the dataset's mean return, published ones beside."""

from dataclasses import replace
from pathlib import Path

import pytest

from idaq.collect.collect import Collected
from idaq.core.errors import ConfigError
from idaq.evaluate.protocol import summarise
from idaq.evaluate.suite import (
    BASELINES,
    DATA,
    SetData,
    SuiteBaselines,
    SuiteData,
    describe,
    put,
    read_suite,
    suite_card,
    write_suite_card,
)
from idaq.format.reader import open_stored
from tests.evaluate.factory import make_results


@pytest.fixture
def facts(collected: Collected) -> SetData:
    return describe(open_stored(collected.path))


def test_a_dataset_is_described_by_what_its_episodes_hold(collected: Collected) -> None:
    stored = open_stored(collected.path)
    facts, returns = describe(stored), stored.episodes.total_reward
    assert (facts.episodes, facts.steps) == (len(returns), int(stored.episodes.length.sum()))
    assert facts.mean == pytest.approx(returns.mean())
    assert (facts.minimum, facts.maximum) == (returns.min(), returns.max())
    assert facts.random < facts.mean
    assert facts.content_digest == collected.content_digest


def test_sets_are_added_and_replaced_one_by_one(tmp_path: Path, facts: SetData) -> None:
    path = tmp_path / DATA
    assert read_suite(SuiteData, path).sets == {}
    put(path, SuiteData, "push", facts)
    put(path, SuiteData, "door", facts)
    put(path, SuiteData, "push", replace(facts, mean=1.0))
    sets = read_suite(SuiteData, path).sets
    assert list(sets) == ["door", "push"]
    assert sets["push"].mean == 1.0
    path.write_text('{"suite_version": 1, "sets": {"push": {}}}')
    with pytest.raises(ConfigError, match=r"data.json: sets.push"):
        read_suite(SuiteData, path)


def test_scores_are_divided_by_the_datasets_mean_return(facts: SetData) -> None:
    summary = summarise([make_results(train_seed=0), make_results(train_seed=1)])
    method = summary.strategies["idaq-return"][-1]
    mean = method.mean.value / 2
    card = suite_card("t", {"push": replace(facts, mean=mean)}, {"push": summary}, published={}, diagnosis={})
    row = next(line for line in card.splitlines() if line.startswith("| push | 2"))
    assert [cell.strip() for cell in row.split("|")][3] == "2.00"
    assert f"{method.success.value:.0%}" in row
    assert f"| {summary.behaviour / mean:.2f} | {facts.maximum / mean:.2f} |" in row
    assert "| mean of 1 |  | **2.00**" in card


def test_published_scores_stand_beside_ours_and_gaps_stay_empty(tmp_path: Path, facts: SetData) -> None:
    folder = tmp_path / "ml1" / "expert"
    folder.mkdir(parents=True)
    summary = summarise([make_results(train_seed=0)])
    for name in ("push", "reach"):
        put(folder / DATA, SuiteData, name, facts)
        put(folder / BASELINES, SuiteBaselines, name, summary)
    put(folder / DATA, SuiteData, "hammer", facts)
    (folder.parent / "published.toml").write_text(
        "[mean]\nidaq = 0.73\nfocal = 0.53\nbest = 0.82\n[sets]\npush = { idaq = 0.55, focal = 0.34, best = 0.82 }\n"
    )
    write_suite_card(folder, "idaq/ml1-*/expert-v0")
    lines = (folder / "card.md").read_text().splitlines()
    assert lines[0] == "# idaq/ml1-*/expert-v0"
    rows = [line for line in lines if line.startswith("| ")]
    assert next(row for row in rows if row.startswith("| push | 1")).endswith("| 0.55 | 0.34 | 0.82 |")
    (folder / "diagnosis.toml").write_text('push = "because"\n')
    write_suite_card(folder, "idaq/ml1-*/expert-v0")
    assert "- **push**: because\n" in (folder / "card.md").read_text()
    assert next(row for row in rows if row.startswith("| reach | 1")).endswith("|  |  |  |")
    assert next(row for row in rows if row.startswith("| mean of 2")).endswith("| 0.73 | 0.53 | 0.82 |")
    assert sum(row.startswith("| hammer |") for row in rows) == 1, "data, and no scores yet"
