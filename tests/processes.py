"""Real idaq processes, each a session of its own, so that whatever it starts can be found and none is left."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAM = Path(sys.executable).parent / "idaq"


class Command:
    """`idaq ARGUMENTS...`, started as from a terminal."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [PROGRAM, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=_hears_ctrl_c,
        )

    def members(self) -> list[int]:
        """Processes of the session that still run, the command's own first."""
        return sorted(pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if self._runs(pid))

    def workers(self) -> list[int]:
        """Its joblib workers."""
        return [pid for pid in self.members() if b"LokyProcess" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def until(self, true: Callable[[], object], seconds: float = 60) -> None:
        """Wait for a moment of its life."""
        end = time.monotonic() + seconds
        while not true():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)

    def end(self, number: int | None = None, group: bool = False) -> tuple[int, str]:
        """Exit code and stderr, after a signal to it or to all; no process of it is left soon after.

        Five seconds do on a quiet machine, most of them Python's own, which takes torch apart.
        """
        if number is not None:
            (os.killpg if group else os.kill)(self.process.pid, number)
            end = time.monotonic() + 20
            while self.members() and time.monotonic() < end:
                time.sleep(0.02)
            left = self.members()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            assert not left
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err

    def _runs(self, pid: int) -> bool:
        try:
            state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            return False
        return state != "Z" and int(session) == self.process.pid


def _hears_ctrl_c() -> None:
    """Whoever runs the tests in a shell's background ignores it, and its children would."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
