"""One small source of each layout, as its makers lay it out.

Step t of episode k observes [t, k], acts t / 10 and earns 10 t + k; two episodes, of 4 and 3 steps.
"""

import json
import pickle  # noqa: TID251  what others write
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

LENGTHS = (4, 3)


def steps(number: int, length: int) -> dict[str, Any]:
    """One episode: s of T + 1 rows, a, r."""
    t = np.arange(length + 1)
    return {
        "s": np.stack([t, np.full(length + 1, number)], 1).astype(np.float32),
        "a": (t[:-1, None] / 10).astype(np.float32),
        "r": (10 * t[:-1] + number).astype(np.float64),
    }


EPISODES = [steps(number, length) for number, length in enumerate(LENGTHS)]


def joined(name: str, rows: slice = slice(None)) -> Any:
    return np.concatenate([episode[name][rows] for episode in EPISODES])


def imitation(path: Path, **changed: Any) -> Path:
    """imitation 0.x's `types.save`: infos are objects, which NumPy pickles."""
    members = {
        "obs": joined("s"),
        "acts": joined("a"),
        "rews": joined("r"),
        "infos": np.array([{}] * sum(LENGTHS), object),
        "terminal": np.array([True, False]),
        "indices": np.cumsum(LENGTHS)[:-1],
    }
    np.savez_compressed(path, **{k: v for k, v in (members | changed).items() if v is not None})
    return path


def stable_baselines(path: Path, **changed: Any) -> Path:
    """`generate_expert_traj` of Stable-Baselines 2."""
    members = {
        "obs": joined("s", slice(None, -1)),
        "actions": joined("a"),
        "rewards": joined("r"),
        "episode_returns": np.array([episode["r"].sum() for episode in EPISODES]),
        "episode_starts": np.concatenate([np.arange(length) == 0 for length in LENGTHS]),
    }
    np.savez(path, **{k: v for k, v in (members | changed).items() if v is not None})
    return path


def ogbench(path: Path, **changed: Any) -> Path:
    """A row more than there are actions, whose own action is of no use."""
    pad = [np.concatenate([episode["a"], [[9]]]) for episode in EPISODES]
    members = {
        "observations": joined("s"),
        "actions": np.concatenate(pad).astype(np.float32),
        "terminals": np.concatenate([np.arange(length + 1) == length for length in LENGTHS]),
        "qpos": joined("s") * 2,
    }
    np.savez_compressed(path, **{k: v for k, v in (members | changed).items() if v is not None})
    return path


