"""Which tests `make quick` leaves out: those that tests/slow.txt lists. `make slow` writes that list anew.

A line is a test, or a whole file where its tests go through one story in order, so that none can be left out alone.
"""

import os
from collections import defaultdict
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("slow.txt")
SECONDS = 1.0
"""of a test, all its parameters together"""
STORY = "world"
"""the fixture that the tests of a file share in order"""
_taken: dict[str, float] = defaultdict(float)
_stories: set[str] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the listed tests as slow."""
    listed = set(LIST.read_text().split())
    for item in items:
        file, test = item.nodeid.partition("::")[0], item.nodeid.partition("[")[0]
        if STORY in getattr(item, "fixturenames", ()):
            _stories.add(file)
        if {file, test} & listed:
            item.add_marker("slow")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what each test takes, without the fixtures that it is the first to ask for."""
    if report.when == "call":
        _taken[report.nodeid.partition("[")[0]] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the list, if asked for."""
    if not os.environ.get("IDAQ_WRITE_SLOW") or hasattr(session.config, "workerinput"):
        return
    slow = {test for test, seconds in _taken.items() if seconds > SECONDS}
    files = {test.partition("::")[0] for test in slow} & _stories
    kept = {test for test in slow if test.partition("::")[0] not in files}
    LIST.write_text("\n".join(sorted(kept | files)) + "\n")
