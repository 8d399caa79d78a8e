"""--json prints JSON and nothing else on stdout: every command that has it, run on tiny data."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from idaq.cli.app import app

from tests.cli.conftest import BRIEF, QUICK, SMALL, Idaq, settings

ID, CUT, TINY = "idaq/point-robot/expert-v0", "idaq/point-robot/cut-v0", "hopper-rand-params"
SAC = settings(("steps=20", "evaluate_every=20", "warmup=10", "hidden=8", "batch=8", "envs=1"))
STUDY = ("--seeds", "0", "--jobs", "1", "--catalogue", "catalogue")
pytestmark = pytest.mark.usefixtures("in_world")

# In order: what one makes, the next ones read.
COMMANDS: dict[str, tuple[str, ...]] = {
    "collect": ("point-robot", "--workers", "1", *SMALL),
    "plugins": (),
    "families": (),
    "record": ("--env", "Pendulum-v1", "--policy", "random", "--task", "a", "--episodes", "1", "--out", "recorded"),
    "dataset list": (),
    "dataset show": (ID,),
    "dataset verify": (ID,),
    "dataset plot": (ID,),
    "dataset explore": (ID, "--episodes", "1", "--film", "1"),
    "dataset card": (ID,),
    "dataset croissant": (ID, "--url", "https://example.org/a"),
    "dataset subset": (ID, CUT, "--split", "train"),
    "dataset merge": ("idaq/point-robot/all-v0", ID, CUT),
    "dataset relabel": (ID, "idaq/point-robot/new-v0", "--split", "test=:"),
    "dataset relabel-rewards": (ID, "idaq/point-robot/lent-v0", "--episodes", "1"),
    "dataset split": (ID, "--test-tasks", "3"),
    "dataset reference": (ID, "--episodes", "2"),
    "dataset diff": (ID, CUT),
    "dataset export": (ID, "x.npz"),
    "dataset import": ("x.npz", "--id", "me/point/x-v0"),
    "dataset append": (CUT, ID),
    "hub push": (ID, "file://{world}/hub"),
    "hub list": ("file://{world}/hub",),
    "hub show": (ID, "file://{world}/hub"),
    "hub pull": (ID, "file://{world}/hub", "--root", "pulled"),
    "behavior train": (TINY, "--out", "policy", *SAC),
    "behavior show": (TINY, "--folder", "policy"),
    "behavior compare": ("cheetah-vel", "single", "--snapshot", "expert"),
    "train": ("--dataset", ID, "--out", "run", *settings((*QUICK, "steps=4", "log_every=2"))),
    "sweep": ("--dataset", ID, "--vary", "batch=4,8", "--out", "sweep", *settings((*QUICK, "steps=4", "log_every=2"))),
    "adapt": ("run", *settings(BRIEF)),
    "rehearse": ("run", "--budgets", "1,2", "--set", "seeds=2"),
    "report": ("run",),
    "dataset delete": (CUT, "--yes"),
    "policy export": ("run", "--latent", "26", "--out", "left"),
    "policy show": ("left",),
    "reproduce": ("point-robot/expert", *STUDY, *SMALL),
    "bench": ("tiny", "--jobs", "1", "--only", "focal-td3bc"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_stdout_is_json_alone(idaq: Idaq, world: Path, command: str) -> None:
    if command == "behavior compare":
        alone = ("cheetah-vel", "--out", "single", "--set", "tasks=[3]", *SAC)
        assert idaq("behavior", "train", *alone).code == 0
    arguments = [argument.format(world=world) if "{world}" in argument else argument for argument in COMMANDS[command]]
    done = idaq(*command.split(), *arguments, "--json")
    assert done.code == (command == "dataset diff"), done.err
    json.loads(done.out)


def test_a_film_is_json_alone_too(idaq: Idaq, world: Path) -> None:
    assert json.loads(idaq("adapt", "run", "--video", "--json").out)["config"]["episodes"] == 4


def commands(command: Any, name: str = "") -> Iterator[str]:
    """All commands below `command`."""
    below = getattr(command, "commands", {})
    for word, one in below.items():
        yield from commands(one, f"{name} {word}".strip())
    if not below:
        yield name


def test_every_command_is_here() -> None:
    until_stopped = {"policy serve"}  # tests/deploy/test_server.py reads its JSON
    assert set(commands(typer.main.get_command(app))) == {*COMMANDS, *until_stopped}
