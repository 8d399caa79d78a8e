"""Alter a dataset and seal its chain of hashes again, so that only the deep checks can find what was altered."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pyarrow as pa
import pyarrow.parquet as pq

from idaq.core.config import canonical_json
from idaq.core.digest import dataset_digest, episode_digest
from idaq.core.types import Episode
from idaq.format import layout
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.testing.damage import reseal

Alter = Callable[[Any], Any]


def alter_metadata(dataset: Path, alter: Alter) -> None:
    """Alter metadata.json (not its "idaq" object) and seal."""
    path = layout.data_folder(dataset) / layout.METADATA
    metadata = json.loads(path.read_text())
    alter(metadata)
    path.write_text(json.dumps(metadata))
    reseal(dataset)


def alter_tasks(dataset: Path, alter: Alter) -> None:
    """Alter the list of tasks of tasks.jsonl and seal."""
    path = layout.data_folder(dataset) / layout.TASKS
    tasks = [json.loads(line) for line in path.read_text().splitlines()]
    alter(tasks)
    path.write_text("".join(canonical_json(task) + "\n" for task in tasks))
    reseal(dataset)


def alter_episodes(dataset: Path, alter: Alter) -> None:
    """Alter the table of episodes.parquet, as a dict of lists by column, and seal, the content digest too."""
    path = layout.data_folder(dataset) / layout.EPISODES
    found = pq.read_table(path)
    table = found.to_pydict()
    alter(table)
    pq.write_table(pa.table(table, schema=found.schema), path)
    reseal(dataset, lambda manifest: manifest.update(content_digest=dataset_digest(table["digest"])))


def alter_hdf5(dataset: Path, alter: Alter) -> None:
    """Alter the open HDF5 file and seal; digests of episodes stay as they were."""
    with h5py.File(layout.data_folder(dataset) / layout.HDF5, "r+") as file:
        alter(file)
    reseal(dataset)


def redigest(dataset: Path, number: int) -> None:
    """Make the digest of one episode in episodes.parquet that of the values in the HDF5, and seal."""
    with h5py.File(layout.data_folder(dataset) / layout.HDF5) as file:
        group = file[f"episode_{number}"]
        columns = {name: group[name][()] for name in open_stored(dataset).manifest.columns}

    def alter(table: dict[str, list[Any]]) -> None:
        episode = Episode.from_columns(columns)
        table["digest"][number] = episode_digest(
            episode, task_index=table["task_index"][number], seed=table["seed"][number]
        )

    alter_episodes(dataset, alter)


def set_value(dataset: Path, number: int, column: str, index: Any, value: Any) -> None:
    """Set one value of one episode, in place, and seal with a true digest."""

    def alter(file: h5py.File) -> None:
        file[f"episode_{number}"][column][index] = value

    alter_hdf5(dataset, alter)
    redigest(dataset, number)


def problems(dataset: Path) -> str:
    """All that verify finds, one a line."""
    return "\n".join(map(str, verify(dataset)))


def flip(path: Path, position: int, mask: int) -> None:
    """Alter one byte."""
    content = bytearray(path.read_bytes())
    content[position] ^= mask
    path.write_bytes(content)


def alter_document(path: Path, alter: Alter) -> None:
    """Alter a JSON document; seals nothing."""
    value = json.loads(path.read_text())
    alter(value)
    path.write_text(json.dumps(value))
