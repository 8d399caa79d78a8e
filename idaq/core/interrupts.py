"""Ctrl-C and SIGTERM as exceptions, and held back where stopping in the middle would lose something.

Signals that somebody else handles or ignores (nohup, a shell's background) are left alone, and so is all of this
outside the main thread, which alone may handle signals.
"""

import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_ECHO = 0.5
"""seconds in which a repeated signal is still the first: timeout(1) sends SIGTERM to its child and to its group"""
_AGAIN = 0.05
"""seconds until an interrupt comes again that was raised where Python cannot let it out, as in a finaliser"""


class Terminated(KeyboardInterrupt):
    """SIGTERM: what a batch queue sends some time before SIGKILL."""


class _Interrupts:
    """What has arrived in this process."""

    def __init__(self) -> None:
        self.holding = False
        self.held: int | None = None
        self._last = float("-inf")

    def handle(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < _ECHO:
            return
        self._last = now
        if self.holding and self.held is None:
            self.held = number
        else:
            _raise(number)

    def repeat(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """A sys.unraisablehook: no interrupt is lost."""
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        self._last = float("-inf")
        number = signal.SIGTERM if isinstance(unraisable.exc_value, Terminated) else signal.SIGINT
        threading.Timer(_AGAIN, _send, [number]).start()


_INTERRUPTS = _Interrupts()
_FREE = (signal.SIG_DFL, signal.default_int_handler, _INTERRUPTS.handle)


def _send(number: int) -> None:
    """Let the main thread receive a signal."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        interrupt_main(signal.Signals(number))  # which ends no wait of the main thread


def _raise(number: int) -> NoReturn:
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def interrupts_raised() -> Generator[None]:
    """While this lasts, SIGTERM raises Terminated in the main thread, as Ctrl-C raises KeyboardInterrupt."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)} if in_main else {}
    taken = {number: handler for number, handler in before.items() if handler in _FREE}
    hook = sys.unraisablehook
    try:
        for number in taken:
            signal.signal(number, _INTERRUPTS.handle)
        sys.unraisablehook = _INTERRUPTS.repeat if taken else hook
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in taken.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_held() -> Generator[Callable[[], bool]]:
    """Hold Ctrl-C and SIGTERM back until the end of the block, which raises them; the second one is raised at once.

    Yields a function that says whether one is held.
    """
    with interrupts_raised():
        _INTERRUPTS.held, _INTERRUPTS.holding = None, True
        try:
            yield lambda: _INTERRUPTS.held is not None
        finally:
            _INTERRUPTS.holding = False
        if _INTERRUPTS.held is not None:
            _raise(_INTERRUPTS.held)
