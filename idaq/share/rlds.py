"""An RLDS dataset in TensorFlow Datasets' files: `tfds.builder_from_directory(folder).as_dataset(split="train")`.

An example is an episode; its `steps` are T + 1, as RLDS has them: step t < T holds s_t, a_t, r_t and the discount after
it (0 where the task ended there, else 1), step T holds s_T and zeros (`is_last`), so s' is the next step's observation.
`is_terminal` marks s_T of an episode that terminated. Beside the steps stand `episode`, `task_index`, `task_id`,
`behaviour`, `seed` (text: it may need all of uint64; empty where it is not known), `success` (left out where it is not
known of every episode), and `terminated` and `truncated` of the last transition, kept apart. The splits are the
dataset's splits of tasks. Numbers keep their dtypes, rows are flattened to vectors.

TensorFlow Datasets writes the files, so it has to be installed: pip install tensorflow-datasets tensorflow-cpu.
"""

from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.extras import optional
from idaq.core.ids import parse_id
from idaq.core.types import Advance, Array, ignore_progress
from idaq.format.documents import Counts
from idaq.format.layout import row_width
from idaq.format.reader import StoredDataset
from idaq.share.exporting import ExportedEpisode, count, each_episode, new_folder

EPISODES_PER_FILE = 1000


def export_rlds(stored: StoredDataset, target: Path, *, progress: Advance = ignore_progress) -> Counts:
    """Write the folder `target` atomically; `progress` counts episodes. One episode is in memory at a time.

    Raises DatasetExistsError if `target` exists, MissingExtraError without TensorFlow or TensorFlow Datasets.
    """
    optional("tensorflow")  # TFDS would miss it only later, in a less telling way
    tfds = optional("tensorflow_datasets")
    facts = []
    with new_folder(target) as folder:
        info = _info(tfds, stored, folder)
        writer = tfds.core.SequentialWriter(info, max_examples_per_shard=EPISODES_PER_FILE)
        splits = {task.split for task in stored.tasks}
        writer.initialize_splits(sorted(splits))
        for entry in each_episode(stored, progress):
            example = example_of(entry)
            writer.add_examples({entry.task.split: [{name: example[name] for name in info.features}]})
            facts.append(entry.facts)
        writer.close_all()
    return count(facts)


def _info(tfds: Any, stored: StoredDataset, folder: Path) -> Any:
    """What TFDS knows of the dataset: names, features, where the files go."""
    dataset_id = parse_id(stored.manifest.dataset_id)
    columns, scalar = stored.manifest.columns, tfds.features.Scalar
    success = ["success"] if stored.episodes.success_known.all() else []
    observation, action = (
        tfds.features.Tensor(shape=(row_width(columns[name]),), dtype=np.dtype(columns[name].dtype))
        for name in ("observations", "actions")
    )
    steps = {
        "observation": observation,
        "action": action,
        "reward": scalar(np.dtype(columns["rewards"].dtype)),
        "discount": scalar(np.float32),
        **{name: scalar(np.bool_) for name in ("is_first", "is_last", "is_terminal")},
    }
    episode = {
        "steps": tfds.features.Dataset(steps),
        **{name: scalar(np.int64) for name in ("episode", "task_index")},
        **{name: tfds.features.Text() for name in ("task_id", "behaviour", "seed")},
        **{name: scalar(np.bool_) for name in (*success, "terminated", "truncated")},
    }
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=f"{dataset_id.namespace}_{dataset_id.name}".replace("/", "_").replace("-", "_").lower(),
        version=tfds.core.Version(f"{dataset_id.version}.0.0"),
        data_dir=str(folder),
        module_name="idaq",
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f"{stored.manifest.recipe.description} ({dataset_id}, content {stored.manifest.content_digest})",
        features=tfds.features.FeaturesDict(episode),
    )
    info.set_file_format("tfrecord")
    return info


def example_of(entry: ExportedEpisode) -> dict[str, Any]:
    """An episode as TFDS takes it: its facts, and `steps`, a list of T + 1 mappings."""
    episode, length = entry.episode, len(entry.episode)
    is_last = np.arange(length + 1) == length
    ended = bool(episode.terminated[-1])
    facts = {name: value for name, value in entry.facts.items() if name != "length"}
    columns = {
        "observation": episode.observations.reshape(length + 1, -1),
        "action": _one_more(episode.actions.reshape(length, -1)),
        "reward": _one_more(episode.rewards),
        "discount": _one_more((~episode.terminated).astype(np.float32)),
        "is_first": np.arange(length + 1) == 0,
        "is_last": is_last,
        "is_terminal": is_last & ended,
    }
    steps = [{name: rows[step] for name, rows in columns.items()} for step in range(length + 1)]
    return {"steps": steps, **facts, "seed": "" if entry.seed is None else str(entry.seed)}


def _one_more(rows: Array) -> Array:
    """Rows for T + 1 steps: what follows s_T is zero."""
    return np.concatenate([rows, np.zeros_like(rows[:1])])
