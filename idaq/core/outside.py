"""What code from outside raises, told in one error: whose it is, what it raised, and in which line."""

import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from idaq.core.errors import IdaqError
from idaq.core.extras import naming_extras

_LIBRARIES = tuple(f"/site-packages/{name}/" for name in ("numpy", "torch", "gymnasium"))


@contextmanager
def raised_as(kind: type[IdaqError], what: str) -> Generator[None]:
    """Within this block an exception becomes a `kind`: "<what>: ValueError: ...", and the line that raised it.

    Errors of idaq, of the system and of memory stay what they are: they are told in words of their own.
    """
    try:
        with naming_extras():
            yield
    except (IdaqError, OSError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and "memory" in str(error):  # torch raises RuntimeError for it
            raise
        raise kind(f"{what}: {type(error).__name__}: {error}", details=[place(error)]) from error


def place(error: BaseException) -> str:
    """The line that raised an error; where NumPy, PyTorch or Gymnasium did, the line that called it."""
    frames = traceback.extract_tb(error.__traceback__)
    outer = [frame for frame in frames if not any(part in Path(frame.filename).as_posix() for part in _LIBRARIES)]
    frame = (outer or frames)[-1]
    return f"raised by {frame.name}, line {frame.lineno} of {frame.filename}"
