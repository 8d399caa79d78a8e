"""Whatever call fails, nothing is lost, nothing half done is seen, and the same again ends as ever."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import idaq
from tests.failing import FAULTS

STRIDE = dict.fromkeys(FAULTS, 1) if os.environ.get("IDAQ_EVERY_CALL") else {"full": 31, "broken": 29, "killed": 13}
"""IDAQ_EVERY_CALL=1 tries every call of every operation: a quarter of an hour"""


@pytest.mark.timeout(1800)
def test_any_call_may_fail() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(idaq.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.failing", json.dumps(STRIDE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == 13
    assert sum(tries for _, _, tries, _ in told) > 200
    assert [wrong for *_, wrong in told if wrong] == []
