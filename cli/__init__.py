"""The command line: verbs only. Installed as idaq.cli; `idaq` calls `main`."""

from .app import main

__all__ = ["main"]
