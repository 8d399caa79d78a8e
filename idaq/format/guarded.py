"""Runs a function in a process of its own, with a limit of processor time and of memory.

For what reads hostile bytes with a C library: HDF5 can be made to loop for ever, to fill the memory, or to crash.
Nothing is pickled: what goes in and comes out is plain data, as JSON. core/machine.py says which system can limit what.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from idaq.core.errors import CorruptDatasetError
from idaq.core.machine import lift_time_limit, limit_process, ran_out_of_time

_WALL_SECONDS = 60
"""seconds by the clock for each second of processor time: a busy machine is no hostile file"""


def call_guarded(function: str, *arguments: Any, seconds: float, megabytes: int, where: str) -> Any:
    """What `module:function` of idaq returns for `arguments`, all of it plain data.

    `seconds` of processor time and `megabytes` are those of the function alone, without what starting Python takes.
    Raises CorruptDatasetError, naming `where`, if the function takes more, crashes or raises.
    """
    command = [sys.executable, "-P", "-c", "from idaq.format.guarded import _serve; _serve()"]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    request = {"function": function, "arguments": arguments, "seconds": seconds, "megabytes": megabytes}
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            capture_output=True,
            env={**os.environ, **threads, "PYTHONPATH": path},
            timeout=_WALL_SECONDS * (1 + seconds),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CorruptDatasetError(f"{where}: reading it does not end") from None
    if ran_out_of_time(done.returncode):
        raise CorruptDatasetError(f"{where}: reading it takes more than {seconds:.1f} s of processor time")
    if done.returncode < 0:
        raise CorruptDatasetError(f"{where}: reading it crashed ({signal.Signals(-done.returncode).name})")
    if done.returncode > 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no word"]
        raise CorruptDatasetError(f"{where}: reading it failed: {lines[-1][:300]!a}")
    return json.loads(done.stdout)


def require_readable(hdf5: Path) -> None:
    """Read a whole untrusted HDF5 file in a process of its own, before this one does. Raises CorruptDatasetError.

    It may take 2 s of processor time and 2 s more for each MB, and 500 MB of memory.
    """
    if not hdf5.is_file():
        raise CorruptDatasetError(f"{hdf5} is no readable HDF5 file: it is no file")
    seconds = 2 + hdf5.stat().st_size / 5e5
    call_guarded("idaq.format.hdf5_walk:read_all", str(hdf5), seconds=seconds, megabytes=500, where=str(hdf5))


def _serve() -> None:
    """The other side: answers the request on stdin."""
    request = json.load(sys.stdin)
    module, _, name = request["function"].partition(":")
    if not module.startswith("idaq."):
        raise ValueError(f"{module} is not of idaq")
    function = getattr(importlib.import_module(module), name)
    limit_process(request["seconds"], request["megabytes"] * 2**20)
    answer = json.dumps(function(*request["arguments"]))
    lift_time_limit()
    sys.stdout.write(answer)
