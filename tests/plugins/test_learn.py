"""Algorithms, a sampler, strategies and an uncertainty of another package: trained, adapted and reported by name."""

import json
import shutil
from pathlib import Path

import pytest

from tests.plugins.conftest import Program

ID = "maze/two-rooms/mixed-v0"
BRIEF = ["--set", "episodes=4", "--set", "report_at=[1, 4]", "--set", "seeds=1", "--set", "reference=2"]
pytestmark = pytest.mark.slow


@pytest.fixture
def collected(program: Program, installed: Path) -> None:
    """The dataset, made by the first test that wants it."""
    done = program("collect", "--recipe", installed / "idaq_maze" / "maze.toml", "--workers", "1")
    assert done.code == 0, done.err


def train(program: Program, run: str, *settings: str) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    done = program("train", "--dataset", ID, "--out", run, "--set", "steps=60", "--set", "log_every=20", *words)
    assert done.code == 0, done.err


def adapt(program: Program, run: str, *words: str) -> dict[str, object]:
    done = program("adapt", run, *BRIEF, *words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def a_training_task(run: Path) -> str:
    tasks = json.loads((run / "tasks.json").read_text())["tasks"]
    return next(str(task["task_id"]) for task in tasks if task["split"] == "train")


@pytest.mark.usefixtures("collected")
def test_a_gradient_learner_without_latents(program: Program, world: Path) -> None:
    train(program, "maml", "algorithm=maze-maml")
    summary = adapt(program, "maml", "--strategies", "posterior,best-of-prior,idaq,offline-context")
    assert set(summary["roles"]) == {"posterior", "best-of-prior", "idaq", "offline-context"}  # type: ignore[call-overload]
    assert json.loads((world / "maml/run.json").read_text())["config"]["algorithm"] == "maze-maml"
    assert program("report", "maml").code == 0
    refused = program("adapt", "maml", "--strategies", "idaq-prediction-error", *BRIEF)
    assert refused.code == 1
    assert "idaq-prediction-error cannot run: an agent of maze-maml is no PredictingAgent" in refused.err
    words = ("--task", a_training_task(world / "maml"), "--to", "c-header", "--out", "left", "--json")
    left = program("policy", "export", "maml", *words)
    assert left.code == 0, left.err
    assert set(json.loads(left.out)["files"]) == {"weights.safetensors", "policy.h"}
    assert "static const float layers_2_bias[2] = {" in (world / "left/policy.h").read_text()
    assert '#include "policy.h"' in (world / "left/README.md").read_text()
    assert json.loads(left.out)["activations"] == ["tanh"] * 3
    assert json.loads(left.out)["largest_difference"] < 1e-5
    every = program("adapt", "maml", *BRIEF)
    assert every.code == 0, every.err
    assert "note: idaq-prediction-error is left out" in every.err


@pytest.mark.usefixtures("collected")
def test_its_training_resumes_to_the_same_bits(program: Program, world: Path) -> None:
    train(program, "whole", "algorithm=maze-maml", "checkpoint_every=30")
    shutil.copytree(world / "whole", world / "half")
    (world / "half/checkpoint/step-00000060.safetensors").unlink()
    train(program, "half", "algorithm=maze-maml", "checkpoint_every=30")
    for name in ("checkpoint/step-00000060.safetensors", "metrics.jsonl", "prior.safetensors"):
        assert (world / "half" / name).read_bytes() == (world / "whole" / name).read_bytes(), name


@pytest.mark.usefixtures("collected")
def test_a_policy_with_a_memory(program: Program, world: Path) -> None:
    train(program, "memory", "algorithm=maze-recurrent")
    summary = adapt(program, "memory", "--strategies", "memory-alone")
    assert list(summary["strategies"]) == ["memory-alone"]  # type: ignore[call-overload]
    assert program("report", "memory").code == 0
    refused = program("policy", "export", "memory", "--task", a_training_task(world / "memory"), "--out", "no")
    assert refused.code == 1
    assert "a policy of maze-recurrent cannot leave: its agent has no export_policy" in refused.err
    assert "write export_policy(belief) -> idaq.DensePolicy" in refused.err
    assert not (world / "no").exists()


@pytest.mark.usefixtures("collected")
def test_a_sampler_a_strategy_and_an_uncertainty(program: Program, world: Path) -> None:
    train(program, "focal", "sampler=better-half", "meta_batch=4", "batch=16", "context=20")
    names = "maze-bandit,idaq,best-of-prior"
    summary = adapt(program, "focal", "--strategies", names, "--set", "idaq.uncertainty=late-return")
    settings = summary["settings"]
    assert settings["idaq"]["uncertainty"] == "late-return"  # type: ignore[index]
    assert settings["maze-bandit"]["optimism"] == 2.0  # type: ignore[index]
    by_full_name = program("adapt", "focal", *BRIEF, "--out", "again", "--strategies",
                           "idaq_maze.gaussian_process:GaussianProcess")  # fmt: skip
    assert by_full_name.code == 0, by_full_name.err
    again = json.loads((world / "again/results.json").read_text())["strategies"]
    there = json.loads((world / "focal/results.json").read_text())["strategies"]
    assert again["idaq_maze.gaussian_process:GaussianProcess"] == there["maze-bandit"]
    assert program("report", "focal").code == 0
    assert "maze-bandit" in (world / "focal/report.html").read_text()


@pytest.mark.usefixtures("collected")
def test_a_run_of_code_that_is_not_installed_is_trusted_only_on_the_users_word(program: Program, world: Path) -> None:
    (world / "mine.py").write_text("from idaq_maze.maml import MamlConfig\nopen('imported', 'a').close()\n")
    train(program, "mine", "algorithm=mine:MamlConfig")
    (world / "imported").unlink()
    refused = program("adapt", "mine", *BRIEF, "--strategies", "posterior")
    assert refused.code == 2
    assert "--plugin mine:MamlConfig" in refused.err
    assert not (world / "imported").exists()
    trusted = program("adapt", "mine", *BRIEF, "--strategies", "posterior", "--plugin", "mine:MamlConfig")
    assert trusted.code == 0, trusted.err


def test_the_study_runs_on_a_recipe_of_ones_own(program: Program, installed: Path, world: Path) -> None:
    settings = ["train.algorithm='maze-maml'", "train.steps=20", "train.log_every=10", "adapt.episodes=2",
                "adapt.report_at=[2]", "adapt.seeds=1", "adapt.reference=1"]  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    done = program("reproduce", "--recipe", installed / "idaq_maze" / "maze.toml", "--catalogue", "mine",
                   "--seeds", "2", "--jobs", "2", "--out", "study", *words)  # fmt: skip
    assert done.code == 0, done.err
    summary = json.loads((world / "mine/two-rooms/mixed/baselines.json").read_text())
    assert summary["measured"]["train_seeds"] == [0, 1]
    assert "best-of-prior" in summary["strategies"]
    assert "idaq-prediction-error" not in summary["strategies"]
    assert "note: idaq-prediction-error, " in done.err
    both = program("reproduce", "point-robot/expert", "--recipe", "maze.toml", "--catalogue", "mine")
    assert (both.code, "give entries or a recipe" in both.err) == (2, True)
    assert "Baselines" in (world / "mine/two-rooms/mixed/card.md").read_text()


def test_they_are_listed(program: Program) -> None:
    rows = {row["name"]: row for row in json.loads(program("plugins", "--json").out)}
    for name in ("maze", "maze-maml", "maze-recurrent", "better-half", "maze-bandit", "late-return",
                 "memory-alone", "c-header"):  # fmt: skip
        assert rows[name]["source"] == "idaq-maze 1.0", name
        assert rows[name]["problem"] == "", rows[name]
