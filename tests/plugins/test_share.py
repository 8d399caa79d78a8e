"""An exporter, an importer, a hub and a storage of another package."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.plugins.conftest import Program

ID = "maze/two-rooms/mixed-v0"
pytestmark = pytest.mark.slow


@pytest.fixture
def collected(program: Program, installed: Path) -> None:
    """The dataset, made by the first test that wants it."""
    done = program("collect", "--recipe", installed / "idaq_maze" / "maze.toml", "--workers", "1")
    assert done.code == 0, done.err


@pytest.mark.usefixtures("collected")
def test_an_exporter_is_found_by_the_ending(program: Program, world: Path) -> None:
    from idaq.loader import open_dataset

    done = program("dataset", "export", ID, "rewards.csv")
    assert done.code == 0, done.err
    with (world / "rewards.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = np.concatenate([episode.rewards for episode in open_dataset(world / "datasets" / ID)])
    np.testing.assert_array_equal([float(row["reward"]) for row in rows], expected)
    assert program("dataset", "export", ID, "rewards.csv").code == 1, "nothing is overwritten"


def test_an_importer_is_found_by_what_it_accepts(program: Program, world: Path) -> None:
    from idaq.loader import open_dataset

    lines = [
        {"observations": [[0.0], [0.5], [1.0]], "actions": [[0.5], [0.5]], "rewards": [-1.0, -0.5], "success": True},
        {"observations": [[0.0], [0.25]], "actions": [[0.25]], "rewards": [-1.0]},
    ]
    (world / "walk.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = program("dataset", "import", "walk.jsonl", "--id", "me/walk/log-v0")
    assert done.code == 0, done.err
    dataset = open_dataset(world / "datasets/me/walk/log-v0")
    assert [len(episode) for episode in dataset] == [2, 1]
    assert dataset.episode(0).observations[:, 0].tolist() == [0.0, 0.5, 1.0]
    assert dataset.episodes.success.tolist()[0] is True
    assert program("dataset", "verify", "me/walk/log-v0").code == 0


@pytest.mark.usefixtures("collected")
def test_a_hub_is_found_by_its_scheme(program: Program, world: Path) -> None:
    assert program("hub", "push", ID, f"folder://{world}/shelf").code == 0
    assert ID in program("hub", "list", f"folder://{world}/shelf").out
    done = program("hub", "pull", ID, f"folder://{world}/shelf", "--root", "pulled", "--json")
    assert done.code == 0, done.err
    there = json.loads(program("dataset", "show", ID, "--json").out)
    assert json.loads(done.out)["content_digest"] == there["content_digest"]


@pytest.mark.usefixtures("collected")
def test_a_storage_gives_the_loader_its_episodes(installed: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from idaq.loader import StreamedBatches, open_dataset

    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.delitem(sys.modules, "idaq_maze", raising=False)
    from idaq_maze.caching_store import CachingStore

    dataset = open_dataset(world / "datasets" / ID)
    kept = replace(dataset, store=CachingStore(dataset.store))
    sizes = {"meta_batch": 4, "batch": 8, "context": 4, "seed": 0, "memory": 10**6}
    ours, theirs = (StreamedBatches(one, **sizes).at(3).transitions for one in (kept, dataset))
    np.testing.assert_array_equal(ours.observations, theirs.observations)
