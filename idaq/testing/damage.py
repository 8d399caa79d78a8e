"""Ways to damage a dataset that a reader of the format must notice; most have every hash made true again."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pyarrow as pa
import pyarrow.parquet as pq

from idaq.core.config import canonical_json
from idaq.core.digest import value_digest
from idaq.core.files import sha256_file
from idaq.format import layout

Damage = Callable[[Path], object]
"""done to a dataset's folder"""
_FILES = (layout.METADATA, layout.MANIFEST, layout.TASKS, layout.EPISODES, layout.HDF5)


def reseal(dataset: Path, alter_manifest: Callable[[Any], object] = lambda manifest: None) -> None:
    """Make sizes, hashes and digests of the documents true again; `alter_manifest` has the last word."""
    data = layout.data_folder(dataset)
    metadata = json.loads((data / layout.METADATA).read_text())
    manifest = json.loads((data / layout.MANIFEST).read_text())
    for record in manifest["files"]:
        record["size"] = (data / record["path"]).stat().st_size
        record["sha256"] = sha256_file(data / record["path"])
    rest = {key: value for key, value in metadata.items() if key != "idaq"}
    manifest["metadata_digest"] = value_digest(rest)
    manifest["recipe_digest"] = value_digest(manifest["recipe"])
    alter_manifest(manifest)
    (data / layout.MANIFEST).write_text(json.dumps(manifest))
    metadata["idaq"]["counts"] = manifest.get("counts")
    metadata["idaq"]["manifest_sha256"] = sha256_file(data / layout.MANIFEST)
    (data / layout.METADATA).write_text(json.dumps(metadata))


def _manifest(alter: Callable[[Any], object]) -> Damage:
    return lambda dataset: reseal(dataset, alter)


def _metadata(alter: Callable[[Any], object]) -> Damage:
    def damage(dataset: Path) -> None:
        path = layout.data_folder(dataset) / layout.METADATA
        metadata = json.loads(path.read_text())
        alter(metadata)
        path.write_text(json.dumps(metadata))

    return damage


def _tasks(alter: Callable[[list[Any]], object]) -> Damage:
    def damage(dataset: Path) -> None:
        path = layout.data_folder(dataset) / layout.TASKS
        tasks = [json.loads(line) for line in path.read_text().splitlines()]
        alter(tasks)
        path.write_text("".join(canonical_json(task) + "\n" for task in tasks))
        reseal(dataset)

    return damage


def _episodes(alter: Callable[[dict[str, list[Any]]], object]) -> Damage:
    def damage(dataset: Path) -> None:
        path = layout.data_folder(dataset) / layout.EPISODES
        found = pq.read_table(path)
        table = found.to_pydict()
        alter(table)
        pq.write_table(pa.table(table, schema=found.schema), path)
        reseal(dataset)

    return damage


def _null(column: str) -> Damage:
    """A null where there must be none, in a column that is declared to hold them."""

    def damage(dataset: Path) -> None:
        path = layout.data_folder(dataset) / layout.EPISODES
        found = pq.read_table(path)
        table = found.to_pydict()
        table[column][0] = None
        fields = [field.with_nullable(True) for field in found.schema]
        pq.write_table(pa.table(table, schema=pa.schema(fields)), path)
        reseal(dataset)

    return damage


def _hdf5(alter: Callable[[Any], object]) -> Damage:
    def damage(dataset: Path) -> None:
        with h5py.File(layout.data_folder(dataset) / layout.HDF5, "r+") as file:
            alter(file)
        reseal(dataset)

    return damage


def _bytes(name: str, alter: Callable[[bytes], bytes]) -> Damage:
    def damage(dataset: Path) -> None:
        path = layout.data_folder(dataset) / name
        path.write_bytes(alter(path.read_bytes()))

    return damage


def _changed(content: bytes) -> bytes:
    """One byte in the middle is another one, in JSON another character."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def _key_twice(dataset: Path) -> None:
    path = layout.data_folder(dataset) / layout.METADATA
    path.write_text('{"dataset_id": "other/other-v0", ' + path.read_text().lstrip()[1:])


def _linked(dataset: Path) -> None:
    """The tasks are read through a link that leads out of the folder."""
    path, outside = layout.data_folder(dataset) / layout.TASKS, dataset.parent / "outside"
    path.rename(outside)
    os.symlink(outside, path)


DAMAGES: dict[str, Damage] = {
    **{f"{name} is missing": lambda d, n=name: (layout.data_folder(d) / n).unlink() for name in _FILES},
    **{f"{name} is cut short": _bytes(name, lambda content: content[: len(content) // 2]) for name in _FILES},
    **{f"{name} has another byte": _bytes(name, _changed) for name in (layout.MANIFEST, *layout.hashed_files({}))},
    "metadata.json is of format 2": _metadata(lambda metadata: metadata["idaq"].update(format_version=2)),
    "metadata.json is of format true": _metadata(lambda metadata: metadata["idaq"].update(format_version=True)),
    "metadata.json was edited": _metadata(lambda metadata: metadata.update(total_steps=7)),
    "metadata.json has a key twice": _key_twice,
    "the manifest holds NaN": _manifest(lambda manifest: manifest["recipe"].update(seed=float("nan"))),
    "the manifest has an unknown key": _manifest(lambda manifest: manifest.update(more=1)),
    "the manifest is of format 2": _manifest(lambda manifest: manifest.update(format_version=2)),
    "the manifest counts another episode": _manifest(lambda manifest: manifest["counts"].update(episodes=9)),
    "the manifest is of other content": _manifest(lambda manifest: manifest.update(content_digest="0" * 64)),
    "a split lacks a task": _manifest(lambda manifest: manifest["splits"].update(train=[])),
    "a task is missing": _tasks(lambda tasks: tasks.pop()),
    "two tasks have one index": _tasks(lambda tasks: tasks[1].update(task_index=tasks[0]["task_index"])),
    "a value is another": _hdf5(lambda file: file["episode_1/rewards"].write_direct(file["episode_1/rewards"][()] + 1)),
    "an episode is of another task": _episodes(lambda table: table["task_index"].__setitem__(0, 5)),
    "an episode has another seed": _episodes(lambda table: table["seed"].__setitem__(1, 7)),
    "an episode is longer than it is": _episodes(lambda table: table["length"].__setitem__(1, 8)),
    "a column lies elsewhere": _episodes(lambda table: table["offset_rewards"].__setitem__(1, 64)),
    "a column lies beyond the file": _episodes(lambda table: table["offset_rewards"].__setitem__(1, 2**40)),
    "an episode's behaviour is null": _null("behaviour"),
    "an episode's return is null": _null("return"),
    "a file is a link that leads out": _linked,
}
"""by what is wrong; made for `idaq.testing.examples.EXAMPLES["mixed"]`"""
