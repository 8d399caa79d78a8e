"""TensorFlow Datasets writes RLDS episodes, nested and with images; the importer reads them. Argument: a folder."""

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow_datasets as tfds

from idaq.loader import open_dataset
from idaq.share.importers import import_dataset

root = Path(sys.argv[1]) / "made-rlds"
folder = root / "toy/1.0.0"
folder.mkdir(parents=True)
features, flag = tfds.features, tfds.features.Scalar(np.bool_)
seen = {
    "image": features.Image(shape=(4, 4, 3), encoding_format="png"),
    "state": features.Tensor(shape=(2,), dtype=np.float32),
}
steps = features.Dataset(
    {
        "observation": features.FeaturesDict(seen),
        "action": features.Tensor(shape=(1,), dtype=np.float32),
        "reward": features.Scalar(np.float32),
        **dict.fromkeys(("is_first", "is_last", "is_terminal"), flag),
    }
)
identity = tfds.core.dataset_info.DatasetIdentity(
    name="toy", version=tfds.core.Version("1.0.0"), data_dir=str(folder), module_name="toy"
)
info = tfds.core.DatasetInfo(builder=identity, description="made", features=features.FeaturesDict({"steps": steps}))
info.set_file_format("tfrecord")
writer = tfds.core.SequentialWriter(info, max_examples_per_shard=10)
writer.initialize_splits(["train", "val"])
for number, (split, length) in enumerate((("train", 4), ("train", 3), ("val", 2))):
    made = [
        {
            "observation": {
                "image": np.full((4, 4, 3), 10 * number + t, np.uint8),
                "state": np.array([t, number], np.float32),
            },
            "action": np.array([t / 10], np.float32),
            "reward": np.float32(t),
            "is_first": t == 0,
            "is_last": t == length,
            "is_terminal": t == length and number == 1,
        }
        for t in range(length + 1)
    ]
    writer.add_examples({split: [{"steps": made}]})
writer.close_all()

done = import_dataset([folder], "me/made/rlds-v0", root=root / "datasets")
dataset = open_dataset(done.path)
print(
    json.dumps(
        {
            "tasks": [task.task_id for task in dataset.tasks],
            "states": [episode.observations["state"].tolist() for episode in dataset],
            "images": [episode.observations["image"][:, 0, 0, 0].tolist() for episode in dataset],
            "actions": [episode.actions.ravel().tolist() for episode in dataset],
            "rewards": [episode.rewards.tolist() for episode in dataset],
            "terminated": [bool(episode.terminated[-1]) for episode in dataset],
            "versions": {"tensorflow-datasets": tfds.__version__},
        }
    )
)
