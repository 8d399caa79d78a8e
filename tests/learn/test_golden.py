"""The stored loss trace of twenty steps of each algorithm: a refactor changes none of its bits.

`python -m tests.learn.test_golden DATASETS_ROOT golden/NAME.json` prints what this machine calculates with the settings
of that file, weights included; on one machine it is the same text before and after a change that is no change of the
algorithm. Other processors sum in another order, so the test allows for rounding. A new algorithm adds its file, which
holds nothing but `settings` at first.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
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

STORED = sorted((Path(__file__).parent / "golden").glob("*.json"))
SETTINGS = {"seed": 3, "steps": 20, "log_every": 2, "checkpoint_every": 20, "threads": 1}


def trace(dataset: Path, out: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What twenty steps come to: losses at every second step, and a digest of all weights and optimiser states."""
    train(open_dataset(dataset), training_config({**SETTINGS, **settings}), out, device="cpu")
    state = hashlib.sha256()
    for name, tensor in sorted(load_file(checkpoints(out)[-1]).items()):
        state.update(name.encode() + tensor.tobytes())
    return {"settings": settings, "losses": read_metrics(out), "state": state.hexdigest()}


@pytest.mark.parametrize("stored", STORED, ids=[path.stem for path in STORED])
def test_an_algorithm_traces_its_stored_losses(stored: Path, collected: Collected, tmp_path: Path) -> None:
    expected = json.loads(stored.read_text())
    here = trace(collected.path, tmp_path / "run", expected["settings"])
    assert len(here["losses"]) == len(expected["losses"]) == 10
    for there, now in zip(expected["losses"], here["losses"], strict=True):
        assert now == pytest.approx(there, rel=1e-4, abs=1e-6)


if __name__ == "__main__":
    root, file = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        settings = json.loads(file.read_text())["settings"]
        print(json.dumps(trace(collect(small_recipe(), root).path, Path(folder), settings), indent=1))
