"""Our families pass the exported suite: all point robots and bodies, and some of Meta-World's fifty."""

from dataclasses import replace

import pytest

from idaq.tasks import BUILT_IN, Family, get_family
from idaq.testing import FamilyContract

SEEN_WHOLE = [name for name in BUILT_IN if name.startswith(("point", "dark-room")) and name != "dark-room-pixels"]
"""families whose observations are all that their controllers look at"""
ML1 = ["ml1/push", "ml1/peg-unplug-side", "ml1/shelf-place", "ml1/door-close", "ml10", "ml45"]


class TestFamilies(FamilyContract):
    steps = 30

    @pytest.fixture(params=[*(name for name in BUILT_IN if not name.startswith("ml")), *ML1])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return get_family(request.param)


class TestSteppedOneAfterTheOther(FamilyContract):
    """The lock-step of a family without a batched form."""

    @pytest.fixture(params=SEEN_WHOLE)
    def family(self, request: pytest.FixtureRequest) -> Family:
        return replace(get_family(request.param), batched=None)
