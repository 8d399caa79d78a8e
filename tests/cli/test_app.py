"""Manners of every command, seen by walking the app: help with an example, -h, --json, `~` in paths, completion."""

import inspect
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from idaq.cli.app import app

from idaq.collect.collect import Collected
from tests.cli.conftest import Idaq
from tests.processes import PROGRAM

Command = tuple[str, Callable[..., object], Any]


def walk(app: typer.Typer, command: Any, name: str = "") -> Iterator[Command]:
    """Name, function and parsed form of every command."""
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from walk(group.typer_instance, command.commands[group.name], f"{name} {group.name}".strip())
    for registered in app.registered_commands:
        assert registered.callback is not None
        word = registered.name or registered.callback.__name__
        yield f"{name} {word}".strip(), registered.callback, command.commands[word]


COMMANDS = list(walk(app, typer.main.get_command(app)))
EACH = pytest.mark.parametrize(("name", "function", "command"), COMMANDS, ids=[name for name, *_ in COMMANDS])
GROUPS = ["", *sorted({name.partition(" ")[0] for name, *_ in COMMANDS if " " in name})]


def paths(function: Callable[..., object]) -> list[str]:
    """Parameters that are paths."""
    hints = get_type_hints(function, include_extras=True)
    return [name for name, hint in hints.items() if "pathlib.Path" in repr(get_args(hint)[:1] or hint)]


def test_the_walk_finds_the_commands() -> None:
    assert len(COMMANDS) >= 25
    assert {"collect", "train", "dataset verify", "hub pull", "behavior show"} <= {name for name, *_ in COMMANDS}


@EACH
def test_help_has_an_example_that_calls_the_command(
    name: str, function: Callable[..., object], command: Any, idaq: Idaq
) -> None:
    assert re.search(rf"Examples?\[/bold\]\n\n(.*\n)*? +idaq {name}", inspect.getdoc(function) or "")
    long, short = idaq(*name.split(), "--help"), idaq(*name.split(), "-h")
    assert (long.code, short.code, long.out) == (0, 0, short.out)
    assert f"idaq {name}" in long.out


@pytest.mark.parametrize("group", GROUPS)
def test_groups_have_help_too(idaq: Idaq, group: str) -> None:
    long, short = idaq(*group.split(), "--help"), idaq(*group.split(), "-h")
    assert (long.code, short.code, long.out) == (0, 0, short.out)
    assert f"idaq {group}".strip() in long.out


@EACH
def test_every_command_takes_json(name: str, function: Callable[..., object], command: Any) -> None:
    assert any("--json" in parameter.opts for parameter in command.params)


@EACH
def test_every_path_takes_the_home_folder(
    name: str, function: Callable[..., object], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in --out=~/runs, which no shell expands."""
    monkeypatch.setenv("HOME", "/home/somebody")
    parameters = {parameter.name: parameter for parameter in command.params}
    context = command.make_context(name, [], resilient_parsing=True)
    for path in paths(function):
        several = "list" in repr(get_type_hints(function)[path])
        given = parameters[path].process_value(context, ["~/x"] if several else "~/x")
        assert given == ([Path("/home/somebody/x")] if several else Path("/home/somebody/x")), path


def test_dataset_ids_given_as_paths_and_roots_take_the_home_folder(
    idaq: Idaq, collected: Collected, datasets_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(datasets_root))
    below = collected.path.relative_to(datasets_root)
    assert idaq("dataset", "show", f"~/{below}").code == 0
    assert idaq("dataset", "show", str(below), "--root=~").code == 0
    monkeypatch.setenv("MINARI_DATASETS_PATH", "~")
    assert idaq("dataset", "verify", str(below)).code == 0
    monkeypatch.setenv("HOME", str(tmp_path))
    assert idaq("dataset", "export", str(collected.path), "~/x.npz").code == 0
    assert (tmp_path / "x.npz").exists()


def completed(line: str, root: Path) -> list[str]:
    """What bash is told of the last word of a line."""
    words = line.split(" ")
    told = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1), "_IDAQ_COMPLETE": "complete_bash"}
    environment = {**os.environ, **told, "MINARI_DATASETS_PATH": str(root)}
    return subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=True).stdout.split("\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("idaq dataset ver", "verify"),
        ("idaq dataset verify idaq/point-robot/e", "idaq/point-robot/expert-v0"),
        ("idaq train --dataset idaq/po", "idaq/point-robot/expert-v0"),
        ("idaq collect ml1/reach-w", "ml1/reach-wall"),
        ("idaq collect point-robot --quality me", "medium"),
        ("idaq adapt runs/x --strategies idaq,best", "idaq,best-of-prior"),
        ("idaq reproduce cheetah-vel/m", "cheetah-vel/medium"),
    ],
)
def test_tab_completes_names(collected: Collected, datasets_root: Path, line: str, expected: str) -> None:
    assert expected in completed(line, datasets_root)


def test_completion_can_be_installed(idaq: Idaq) -> None:
    done = idaq("--help")
    assert "--install-completion" in done.out
    assert "--show-completion" in done.out
