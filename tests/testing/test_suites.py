"""The suites find what they are there to find, and importing their package costs nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import idaq.testing
from tests.testing import broken

COMMAND = [sys.executable, "-m", "pytest", broken.__file__, "-rf", "--tb=no", "--no-header", "-p", "no:cacheprovider"]


def test_every_fault_is_found_by_the_test_that_is_there_for_it() -> None:
    told = subprocess.run(COMMAND, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False).stdout
    failed = set(re.findall(r"^FAILED \S+?::(\w+)::(\w+)", told, re.M))
    suites = {name: suite for name, suite in vars(broken).items() if name.startswith("Test")}
    assert len(suites) > 15
    for name, suite in suites.items():
        found = {test for where, test in failed if where == name}
        assert suite.red in found or (not suite.red and not found), f"{name}: {found}"


def test_every_suite_can_be_imported_by_name() -> None:
    for name in idaq.testing.__all__:
        assert getattr(idaq.testing, name).__module__.startswith("idaq.testing.")
    with pytest.raises(AttributeError, match="no attribute 'Contract'"):
        idaq.testing.Contract  # noqa: B018


def test_the_package_is_imported_without_pytest_and_names_it_where_it_is_missing() -> None:
    code = (
        "import sys, idaq.testing; assert 'pytest' not in sys.modules; sys.modules['pytest'] = None\n"
        "try:\n    idaq.testing.RemoteContract\nexcept Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert "pip install pytest" in done.stdout
