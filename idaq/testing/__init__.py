"""Contract suites: the tests that every part must pass, ours and yours. Each is a class to subclass and to fill in.

import pytest

from idaq.testing import FamilyContract


class TestCart(FamilyContract):
    @pytest.fixture
    def family(self):
        return cart()

Importing this package needs nothing; importing a suite needs pytest.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from idaq.core.errors import UsageError

if TYPE_CHECKING:
    from idaq.testing.algorithms import AlgorithmContract
    from idaq.testing.behaviours import BehaviourContract
    from idaq.testing.families import FamilyContract
    from idaq.testing.formats import Contents, FormatReaderContract, FormatWriterContract
    from idaq.testing.policies import PolicyContract
    from idaq.testing.remotes import ReadOnlyRemoteContract, RemoteContract
    from idaq.testing.samplers import SamplerContract, SegmentContract
    from idaq.testing.stores import EpisodeStoreContract
    from idaq.testing.strategies import StrategyContract

__all__ = [
    "AlgorithmContract",
    "BehaviourContract",
    "Contents",
    "EpisodeStoreContract",
    "FamilyContract",
    "FormatReaderContract",
    "FormatWriterContract",
    "PolicyContract",
    "ReadOnlyRemoteContract",
    "RemoteContract",
    "SamplerContract",
    "SegmentContract",
    "StrategyContract",
]

_MODULES = {
    "AlgorithmContract": "algorithms",
    "BehaviourContract": "behaviours",
    "Contents": "formats",
    "EpisodeStoreContract": "stores",
    "FamilyContract": "families",
    "FormatReaderContract": "formats",
    "FormatWriterContract": "formats",
    "PolicyContract": "policies",
    "ReadOnlyRemoteContract": "remotes",
    "RemoteContract": "remotes",
    "SamplerContract": "samplers",
    "SegmentContract": "samplers",
    "StrategyContract": "strategies",
}


def __getattr__(name: str) -> Any:
    """Import a suite when it is asked for, with pytest's messages for its assertions."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest
    except ModuleNotFoundError:
        raise UsageError("idaq.testing needs pytest", hint="pip install pytest") from None
    module = f"{__name__}.{_MODULES[name]}"
    for each in {module, f"{__name__}.comparing"} - sys.modules.keys():  # of those that are there, pytest would warn
        pytest.register_assert_rewrite(each)
    return getattr(import_module(module), name)
