"""Cells run on joblib or on a real local Ray: the same content; what goes wrong in one is told the same way."""

import errno
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import idaq
from idaq.collect.collect import Collected, collect
from idaq.core.errors import CollectError, UsageError
from idaq.core.executors import EXECUTORS, in_processes
from tests.recipes import small_recipe

# one Ray, started once, for everything: a whole collection, a full disk, a worker that dies and the run after it
RAY = """
import errno, json, os, sys
from pathlib import Path
import ray
from idaq.collect import collect as module
from idaq.collect.collect import collect
from idaq.collect.cells import collect_cell
from idaq.collect.plan import make_plan
from idaq.core.errors import CollectError
from tests.recipes import small_recipe
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
root = Path(sys.argv[1])

def full(plan, cell, folder):
    raise OSError(errno.ENOSPC, "No space left on device")

def tried(name, function):
    module.collect_cell = function
    try:
        done = collect(small_recipe(), root / name, workers=2, executor="ray")
        return {"digest": done.content_digest, "resumed": done.resumed}
    except CollectError as error:
        return {"message": error.message, "hint": error.hint}

first = next(iter(make_plan(small_recipe()).splits))

def dying(plan, cell, folder):
    return collect_cell(plan, cell, folder) if cell.task_index == first else os._exit(1)

def brought(root):
    # a module that this process alone knows the folder of: Ray runs already
    root.mkdir()
    (root / "ray_robot.py").write_text(ROBOT)
    sys.path.append(str(root))
    wanted = small_recipe("point-robot", "expert", "family=ray_robot:robot")
    return collect(wanted, root, workers=2, executor="ray").content_digest

ROBOT = "from idaq.tasks.point import point_robot as robot"
module.collect_cell = collect_cell
said = {"brought": brought(root / "brought")}
said |= {"whole": tried("whole", collect_cell), "full": tried("lost", full)}
said["lost"] = tried("lost", dying)
said["again"] = tried("lost", collect_cell)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs pip install 'idaq[ray]'")
    done = subprocess.run(
        [sys.executable, "-c", RAY, str(tmp_path_factory.mktemp("ray"))],
        env={**os.environ, "PYTHONPATH": str(Path(idaq.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))  # Ray talks too


@pytest.mark.slow
def test_ray_collects_the_same_content(on_ray: dict[str, Any], collected: Collected) -> None:
    assert on_ray["whole"] == {"digest": collected.content_digest, "resumed": 0}


@pytest.mark.slow
def test_ray_collects_a_family_of_a_module_that_the_caller_alone_can_find(
    on_ray: dict[str, Any], collected: Collected
) -> None:
    assert on_ray["brought"] == collected.content_digest


@pytest.mark.slow
def test_on_ray_a_full_disk_and_a_lost_worker_are_told_and_the_next_run_goes_on(
    on_ray: dict[str, Any], collected: Collected
) -> None:
    kept = "finished cells are kept: run the same command again to go on"
    assert on_ray["full"]["message"].startswith("the disk is full: no room for ")
    assert on_ray["full"]["hint"].endswith("; finished cells are kept")
    assert on_ray["lost"]["message"].startswith("a worker was lost: ")
    assert on_ray["lost"]["hint"] == kept
    assert on_ray["again"]["digest"] == collected.content_digest


def test_without_ray_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="the ray executor needs Ray") as caught:
        collect(small_recipe(), tmp_path, executor="ray")
    assert caught.value.hint == "pip install 'idaq[ray]'"


def test_a_joblib_worker_that_dies_is_told_and_the_next_run_goes_on(
    tmp_path: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*arguments: Any) -> Iterator[int]:
        yield from in_processes(_die, [(number,) for number in range(4)], 2)

    monkeypatch.setitem(EXECUTORS, "joblib", dying)
    with pytest.raises(CollectError, match="a worker was lost") as caught:
        collect(small_recipe(), tmp_path, workers=2)
    monkeypatch.undo()
    assert caught.value.hint == "finished cells are kept: run the same command again to go on"
    assert collect(small_recipe(), tmp_path, workers=2).content_digest == collected.content_digest


def test_an_error_in_a_cell_comes_out_as_itself() -> None:
    with pytest.raises(OSError, match="No space") as caught:
        list(in_processes(_fill, [(0,)], 1))
    assert caught.value.errno == errno.ENOSPC


def test_one_call_needs_no_process_of_its_own() -> None:
    assert list(in_processes(os.getpid, [()], 4)) == [os.getpid()]


def _die(number: int) -> int:
    os._exit(number + 1)


def _fill(number: int) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
