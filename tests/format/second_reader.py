"""A reader of the format written after schemas/FORMAT.md alone: h5py, pyarrow, json and hashlib, nothing of idaq."""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq

FILES = ("main_data.hdf5", "idaq/tasks.jsonl", "idaq/episodes.parquet")
CHUNKS = "idaq/chunks.parquet"
LABELS = {"terminations": "terminated", "truncations": "truncated"}
FIXED = ("actions", "rewards", "terminations", "truncations")
NULLABLE = ("history", "policy_step", "seed", "success")
MANIFEST_KEYS = {
    "format_version", "dataset_id", "family", "recipe", "recipe_digest", "content_digest", "splits", "columns",
    "observation_space_sha256", "action_space_sha256", "metadata_digest", "counts", "files", "provenance",
}  # fmt: skip


class Refused(Exception):
    """The folder does not hold a dataset of format 1."""


def read(path: Path) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """The id, the tasks, and the episodes with their columns, of a dataset folder. Raises Refused."""
    data = path / "data"
    manifest = read_manifest(data)
    for record in manifest["files"]:
        content = (data / record["path"]).read_bytes()
        check((len(content), sha256(content)) == (record["size"], record["sha256"]), f"{record['path']} is another")
    tasks = [parse(line) for line in (data / FILES[1]).read_text(encoding="utf-8").splitlines()]
    rows = pq.read_table(data / FILES[2]).to_pylist()
    check_tables(manifest, tasks, rows)
    read_chunks(data, manifest["columns"], rows)
    with h5py.File(data / FILES[0]) as file:
        check(set(file) == {f"episode_{row['episode']}" for row in rows}, "other groups at the root")
        for row in rows:
            read_columns(file[f"episode_{row['episode']}"], row, manifest["columns"])
    lines = "".join(row["digest"] + "\n" for row in rows)
    check(sha256(lines.encode()) == manifest["content_digest"], "content digest")
    return manifest["dataset_id"], tasks, rows


def read_manifest(data: Path) -> dict[str, Any]:
    """The manifest, checked against metadata.json."""
    for name in ("metadata.json", "idaq/manifest.json", *FILES):
        check((data / name).is_file() and not (data / name).is_symlink(), f"{name} is no plain file")
    metadata = parse((data / "metadata.json").read_text(encoding="utf-8"))
    stated = metadata.pop("idaq")
    check(type(stated["format_version"]) is int and stated["format_version"] == 1, "version")
    content = (data / "idaq/manifest.json").read_bytes()
    check(sha256(content) == stated["manifest_sha256"], "the manifest is another")
    manifest = parse(content.decode())
    check(set(manifest) == MANIFEST_KEYS and manifest["format_version"] == 1, "the manifest is of another format")
    check(canonical_digest(metadata) == manifest["metadata_digest"], "metadata.json is another")
    check(canonical_digest(manifest["recipe"]) == manifest["recipe_digest"], "the recipe is another")
    check(metadata["dataset_id"] == manifest["dataset_id"] == manifest["recipe"]["id"], "id")
    packed = [name for name, column in manifest["columns"].items() if column["chunk_rows"] is not None]
    check(sorted(packed) == sorted(manifest["recipe"]["compress"]), "compressed columns")
    files = {*FILES, CHUNKS} if packed else {*FILES}
    check(sorted(record["path"] for record in manifest["files"]) == sorted(files), "files")
    return manifest


def check_tables(manifest: dict[str, Any], tasks: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Tasks, episodes and the manifest agree."""
    indices = [task["task_index"] for task in tasks]
    found = {"tasks": len(tasks), "episodes": len(rows), "steps": sum(row["length"] for row in rows)}
    check(found == manifest["counts"], "counts")
    check(indices == sorted(set(indices)) and len({task["task_id"] for task in tasks}) == len(tasks), "tasks")
    splits = {(name, index) for name, members in manifest["splits"].items() for index in members}
    check(splits == {(task["split"], task["task_index"]) for task in tasks}, "splits")
    order = [row["task_index"] for row in rows]
    check(order == sorted(order) and set(order) <= set(indices), "tasks of episodes")
    nullable = (*NULLABLE, "return") if not manifest["columns"]["rewards"]["known"] else NULLABLE
    nulls = [key for row in rows for key, value in row.items() if value is None and key not in nullable]
    check(not nulls, "nulls")
    check([row["episode"] for row in rows] == list(range(len(rows))), "numbers of episodes")


def read_chunks(data: Path, columns: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Add to each episode where the chunks of its compressed columns lie."""
    packed = {name: column for name, column in columns.items() if column["chunk_rows"] is not None}
    places = iter(pq.read_table(data / CHUNKS).to_pylist() if packed else [])
    for name, column in packed.items():
        for row in rows:
            count = -(-(row["length"] + (column["rows"] == "T+1")) // column["chunk_rows"])
            row[f"chunks_{name}"] = [next(places) for _ in range(count)]
    check(next(places, None) is None, "chunks of no episode")


def read_columns(group: h5py.Group, row: dict[str, Any], columns: dict[str, Any]) -> None:
    """Add an episode's columns to its row, each from the place, of the size and of the digest that are stated."""
    state = hashlib.sha256()
    held: list[str] = []
    group.visititems(lambda name, member: held.append(name) if isinstance(member, h5py.Dataset) else None)
    check(sorted(held) == sorted(columns) and set(FIXED) <= set(columns), "columns")
    row["columns"] = {}
    for name, column in columns.items():
        stored = group[name]
        shape = (row["length"] + (column["rows"] == "T+1"), *column["shape"])
        check(stored.shape == shape, f"shape of {name}")
        if column["chunk_rows"] is None:
            check(stored.id.get_offset() == row[f"offset_{name}"], f"{name} lies elsewhere")
        else:
            found = [stored.id.get_chunk_info(number) for number in range(stored.id.get_num_chunks())]
            stated = [(place["offset"], place["size"]) for place in row[f"chunks_{name}"]]
            check(stated == [(chunk.byte_offset, chunk.size) for chunk in found], f"{name} lies elsewhere")
        values = np.asarray(stored[()])
        check(values.dtype.str == column["dtype"], f"values of {name}")
        if name in FIXED or name.split("/")[0] == "observations":
            check(bool(np.isfinite(values).all()), f"values of {name}")
        state.update(f"{LABELS.get(name, name)}:{values.dtype.str}:{','.join(map(str, values.shape))};".encode())
        state.update(values.tobytes())
        row["columns"][name] = values
    state.update(f"task:{row['task_index']};seed:{'' if row['seed'] is None else row['seed']}".encode())
    check(state.hexdigest() == row["digest"], "digest")


def parse(text: str) -> Any:
    """JSON without NaN, infinity or a key twice."""

    def refuse(constant: str) -> None:
        raise Refused(constant)

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check(len(dict(pairs)) == len(pairs), "a key twice")
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=members)


def canonical_digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def check(sound: bool, what: str) -> None:
    if not sound:
        raise Refused(what)
