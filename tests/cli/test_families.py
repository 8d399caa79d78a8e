"""idaq families"""

import json

import pytest

from tests.cli.conftest import Idaq


def test_all(idaq: Idaq, monkeypatch: pytest.MonkeyPatch) -> None:
    done = idaq("families")
    assert done.code == 0
    rows = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    assert "expert, medium, mixed" in rows["point-robot"]
    assert "pip install 'idaq[bodies]' (installed)" in rows["ant-dir"]
    assert "50 families: idaq families ml1" in rows["ml1/..."]
    assert len(json.loads(idaq("families", "--json").out)) >= 60
    assert idaq("families", "ml1").out.count("ml1/") >= 50


def test_one(idaq: Idaq) -> None:
    done = idaq("families", "point-robot")
    for part in (
        "100",
        "20 steps",
        "Box(2,) float32, Box(2,) float32",
        "goal",
        "90 more",
        "idaq collect point-robot --quality medium",
    ):
        assert part in done.out, part
    facts = json.loads(idaq("families", "point-robot", "--json").out)
    assert (facts["horizon"], len(facts["tasks"]), facts["tasks"][3]["task_index"]) == (20, 100, 3)


def test_unknown(idaq: Idaq) -> None:
    done = idaq("families", "point-robt")
    assert (done.code, "unknown task family 'point-robt'" in done.err, "'point-robot'" in done.err) == (2, True, True)
