"""Whether the tests notice a change: each mutant runs in a fork of a process that has all other libraries loaded.

The mutated source stands on no disk: the fork's import system is given it in place of the module's file. Which tests
reach which line is measured once, so a mutant costs the tests that reach it, quickest first, until one fails.
"""

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, Literal

import coverage
import pytest

from tests.mutants.changes import Change

Verdict = Literal["killed", "survived", "timeout", "not covered"]
_LOADED = "ignore::pytest.PytestAssertRewriteWarning"
"""plugins of pytest are among what is loaded"""
_OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-W", _LOADED]
_OURS = ("idaq", "cli", "tests")
_SETUP = "setup"
_MEMORY = 12 << 30
_LONGEST = 15.0
"""seconds that a test may take to be among those that judge"""


@dataclass
class Survey:
    """What the tests of some modules do, unchanged."""

    seconds: dict[str, float] = field(default_factory=dict)
    """of each test"""
    reached: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """module -> line -> tests; "" where importing reaches it, "setup" where a fixture does"""
    loaded: list[str] = field(default_factory=list)
    """modules of other libraries that the tests import"""

    def stages_of(self, change: Change) -> list[list[str]]:
        """Tests that can notice a change, the likeliest first: one file of those that reach it, their other files, and,
        where fixtures or imports reach it, all tests of files that reach the module."""
        lines = self.reached.get(change.module, {})
        found = {test for line in range(change.lines[0], change.lines[1] + 1) for test in lines.get(line, ())}
        direct = self._in_order(found)
        first = [test for test in direct if _file(test) == _file(direct[0])]
        rest: list[str] = []
        if found & {"", _SETUP}:
            near = {_file(test) for tests in lines.values() for test in tests}
            rest = self._in_order({test for test in self.seconds if _file(test) in near} - found)
        return [stage for stage in (first, direct[len(first) :], rest) if stage]

    def _in_order(self, tests: set[str]) -> list[str]:
        """Those of a file together; quick files and quick tests first."""
        known = [test for test in self.seconds if test in tests]
        spent: dict[str, float] = {}
        for test in known:
            spent[_file(test)] = spent.get(_file(test), 0.0) + self.seconds[test]
        return sorted(known, key=lambda test: (spent[_file(test)], _file(test), self.seconds[test]))


def survey(modules: list[str], tests: list[str], place: Path) -> Survey:
    """Run the tests once with their lines traced, and keep what that tells at `place`, or read what is there.

    Tests that fail or take long judge nothing. Raises RuntimeError if none is left.
    """

    def watched() -> int:
        cover = coverage.Coverage(data_file=None, include=[str(Path(module).resolve()) for module in modules])
        watch, before = _Watch(cover), set(sys.modules)
        cover.start()
        pytest.main([*_OPTIONS, "--maxfail=0", *tests], plugins=[watch])
        cover.stop()
        data = cover.get_data()
        found = Survey(
            seconds={
                test: spent for test, spent in watch.seconds.items() if test not in watch.failed and spent < _LONGEST
            },
            reached={name: data.contexts_by_lineno(str(Path(name).resolve())) for name in modules},
            loaded=[
                name
                for name in sys.modules
                if name not in before and name.split(".")[0] not in ("idaq", "tests", "cli")
            ],
        )
        place.write_text(json.dumps(vars(found)))
        return 0 if found.seconds else 1

    if not place.exists():
        code = _in_fork(watched, limit=3600, show=True)
        if code != 0:
            raise RuntimeError(f"no quick test passes before anything is changed: {' '.join(tests)}")
    stored = json.loads(place.read_text())
    stored["reached"] = {
        name: {int(line): tests for line, tests in lines.items()} for name, lines in stored["reached"].items()
    }
    return Survey(**stored)


def load(names: list[str]) -> None:
    """Import other libraries, once for all forks to come."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def judge(change: Change, known: Survey) -> Verdict:
    """Run the tests that reach a change, until one of them fails."""
    stages = known.stages_of(change)
    for tests in stages:
        code = _in_fork(partial(_tried, change, tests), limit=20 + 5 * sum(known.seconds[test] for test in tests))
        if code != 0:
            return "timeout" if code is None else "killed"
    return "survived" if stages else "not covered"


def _tried(change: Change, tests: list[str]) -> int:
    """pytest's code, in a fork."""
    _give(Path(change.module).resolve(), change.source.encode())
    files = list(dict.fromkeys(_file(test) for test in tests))
    return int(pytest.main([*_OPTIONS, *files], plugins=[_Chosen(tests)]))


class _Watch:
    """Tells coverage which test is running, and keeps how long each takes, fixtures included."""

    def __init__(self, cover: coverage.Coverage) -> None:
        self._cover = cover
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        self._cover.switch_context(_SETUP)
        yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self._cover.switch_context(item.nodeid)
        yield
        self._cover.switch_context(_SETUP)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
        if not report.skipped:
            self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


class _Chosen:
    """Some of the tests, in the order given."""

    def __init__(self, tests: list[str]) -> None:
        self._order = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order), key=lambda item: self._order[item.nodeid]
        )


def _file(test: str) -> str:
    return test.split("::")[0]


def _give(path: Path, source: bytes) -> None:
    """Have imports in this process read `source` for the file at `path`, and leave every cache as it is."""
    read = SourceFileLoader.get_data

    def get_data(self: Any, asked: str) -> bytes:
        if Path(asked).resolve() == path:
            return source
        if Path(asked).name.startswith(f"{path.stem}.") and asked.endswith(".pyc"):
            raise OSError(asked)
        return read(self, asked)

    SourceFileLoader.get_data = get_data
    SourceFileLoader.set_data = lambda *_, **__: None


def _in_fork(call: Callable[[], int], limit: float, show: bool = False) -> int | None:
    """What `call` returns in a process of its own; None if that took more than `limit` seconds."""
    folder = tempfile.mkdtemp(prefix="mutant-")
    child = os.fork()
    if not child:
        code = 99
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
            os.environ["TMPDIR"] = tempfile.tempdir = folder
            if not show:
                for stream in (1, 2):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            code = call()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline, ended = time.monotonic() + limit, 0
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it started, and itself if it is late
    if not ended:
        os.waitpid(child, 0)
    shutil.rmtree(folder, ignore_errors=True)
    return os.waitstatus_to_exitcode(status) if ended else None
