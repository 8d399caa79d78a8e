"""LeRobotDataset opens the export: all frames, one episode, a window of time. Arguments: the exports' folder."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = str(Path(sys.argv[1]) / "hf")
from lerobot.datasets.lerobot_dataset import LeRobotDataset

NAMES = {
    "observation.state": "observation",
    "action": "action",
    "next.reward": "reward",
    "next.observation.state": "next_observation",
    "next.terminated": "terminated",
    "next.truncated": "truncated",
    "idaq_task_index": "task_index",
    "episode_index": "episode",
    "frame_index": "step",
    "task": "task_id",
}
root = Path(sys.argv[1]) / "lerobot"


def read(dataset, names=NAMES):
    items = [dataset[index] for index in range(len(dataset))]
    return {
        ours: [item[theirs] if isinstance(item[theirs], str) else item[theirs].tolist() for item in items]
        for theirs, ours in names.items()
    }


def read_more(name, names):
    return read(LeRobotDataset(f"idaq/{name}", root=Path(sys.argv[1]) / f"lerobot-{name}"), names)


whole = LeRobotDataset("idaq/tagged", root=root)
window = LeRobotDataset("idaq/tagged", root=root, delta_timestamps={"observation.state": [-1.0, 0.0, 1.0]})
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("lerobot", "datasets", "torch", "pandas", "numpy")},
            "whole": read(whole),
            "one_episode": read(LeRobotDataset("idaq/tagged", root=root, episodes=[5])),
            "window": [window[30]["observation.state"].tolist(), window[30]["observation.state_is_pad"].tolist()],
            "pictures": read_more(
                "pictures",
                {
                    "observation.image": "observations",
                    "next.observation.image": "next/observations",
                    "action": "actions",
                    "infos.contact": "infos/contact",
                    "step": "step",
                },
            ),
            "dict": read_more(
                "dict",
                {
                    "observation.images.camera": "observations/camera",
                    "observation.room": "observations/room",
                    "observation.state.joints": "observations/state/joints",
                    "next.observation.tiles": "next/observations/tiles",
                    "infos.height": "infos/height",
                    "next.infos.height": "next/infos/height",
                },
            ),
            "totals": [whole.num_episodes, whole.num_frames, whole.meta.total_tasks],
            "mean_reward": float(whole.meta.stats["next.reward"]["mean"][0]),
        }
    )
)
