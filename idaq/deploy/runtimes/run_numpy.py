"""Runs the policy of this folder with NumPy alone.

import run_numpy

policy = run_numpy.load()                   # or load("path/of/the/folder")
action = policy(observation)                # (D,) -> (A,), or rows (N, D) -> (N, A)

python run_numpy.py "[0.1, 0.2]"            # prints the action of one observation
"""

import json
import sys
from pathlib import Path

import numpy as np

ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: (np.tanh(x / 2) + 1) / 2,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


def load(folder=Path(__file__).parent):
    """The policy as a function of an observation (D,) or of rows (N, D). ValueError for other sizes and for NaN."""
    with np.load(Path(folder) / "weights.npz", allow_pickle=False) as archive:
        w = {name: archive[name] for name in archive.files}

    def policy(observation):
        x = np.asarray(observation, dtype=np.float32)
        if x.shape[-1:] != w["observation_mean"].shape or not np.isfinite(x).all():
            raise ValueError(f"{len(w['observation_mean'])} finite numbers are an observation, got {x.shape}: {x}")
        x = (x - w["observation_mean"]) / w["observation_std"]
        for number, activation in enumerate(w["activations"].tolist()):
            x = ACTIVATIONS[activation](x @ w[f"layers.{number}.weight"] + w[f"layers.{number}.bias"])
        return np.clip(x * w["action_scale"] + w["action_centre"], w["action_low"], w["action_high"])

    return policy


if __name__ == "__main__":
    print(json.dumps(load()(json.loads(sys.argv[1])).tolist()))
