"""What the package brings passes the exported suites."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from idaq.format.recipe import Behaviour
from idaq.tasks import Family, get_family
from idaq.testing import BehaviourContract, FamilyContract


@pytest.fixture(autouse=True)
def _importable(installed: Path) -> Iterator[None]:
    """As if it stood among the installed packages, for as long as a test takes."""
    sys.path.insert(0, str(installed))
    yield
    sys.path.remove(str(installed))


class TestMaze(FamilyContract):
    @pytest.fixture
    def family(self) -> Family:
        return get_family("maze")


class TestBehaviours(BehaviourContract):
    @pytest.fixture
    def family(self) -> Family:
        return get_family("maze")

    @pytest.fixture(params=["maze-expert", "maze-log"])
    def behaviour(self, request: pytest.FixtureRequest) -> Behaviour:
        return Behaviour(name="b", kind="policy", quality="unknown", episodes=1, policy=request.param, noise=0.1)
