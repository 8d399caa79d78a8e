"""Marks that several test files use."""

import ctypes.util

import pytest

DRAWS = pytest.mark.skipif(
    not any(map(ctypes.util.find_library, ("EGL", "OSMesa"))), reason="neither EGL nor OSMesa is installed"
)
