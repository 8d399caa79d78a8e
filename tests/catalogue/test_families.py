"""What there is to collect, told without the simulators; what a family says, with them."""

import subprocess
import sys

import pytest

from idaq.catalogue import families as module
from idaq.catalogue.entries import entries
from idaq.catalogue.families import families, family_details
from idaq.core.errors import UnknownNameError
from idaq.tasks import BUILT_IN


def test_every_family_is_listed_with_what_the_catalogue_collects_of_it() -> None:
    found = {facts.name: facts for facts in families()}
    assert set(BUILT_IN) <= set(found)
    assert {(name, q) for name, facts in found.items() for q in facts.qualities} == {
        (entry.family, entry.quality) for entry in entries()
    }
    assert found["point-robot"].tasks == 100
    assert found["point-robot"].commands[0] == "idaq collect point-robot --quality expert"
    assert (found["point-robot"].needs, found["point-robot"].installed) == (None, True)
    assert found["cheetah-vel"].needs == "pip install 'idaq[bodies]'"
    assert found["ml1/push"].needs == "pip install 'idaq[ml1]'"
    assert "push" in str(found["ml1/push"].description)


def test_the_list_imports_no_simulator() -> None:
    code = (
        "import sys; from idaq.catalogue.families import families; families()\n"
        "assert not {'mujoco', 'metaworld', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert {facts.name for facts in families() if facts.installed is False} == {
        name for name in BUILT_IN if not name.startswith(("point-robot", "dark-room"))
    }


def test_the_details_of_a_family_that_is_not_installed_say_what_installs_it() -> None:
    code = (
        "import sys; sys.modules['metaworld'] = None\n"
        "from idaq.catalogue.families import family_details; family_details('ml1/soccer')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "MissingExtraError" in done.stderr
    assert "idaq[ml1]" in done.stderr


def test_a_suite_and_one_family_can_be_asked_for() -> None:
    assert len(families("ml1")) == 50
    assert [facts.name for facts in families("ml1/push")] == ["ml1/push"]
    with pytest.raises(UnknownNameError) as caught:
        families("point-robt")
    assert "'point-robot'" in str(caught.value.hint)


def test_details_are_the_family_s_own() -> None:
    details = family_details("point-robot")
    assert (len(details.tasks), details.horizon) == (100, 20)
    assert (details.observation, details.action, details.scripted) == ("Box(2,) float32", "Box(2,) float32", True)
    room = family_details("dark-room-pixels")
    assert (room.observation, room.action) == ("Box(36, 36, 3) uint8", "Discrete(5)")
    assert family_details("dark-room").observation == "MultiDiscrete([9 9])"


def test_a_family_of_one_s_own() -> None:
    (facts,) = families("idaq.tasks.point:point_robot")
    assert (facts.source, facts.tasks, facts.installed, facts.commands) == ("your own", None, None, ())
    assert family_details(facts.name).horizon == 20
