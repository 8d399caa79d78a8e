"""The program as a whole, loaded through its installed entry point."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a datasets root and runs, shared by the tests of a file in order."""
    return tmp_path_factory.mktemp("world")


@pytest.fixture
def in_world(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in `world`, on a wide terminal."""
    monkeypatch.chdir(world)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(world / "datasets"))
    monkeypatch.setenv("COLUMNS", "200")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    code: int
    out: str
    err: str


Idaq = Callable[..., Outcome]


@pytest.fixture
def idaq(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Idaq:
    """Run `idaq ARGUMENTS...` and give exit code and output."""
    (entry,) = entry_points(group="console_scripts", name="idaq")
    main = entry.load()

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["idaq", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return Outcome(code=int(caught.value.code or 0), out=out, err=err)

    return run


SMALL = ("--set", "episodes=3", "--set", "splits.sizes={train = 6, test = 2}", "--set", "reference.random_episodes=2")
QUICK = ("steps=40", "batch=8", "meta_batch=4", "context=10", "encoder.hidden=16", "learner.hidden=16", "threads=1")
BRIEF = ("episodes=4", "reference=2", "report_at=[1, 4]", "seeds=2", "candidates=3", "threads=1")


def settings(values: tuple[str, ...]) -> list[str]:
    """`--set` for each value."""
    return [part for value in values for part in ("--set", value)]
