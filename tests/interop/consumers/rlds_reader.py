"""TensorFlow Datasets: idaq's export, read back as RLDS episodes. Arguments: the exports' folder."""

import json
import os
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow_datasets as tfds

from idaq.format.reader import open_stored
from idaq.share.exporters.rlds import export_rlds

exports = Path(sys.argv[1])
stored = open_stored(exports / "root/idaq/made/tagged-v0")
export_rlds(stored, exports / "rlds")
builder = tfds.builder_from_directory(exports / "rlds")


def read(split):
    columns = {
        name: []
        for name in (
            "observation",
            "action",
            "reward",
            "next_observation",
            "terminated",
            "truncated",
            "episode",
            "step",
        )
    }
    facts = []
    for episode in tfds.as_numpy(builder.as_dataset(split=split)):
        steps = list(episode["steps"])
        for number, (now, after) in enumerate(pairwise(steps)):
            assert not now["is_last"]
            assert now["is_first"] == (number == 0)
            columns["observation"].append(now["observation"].tolist())
            columns["next_observation"].append(after["observation"].tolist())
            columns["action"].append(now["action"].tolist())
            columns["reward"].append(float(now["reward"]))
            columns["terminated"].append(bool(after["is_terminal"]))
            columns["truncated"].append(bool(after["is_last"] and episode["truncated"]))
            columns["episode"].append(int(episode["episode"]))
            columns["step"].append(number)
            assert (now["discount"] == 0) == after["is_terminal"]
        keys = ("episode", "task_index", "task_id", "behaviour", "seed", "terminated", "truncated", "success")
        facts.append({key: v.decode() if isinstance(v := episode[key], bytes) else v.item() for key in keys})
    return {"transitions": columns, "facts": facts}


def everything():
    """A Dict, pictures and extra columns, by episode, from both splits."""
    export_rlds(open_stored(exports / "more/idaq/made/dict-v0"), exports / "rlds-dict")
    of_dict = tfds.builder_from_directory(exports / "rlds-dict")
    episodes = [episode for split in ("train", "test") for episode in tfds.as_numpy(of_dict.as_dataset(split=split))]
    found = {"observations/camera": [], "next/observations/tiles": [], "infos/height": [], "log_prob": [], "step": []}
    for episode in sorted(episodes, key=lambda episode: int(episode["episode"])):
        for now, after in pairwise(list(episode["steps"])):
            found["observations/camera"].append(now["observation"]["camera"].tolist())
            found["next/observations/tiles"].append(after["observation"]["tiles"].tolist())
            found["infos/height"].append(float(now["infos"]["height"]))
            found["log_prob"].append(float(now["log_prob"]))
            found["step"].append(int(now["step"]))
    return {"columns": found, "policy_steps": sorted(int(episode["policy_step"]) for episode in episodes)}


print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("tensorflow-datasets", "tensorflow-cpu", "numpy")},
            "counts": sum(split.num_examples for split in builder.info.splits.values()),
            "dict": everything(),
            "splits": {name: split.num_examples for name, split in builder.info.splits.items()},
            "train": read("train"),
            "test": read("test"),
        }
    )
)
