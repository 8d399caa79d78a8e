"""Whatever an error proposes as --set is a setting of the command that the error is of."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idaq.adapt.strategy import adaptation_plan
from idaq.catalogue.entries import catalogue_recipe
from idaq.collect.policy_record import SacConfig, SacPerTaskConfig
from idaq.core.config import from_mapping, override
from idaq.core.errors import ConfigError
from idaq.learn.config import training_config
from tests.cli.conftest import Idaq

CHECKOUT = Path(__file__).parents[2]


def collect(setting: str) -> object:
    return catalogue_recipe("point-robot", "expert", [setting])


def train(setting: str) -> object:
    return training_config(override({}, [setting]))


def adapt(setting: str) -> object:
    return adaptation_plan(settings=override({}, [setting]))


def behavior(setting: str) -> object:
    return from_mapping(SacConfig, override({}, [setting]), where="--set")


def behavior_per_task(setting: str) -> object:
    return from_mapping(SacPerTaskConfig, override({}, [setting]), where="--set")


Accept = Callable[[str], object]
OF: dict[str, tuple[Accept, ...]] = {
    "idaq/adapt/validation.py": (train,),
    "idaq/adapt/": (adapt,),
    "idaq/collect/collect.py": (collect,),
    "idaq/collect/comparison.py": (behavior,),
    "idaq/collect/policy_training.py": (behavior, behavior_per_task),
    "idaq/collect/sac.py": (behavior,),
    "idaq/collect/sac_per_task.py": (behavior_per_task,),
    "idaq/core/config.py": (collect, train, adapt, behavior),
    "idaq/evaluate/protocol.py": (train,),
    "idaq/evaluate/rehearsal.py": (adapt,),
    "idaq/hub/push.py": (collect,),
    "idaq/learn/": (train,),
    "idaq/loader/": (train,),
    "cli/rehearse.py": (adapt,),
    "cli/train.py": (train,),
}
"""by the file whose errors they are: the commands that can raise them"""
PLACEHOLDERS = {"id": "me/a/b-v0", "seed": "1", "lr": "1e-4", "split": "train", "validation.split": "test"}
"""for values that a hint leaves open"""


def proposals() -> Iterator[tuple[str, str]]:
    """File and setting of every text of the program that proposes one; documentation is tested as it runs."""
    for path in sorted([*CHECKOUT.glob("idaq/**/*.py"), *CHECKOUT.glob("cli/*.py")]):
        tree = ast.parse(path.read_text())
        documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                for key, value in re.findall(r"--set ([a-z_.]+)=([^\s,;)\"']*)", node.value):
                    open_ = not value or value.startswith(("...", "N", "idaq/..."))
                    yield path.relative_to(CHECKOUT).as_posix(), f"{key}={PLACEHOLDERS[key] if open_ else value}"


PROPOSALS = sorted(set(proposals()))


@pytest.mark.parametrize(("file", "setting"), PROPOSALS)
def test_the_commands_accept_what_is_proposed(file: str, setting: str) -> None:
    places = [place for place in OF if file.startswith(place)]
    assert places, f"{file} is of no command here"
    for accept in OF[max(places, key=len)]:
        accept(setting)


def test_the_proposals_are_found() -> None:
    assert len(PROPOSALS) >= 9
    assert ("idaq/loader/samplers.py", "pool=0") in PROPOSALS
    with pytest.raises(ConfigError):
        adapt("train.steps=2000")


@pytest.mark.parametrize("command", [("train", "--dataset", "x"), ("adapt", "x"), ("collect", "point-robot")])
def test_what_is_no_setting_is_told_with_one_that_is(idaq: Idaq, command: tuple[str, ...]) -> None:
    done = idaq(*command, "--set", "nonsense")
    assert done.code == 2
    assert "fix: for example --set seed=1" in done.err