def robomimic(path: Path, **changed: Any) -> Path:
    """`low_dim.hdf5` of robomimic: groups below data, keys below obs, masks."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})
        data.attrs["total"] = sum(LENGTHS)
        for number, episode in enumerate(EPISODES):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = len(episode["a"])
            members = {
                "actions": episode["a"],
                "rewards": episode["r"],
                "dones": np.arange(len(episode["a"])) == len(episode["a"]) - 1,
                "states": episode["s"][:-1] * 3,
                "obs/eef": episode["s"][:-1, :1],
                "obs/object": episode["s"][:-1, 1:],
                "next_obs/eef": episode["s"][1:, :1],
                "next_obs/object": episode["s"][1:, 1:],
            }
            for name, value in (members | changed).items():
                if value is not None:
                    demo[name] = value
        file["mask/train"] = np.array([b"demo_0"])
        file["mask/better"], file["mask/worse"] = np.array([b"demo_0"]), np.array([b"demo_1"])
    return path


def maniskill(path: Path) -> Path:
    """`trajectory.h5`: groups at the root, T + 1 observations, both flags."""
    with h5py.File(path, "w") as file:
        for number, episode in enumerate(EPISODES):
            length, group = len(episode["a"]), file.create_group(f"traj_{number}")
            group["obs"], group["actions"] = episode["s"], episode["a"]
            group["terminated"] = (np.arange(length) == length - 1) & (number == 0)
            group["truncated"] = (np.arange(length) == length - 1) & (number == 1)
            group["success"] = np.arange(length) > 1
            group["env_states/actors/cube"] = episode["s"] + 5
    return path


def lerobot(folder: Path, version: str = "v3.0", **changed: Any) -> Path:
    """A recording: frames without rewards, a sentence a task, one video."""
    folder.mkdir(parents=True)
    number = np.repeat(np.arange(2), np.array(LENGTHS) + 1)
    frames = {
        "observation.state": pa.FixedSizeListArray.from_arrays(joined("s").ravel(), 2),
        "action": np.concatenate([np.append(episode["a"], np.float32(9)) for episode in EPISODES]),
        "timestamp": np.zeros(len(number), np.float32),
        "frame_index": np.concatenate([np.arange(length + 1) for length in LENGTHS]),
        "episode_index": number,
        "index": np.arange(len(number)),
        "task_index": number,
    }
    frames |= changed
    features = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": ["x", "y"]},
        "action": {"dtype": "float32", "shape": [1], "names": {"motors": ["gripper"]}},
        "observation.images.top": {"dtype": "video", "shape": [8, 8, 3], "names": None},
        **{name: {"dtype": "int64", "shape": [1], "names": None} for name in list(frames)[2:]},
    }
    for name, value in changed.items():
        features[name] = {"dtype": str(np.asarray(value).dtype), "shape": [1], "names": None}
    (folder / "meta").mkdir()
    (folder / "meta/info.json").write_text(json.dumps({"codebase_version": version, "fps": 30, "features": features}))
    names = ["Pick the cube.", "Put it down."]
    if version == "v3.0":
        (folder / "data/chunk-000").mkdir(parents=True)
        pq.write_table(pa.table(frames), folder / "data/chunk-000/file-000.parquet")
        pq.write_table(pa.table({"task_index": [0, 1], "task": names}), folder / "meta/tasks.parquet")
    else:
        (folder / "data/chunk-000").mkdir(parents=True)
        for episode in range(2):
            table = pa.table(frames).filter(pa.array(number == episode))
            pq.write_table(table, folder / f"data/chunk-000/episode_{episode:06d}.parquet")
        lines = [json.dumps({"task_index": k, "task": name}) for k, name in enumerate(names)]
        (folder / "meta/tasks.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def paths(path: Path, **changed: Any) -> Path:
    """DAPG's demonstrations: a list of dicts, with what the simulator was set to."""
    made = [
        {
            "observations": episode["s"][:-1],
            "actions": episode["a"],
            "rewards": episode["r"],
            "env_infos": {"success": np.arange(len(episode["a"])) > 1},
            "init_state_dict": {"qpos": np.zeros(7)},
            "terminated": False,
            **changed,
        }
        for episode in EPISODES
    ]
    path.write_bytes(pickle.dumps(made))
    return path


def zarr_buffer(path: Path, form: int = 2, **changed: Any) -> Path:
    """Diffusion policy's: all rows of all episodes, and where each ends."""
    root = zarr.open_group(path, mode="w", zarr_format=form)
    arrays = {
        "data/action": joined("a"),
        "data/state": joined("s", slice(None, -1)),
        "data/img": np.zeros((sum(LENGTHS), 2, 2, 3), np.float32) + joined("r").astype(np.float32)[:, None, None, None],
        "meta/episode_ends": np.cumsum(LENGTHS),
    }
    for name, value in (arrays | changed).items():
        if value is not None:
            root.create_array(name, data=value, chunks=(4, *value.shape[1:]))
    return path


def focal_dense(folder: Path, **changed: Any) -> Path:
    """`task_step<S>.npz`, all episodes of a goal."""
    for goal in range(2):
        (folder / f"goal_idx{goal}").mkdir(parents=True)
        members = {
            "obs": joined("s", slice(None, -1)) + goal,
            "actions": joined("a"),
            "rewards": joined("r")[:, None],
            "ep_lengths": np.array(LENGTHS),
            "last_next_obs": np.stack([episode["s"][-1] for episode in EPISODES]) + goal,
        }
        np.savez(folder / f"goal_idx{goal}/task_step300.npz", **(members | changed))
    return folder
