"""AMAGO: its RLDataset of our episodes, and a DataLoader over it as its Experiment makes one.

Arguments: the exports' folder. $IDAQ_AMAGO: a checkout of AMAGO.
"""

import json
import os
import random
import sys
import tomllib
import warnings
from importlib.metadata import version
from pathlib import Path

warnings.simplefilter("ignore")  # AMAGO's own, of what it has not found
checkout = Path(os.environ["IDAQ_AMAGO"])
sys.path.insert(0, str(checkout))
import numpy as np  # noqa: E402
from amago.loading import RLData_pad_collate, RLDataset  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from idaq.loader import open_dataset  # noqa: E402
from idaq.share.frameworks import to_amago  # noqa: E402

exports = Path(sys.argv[1])


def trajectories(dataset_id, root, episodes=1):
    dataset = open_dataset(dataset_id, exports / root)
    found = to_amago(dataset, episodes)
    assert isinstance(found, RLDataset)
    return [plain(found.trajectory(position)) for position in range(len(dataset))]


def plain(data):
    names = ("rews", "dones", "actions", "time_idxs", "rl2s")
    return {
        "obs": {name: values.tolist() for name, values in data.obs.items()},
        **{name: getattr(data, name).tolist() for name in names},
    }


def batches():
    random.seed(0)
    dataset = to_amago(open_dataset("idaq/made/tagged-v0", exports / "root"), episodes=2)
    dataset.configure(items_per_epoch=12, max_seq_len=8, padded_sampling="none", has_edit_rights=False)
    return [batch.obs["observation"].shape for batch in DataLoader(dataset, 4, collate_fn=RLData_pad_collate)]


amago = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"]
print(
    json.dumps(
        {
            "versions": {"amago": amago, **{name: version(name) for name in ("gymnasium", "torch", "numpy")}},
            "single": trajectories("idaq/made/tagged-v0", "root"),
            "pairs": trajectories("idaq/made/tagged-v0", "root", episodes=2),
            "grid": trajectories("idaq/made/grid-v0", "more"),
            "histories": trajectories("idaq/made/grid-v0", "more", episodes=2),
            "dict": trajectories("idaq/made/dict-v0", "more"),
            "batches": [list(shape) for shape in batches()],
            "largest": float(np.finfo(np.float32).max),
        }
    )
)
