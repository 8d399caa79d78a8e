"""Where independent cells run: in processes of this machine (joblib) or on a Ray cluster. Results come unordered."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Literal

import joblib

from idaq.core.errors import UsageError

_MOST_A_CORE = 32
"""processes"""

ExecutorName = Literal["joblib", "ray"]
Executor = Callable[[Callable[..., int], Sequence[tuple[Any, ...]], int], Iterator[int]]


def on_joblib(function: Callable[..., int], calls: Sequence[tuple[Any, ...]], workers: int) -> Iterator[int]:
    """At most `workers` processes here. A lost one raises BrokenProcessPool, an absurd number UsageError."""
    most = _MOST_A_CORE * len(os.sched_getaffinity(0))
    if workers > most:
        raise UsageError(f"{workers} worker processes on this machine", hint=f"--workers of at most {most}")
    jobs = (joblib.delayed(function)(*call) for call in calls)
    for result in joblib.Parallel(n_jobs=min(workers, max(1, len(calls))), return_as="generator_unordered")(jobs):
        yield result or 0  # joblib's own type allows for None


def on_ray(function: Callable[..., int], calls: Sequence[tuple[Any, ...]], workers: int) -> Iterator[int]:
    """The cluster that RAY_ADDRESS names, or a Ray of `workers` CPUs started here for as long as it takes.

    All machines must see the datasets' folder under the same path. Raises UsageError without Ray, BrokenProcessPool
    for a lost worker.
    """
    try:
        import ray as imported
    except ModuleNotFoundError:
        raise UsageError("the ray executor needs Ray", hint="pip install 'idaq[ray]'") from None
    ray: Any = imported
    started, address = not ray.is_initialized(), os.environ.get("RAY_ADDRESS")
    if started:
        size = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
        ray.init(**size, log_to_driver=False, logging_level="error")
    pending = [ray.remote(max_retries=0)(function).remote(*call) for call in calls]
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


EXECUTORS: dict[ExecutorName, Executor] = {"joblib": on_joblib, "ray": on_ray}
