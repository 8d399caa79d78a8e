"""A hub from outside, as text: that of the package in tests/plugins."""

from pathlib import Path

FOLDER_HUB = (Path(__file__).parents[1] / "plugins/idaq_maze/folder_hub.py").read_text()
