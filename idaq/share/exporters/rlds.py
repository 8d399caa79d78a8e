"""An RLDS dataset in TensorFlow Datasets' files: `tfds.builder_from_directory(folder).as_dataset(split="train")`.

An example is an episode; its `steps` are T + 1, as RLDS has them: step t < T holds s_t, a_t, r_t and the discount after
it (0 where the task ended there, else 1), step T holds s_T and zeros (`is_last`), so s' is the next step's observation.
`is_terminal` marks s_T of an episode that terminated. Beside the steps stand `episode`, `task_index`, `task_id`,
`behaviour`, `seed` (text: it may need all of uint64; empty where it is not known), `history` and `policy_step` (-1
where there is none), `success` (left out where it is not known of every episode), and `terminated` and `truncated` of
the last transition, kept apart; of an earlier one only `discount` tells. The splits are the dataset's splits of tasks.
Numbers keep their dtypes, rows their shapes; a Dict is a dict, and so are extra columns (`infos/x`), whose name gets
`_` behind it where it is taken. What has T rows has zeros at step T. Columns are stored as bytes: the files' own floats
are float32.

TensorFlow Datasets writes the files, so it has to be installed: pip install tensorflow-datasets tensorflow-cpu.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.extras import optional
from idaq.core.ids import parse_id
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, Advance, Array, ignore_progress, is_observation
from idaq.format.documents import Column
from idaq.format.layout import is_extra
from idaq.format.reader import StoredDataset
from idaq.share.exporting import ExportedEpisode, each_episode, new_folder

EPISODES_PER_FILE = 1000
_PLAIN = {OBSERVATIONS: "observation", ACTIONS: "action", REWARDS: "reward"}
_FLAGS = ("is_first", "is_last", "is_terminal")
_TAKEN = (*_PLAIN.values(), "discount", *_FLAGS)


def export_rlds(stored: StoredDataset, target: Path, *, progress: Advance = ignore_progress) -> Notes:
    """Write the folder `target` atomically; `progress` counts episodes. One episode is in memory at a time.

    Raises DatasetExistsError if `target` exists, MissingExtraError without TensorFlow or TensorFlow Datasets.
    """
    optional("tensorflow")  # TFDS would miss it only later, in a less telling way
    tfds = optional("tensorflow_datasets")
    notes = _notes(stored)
    with new_folder(target) as folder:
        info = _info(tfds, stored, folder)
        writer = tfds.core.SequentialWriter(info, max_examples_per_shard=EPISODES_PER_FILE)
        splits = {task.split for task in stored.tasks}
        writer.initialize_splits(sorted(splits))
        for entry in each_episode(stored, progress):
            example = example_of(entry)
            writer.add_examples({entry.task.split: [{name: example[name] for name in info.features}]})
            early = [entry.episode.truncated[:-1]]
            notes.add(entry.task.task_id, "time-outs before an episode's last step are left out", int(np.sum(early)))
        writer.close_all()
    return notes


def _notes(stored: StoredDataset) -> Notes:
    """Names that are taken."""
    notes = Notes()
    for name in filter(is_extra, stored.manifest.columns):
        if _place(name)[0] != name.split("/")[0]:
            notes.add(name, "the column is written with _ behind its name, which means something else there")
    return notes


def _place(name: str) -> list[str]:
    """Where a column stands in a step: the keys that lead to it."""
    first, *rest = name.split("/")
    return [_PLAIN.get(first, f"{first}_" if first in _TAKEN else first), *rest]


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of columns, but for flags, as the dict of a step."""
    whole: dict[str, Any] = {}
    for name, value in values.items():
        *folders, last = _place(name)
        inner = whole
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = value
    return whole


def _is_written(name: str) -> bool:
    """Flags are told otherwise."""
    return name in _PLAIN or is_observation(name) or is_extra(name)


def _info(tfds: Any, stored: StoredDataset, folder: Path) -> Any:
    """What TFDS knows of the dataset: names, features, where the files go."""
    dataset_id = parse_id(stored.manifest.dataset_id)
    scalar = tfds.features.Scalar
    success = ["success"] if stored.episodes.success_known.all() else []

    def feature(column: Column) -> Any:
        # as bytes: a TFRecord's own floats are float32, whatever the dtype says
        return tfds.features.Tensor(shape=tuple(column.shape), dtype=np.dtype(column.dtype), encoding="bytes")

    columns = {name: feature(column) for name, column in stored.manifest.columns.items() if _is_written(name)}
    steps = _nested(columns) | {"discount": scalar(np.float32)} | {name: scalar(np.bool_) for name in _FLAGS}
    episode = {
        "steps": tfds.features.Dataset(steps),
        **{name: scalar(np.int64) for name in ("episode", "task_index", "history", "policy_step")},
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
    facts = {name: -1 if value is None else value for name, value in entry.facts.items() if name != "length"}
    columns = {
        name: rows if len(rows) > length else _one_more(rows)
        for name, rows in episode.columns.items()
        if _is_written(name)
    }
    flags = {
        "discount": _one_more((~episode.terminated).astype(np.float32)),
        "is_first": np.arange(length + 1) == 0,
        "is_last": is_last,
        "is_terminal": is_last & ended,
    }
    steps = [
        _nested({name: rows[step] for name, rows in columns.items()})
        | {name: rows[step] for name, rows in flags.items()}
        for step in range(length + 1)
    ]
    return {"steps": steps, **facts, "seed": "" if entry.seed is None else str(entry.seed), "success": entry.success}


def _one_more(rows: Array) -> Array:
    """Rows for T + 1 steps: what follows s_T is zero."""
    return np.concatenate([rows, np.zeros_like(rows[:1])])
