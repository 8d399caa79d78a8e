"""A stranger's algorithm gets its row by naming it in a matrix: installed, or as `module:Config`, in two workers."""

import json
from pathlib import Path

import pytest

from tests.plugins.conftest import Program

ID = "maze/two-rooms/mixed-v0"
MATRIX = f"""
bench_version = 1
name = "strangers"
hours = 1
seeds = 2
strategies = ["posterior", "in-context", "mine:Lazy", "idaq-prediction-error"]
protocol = {{ episodes = 2, report_at = [2], seeds = 1 }}

[[datasets]]
id = "{ID}"
train = {{ steps = 20, log_every = 10 }}

[[algorithms]]
algorithm = "maze-maml"

[[algorithms]]
algorithm = "mine:MyConfig"
label = "mine"
strategies = ["posterior", "mine:Lazy"]

[[algorithms]]
algorithm = "focal-td3bc"
train = {{ meta_batch = 4, batch = 8, context = 10, "learner.hidden" = 16, "encoder.hidden" = 16 }}
"""
MINE = """
import os
from idaq.adapt.strategies import Posterior
from idaq_maze.maml import MamlConfig

class MyConfig(MamlConfig):
    pass

class Lazy(Posterior):
    pass

open(f"imported-by-{os.getpid()}", "a").close()
"""
pytestmark = pytest.mark.slow


@pytest.fixture
def collected(program: Program, installed: Path, world: Path) -> None:
    done = program("collect", "--recipe", installed / "idaq_maze" / "maze.toml", "--workers", "1")
    assert done.code == 0, done.err
    (world / "mine.py").write_text(MINE)
    (world / "strangers.toml").write_text(MATRIX)


@pytest.mark.usefixtures("collected")
def test_each_has_its_row(program: Program, world: Path) -> None:
    done = program("bench", "strangers.toml", "--jobs", "2", "--out", "runs", "--leaderboard", "board", "--json")
    assert done.code == 0, done.err
    assert len(list(world.glob("imported-by-*"))) >= 3  # the command and its two workers
    (table,) = json.loads(done.out)["tables"]
    rows = table["rows"]
    assert {label: row["algorithm"] for label, row in rows.items()} == {
        "maze-maml": "maze-maml", "mine": "mine:MyConfig", "focal-td3bc": "focal-td3bc",
    }  # fmt: skip
    assert set(rows["maze-maml"]["summary"]["strategies"]) == {"posterior", "in-context", "mine:Lazy"} - (
        set(rows["maze-maml"]["cannot"])
    )
    assert "idaq-prediction-error" in rows["maze-maml"]["cannot"]
    assert "idaq-prediction-error" in rows["focal-td3bc"]["summary"]["strategies"]
    assert set(rows["mine"]["summary"]["strategies"]) == {"posterior", "mine:Lazy"}
    assert set(rows["mine"]["over_baseline"]) == {"posterior", "mine:Lazy"}
    assert json.loads((world / "runs/maze-two-rooms-mixed-v0/mine-seed1/run.json").read_text())["config"]["seed"] == 1
    page = (world / "board/leaderboard.md").read_text()
    assert f"`idaq bench strangers.toml --only {ID}/mine`" in page
    again = program("bench", "strangers.toml", "--out", "runs", "--leaderboard", "board", "--only", "mine")
    assert (again.code, "2 runs, all finished" in again.err) == (0, True), again.err
    assert (world / "board/leaderboard.md").read_text() == page


@pytest.mark.usefixtures("collected")
def test_a_run_folder_causes_no_import(program: Program, world: Path) -> None:
    """The matrix is the user's word; what its runs left is a document."""
    run = world / "runs/maze-two-rooms-mixed-v0/mine-seed0"
    for path in world.glob("imported-by-*"):
        path.unlink()
    refused = program("adapt", run, "--strategies", "posterior")
    assert (refused.code, "--plugin mine:MyConfig" in refused.err) == (2, True), refused.err
    assert not list(world.glob("imported-by-*"))
