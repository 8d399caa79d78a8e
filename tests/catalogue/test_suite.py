"""A suite's documents: what is known of each set."""

from dataclasses import replace
from pathlib import Path

import pytest

from idaq.catalogue.suite import (
    DATA,
    SetData,
    SuiteData,
    describe,
    put,
    read_suite,
)
from idaq.collect.collect import Collected
from idaq.core.errors import ConfigError
from idaq.format.reader import open_stored


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
