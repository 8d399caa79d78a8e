"""Where independent calls run: in processes of this machine (joblib) or on a Ray cluster. Results come unordered."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import active_children, resource_tracker
from typing import Any, Literal, TypeVar

from idaq.core.errors import UsageError
from idaq.core.extras import optional
from idaq.core.interrupts import interrupts_held
from idaq.core.machine import cores

T = TypeVar("T")
_MOST_A_CORE = 32
"""processes"""
ExecutorName = Literal["joblib", "ray"]
Executor = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]], int], Iterator[Any]]
_WATCH = 0.5
"""seconds between a worker's looks for the process that it works for"""


def in_processes(function: Callable[..., T], calls: Sequence[tuple[Any, ...]], workers: int) -> Iterator[T]:
    """At most `workers` processes here. A lost one raises BrokenProcessPool, an absurd number UsageError.

    When the caller stops, for an error or a signal, they are killed; when it is killed, they end by themselves.
    """
    most = _MOST_A_CORE * cores()
    if workers > most:
        raise UsageError(f"{workers} worker processes on this machine", hint=f"at most {most}")
    count = min(workers, len(calls))
    if count < 2:
        yield from (function(*call) for call in calls)
        return
    loky: Any = import_module("joblib.externals.loky")  # here, for core is light
    others = {process.pid for process in active_children()}
    pool = loky.ProcessPoolExecutor(count, initializer=_end_with, initargs=(os.getpid(),))
    try:
        with interrupts_held(), _deaf_children():  # half a pool could not be ended
            futures = [pool.submit(function, *call) for call in calls]
        for future in as_completed(futures):
            yield future.result()
    except BaseException as error:
        for process in active_children():  # shutdown(kill_workers=True) may print a KeyError of its own
            if process.pid is not None and process.pid not in others:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        if isinstance(error, BrokenProcessPool):  # "Detailed tracebacks should have been printed" says nothing
            raise BrokenProcessPool(" ".join(str(error).partition("Detailed")[0].split())) from None
        raise
    finally:
        pool.shutdown()


@contextmanager
def _deaf_children() -> Generator[None]:
    """Processes started meanwhile never see Ctrl-C, which a terminal sends to all: whoever started them ends them."""
    resource_tracker.ensure_running()  # started later, it would undo the mask
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """In a worker: end when the process that started it does, which may have been killed and could tell nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _sigterm_kept() -> Generator[None]:
    """Ray takes SIGTERM for itself, and leaves with a stack trace and its own exit code."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def on_ray(function: Callable[..., T], calls: Sequence[tuple[Any, ...]], workers: int) -> Iterator[T]:
    """The cluster that RAY_ADDRESS names, or a Ray of `workers` CPUs started here for as long as it takes.

    All machines must see the datasets' folder under the same path. Raises MissingExtraError without Ray,
    BrokenProcessPool for a lost worker.
    """
    ray = optional("ray")
    started, address = not ray.is_initialized(), os.environ.get("RAY_ADDRESS")
    if started:
        size = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
        with _sigterm_kept():
            ray.init(**size, log_to_driver=False, logging_level="error")
    path, remote = [os.path.abspath(folder) for folder in sys.path], ray.remote(max_retries=0)(_call_with_path)
    pending = [remote.remote(path, ray.cloudpickle.dumps((function, call))) for call in calls]
    try:
        while pending:
            finished, pending = ray.wait(pending)
            yield from ray.get(finished)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise BrokenProcessPool(str(error).strip().splitlines()[0]) from error
    finally:
        for task in pending:
            ray.cancel(task, force=True)
        if started:
            ray.shutdown()


def _call_with_path(path: list[str], packed: bytes) -> Any:
    """In a worker on Ray: a call that may need modules which the caller alone knew the folder of."""
    from ray import cloudpickle

    sys.path += [folder for folder in path if folder not in sys.path]
    function, call = cloudpickle.loads(packed)
    return function(*call)


EXECUTORS: dict[ExecutorName, Executor] = {"joblib": in_processes, "ray": on_ray}
