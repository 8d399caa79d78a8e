"""Datasets that were written once are read by every later version, by value, and nothing is wrong with them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from minari import MinariDataset

from idaq.core.digest import dataset_digest, episode_digest
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.format.writer import entry_of
from idaq.loader import open_dataset
from idaq.testing.examples import EXAMPLES
from tests.format import second_reader
from tests.golden import COLLECTED, WRITERS, golden_path


@pytest.mark.parametrize("name", WRITERS)
def test_it_verifies_and_loads(name: str) -> None:
    path = golden_path(name)
    assert verify(path) == []
    dataset, stored = open_dataset(path), open_stored(path)
    found = [entry_of(stored.episodes, number, episode) for number, episode in enumerate(dataset)]
    digests = [episode_digest(e.episode, task_index=e.task_index, seed=e.seed) for e in found]
    assert dataset_digest(digests) == stored.manifest.content_digest


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_episodes_are_those_of_the_example_still(name: str) -> None:
    stored, entries = open_stored(golden_path(name)), list(EXAMPLES[name]().entries)
    said = [(e.task_index, e.behaviour, e.seed, e.success, e.history, e.policy_step) for e in entries]
    table, dataset = stored.episodes, open_dataset(stored.path)
    found = [entry_of(table, number, episode) for number, episode in enumerate(dataset)]
    assert [(e.task_index, e.behaviour, e.seed, e.success, e.history, e.policy_step) for e in found] == said
    for ours, theirs in zip(found, entries, strict=True):
        assert list(ours.episode.columns) == list(theirs.episode.columns)
        for column, values in theirs.episode.columns.items():
            np.testing.assert_array_equal(ours.episode.columns[column], values)


@pytest.mark.parametrize("name", WRITERS)
def test_the_second_reader_reads_it(name: str) -> None:
    _, tasks, rows = second_reader.read(golden_path(name))
    stored = open_stored(golden_path(name))
    assert (len(tasks), [row["digest"] for row in rows]) == (len(stored.tasks), stored.episodes.digest.tolist())


@pytest.mark.parametrize("name", WRITERS)
def test_plain_minari_reads_it(name: str) -> None:
    path = golden_path(name)
    dataset, ours = MinariDataset(path / "data"), open_dataset(path)
    for episode, expected in zip(dataset.iterate_episodes(), ours, strict=True):
        np.testing.assert_array_equal(episode.rewards, expected.rewards)
        np.testing.assert_array_equal(episode.actions, expected.actions)


@pytest.mark.parametrize("name", COLLECTED)
def test_what_is_collected_is_of_its_family(name: str) -> None:
    assert open_stored(golden_path(name)).manifest.family == name


def test_none_was_written_again() -> None:
    """Their manifests, which vouch for all else. A line changes when a golden dataset is added, not otherwise."""
    stated = json.loads((Path(__file__).parents[1] / "golden/sha256.json").read_text())
    manifests = {name: (golden_path(name) / "data/idaq/manifest.json").read_bytes() for name in WRITERS}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in manifests.items()} == stated
