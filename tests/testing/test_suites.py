"""The suites find what they are there to find, docs/testing.md is true, and importing the package costs nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import idaq.testing
from tests.pages import files_of
from tests.testing import broken

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs/testing.md"


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


SUITES = {name: suite for name, suite in vars(broken).items() if name.startswith("Test")}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of the broken parts, and of the page's code as one file beside the family that it tests."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "cart.py").write_text(files_of(CHECKOUT / "docs/architecture.md")["cart.py"])
    (folder / "test_page.py").write_text("\n".join(blocks(PAGE)))
    faults = ["::".join([broken.__file__, name, *filter(None, [suite.red])]) for name, suite in SUITES.items()]
    command = [sys.executable, "-m", "pytest", *faults, str(folder), "-rA", "--tb=short", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout


def outcomes(told: str, outcome: str) -> set[tuple[str, str]]:
    """(class, test) of each test that came out so."""
    return set(re.findall(rf"^{outcome} \S+?\.py::(?:(\w+)::)?(\w+)", told, re.M))


def test_every_fault_is_found_by_the_test_that_is_there_for_it(told: str) -> None:
    failed = outcomes(told, "FAILED")
    assert len(SUITES) > 15
    for name, suite in SUITES.items():
        found = {test for where, test in failed if where == name}
        assert suite.red in found or (not suite.red and not found), f"{name}: {found}"


def test_what_suites_share_may_be_imported_before_them(tmp_path: Path) -> None:
    """Where warnings are errors, as here: pytest warns when it is asked to rewrite what is there already."""
    lines = ["import idaq.testing.comparing", "from idaq.testing import PolicyContract", "def test(): PolicyContract"]
    (tmp_path / "test_order.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "pytest", "-W", "error", str(tmp_path), "-p", "no:cacheprovider"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "1 passed" in told


def test_the_pages_code_is_tests_that_pass(told: str) -> None:
    classes = set(re.findall(r"^class (Test\w+)", "\n".join(blocks(PAGE)), re.M))
    wrong = {outcome for outcome in outcomes(told, "FAILED") | outcomes(told, "ERROR") if outcome[0] in classes}
    assert wrong == set(), told[-5000:]
    assert classes <= {where for where, _ in outcomes(told, "PASSED")}
    assert ("", "test_an_example_verifies") in outcomes(told, "PASSED")


def test_the_page_names_every_suite_and_its_links_lead_somewhere() -> None:
    text = PAGE.read_text()
    assert [name for name in idaq.testing.__all__ if name not in text] == []
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (PAGE.parent / target).exists(), target


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
