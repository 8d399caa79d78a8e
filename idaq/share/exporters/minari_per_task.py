"""One ordinary Minari dataset a task: for libraries that know datasets of one task and its environment.

From `idaq/point-robot/expert-v0` come `idaq/point-robot/expert/<task id>-v0` and so on (`.` in a task id becomes `_`),
below any datasets root. Each holds its task's episodes, numbered from 0, with the seed (where it is known), task and
behaviour of each as episode metadata. `recover_environment()` gives the family's environment set to the task, and the
reference returns stand as Minari's `ref_min_score` (random) and `ref_max_score` (behaviour), so
`minari.get_normalized_score` works. Not an idaq dataset any more: no manifest, no digests; `idaq_source` in the
metadata names where it came from.
"""

import json
from collections.abc import Iterable
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from idaq.core.config import to_mapping
from idaq.core.digest import little_endian
from idaq.core.errors import DatasetError
from idaq.core.files import write_json, write_text
from idaq.core.ids import DatasetId, parse_id
from idaq.core.notes import Notes
from idaq.core.types import Advance, ignore_progress
from idaq.format import layout
from idaq.format.documents import TaskRecord
from idaq.format.output import Output
from idaq.format.reader import StoredDataset
from idaq.format.writer import make_namespaces
from idaq.share.exporting import ExportedEpisode, Facts, each_episode, new_folder

_NAMESPACE_FILE = "namespace_metadata.json"
"""Minari wants one in every namespace folder"""


def export_minari_per_task(stored: StoredDataset, root: Path, *, progress: Advance = ignore_progress) -> Notes:
    """Write all tasks below the datasets root `root`; they appear together, by one rename. `progress` counts episodes.

    One episode is in memory at a time. Raises DatasetExistsError if the folder that takes them exists, DatasetError if
    two task ids become one name, OSError where the disk is full.
    """
    ids = task_dataset_ids(stored)
    namespace = next(iter(ids.values())).namespace
    with new_folder(root / namespace) as folder:
        write_json(folder / _NAMESPACE_FILE, {})
        for task, entries in groupby(each_episode(stored, progress), lambda entry: entry.task):
            dataset_id = ids[task.task_index]
            _write_task(folder / str(dataset_id).rpartition("/")[2], dataset_id, stored, task, entries)
        make_namespaces(root, (root / namespace).parent)
    return Notes()


def task_dataset_ids(stored: StoredDataset) -> dict[int, DatasetId]:
    """The id of each task's dataset, by task index. Raises DatasetError if two would be the same."""
    whole = parse_id(stored.manifest.dataset_id)
    ids = {
        task.task_index: parse_id(f"{whole.namespace}/{whole.name}/{task.task_id.replace('.', '_')}-v{whole.version}")
        for task in stored.tasks
    }
    if len(set(ids.values())) != len(ids):
        raise DatasetError(f"two task ids of {whole} differ in '.' and '_' alone: Minari has no names for both")
    return ids


def _write_task(
    folder: Path, dataset_id: DatasetId, stored: StoredDataset, task: TaskRecord, entries: Iterable[ExportedEpisode]
) -> None:
    """One dataset folder."""
    data = layout.data_folder(folder)
    data.mkdir(parents=True)
    facts = list[Facts]()
    with closing(Output(data / layout.HDF5)) as output:
        with h5py.File(output, "w", fs_strategy="none") as file:
            for number, entry in enumerate(entries):
                _write_episode(file, number, entry)
                output.raise_failure()
                facts.append(entry.facts)
        output.raise_failure()
    write_text(folder / layout.CARD, f"# {dataset_id}\n\nOne task of {stored.manifest.dataset_id}.\n")
    write_json(data / layout.METADATA, _metadata(data, dataset_id, stored, task, facts))


def _write_episode(file: h5py.File, number: int, entry: ExportedEpisode) -> None:
    group = file.create_group(f"episode_{number}")
    attributes = {
        "id": number,
        **({} if entry.seed is None else {"seed": np.uint64(entry.seed)}),
        "total_steps": len(entry.episode),
        "task_id": entry.task.task_id,
        "task_index": entry.task.task_index,
        "options/task": layout.task_option(entry.task),
        "behaviour": entry.behaviour,
        "source_episode": entry.number,
        **{name: entry.facts[name] for name in ("history", "policy_step") if entry.facts[name] is not None},
    }
    for name, value in attributes.items():
        group.attrs.create(name, value)
    for name, column in entry.episode.columns.items():
        group.create_dataset(name, data=little_endian(column))


def _metadata(
    data: Path, dataset_id: DatasetId, stored: StoredDataset, task: TaskRecord, facts: list[dict[str, Any]]
) -> dict[str, Any]:
    """The whole dataset's metadata, as far as it holds for one task, and the task's own."""
    whole = {key: value for key, value in stored.metadata.items() if key != "idaq"}
    return {
        **whole,
        **_environment(whole, task),
        **_scores(task),
        "dataset_id": str(dataset_id),
        "description": f"{task.task_id} of {stored.manifest.dataset_id}: {whole['description']}",
        "total_episodes": len(facts),
        "total_steps": sum(fact["length"] for fact in facts),
        "algorithm_name": ", ".join(dict.fromkeys(str(fact["behaviour"]) for fact in facts)),
        "dataset_size": round((data / layout.HDF5).stat().st_size / 1e6, 1),
        "idaq_task": to_mapping(task),
        "idaq_source": {
            "dataset_id": stored.manifest.dataset_id,
            "content_digest": stored.manifest.content_digest,
            "episodes": [fact["episode"] for fact in facts],
        },
    }


def _environment(whole: dict[str, Any], task: TaskRecord) -> dict[str, str]:
    """The family's environment with this task; nothing for imported data without one."""
    if "env_spec" not in whole:
        return {}
    spec = json.loads(whole["env_spec"])
    takes_task = "task" in task.reset_options
    kwargs = {"task": layout.task_option(task)} if takes_task else {}
    return {"env_spec": json.dumps({**spec, "kwargs": {**spec["kwargs"], **kwargs}})}


def _scores(task: TaskRecord) -> dict[str, float]:
    """Minari's ends of a normalised score, where both were measured."""
    random, behaviour = task.reference.random, task.reference.behaviour
    if random is None or behaviour is None:
        return {}
    return {"ref_min_score": random.mean, "ref_max_score": behaviour.mean}
