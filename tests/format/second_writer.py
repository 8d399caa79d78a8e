"""A writer of the format written after schemas/FORMAT.md alone: h5py, pyarrow, json and hashlib, nothing of idaq."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LABELS = {"terminations": "terminated", "truncations": "truncated"}
FIXED = ["actions", "rewards", "terminations", "truncations"]
TYPES = {
    **{name: pa.int64() for name in ("episode", "task_index", "history", "policy_step", "length")},
    **{name: pa.bool_() for name in ("success", "terminated", "truncated")},
    "behaviour": pa.string(),
    "seed": pa.uint64(),
    "return": pa.float64(),
    "digest": pa.string(),
}
ORDER = [
    "episode", "task_index", "behaviour", "history", "policy_step", "seed", "length", "return", "success", "terminated",
    "truncated",
]  # fmt: skip
CHUNK_ROWS = 7
TOLD = ("task_index", "behaviour", "history", "policy_step", "seed", "success")


def write(
    path: Path,
    recipe: dict[str, Any],
    tasks: Sequence[dict[str, Any]],
    episodes: Sequence[dict[str, Any]],
    minari: dict[str, Any],
    about: dict[str, dict[str, Any]],
) -> None:
    """Write a dataset folder, metadata.json last.

    `recipe` and `tasks` are as FORMAT.md has them, `episodes` hold `columns` by their names in the HDF5 and
    `task_index`, `behaviour`, `history`, `policy_step`, `seed`, `success`; `minari` the spaces, and the env_spec if
    there is one; `about` has unit, meaning and known of columns of which there is something to say.
    """
    data = path / "data"
    (data / "idaq").mkdir(parents=True)
    by_index, names = {task["task_index"]: task for task in tasks}, in_order(episodes[0]["columns"])
    columns = columns_of(episodes[0], names, about, recipe["compress"])
    chunks: dict[str, list[Any]] = {name: [] for name in names if columns[name]["chunk_rows"] is not None}
    with h5py.File(
        data / "main_data.hdf5", "w", alignment_threshold=1, alignment_interval=64, fs_strategy="none"
    ) as file:
        rows = [
            write_episode(file, number, episode, by_index[episode["task_index"]], columns, chunks)
            for number, episode in enumerate(episodes)
        ]
    if chunks:
        places = pa.schema([("offset", pa.int64()), ("size", pa.int64())])
        each = [{"offset": chunk.byte_offset, "size": chunk.size} for name in chunks for chunk in chunks[name]]
        pq.write_table(pa.Table.from_pylist(each, places), data / "idaq/chunks.parquet", compression="none")
    offsets = [pa.field(f"offset_{name}", pa.int64()) for name in names if name not in chunks]
    fields = [pa.field(name, TYPES[name]) for name in ORDER]
    schema = pa.schema([*fields, *offsets, pa.field("digest", TYPES["digest"])])
    pq.write_table(pa.Table.from_pylist(rows, schema), data / "idaq/episodes.parquet", compression="snappy")
    (data / "idaq/tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks), encoding="utf-8")
    counts = {"tasks": len(tasks), "episodes": len(rows), "steps": sum(row["length"] for row in rows)}
    metadata = {
        "dataset_id": recipe["id"],
        "total_episodes": counts["episodes"],
        "total_steps": counts["steps"],
        "data_format": "hdf5",
        "minari_version": "0.5.0",
        "jpeg_encoding": False,
        "author": recipe["authors"],
        **({} if recipe["license"] is None else {"license": recipe["license"]}),
        **minari,
    }
    manifest = manifest_of(data, recipe, tasks, columns, rows, metadata, counts)
    text = json.dumps(manifest)
    (data / "idaq/manifest.json").write_text(text, encoding="utf-8")
    idaq = {"format_version": 1, "manifest_sha256": sha256(text.encode()), "counts": counts}
    (data / "metadata.json").write_text(json.dumps({**metadata, "idaq": idaq}), encoding="utf-8")


def in_order(names: Any) -> list[str]:
    """Observations, the four of every episode, the others; each by its segments."""
    every = sorted(names, key=lambda name: name.split("/"))
    seen = [name for name in every if name.split("/")[0] == "observations"]
    return seen + FIXED + [name for name in every if name not in seen + FIXED]


def columns_of(
    first: dict[str, Any], names: list[str], about: dict[str, dict[str, Any]], compress: list[str]
) -> dict[str, Any]:
    """The manifest's table of columns."""
    length, found = len(first["columns"]["rewards"]), {}
    for name in names:
        values = first["columns"][name]
        found[name] = {
            "dtype": values.dtype.str,
            "shape": list(values.shape[1:]),
            "rows": "T+1" if len(values) == length + 1 else "T",
            "chunk_rows": CHUNK_ROWS if name in compress else None,
            "unit": None,
            "meaning": None,
            "known": True,
            **about.get(name, {}),
        }
    return found


