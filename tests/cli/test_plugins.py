"""idaq plugins: what ships, what installed packages add, and what of it cannot be used."""

import json
import sys
from pathlib import Path

import pytest

from idaq.plugins import registries
from tests.cli.conftest import Idaq


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that names five families; one of them can be used."""
    (tmp_path / "wild.py").write_text(
        "from idaq.tasks.point import point_robot as good\nnumber = 3\ndef failing():\n    return {}['goal']\n"
    )
    info = tmp_path / "idaq_wild-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: idaq-wild\nVersion: 1.5\n")
    points = [
        "good = wild:good",
        "number = wild:number",
        "failing = wild:failing",
        "gone = wild:gone",
        "no = wilder:no",
    ]
    (info / "entry_points.txt").write_text("\n".join(["[idaq.families]", *points]))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("wild", None)


@pytest.mark.usefixtures("installed")
def test_what_cannot_be_used_is_listed_with_the_reason(idaq: Idaq) -> None:
    done = idaq("plugins", "--json")
    assert done.code == 0
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert rows["point-robot"] == {
        "kind": "task family", "name": "point-robot", "source": "idaq", "reference": "", "problem": "",
    }  # fmt: skip
    assert (rows["good"]["source"], rows["good"]["reference"]) == ("idaq-wild 1.5", "wild:good")
    words = {
        "good": "",
        "number": "is no task family",
        "failing": "KeyError",
        "gone": "no attribute",
        "no": "no module",
    }
    for name, word in words.items():
        assert word in rows[name]["problem"]
        assert bool(rows[name]["problem"]) == (name != "good")
    assert "4 of " in idaq("plugins").out
    assert "cannot be used" in idaq("plugins").out


def test_a_kind_that_there_is_not_is_told_near_ones(idaq: Idaq) -> None:
    done = idaq("plugins", "task famly")
    assert done.code == 2
    assert "did you mean 'task family'" in done.err


def test_one_kind_alone_is_listed(idaq: Idaq) -> None:
    found = json.loads(idaq("plugins", "behaviour policy", "--json").out)
    assert {row["kind"] for row in found} == {"behaviour policy"}
    assert "q-learning" in {row["name"] for row in found}


def test_each_kind_has_a_group_of_its_own() -> None:
    found = registries()
    assert len({registry.kind for registry in found}) == len({registry.group for registry in found}) == len(found)
    assert all(registry.group.startswith("idaq.") for registry in found)
