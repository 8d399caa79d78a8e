"""No room to write, at every stage of a collection. RLIMIT_FSIZE makes the kernel refuse what goes past a limit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import idaq
from idaq.collect.collect import Collected
from idaq.format.verify import verify

SWEEP = """
import json, resource, sys
from pathlib import Path
from idaq.collect.collect import collect
from idaq.core.errors import CollectError
from tests.recipes import small_recipe
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in map(int, sys.argv[2:]):
    root = Path(sys.argv[1]) / str(limit)
    root.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        failure = collect(small_recipe(), root) and None
    except CollectError as error:
        failure = [error.message, error.hint]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    left = [str(path) for path in root.rglob("*") if not path.is_relative_to(root / ".idaq")]
    building = [str(path) for path in (root / ".idaq" / "building").glob("*")]
    again = collect(small_recipe(), root)
    print(json.dumps([limit, failure, left + building, again.resumed, again.content_digest, str(again.path)]))
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, collected: Collected) -> list[list[object]]:
    """For each limit: [limit, message and hint, what was left, cells resumed, digest after resuming, path]."""
    hdf5 = (collected.path / "data" / "main_data.hdf5").stat().st_size
    limits = [0, 100, *range(2000, hdf5, hdf5 // 12), hdf5 - 1, hdf5]
    run = subprocess.run(
        [sys.executable, "-c", SWEEP, str(tmp_path_factory.mktemp("sweep")), *map(str, limits)],
        env={**os.environ, "PYTHONPATH": str(Path(idaq.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_a_full_disk_is_reported_plainly_at_every_stage_and_leaves_no_half_dataset(
    sweep: list[list[object]], collected: Collected
) -> None:
    *refused, enough = sweep
    assert len(refused) >= 12
    for _limit, failure, left, *_ in refused:
        message, hint = failure
        assert message.startswith("the disk is full: no room for ")
        assert hint == (
            "free some space, or choose another --root or --out; then run the same command again;"
            " finished cells are kept"
        )
        assert left == []
    assert enough[1] is None


def test_the_same_command_goes_on_once_there_is_room(sweep: list[list[object]], collected: Collected) -> None:
    for _limit, _failure, _left, _resumed, digest, path in sweep:
        assert digest == collected.content_digest
        assert verify(Path(str(path))) == []


def test_shards_that_were_written_are_kept_when_the_dataset_itself_found_no_room(sweep: list[list[object]]) -> None:
    resumed = [row[3] for row in sweep]
    assert resumed[0] == 0
    assert resumed[-2] == 16
