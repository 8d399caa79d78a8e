"""Documents never cause an import: a dataset, a run folder and a hub that name code, and code that tells if it is run.

The names are those of a real module, which can be imported: what keeps it out is that a document alone names it.
"""

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idaq.catalogue.entries import load_recipe
from idaq.collect.collect import collect
from idaq.core.errors import PluginError
from idaq.loader import open_dataset
from idaq.tasks import find_family
from tests.cli.conftest import BRIEF, QUICK, Idaq, settings
from tests.collect.test_families import MODULE, RECIPE
from tests.format.sealing import reseal

EVIL = "evil_outside"
ID, HUB = "me/corridor/expert-v0", "file://{world}/hub"
pytestmark = [pytest.mark.usefixtures("in_world"), pytest.mark.filterwarnings("ignore")]
ACT = """
class Act:
    def __init__(self, *_): pass
    def reset(self): pass
    def act(self, seen): return 0 * seen
    def observe(self, *_): pass
"""


@pytest.fixture(scope="module")
def turned(world: Path) -> Iterator[Path]:
    """A sound dataset that names the module as family, environment and behaviour. Made by it, before it turned."""
    module, mark = world / f"{EVIL}.py", world / "it-ran"
    module.write_text(MODULE + ACT)
    (world / "my.toml").write_text(RECIPE.format(family=f"{EVIL}:corridor"))
    sys.path.insert(0, str(world))
    recipe = load_recipe(world / "my.toml")
    other = dataclasses.replace(recipe.behaviours[0], name="other", kind="policy", noise=0.0, policy=f"{EVIL}:Act")
    path = collect(dataclasses.replace(recipe, behaviours=[*recipe.behaviours, other]), world / "datasets").path
    shutil.rmtree(world / "__pycache__", ignore_errors=True)
    module.write_text(f"open({str(mark)!r}, 'w').close()\n")
    del sys.modules[EVIL]
    yield path
    sys.path.remove(str(world))
    sys.modules.pop(EVIL, None)


@pytest.fixture(autouse=True)
def _nothing_is_imported(turned: Path, world: Path) -> Iterator[None]:
    yield
    assert EVIL not in sys.modules
    assert not (world / "it-ran").exists()


def test_the_documents_name_it_and_its_code_would_tell(turned: Path, world: Path) -> None:
    """Else the tests below would prove nothing."""
    documents = (turned / "data" / "metadata.json", *(turned / "data" / "idaq").glob("*.json*"))
    assert all(f"{EVIL}:" in path.read_text() for path in documents)
    __import__(EVIL)
    assert (world / "it-ran").exists()
    (world / "it-ran").unlink()
    del sys.modules[EVIL]


COMMANDS = [
    ("dataset", "list"),
    ("dataset", "show", ID),
    ("dataset", "verify", ID),
    ("dataset", "subset", ID, "me/corridor/part-v0", "--split", "train"),
    ("dataset", "merge", "me/corridor/both-v0", ID, "me/corridor/part-v0"),
    ("dataset", "relabel", ID, "me/corridor/named-v0", "--author", "somebody"),
    ("dataset", "diff", ID, "me/corridor/part-v0"),
    ("dataset", "explore", ID, "--out", "page.html"),
    ("dataset", "export", ID, "out.npz"),
    ("dataset", "export", ID, "out.zarr"),
    ("dataset", "import", f"minari:{ID}", "--id", "me/corridor/imported-v0"),
    ("hub", "push", ID, HUB),
    ("hub", "list", HUB),
    ("hub", "show", ID, HUB),
    ("hub", "pull", ID, HUB, "--root", "pulled"),
    ("hub", "pull", ID, HUB, "--root", "pulled", "--tasks", "0:2"),
    ("plugins",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_on_a_dataset_or_a_hub_imports_it(idaq: Idaq, world: Path, command: tuple[str, ...]) -> None:
    done = idaq(*(part.format(world=world) for part in command))
    assert done.code == (command[1:2] == ("diff",)), done.err


def test_python_reads_it_and_the_family_is_refused_in_words(turned: Path) -> None:
    dataset = open_dataset(turned)
    for same in (dataset, open_dataset("out.zarr")):
        assert len(same.select(split="train").transitions().task_indices) > 0
    assert dataset.manifest is not None
    with pytest.raises(PluginError, match="code is never imported because a document says so"):
        find_family(dataset.manifest.family)


def test_a_run_folder_imports_neither_family_nor_what_run_json_names(idaq: Idaq, turned: Path, world: Path) -> None:
    assert idaq("train", "--dataset", ID, "--out", "run", *settings((*QUICK, "steps=4"))).code == 0
    refused = idaq("adapt", "run", *settings(BRIEF))
    assert refused.code == 2
    assert f"{EVIL}:corridor" in refused.err
    run: dict[str, Any] = json.loads((world / "run" / "run.json").read_text())
    run["config"]["algorithm"] = f"{EVIL}:algorithm"
    (world / "run" / "run.json").write_text(json.dumps(run))
    for command in (("adapt", "run"), ("report", "run")):
        assert idaq(*command).code in (1, 2)


def test_reproduce_does_not_take_a_dataset_for_its_word(idaq: Idaq, turned: Path, world: Path) -> None:
    there = world / "datasets" / "idaq/point-robot/expert-v0"
    shutil.copytree(turned, there)

    def rename(manifest: dict[str, Any]) -> None:
        manifest["dataset_id"] = manifest["recipe"]["id"] = "idaq/point-robot/expert-v0"

    reseal(there, rename)
    done = idaq("reproduce", "point-robot/expert", "--seeds", "0", "--catalogue", "catalogue")
    assert done.code == 1, done.err
    shutil.rmtree(there)
