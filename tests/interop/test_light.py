"""idaq as it is installed without extras: what the core does, beside which libraries, and what it says of the rest."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.interop.conftest import ENVIRONMENTS
from tests.interop.environments import python_of, why_not

ID = "idaq/point-robot/expert-v0"
SMALL = ("--set", "episodes=2", "--set", "splits.sizes={train = 1, test = 1}", "--set", "reference.random_episodes=2")
MEGABYTES = 300
"""of 10^6 bytes, without Python's own byte code"""
INSTALLED = """
import importlib.metadata, json, os
found = {}
for distribution in importlib.metadata.distributions():
    paths = [distribution.locate_file(file) for file in distribution.files or ()]
    found[distribution.name] = sum(os.path.getsize(path) for path in paths if path.suffix != ".pyc")
print(json.dumps(found))
"""
HELP = """
import contextlib, io, sys
import typer
from idaq.cli import app, main

def commands(command, path=()):
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))

for path in commands(typer.main.get_command(app.app)):
    sys.argv, told = ["idaq", *path, "--help"], io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        main()
    assert "Usage: idaq" in told.getvalue(), path
    print(*path)
"""


class Installed:
    """idaq in an environment of its own, and an empty folder to use it in."""

    def __init__(self, name: str, folder: Path) -> None:
        reason = why_not(Path(ENVIRONMENTS or ""), name)
        if reason is not None:
            pytest.skip(reason)
        self.folder, self._python = folder, python_of(Path(ENVIRONMENTS or ""), name)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What `idaq ARGUMENTS...` prints, on stdout and stderr."""
        return self._run([str(self._python.with_name("idaq")), *arguments], code)

    def python(self, program: str) -> str:
        return self._run([str(self._python), "-I", "-c", program], 0)

    def _run(self, command: list[str], code: int) -> str:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MINARI_REMOTE")}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={**kept, "MINARI_DATASETS_PATH": str(self.folder / "root"), "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The core alone, with a small dataset."""
    idaq = Installed("light", tmp_path_factory.mktemp("light"))
    idaq("collect", "point-robot", *SMALL)
    return idaq


def test_the_core_is_small(light: Installed) -> None:
    sizes = json.loads(light.python(INSTALLED))
    own = {name: size for name, size in sizes.items() if name not in ("pip", "setuptools")}
    print(f"{len(own)} packages, {sum(own.values()) / 1e6:.0f} MB")
    assert sum(own.values()) < MEGABYTES * 1e6
    assert not {"torch", "mujoco", "metaworld", "matplotlib", "scipy", "zarr", "huggingface_hub", "httpx2"} & set(own)


def test_the_core_collects_verifies_edits_and_pulls(light: Installed) -> None:
    assert "is valid" in light("dataset", "verify", ID)
    assert "random" in light("dataset", "show", ID)
    light("dataset", "subset", ID, "me/point/half-v0", "--quantiles", "0.5:1")
    assert "pip install 'idaq[croissant]'" in light("hub", "push", ID, "file://hub", code=2)
    shutil.copytree(light.folder / "root" / ID, light.folder / "hub" / ID)  # as a hub holds it
    assert "content digest" in light("hub", "pull", ID, "file://hub", "--root", "elsewhere")
    assert ID in light("hub", "list", "file://hub")


def test_the_core_reads_and_writes_arrays_tables_and_plain_minari(light: Installed) -> None:
    light("dataset", "export", ID, "point.npz")
    light("dataset", "export", ID, "point.parquet")
    light("dataset", "export", ID, "by-task", "--to", "minari-per-task")
    assert "2 tasks" in light("dataset", "import", "point.npz", "--id", "me/point/from-npz-v0")
    assert "2 tasks" in light("dataset", "import", f"minari:{ID}", "--id", "me/point/from-minari-v0")


def test_the_core_opens_a_dataset_in_python(light: Installed) -> None:
    told = light.python(
        f"import idaq, sys; table = idaq.open_dataset({ID!r}).transitions(); print(len(table), 'torch' in sys.modules)"
    )
    assert told.split()[-1] == "False"


def test_every_command_has_its_help_in_the_core(light: Installed) -> None:
    named = light.python(HELP).splitlines()
    assert {"collect", "train", "dataset verify", "hub push", "behavior show"} <= set(named)


@pytest.mark.parametrize(
    ("command", "said", "install"),
    [
        (f"train --dataset {ID}", "training and adapting need PyTorch", "'idaq[train]'"),
        ("adapt runs/point", "training and adapting need PyTorch", "'idaq[train]'"),
        ("report runs/point", "figures need Matplotlib", "'idaq[plots]'"),
        (f"dataset plot {ID}", "figures need Matplotlib", "'idaq[plots]'"),
        ("collect ml1/reach", "ml1, ml10 and ml45 need Meta-World", "'idaq[ml1]'"),
        ("collect cheetah-dir", "bodies that run need MuJoCo", "'idaq[bodies]'"),
        ("behavior train cheetah-dir --out b", "policy needs Stable-Baselines3", "'idaq[behaviors]'"),
        ("collect point-robot-wind --executor ray", "the ray executor needs Ray", "'idaq[ray]'"),
        (f"dataset export {ID} point.zarr", "the Zarr form needs", "'idaq[zarr]'"),
        ("dataset import point.zarr", "the Zarr form needs", "'idaq[zarr]'"),
        (f"dataset export {ID} rlds --to rlds", "RLDS needs TensorFlow", "tensorflow-cpu"),
        ("hub list hf://me", "hubs need", "'idaq[hub]'"),
        ("hub list https://localhost", "hubs need", "'idaq[hub]'"),
        ("hub list s3://bucket", "s3:// needs s3fs", "'idaq[s3]'"),
        ("hub list gs://bucket", "gs:// needs gcsfs", "'idaq[gs]'"),
    ],
)
def test_what_needs_an_extra_says_which(light: Installed, command: str, said: str, install: str) -> None:
    told = light(*command.split(), code=2)
    assert said in told
    assert f"pip install {install}" in told


def test_the_core_stands_beside_d3rlpy_and_its_old_gymnasium(tmp_path: Path) -> None:
    idaq = Installed("d3rlpy", tmp_path)
    idaq("collect", "point-robot", *SMALL)
    assert "is valid" in idaq("dataset", "verify", ID)
    told = idaq.python(
        "import d3rlpy, gymnasium, idaq\n"
        "from idaq.share.frameworks import to_d3rlpy\n"
        f"made = to_d3rlpy(idaq.open_dataset({ID!r}))\n"
        "print(d3rlpy.__version__, gymnasium.__version__, made.size())"
    )
    assert "2.8.1 1.0.0 4" in told


def test_the_core_and_the_bodies_stand_beside_the_newest_mujoco(tmp_path: Path) -> None:
    idaq = Installed("mujoco-newest", tmp_path)
    idaq("collect", "point-robot", *SMALL)
    idaq("collect", "cheetah-dir", "--set", "episodes=1", "--set", "reference.random_episodes=2")
    assert "is valid" in idaq("dataset", "verify", "idaq/cheetah-dir/expert-v0")
    assert int(idaq.python("import mujoco; print(mujoco.__version__)").split(".")[0]) >= 4
