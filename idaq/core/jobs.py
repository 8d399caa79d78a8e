"""Independent jobs, several at a time: one that fails is named, the others finish, and files say how far they are."""

import os
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from idaq.core.disk import explain
from idaq.core.errors import IdaqError, RunError
from idaq.core.executors import EXECUTORS, ExecutorName
from idaq.core.types import Advance

T = TypeVar("T")
_LOOK = 0.5
"""seconds between two looks at how far jobs are"""


def run_jobs(
    function: Callable[..., T],
    jobs: Mapping[str, tuple[Any, ...]],
    *,
    workers: int,
    executor: ExecutorName = "joblib",
    kept: str = "run the same command again: what is finished is kept",
) -> Iterator[T]:
    """Call `function` with the arguments of each job, `workers` at a time, one CPU thread each; results as they come.

    Raises RunError when all have ended, naming each that failed, and at once for a worker that is lost; `kept` says
    what to do then.
    """
    failed = dict[str, IdaqError]()
    calls = [(name, function, arguments) for name, arguments in jobs.items()]
    try:
        with _one_thread_each(workers):
            for name, result in EXECUTORS[executor](_call, calls, workers):
                if isinstance(result, IdaqError):
                    failed[name] = result
                else:
                    yield result
    except BrokenProcessPool as error:
        raise RunError(f"a worker was lost: {error}", hint=kept) from None
    if failed:
        raise RunError(
            f"{len(failed)} of {len(jobs)} failed; the others are finished",
            details=[f"{name}: {' '.join(str(error).split())}" for name, error in failed.items()],
            hint=kept,
        )


def _call(name: str, function: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[str, T | IdaqError]:
    """In a worker: what the job gave, or the error that it ended with, told in words."""
    try:
        return name, function(*arguments)
    except IdaqError as error:
        return name, error
    except OSError as error:
        return name, explain(error)


@contextmanager
def _one_thread_each(workers: int) -> Generator[None]:
    """Processes started meanwhile calculate with one thread, where there are several of them; Ray does so by itself."""
    before = os.environ.get("OMP_NUM_THREADS")
    if workers > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = before


@contextmanager
def watched(done: Callable[[], int], advance: Advance) -> Generator[None]:
    """Tell `advance` what `done` has grown by, again and again: how far jobs are that leave what they did in files."""
    ended, told = threading.Event(), 0

    def look() -> None:
        nonlocal told
        now = done()
        if now > told:
            advance(now - told)
            told = now

    def keep_looking() -> None:
        while not ended.wait(_LOOK):
            look()

    look()
    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        look()
