"""Every example is a whole program, short enough to be read at once, and runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {
    "collect.py": ["--episodes", "2"],
    "train_adapt.py": ["--steps", "20", "--episodes", "2", "--seeds", "1"],
    "own_family.py": ["--episodes", "3"],
    "own_algorithm.py": ["--steps", "20"],
    "own_strategy.py": ["--steps", "20", "--episodes", "3"],
    "real_robot.py": ["--steps", "20", "--budget", "4"],
    "own_data.py": ["--episodes", "3", "--steps", "20"],
    "publish.py": ["--tasks", "3"],
}
"""what makes each of them a matter of seconds"""
RESUMES = ("real_robot.py",)


@pytest.mark.parametrize("name", SMALL)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    for _ in range(2 if name in RESUMES else 1):
        done = subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLES / name), *SMALL[name]],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout


def test_every_example_is_listed_and_under_sixty_lines() -> None:
    files = {path.name: path.read_text().count("\n") for path in EXAMPLES.glob("*.py")}
    assert files.keys() == SMALL.keys()
    assert {name: lines for name, lines in files.items() if lines >= 60} == {}
    assert set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text())) == files.keys()
