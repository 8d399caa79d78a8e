"""An exporter, an importer and a hub from outside, each a module in the folder where idaq runs: the whole program."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from idaq.format.reader import open_stored
from tests.hub.folder_hub import FOLDER_HUB
from tests.share.exporters.test_exporters import CSV
from tests.share.importers.test_importers import LINES, LOG

MADE = "idaq/made/tagged-v0"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with three modules, which idaq knows nothing of."""
    for name, text in {"their_csv": CSV, "their_lines": LINES, "their_hub": FOLDER_HUB}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def idaq(place: Path, *arguments: str | Path) -> str:
    """What the program prints, run in `place` by its entry point."""
    command = [Path(sys.executable).with_name("idaq"), *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_export_to_and_import_from_a_module_of_ones_own(place: Path, made: Path) -> None:
    assert "75 transitions of 8 episodes" in idaq(place, "dataset", "export", made, "out.csv", "--to", "their_csv:Csv")
    assert (place / "out.csv").read_text().count("\n") == 75
    (place / "robot.log").write_text(LOG)
    own = ("--from", "their_lines:Lines", "--id", "me/robot/a-v0", "--root", place / "root")
    found = json.loads(idaq(place, "dataset", "import", "robot.log", *own, "--json"))
    assert (found["id"], found["tasks"], found["episodes"]) == ("me/robot/a-v0", 1, 1)
    assert "episodes are taken to end in a terminal" in found["notes"][0]


def test_push_and_pull_through_a_hub_of_ones_own(place: Path, made: Path) -> None:
    hub = (f"their://{place}/hub", "--remote", "their_hub:FolderHub")
    assert f"{MADE} is at their://" in idaq(place, "hub", "push", made, *hub)
    assert MADE in idaq(place, "hub", "list", *hub)
    found = json.loads(idaq(place, "hub", "pull", MADE, *hub, "--root", place / "root", "--json"))
    assert found["content_digest"] == open_stored(made).manifest.content_digest
