"""What is installed works: the wheel from an empty directory, the import contracts, and the schemas."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import jsonschema
import pytest

from idaq.catalogue.entries import Entry, catalogue_recipe, entries
from idaq.collect.collect import Collected
from idaq.core.config import to_mapping
from idaq.core.resources import resource_root

CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONWARNINGS": "default"})
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_code_catalogue_and_schemas_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "idaq/cli/app.py",
        "idaq/py.typed",
        "idaq/testing/remotes.py",
        "idaq/deploy/runtimes/run_numpy.py",
        "idaq/datasets/point-robot/expert/recipe.toml",
        "idaq/datasets/cheetah-vel/behaviours/expert.safetensors",
        "idaq/datasets/point-robot/behaviours/per-task/final.safetensors",
        "idaq/schemas/FORMAT.md",
        "idaq/schemas/manifest.json",
        "idaq/evaluate/pages/report.html.jinja",
        "idaq/evaluate/pages/explorer.js",
    ):
        assert wanted in names
    assert not [name for name in names if name.startswith(("tests/", "cli/", "datasets/"))]


def test_the_wheel_holds_every_module_of_the_checkout(wheel: Path) -> None:
    """A folder that pyproject.toml does not list is missing for whoever installs, and for nobody else."""
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "idaq").rglob("*.py")}
    modules |= {f"idaq/{path.relative_to(CHECKOUT)}" for path in (CHECKOUT / "cli").rglob("*.py")}
    assert sorted(modules - names) == []


def test_from_a_wheel_in_an_empty_directory_collect_finds_its_recipe(wheel: Path, tmp_path: Path) -> None:
    """A virtual environment with the wheel alone; its dependencies are those already installed here."""
    venv.create(tmp_path / "env", with_pip=False)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    here = next(path for path in map(Path, sys.path) if path.name == "site-packages" and (path / "numpy").is_dir())
    empty = tmp_path / "empty"
    empty.mkdir()
    code = (
        f"import sys; sys.path.append({str(here)!r})\n"
        "import idaq; from idaq.cli import main; from idaq.core.resources import resource_root\n"
        f"assert idaq.__file__.startswith({str(site)!r}), idaq.__file__\n"
        f"assert str(resource_root('schemas')).startswith({str(site)!r})\n"
        "sys.argv = ['idaq', 'collect', 'point-robot', '--workers', '1', '--set', 'episodes=2', '--root', 'data']\n"
        "main()\n"
    )
    python = tmp_path / "env" / "bin" / "python"
    done = subprocess.run([str(python), "-I", "-c", code], cwd=empty, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (empty / "data/idaq/point-robot/expert-v0/data/metadata.json").is_file()


def test_in_a_checkout_the_resources_are_the_checkouts() -> None:
    assert resource_root("datasets") == CHECKOUT / "datasets"
    assert resource_root("schemas") == CHECKOUT / "schemas"


def test_every_recipe_of_the_catalogue_is_valid_and_has_its_id() -> None:
    known = entries()
    of_three = {entry.family for entry in known if entry.quality == "medium"}
    """families of the literature: as many episodes of each task as it has, in three qualities"""
    paper = {entry.family for entry in known if entry.quality == "paper"}
    """families of which there is data as the literature's own code collects it"""
    assert paper >= {"point-robot", "point-robot-sparse"}
    assert paper <= of_three
    held = {entry.family for entry in known if entry.quality == "held"}
    """families whose own script is no expert"""
    assert held <= of_three
    assert sum(entry.family in of_three for entry in known) == 3 * len(of_three) + len(paper) + len(held)
    assert len(of_three) >= 3 + 50
    assert {entry.family for entry in known} - of_three == {entry.family for entry in known if has_its_own_sizes(entry)}
    for entry in known:
        recipe = catalogue_recipe(entry.family, entry.quality)
        assert recipe.id == f"idaq/{entry.family.replace('/', '-')}/{entry.quality}-v0"
        assert recipe.family == entry.family
        assert entry.family not in of_three or sum(behaviour.episodes for behaviour in recipe.behaviours) == 45


def has_its_own_sizes(entry: Entry) -> bool:
    return entry.quality == "expert" and entry.family.startswith(("dark-room", "ml10", "ml45"))


def test_schemas_are_generated_from_the_documents() -> None:
    from idaq.cli.schemas import schemas

    stored = {path.name: path.read_text() for path in resource_root("schemas").glob("*.json")}
    assert stored == schemas(), "run `make schemas` and commit the result"


def test_an_independent_validator_accepts_what_is_written(collected: Collected) -> None:
    data = collected.path / "data"
    schema = {path.stem: json.loads(path.read_text()) for path in resource_root("schemas").glob("*.json")}
    for value in schema.values():
        jsonschema.Draft202012Validator.check_schema(value)
    manifest = json.loads((data / "idaq/manifest.json").read_text())
    jsonschema.validate(manifest, schema["manifest"])
    jsonschema.validate(manifest["recipe"], schema["recipe"])
    jsonschema.validate(json.loads((data / "metadata.json").read_text())["idaq"], schema["metadata-idaq"])
    for line in (data / "idaq/tasks.jsonl").read_text().splitlines():
        jsonschema.validate(json.loads(line), schema["task"])
    for entry in entries():
        jsonschema.validate(to_mapping(catalogue_recipe(entry.family, entry.quality)), schema["recipe"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**manifest, "extra": 1}, schema["manifest"])
