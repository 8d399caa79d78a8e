"""`python -m tests.lowest FOLDER`: install the lowest versions that pyproject.toml claims there, and test with them.

uv finds the lowest of each direct dependency that go together. PyTorch's CPU builds of old versions are not on PyPI, so
the PyTorch of this environment is taken; with IDAQ_LOWEST_TORCH=1 the lowest is (on Linux with
UV_TORCH_BACKEND=cpu).
"""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.interop.environments import python_of

CHECKOUT = Path(__file__).parents[1]
TESTS = (
    *("core/test_files.py", "core/test_config.py", "core/test_extras.py", "core/test_registry.py"),
    *("tasks/test_point.py", "tasks/test_locomotion.py", "collect/test_collect.py", "format/test_writer.py"),
    *(
        "format/test_documents.py",
        "format/test_minari.py",
        "format/zarr/test_zarr.py",
        "share/importers/test_minari.py",
    ),
    *("loader/test_dataset.py", "loader/test_sampling.py"),
    *("share/exporters/test_npz.py", "share/exporters/test_parquet.py"),
    *("learn/test_golden.py", "adapt/test_run.py", "evaluate/test_figures.py", "hub/test_hugging_face.py"),
    *("deploy/test_folder.py", "deploy/test_runtimes.py", "deploy/test_server.py"),
    "tasks/test_ml1.py::test_an_expert_episode_of_every_set[reach]",
)
TOOLS = (
    *("beartype", "build", "flask", "flask-cors", "hypothesis", "jsonschema", "mktestdocs", "moto[s3]", "onnxruntime"),
    "setuptools",
)
PYTEST = ("pytest", "pytest-timeout", "pytest-xdist")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    lowest, python = folder / "lowest.txt", python_of(folder, "env")
    extras = [part for extra in ("all", "s3", "http") for part in ("--extra", extra)]
    _uv("venv", "--quiet", "--clear", "--python", sys.executable, folder / "env")
    lowest_direct = ["--quiet", "pyproject.toml", *extras, "--resolution", "lowest-direct", "-o", lowest]
    _uv("pip", "compile", *lowest_direct, *_torch(folder))
    _uv("pip", "install", "--quiet", "--python", python, "-r", lowest, "-c", lowest, "-e", ".", *TOOLS, *PYTEST)
    tests = [str(CHECKOUT / "tests" / test) for test in TESTS]
    # what old versions warn of is theirs
    options = ["-n", "auto", "--override-ini", "filterwarnings=default", "-p", "no:cacheprovider", "-W", "ignore"]
    sys.exit(subprocess.run([python, "-m", "pytest", *options, *tests], cwd=CHECKOUT, check=False).returncode)


def _torch(folder: Path) -> list[str | Path]:
    if os.environ.get("IDAQ_LOWEST_TORCH"):
        return []
    override = folder / "torch.txt"
    override.write_text(f"torch=={version('torch')}\n")
    return ["--override", override]


def _uv(*arguments: str | Path) -> None:
    """uv, told of the same package mirrors as pip."""
    names = {"PIP_FIND_LINKS": "UV_FIND_LINKS", "PIP_INDEX_URL": "UV_DEFAULT_INDEX"}
    mirrors = {theirs: os.environ[pips] for pips, theirs in names.items() if pips in os.environ}
    subprocess.run([sys.executable, "-m", "uv", *arguments], cwd=CHECKOUT, check=True, env={**os.environ, **mirrors})


if __name__ == "__main__":
    main()
