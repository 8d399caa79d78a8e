"""Runs the policy of this folder with ONNX Runtime, which C++, C#, Java and JavaScript have too.

import run_onnx

policy = run_onnx.load()                    # or load("path/of/the/folder")
action = policy(observation)                # (D,) -> (A,), or rows (N, D) -> (N, A)

python run_onnx.py "[0.1, 0.2]"             # prints the action of one observation
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def load(folder=Path(__file__).parent):
    """The policy as a function of an observation (D,) or of rows (N, D). ValueError for other sizes and for NaN."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a small network: waking threads takes longer than its sums
    session = onnxruntime.InferenceSession(
        str(Path(folder) / "policy.onnx"), options, providers=["CPUExecutionProvider"]
    )
    size = session.get_inputs()[0].shape[1]

    def policy(observation):
        x = np.asarray(observation, dtype=np.float32)
        if x.shape[-1:] != (size,) or not np.isfinite(x).all():
            raise ValueError(f"{size} finite numbers are an observation, got {x.shape}: {x}")
        (actions,) = session.run(["action"], {"observation": x.reshape(-1, size)})
        return np.asarray(actions).reshape(*x.shape[:-1], -1)

    return policy


if __name__ == "__main__":
    print(json.dumps(load()(json.loads(sys.argv[1])).tolist()))
