"""Names in documents are text of bounded length, whatever they name."""

import pytest

from idaq.core.config import check_name
from idaq.core.errors import ConfigError
from idaq.core.types import FamilyName, PolicyName


@pytest.mark.parametrize("name", STRANGE)
def test_nothing_else_names_a_family_or_a_policy(name: str) -> None:
    for kind in (FamilyName, PolicyName):
        with pytest.raises(ConfigError):
            check_name(kind, name, "family")
