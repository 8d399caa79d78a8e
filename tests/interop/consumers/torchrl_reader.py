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

MORE = Path(sys.argv[1]) / "more"


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


def everything(name):
    """All columns of a dataset with other spaces, in the dataset's dtypes."""
    rows = to_tensordict(open_dataset(f"idaq/made/{name}-v0", MORE), floats=None)
    after = rows["next"]
    found = {"actions": rows["action"], "expert_action": rows["expert_action"], "belief": rows["belief"]}
    found |= {"next/belief": after["belief"], "rewards": after["reward"][:, 0], "log_prob": rows["log_prob"]}
    found |= {"infos/height": rows["infos", "height"], "next/infos/height": after["infos", "height"]}
    for side, part in (("", rows), ("next/", after)):
        if name == "dict":
            for leaf in (("camera",), ("depth",), ("lights",), ("room",), ("state", "joints"), ("state", "speed")):
                found["/".join((f"{side}observations", *leaf))] = part[("observation", *leaf)]
        else:
            found[f"{side}observations"] = part["observation"]
    return {column: values.tolist() for column, values in found.items()}


def own_source():
    """TorchRL's registry of sources, where it has one."""
    try:
        from torchrl.data.datasets import load_dataset, register_dataset
    except ImportError:
        return None
    register_dataset("idaq", "idaq.share.frameworks:torchrl_source")
    replay = load_dataset("idaq:idaq/made/tagged-v0", batch_size=7, root=root, tasks=[2, 9])
    assert replay.sample()["observation"].shape == (7, 3)
    return columns(replay[:], "task_index", "step")


tagged = open_dataset("idaq/made/tagged-v0", root)
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("torchrl", "tensordict", "minari", "torch", "numpy")},
            "whole": own_reader("idaq/made/tagged-v0"),
            "one_task": own_reader("idaq/made/tagged/task-9-v0"),
            "source": own_source(),
            "dict": everything("dict"),
            "grid": everything("grid"),
            "tensordict": columns(to_tensordict(tagged), "task_index", "step"),
            "sampled": columns(to_torchrl(tagged, batch_size=40).sample(), "task_index", "step"),
        }
    )
)
