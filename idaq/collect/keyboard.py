"""A person as a policy: keys of the terminal move the numbers of an action.

The environment draws itself in a window, where there is a display and it can; the keys are typed into the terminal.
Act within `single_keys`.
"""

import os
import select
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import gymnasium as gym

from idaq.core.errors import UsageError
from idaq.core.types import Array
from idaq.tasks.systems import Env

KEYS = ("ad", "sw", "jl", "ki")
"""for each number of an action: the key of its lowest value, and that of its highest"""
_ARROWS = {"\x1b[D": "a", "\x1b[C": "d", "\x1b[B": "s", "\x1b[A": "w"}
_OTHERWISE = "--policy package.module:thing, a function of yours that reads your device"
_HOLD = 0.25
"""seconds that a key acts: a held key repeats itself sooner"""
_PACE = 20.0
"""steps a second, where the environment does not say its own"""


class Keyboard:
    """Acts as keys say: a and d move the first number, s and w the second, j and l the third, k and i the fourth."""

    def __init__(self, env: Env) -> None:
        """Raises UsageError for actions that no keys move."""
        space = env.action_space
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or not space.is_bounded():
            raise UsageError(f"no keys move actions of {space}", hint="a bounded Box of one axis is needed")
        if space.shape[0] > len(KEYS):
            said = f"keys move {len(KEYS)} numbers of an action at most; these have {space.shape[0]}"
            raise UsageError(said, hint=_OTHERWISE)
        self._low, self._high = space.low, space.high
        self._pace = 1 / float(env.metadata.get("render_fps") or _PACE)
        self._until, self._last = {key: 0.0 for pair in KEYS for key in pair}, 0.0

    def act(self, _observation: Array, /) -> Array:
        """An action (A,), once it is time for the next step."""
        time.sleep(max(0.0, self._last + self._pace - time.monotonic()))
        self._last = now = time.monotonic()
        for key in _typed():
            if key in self._until:
                self._until[key] = now + _HOLD
        return keyed({key for key, until in self._until.items() if until > now}, self._low, self._high)


def keyed(held: set[str], low: Array, high: Array) -> Array:
    """The action (A,) of held keys: lowest, middle or highest of each number. Both keys are as good as none."""
    action = (low + high) / 2
    for number, (down, up) in enumerate(KEYS[: len(low)]):
        if (down in held) != (up in held):
            action[number] = low[number] if down in held else high[number]
    return action


def require_terminal() -> None:
    """Raise UsageError where there is no terminal, or a system that has none of this kind."""
    try:
        import termios as _  # noqa: F401 - Linux and macOS have it
    except ImportError:
        raise UsageError("--policy human reads keys as Linux and macOS give them", hint=_OTHERWISE) from None
    if not sys.stdin.isatty():
        hint = f"run it in a terminal, also where a window shows the environment; or {_OTHERWISE}"
        raise UsageError("--policy human reads keys from a terminal, and there is none", hint=hint)


@contextmanager
def single_keys() -> Generator[None]:
    """While this lasts, the terminal gives each key as it is typed and shows none; Ctrl-C stays what it is.

    Raises UsageError as `require_terminal` does.
    """
    require_terminal()
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _typed() -> str:
    """Keys since the last call, arrows as letters."""
    descriptor, text = sys.stdin.fileno(), ""
    while select.select([descriptor], [], [], 0)[0]:
        typed = os.read(descriptor, 1024).decode(errors="replace")
        text += typed
        if not typed:  # the terminal is gone
            break
    for arrow, letter in _ARROWS.items():
        text = text.replace(arrow, letter)
    return text
