"""Several jobs at a time: one that fails does not take the others with it, and a lost worker is told."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from idaq.core.errors import ConfigError, RunError
from idaq.core.jobs import run_jobs, watched


def square(number: int) -> int:
    """A job."""
    if number == 2:
        raise ConfigError("two is refused", hint="three")
    if number == 4:
        raise FileNotFoundError(2, "No such file or directory", "four.txt")
    return number * number


def threads() -> str:
    return os.environ["OMP_NUM_THREADS"]


def lost() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_those_that_fail_are_named_and_the_others_finish(workers: int) -> None:
    done = list[int]()
    with pytest.raises(RunError, match="2 of 5 failed; the others are finished") as caught:
        done.extend(run_jobs(square, {f"job {n}": (n,) for n in range(1, 6)}, workers=workers, kept="again"))
    assert caught.value.hint == "again"
    first, second = sorted(caught.value.details)
    assert first == "job 2: two is refused fix: three"
    assert second.startswith("job 4: ")
    assert "four.txt" in second
    assert sorted(done) == [1, 9, 25]


def test_results_come_as_they_are_there() -> None:
    assert sorted(run_jobs(square, {"a": (3,), "b": (5,)}, workers=2)) == [9, 25]


def test_each_of_several_workers_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert set(run_jobs(threads, {"a": (), "b": ()}, workers=2)) == {"1"}
    assert set(run_jobs(threads, {"a": (), "b": ()}, workers=1)) == {"7"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_lost_worker_is_told_with_what_is_kept() -> None:
    with pytest.raises(RunError, match="a worker was lost") as caught:
        list(run_jobs(lost, {"a": (), "b": ()}, workers=2, kept="again"))
    assert caught.value.hint == "again"


def test_what_is_done_is_watched_from_files(tmp_path: Path) -> None:
    told = list[int]()
    (tmp_path / "0").touch()

    def write() -> None:
        for number in range(1, 4):
            time.sleep(0.4)
            (tmp_path / str(number)).touch()

    with watched(lambda: len(list(tmp_path.iterdir())), told.append):
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert told[0] == 1  # what an earlier run left comes first
    assert sum(told) == 4
    assert len([count for count in told if count]) > 2