def write_episode(
    file: h5py.File,
    number: int,
    episode: dict[str, Any],
    task: dict[str, Any],
    columns: dict[str, Any],
    chunks: dict[str, list[Any]],
) -> dict[str, Any]:
    """One group; returns its row of episodes.parquet, and adds to `chunks`."""
    group, given = file.create_group(f"episode_{number}"), episode["columns"]
    state, offsets, length = hashlib.sha256(), {}, len(given["rewards"])
    for name in columns:
        values = np.ascontiguousarray(given[name])
        if name in chunks:
            chunk = (min(CHUNK_ROWS, len(values)), *values.shape[1:])
            stored = group.create_dataset(name, data=values, chunks=chunk, compression="gzip").id
            chunks[name] += [stored.get_chunk_info(n) for n in range(stored.get_num_chunks())]
        else:
            offsets[f"offset_{name}"] = group.create_dataset(name, data=values).id.get_offset()
        state.update(f"{LABELS.get(name, name)}:{values.dtype.str}:{','.join(map(str, values.shape))};".encode())
        state.update(values.tobytes())
    index, seed = episode["task_index"], episode["seed"]
    state.update(f"task:{index};seed:{'' if seed is None else seed}".encode())
    attributes = {"id": number, "total_steps": length, "task_index": index, "task_id": task["task_id"]}
    attributes["options/task"] = task["reset_options"].get("task", index)
    for name, value in attributes.items():
        group.attrs.create(name, value)
    if seed is not None:
        group.attrs.create("seed", np.uint64(seed))
    return {
        "episode": number,
        **{key: episode[key] for key in TOLD},
        "length": length,
        "return": float(given["rewards"].sum(dtype=np.float64)) if columns["rewards"]["known"] else None,
        "terminated": bool(given["terminations"][-1]),
        "truncated": bool(given["truncations"][-1]),
        **offsets,
        "digest": state.hexdigest(),
    }


def manifest_of(
    data: Path,
    recipe: dict[str, Any],
    tasks: Sequence[dict[str, Any]],
    columns: dict[str, Any],
    rows: list[dict[str, Any]],
    metadata: dict[str, Any],
    counts: dict[str, int],
) -> dict[str, Any]:
    """idaq/manifest.json, once the files that it vouches for are written."""
    files = []
    names = ["main_data.hdf5", "idaq/tasks.jsonl", "idaq/episodes.parquet", "idaq/chunks.parquet"]
    for name in filter(lambda name: (data / name).exists(), names):
        content = (data / name).read_bytes()
        files.append({"path": name, "size": len(content), "sha256": sha256(content)})
    versions = {"idaq": "none", "python": "3", "numpy": np.__version__, "h5py": h5py.__version__, "platform": "any"}
    return {
        "format_version": 1,
        "dataset_id": recipe["id"],
        "family": recipe["family"],
        "recipe": recipe,
        "recipe_digest": digest(recipe),
        "content_digest": sha256("".join(row["digest"] + "\n" for row in rows).encode()),
        "splits": {
            name: [task["task_index"] for task in tasks if task["split"] == name] for name in recipe["splits"]["sizes"]
        },
        "columns": columns,
        "observation_space_sha256": digest(metadata["observation_space"]),
        "action_space_sha256": digest(metadata["action_space"]),
        "metadata_digest": digest(metadata),
        "counts": counts,
        "files": files,
        "provenance": {"created": datetime.now(UTC).isoformat(), **versions},
    }


def digest(value: object) -> str:
    """Of the canonical JSON."""
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
