"""Hugging Face's `datasets` on what a push left in a folder. Arguments: the exports' folder."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

exports = Path(sys.argv[1])
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(exports / "hugging-face")}

import datasets  # noqa: E402 - reads its environment when it is imported

folder = str(exports / "hub/idaq/made/tagged-v0")
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("datasets", "pyarrow")},
            "configs": datasets.get_dataset_config_names(folder),
            "tasks": datasets.load_dataset(folder, "tasks", split="train").to_list(),
            "episodes": datasets.load_dataset(folder, "episodes", split="train").to_list(),
        }
    )
)
