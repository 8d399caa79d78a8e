"""idaq bench, from plan to leaderboard, on a matrix of one small row."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, Idaq

ID = "idaq/point-robot/expert-v0"
MATRIX = """
bench_version = 1
name = "one"
hours = {hours}
seeds = 1
strategies = ["posterior", "offline-context"]
protocol = {{ episodes = 2, report_at = [2], seeds = 1 }}
datasets = [{{ id = "{id}", train = {{ steps = 4, log_every = 2, meta_batch = 4, batch = 8, context = 10 }} }}]
algorithms = [{{ algorithm = "focal-td3bc" }}, {{ label = "none", algorithm = "focal-td3bc", train = {train} }}]
"""
pytestmark = [pytest.mark.usefixtures("in_world"), pytest.mark.slow]


@pytest.fixture
def matrix(idaq: Idaq, world: Path) -> Path:
    """Asked for by all; the dataset is collected once."""
    assert idaq("collect", "point-robot", "--workers", "1", *SMALL).code == 0
    path = world / "one.toml"
    path.write_text(MATRIX.format(hours=1, id=ID, train='{ "learner.alpha" = 0.0 }'))
    return path


def test_from_the_plan_to_the_page(idaq: Idaq, world: Path, matrix: Path) -> None:
    plan = idaq("bench", matrix, "--jobs", "1", "--plan", "--only", "focal-td3bc")
    assert plan.code == 0, plan.err
    assert "1 of 1 runs to do: about" in plan.out
    assert "1 to run" in plan.out
    assert not list(world.glob("runs/bench/idaq-*"))
    into = ("--leaderboard", "board", "--figures", "drawn", "--results", "kept")
    done = idaq("bench", matrix, "--jobs", "1", "--only", "focal-td3bc", *into)
    assert done.code == 0, done.err
    assert "1 of 1 runs done" in done.err
    assert "board/leaderboard.md" in done.out
    assert {path.name for path in (world / "drawn").iterdir()} == {
        "idaq-point-robot-expert-v0-posterior.png", "idaq-point-robot-expert-v0-offline-context.png",
    }  # fmt: skip
    assert f"--only {ID}/focal-td3bc`" in (world / "board/leaderboard.md").read_text()
    (kept,) = (world / "kept").rglob("*.json")
    assert kept == world / "kept/one/idaq-point-robot-expert-v0.json"
    assert list(json.loads(kept.read_text())["runs"]["0"]["returns"]) == ["posterior", "offline-context"]
    assert "has several rows" in idaq("bench", matrix, "--jobs", "1", "--results", "kept").err
    cells = json.loads(idaq("bench", matrix, "--jobs", "1", "--plan", "--json").out)["cells"]
    assert [(cell["label"], cell["state"]) for cell in cells] == [("focal-td3bc", "finished"), ("none", "to run")]
    assert all(cell["hours"] > 0 for cell in cells)


def test_what_is_refused_says_what_to_do(idaq: Idaq, world: Path, matrix: Path) -> None:
    text = matrix.read_text()
    matrix.write_text(text.replace("hours = 1", "hours = 1e-6").replace('"none"', '"much"'))
    refused = idaq("bench", matrix, "--jobs", "1", "--only", "much")
    assert refused.code == 2
    assert "hours of processor time; the matrix allows 1e-06" in refused.err
    assert "--only LABEL" in refused.err
    for word, said in (("poin-robots", "did you mean 'point-robots'"), ("absent.toml", "absent.toml")):
        assert said in idaq("bench", word).err
    nothing = idaq("bench", matrix, "--only", "mush")
    assert (nothing.code, "did you mean 'much'" in nothing.err) == (2, True)
    matrix.write_text(text.replace(ID, "me/own/data-v0"))
    absent = idaq("bench", matrix)
    assert (absent.code, "the catalogue has no recipe of it" in absent.err) == (1, True)


def test_what_fails_is_named_with_what_is_kept(idaq: Idaq, world: Path, matrix: Path) -> None:
    matrix.write_text(MATRIX.format(hours=1, id=ID, train='{ "validation.every" = 2 }'))
    failed = idaq("bench", matrix, "--jobs", "1", "--out", "failing")
    assert failed.code == 1
    assert "1 of 2 runs failed; the others are finished" in failed.err
    assert f"{ID}/none-seed0: {ID} has no tasks in split 'val'" in failed.err
    assert "what is finished is kept" in failed.err
    assert "focal-td3bc" in failed.out
