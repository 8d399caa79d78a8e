"""One virtual environment for each consumer, since their pins clash; and those that idaq itself is installed in.

`python -m tests.interop.environments FOLDER [NAME...]` builds all, or those named.

An environment that is there with the same requirements is kept. What pip says when it cannot install one is kept too,
and the consumer's test skips with it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_MINARI = ("minari[hdf5]", "pillow")
"""its HDF5 storage imports Pillow, which its `hdf5` extra does not bring"""
_READS_IDAQ = (*_MINARI, "pyarrow", "pydantic>=2.10", "filelock", "fsspec")
"""what opening a dataset with idaq takes"""
_TORCH = "torch==2.13.0"
CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What one consumer is installed with."""

    requirements: tuple[str, ...]
    idaq: str | None = None
    """what idaq is installed as, beside them: "" is the light core, "[bodies]" the core and an extra"""
    pinned: bool = False
    """whether constraints.txt holds"""
    python: tuple[int, int] = (3, 11)
    """the oldest that will do"""
    checkout: str | None = None
    """the variable that names a checkout of the consumer, where no package index has it"""


ENVIRONMENTS = {
    "minari-0.5.0": Environment(requirements=("minari[hdf5]==0.5.0", "pydantic>=2.10")),
    "minari-newest": Environment(requirements=(*_MINARI, "pydantic>=2.10")),
    "light": Environment(requirements=(), idaq="", pinned=True),
    "mujoco-newest": Environment(requirements=("mujoco>=4",), idaq="[bodies]"),
    "d3rlpy": Environment(requirements=(_TORCH, "d3rlpy==2.8.1", "pillow"), idaq=""),  # its own reader is plain Minari
    "torchrl": Environment(requirements=(_TORCH, "torchrl==0.14.1", *_READS_IDAQ)),
    "torchrl-0.10.1": Environment(requirements=(_TORCH, "torchrl==0.10.1", *_READS_IDAQ)),
    "agilerl": Environment(requirements=(_TORCH, "agilerl==2.58.0", *_MINARI)),
    "lerobot": Environment(requirements=("lerobot[dataset]==0.6.1",), python=(3, 12)),
    "tables": Environment(requirements=("pandas", "polars", "duckdb", "pyarrow", "h5py")),
    "datasets": Environment(requirements=("datasets==5.2.0",)),
    "xarray": Environment(requirements=("xarray", "zarr>=3.1")),
    "ogbench": Environment(requirements=("ogbench==1.2.2",)),
    "jax": Environment(requirements=("jax", "flashbax==0.1.3", *_READS_IDAQ)),
    "amago": Environment(
        requirements=(
            *(_TORCH, "gymnasium<=0.29.1", "gin-config", "wandb", "einops", "tqdm", "gym", "accelerate", "termcolor"),
            *("h5py", "pyarrow", "pydantic>=2.10", "filelock", "fsspec"),
        ),
        checkout="IDAQ_AMAGO",
    ),
    "rlds": Environment(requirements=("tensorflow-cpu", "tensorflow-datasets==4.9.10", *_READS_IDAQ)),
}


def python_of(folder: Path, name: str) -> Path:
    """The interpreter of an environment."""
    return folder / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def why_not(folder: Path, name: str) -> str | None:
    """Why an environment cannot be used, or None if it can."""
    failure, marker = folder / f"{name}.failed", folder / f"{name}.json"
    if failure.exists():
        return failure.read_text()
    if missing := _missing_checkout(name):
        return missing
    wanted = json.loads(json.dumps(asdict(ENVIRONMENTS[name])))
    is_there = python_of(folder, name).exists() and marker.exists() and json.loads(marker.read_text()) == wanted
    return None if is_there else f"{folder / name} is not built: make test-interop"


def _missing_checkout(name: str) -> str | None:
    variable = ENVIRONMENTS[name].checkout
    missing = variable is not None and not os.environ.get(variable)
    return f"it is on no package index: {variable}=FOLDER names a checkout of it" if missing else None


def build(folder: Path, name: str) -> None:
    """Make the environment, or leave a file that says why it cannot be."""
    wanted = ENVIRONMENTS[name]
    (folder / f"{name}.failed").unlink(missing_ok=True)
    try:
        if not python_of(folder, name).exists():
            _run([_interpreter(wanted.python), "-m", "venv", str(folder / name)])
        pip = [str(python_of(folder, name)), "-m", "pip", "install", "--quiet"]
        with TemporaryDirectory() as built:
            own = [] if wanted.idaq is None else [_wheel(Path(built))]
            pins = ["-c", str(CHECKOUT / "constraints.txt")] if wanted.pinned else []
            _run([*pip, *pins, *wanted.requirements, *(f"idaq{wanted.idaq} @ file://{wheel}" for wheel in own)])
            for wheel in own:  # pip takes another wheel of the same version for the one that is there
                _run([*pip, "--force-reinstall", "--no-deps", str(wheel)])
        (folder / f"{name}.json").write_text(json.dumps(asdict(wanted)))
    except RuntimeError as error:
        (folder / f"{name}.failed").write_text(str(error))


def _wheel(folder: Path) -> Path:
    """The checkout, as a user installs it."""
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)])
    return next(folder.glob("*.whl"))


def _run(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR")] or run.stderr.splitlines()[-3:]
        raise RuntimeError(" ".join(errors) or f"{command[0]} exited with {run.returncode}")


def _interpreter(oldest: tuple[int, int]) -> str:
    """A Python of at least that version. Raises RuntimeError if none is found."""
    for candidate in _candidates():
        told = subprocess.run(
            [candidate, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if told.returncode == 0 and tuple(map(int, told.stdout.split())) >= oldest:
            return candidate
    raise RuntimeError(f"no Python of version {'.'.join(map(str, oldest))} or newer is on this machine")


def _candidates() -> Iterator[str]:
    yield sys.executable
    for minor in range(11, 15):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield found
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from (str(path) for path in sorted(versions.glob("3.1[1-9].*/bin/python")))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or ENVIRONMENTS:
        lacks = why_not(folder, name) is not None or ENVIRONMENTS[name].idaq is not None  # the code may have changed
        if lacks and not _missing_checkout(name):
            print(f"building {folder / name}", flush=True)
            build(folder, name)
        print(f"{name}: {why_not(folder, name) or 'ready'}", flush=True)


if __name__ == "__main__":
    main()
