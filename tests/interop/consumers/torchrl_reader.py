"""TorchRL: its own Minari reader, and idaq's converters. Arguments: the exports' folder."""

import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

root = Path(sys.argv[1]) / "root"
os.environ["MINARI_DATASETS_PATH"] = str(root)
from torchrl.data.datasets import MinariExperienceReplay  # noqa: E402

from idaq.loader import open_dataset  # noqa: E402
from idaq.share.frameworks import to_tensordict, to_torchrl  # noqa: E402


def columns(rows, *more):
    after = rows["next"]
    return {
        "observation": rows["observation"].tolist(),
        "action": rows["action"].tolist(),
        "reward": after["reward"][:, 0].tolist(),
        "next_observation": after["observation"].tolist(),
        "terminated": after["terminated"][:, 0].tolist(),
        "truncated": after["truncated"][:, 0].tolist(),
        "episode": rows["episode"].tolist(),
        **{name: rows[name].tolist() for name in more},
    }


def own_reader(dataset_id):
    with tempfile.TemporaryDirectory() as folder:
        replay = MinariExperienceReplay(dataset_id, batch_size=8, root=folder, load_from_local_minari=True)
        assert replay.sample()["observation"].shape == (8, 3)
        return columns(replay[:])


tagged = open_dataset("idaq/made/tagged-v0", root)
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("torchrl", "tensordict", "minari", "torch", "numpy")},
            "whole": own_reader("idaq/made/tagged-v0"),
            "one_task": own_reader("idaq/made/tagged/task-9-v0"),
            "tensordict": columns(to_tensordict(tagged), "task_index", "step"),
            "sampled": columns(to_torchrl(tagged, batch_size=40).sample(), "task_index", "step"),
        }
    )
)
