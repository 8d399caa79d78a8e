"""Names in documents are text of bounded length, whatever they name."""

import pytest

from idaq.core.config import check_name
from idaq.core.errors import ConfigError
from idaq.core.types import FamilyName, PolicyName

NAMES = ["a", "ml1/reach", "a.b_c-d", "pkg.mod:thing", "pkg:Thing.make", "_x:_y", "a:" + "b" * 198]
STRANGE = [
    "",
    "A",
    "a/b/c",
    "../a",
    "a:",
    ":b",
    "a:b:c",
    "a b:c",
    "a:b\n",
    "a/b:c",
    "é:b",
    "x('y'):z",
    "a:" + "b" * 199,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_family_has_a_short_name_or_a_reference(name: str) -> None:
    assert check_name(FamilyName, name, "family") == name


@pytest.mark.parametrize("name", STRANGE)
def test_nothing_else_names_a_family_or_a_policy(name: str) -> None:
    for kind in (FamilyName, PolicyName):
        with pytest.raises(ConfigError):
            check_name(kind, name, "family")
