"""Pictures without a screen."""

import ctypes.util
import os

from idaq.core.errors import UsageError

_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


def prepare_offscreen() -> None:
    """Let MuJoCo draw without a screen, by whichever of EGL and OSMesa is there; MUJOCO_GL, if set, decides.

    Raises UsageError where neither is installed.
    """
    if os.environ.get("MUJOCO_GL"):
        return
    found = [name for name, library in _LIBRARIES.items() if ctypes.util.find_library(library)]
    if not found:
        raise UsageError(
            "MuJoCo cannot draw here: neither EGL nor OSMesa is installed",
            hint="install libegl1 or libosmesa6 (Debian's names), or set MUJOCO_GL",
        )
    os.environ["MUJOCO_GL"] = found[0]
