"""Whatever a stranger's document holds, it is refused in words or does no harm: in little time, in little memory."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.evaluate.factory import make_results, make_run


def test_every_hostile_kind_is_refused_or_harmless(
    made: Path, made_root: Path, second_made: Path, tmp_path: Path
) -> None:
    world = tmp_path / "world"
    shutil.copytree(made, world / made.relative_to(made_root))
    shutil.copytree(second_made, world / "idaq/made/second-v0")
    make_run(world / "run", make_results(), training=[0, 1])
    command = [sys.executable, "-m", "tests.hostile", str(world), str(tmp_path / "scratch")]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) >= 100
    assert [line for line in outcomes if line["came"].startswith("TRACEBACK")] == []
    assert [line for line in outcomes if line["seconds"] > 2] == []
    unlike = [line for line in outcomes if line["expected"] is not None and not _as_expected(line)]
    assert unlike == []


def _as_expected(line: dict[str, str]) -> bool:
    return line["expected"] in line["came"] and bool(line["expected"]) == bool(line["came"])
