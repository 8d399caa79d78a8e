"""The package from outside, installed into a folder of its own, and the program run with it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).parent / "idaq"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installed idaq-maze into."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copytree(Path(__file__).parent, folder / "source", ignore=shutil.ignore_patterns("*.pyc", "test_*"))
    flags = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", folder / "site", folder / "source"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Program = Callable[..., Done]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the program runs, shared by the tests of a file in order."""
    return tmp_path_factory.mktemp("world")


@pytest.fixture
def program(installed: Path, world: Path) -> Program:
    """Run `idaq ARGUMENTS...` as a whole program that can import the package."""

    def run(*arguments: str | Path) -> Done:
        paths = {"PYTHONPATH": str(installed), "MINARI_DATASETS_PATH": str(world / "datasets")}
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=world,
            env={**os.environ, **paths, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
