"""Writes the golden datasets that are missing."""

import shutil

from tests.golden import FOLDER, write_missing

print(*(write_missing() or ["none is missing"]), sep="\n")
shutil.rmtree(FOLDER / ".idaq", ignore_errors=True)
