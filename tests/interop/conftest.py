"""Consumers run in environments of their own, below $IDAQ_INTEROP: `make test-interop` builds them and runs this."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from idaq.collect.collect import Collected, collect
from idaq.format.reader import open_stored
from idaq.format.writer import write_dataset
from idaq.format.zarr.transfer import export_zarr
from idaq.hub.lookup import open_remote
from idaq.hub.push import push
from idaq.share.exporters.lerobot import export_lerobot
from idaq.share.exporters.minari_per_task import export_minari_per_task
from idaq.share.exporters.npz import export_npz
from idaq.share.exporters.ogbench import export_ogbench
from idaq.share.exporters.parquet import export_parquet
from tests.format.made import made_source
from tests.golden import FOLDER
from tests.interop.environments import python_of, why_not
from tests.recipes import small_recipe
from tests.share.everything import source_of

ENVIRONMENTS, TABLE = os.environ.get("IDAQ_INTEROP"), os.environ.get("IDAQ_INTEROP_TABLE")
collect_ignore_glob = [] if ENVIRONMENTS else ["test_*.py"]

CHECKOUT = Path(__file__).parents[2]
_CHECKS = set[str]()
Read = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def real(exports: Path) -> Collected:
    return collect(small_recipe(), exports / "root")


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-made dataset in a datasets root, and every export of it."""
    folder = tmp_path_factory.mktemp("exports")
    stored = open_stored(write_dataset(made_source(), folder / "root", "# made by hand\n"))
    export_minari_per_task(stored, folder / "root")
    export_parquet(stored, folder / "tagged.parquet", rows_per_group=20)
    export_lerobot(stored, folder / "lerobot", file_megabytes=0.002)
    export_npz(stored, folder / "all.npz")
    with open_remote(f"file://{folder}/hub") as remote:
        push(stored.path, remote)
    export_ogbench(stored, folder / "ogbench.npz")
    shutil.copytree(FOLDER / "idaq/golden", folder / "golden")
    export_zarr(stored, str(folder / "tagged.zarr"))
    for name in ("dict", "grid", "pictures"):
        written = write_dataset(source_of(name, f"idaq/made/{name}-v0"), folder / "more", f"# {name}\n")
        export_lerobot(open_stored(written), folder / f"lerobot-{name}")
        export_parquet(open_stored(written), folder / f"{name}.parquet")
        export_zarr(open_stored(written), str(folder / f"{name}.zarr"))
        export_ogbench(open_stored(written), folder / f"ogbench-{name}.npz")
    return folder


@pytest.fixture(scope="session")
def _run(exports: Path, real: Collected) -> Read:
    assert real.path.is_dir()

    @cache
    def run(environment: str, consumer: str) -> dict[str, Any]:
        script = CHECKOUT / "tests/interop/consumers" / f"{consumer}.py"
        variables = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [python_of(Path(ENVIRONMENTS or ""), environment), script, exports],
            capture_output=True,
            text=True,
            check=False,
            env=variables,
            cwd=exports,
        )
        if done.returncode:
            pytest.fail(f"{consumer} in {environment}: {done.stderr[-2000:]}", pytrace=False)
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def read(_run: Read, record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Read:
    """What a consumer's script read in an environment; skips, with pip's reason, where that could not be installed."""

    def run(environment: str, consumer: str) -> dict[str, Any]:
        record_property("environment", environment)
        record_property("check", _check(request.node))
        reason = why_not(Path(ENVIRONMENTS or ""), environment)
        if reason is not None:
            pytest.skip(reason)
        found = _run(environment, consumer)
        record_property("versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items()))
        return found

    return run


def pytest_itemcollected(item: Any) -> None:
    """Know every check, run or not."""
    if "read" in item.fixturenames:
        _CHECKS.add(_check(item))


def _check(item: Any) -> str:
    """The table's text of a test: its docstring, and its cases."""
    cases = item.callspec.params if hasattr(item, "callspec") else {}
    named = [value for name, value in cases.items() if name != "environment"]
    return ", ".join([item.function.__doc__.strip(), *named])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write the table of what passed, if asked for. A check that was not run keeps the row that it had."""
    if not TABLE:
        return
    before = [line for line in Path(TABLE).read_text().splitlines() if line.startswith("| ")]
    rows = {_place_of(line): line for line in before if line.split(" | ")[1].replace("\\|", "|") in _CHECKS}
    for outcome in ("passed", "xfailed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            facts = dict(report.user_properties)
            if "check" in facts:
                line = _line(outcome, facts, report)
                rows[_place_of(line)] = rows.get(_place_of(line), line) if outcome == "skipped" else line
    head = (CHECKOUT / "tests/interop/table.md").read_text().splitlines()
    Path(TABLE).write_text("\n".join([*head, *sorted(rows.values())]) + "\n")


def _place_of(line: str) -> str:
    """Environment and check of a row."""
    return "|".join(line.split("|")[:3])


def _line(outcome: str, facts: dict[str, str], report: Any) -> str:
    reason = report.wasxfail.removeprefix("reason: ") if outcome == "xfailed" else ""
    if outcome == "skipped":
        reason = report.longrepr[2].removeprefix("Skipped: ")
    result = {"passed": "passes", "xfailed": "**fails** upstream", "skipped": "not run"}.get(outcome, "**fails**")
    cells = (
        facts["environment"],
        facts["check"],
        result + (f": {reason}" if reason else ""),
        facts.get("versions", ""),
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
