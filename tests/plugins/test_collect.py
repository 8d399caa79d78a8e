"""A family and its behaviours from another package: found by name, collected, verified, shown."""

import json
from pathlib import Path

import pytest

from tests.plugins.conftest import Program

ID = "maze/two-rooms/mixed-v0"
pytestmark = pytest.mark.slow


def test_they_are_collected_by_two_workers_and_verified(program: Program, installed: Path) -> None:
    done = program("collect", "--recipe", installed / "idaq_maze" / "maze.toml", "--workers", "2", "--json")
    assert done.code == 0, done.err
    collected = json.loads(done.out)
    assert (collected["cells"], collected["unstable"]) == (16 * 3, 0)
    assert [note for note in collected["notes"] if "actions of maze-expert clipped" in note]
    checked = program("dataset", "verify", ID)
    assert checked.code == 0, checked.err
    assert "idaq_maze.family:Maze" in checked.out + checked.err  # code of others is warned of


def test_the_same_content_comes_from_one_worker_and_from_the_full_name(
    program: Program, installed: Path, world: Path
) -> None:
    (world / "maze.toml").write_text(
        (installed / "idaq_maze" / "maze.toml").read_text().replace('"maze"', '"idaq_maze.family:maze"')
    )
    done = program("collect", "--recipe", "maze.toml", "--workers", "1", "--root", "again", "--json")
    assert done.code == 0, done.err
    first = json.loads(program("dataset", "show", ID, "--json").out)
    assert json.loads(done.out)["content_digest"] == first["content_digest"]


def test_without_the_package_the_data_is_still_read(program: Program, world: Path, tmp_path: Path) -> None:
    import idaq.loader

    dataset = idaq.loader.open_dataset(world / "datasets" / ID)
    experts = dataset.episodes.behaviour == "expert"
    assert (len(dataset), dataset.episodes.success[experts].mean()) == (16 * 8, 1.0)
