"""AgileRL: its own Minari reader, for the whole dataset and for one task. Arguments: the exports' folder."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

os.environ["MINARI_DATASETS_PATH"] = str(Path(sys.argv[1]) / "root")
import h5py
from agilerl.utils.minari_utils import minari_to_agile_dataset


def read(dataset_id):
    path = minari_to_agile_dataset(dataset_id)
    names = {
        "observation": "observations",
        "action": "actions",
        "reward": "rewards",
        "next_observation": "next_observations",
        "terminated": "terminals",
    }
    with h5py.File(path) as file:
        return {ours: file[theirs][()].tolist() for ours, theirs in names.items()}


print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("agilerl", "minari", "torch", "numpy")},
            "whole": read("idaq/made/tagged-v0"),
            "one_task": read("idaq/made/tagged/task-9-v0"),
        }
    )
)
