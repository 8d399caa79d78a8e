"""The stored loss trace of twenty steps of each algorithm: a refactor changes none of its bits.

`python -m tests.learn.test_golden DATASETS_ROOT ALGORITHM` prints what this machine calculates, weights included; on
one machine it is the same text before and after a change that is no change of the algorithm. Other processors sum in
another order, so the test allows for rounding.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from idaq.collect.collect import Collected, collect
from idaq.core.metrics import read_metrics
from idaq.learn.checkpoint import checkpoints
from idaq.learn.config import training_config
from idaq.learn.loop import train
from idaq.loader import open_dataset
from tests.recipes import small_recipe

STORED = Path(__file__).parent / "golden"
SETTINGS = {"seed": 3, "steps": 20, "log_every": 2, "checkpoint_every": 20, "threads": 1}
SMALL = {"meta_batch": 4, "network": {"width": 16, "layers": 2, "heads": 2}}
OWN: dict[str, dict[str, Any]] = {
    "ad": {**SMALL, "within": "task", "length": 30, "context": 20},
    "dpt": {**SMALL, "context": 20, "queries": 8},
    "focal-td3bc": {},
}
"""settings of each algorithm"""


def trace(algorithm: str, dataset: Path, out: Path) -> dict[str, Any]:
    """What twenty steps come to: losses at every second step, and a digest of all weights and optimiser states."""
    settings = {"algorithm": algorithm, **SETTINGS, **OWN[algorithm]}
    train(open_dataset(dataset), training_config(settings), out, device="cpu")
    state = hashlib.sha256()
    for name, tensor in sorted(load_file(checkpoints(out)[-1]).items()):
        state.update(name.encode() + tensor.tobytes())
    return {"losses": read_metrics(out), "state": state.hexdigest()}


@pytest.mark.parametrize("algorithm", OWN)
def test_an_algorithm_traces_its_stored_losses(collected: Collected, tmp_path: Path, algorithm: str) -> None:
    stored = json.loads((STORED / f"{algorithm}.json").read_text())["losses"]
    here = trace(algorithm, collected.path, tmp_path / "run")["losses"]
    assert len(here) == len(stored) == 10
    for there, now in zip(stored, here, strict=True):
        assert now == pytest.approx(there, rel=1e-4, abs=1e-6)


if __name__ == "__main__":
    root, chosen = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(trace(chosen, collect(small_recipe(), root).path, Path(folder)), indent=1))
