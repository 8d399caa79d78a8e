"""The table of hostile documents: what is done to a valid one, and the word by which it is refused ("" = harmless).

Hashes are recomputed afterwards wherever a manifest states them, so that it is the document itself that is refused.
"""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from idaq.format import layout
from tests.format.sealing import alter_document, alter_metadata, alter_tasks, reseal

Hurt = Callable[[Path], object]
Kinds = dict[str, tuple[Hurt, str]]
DEEP = "[" * 5000 + "]" * 5000
STEER = "\x1b[2J\x9b31m\u202e\u200b\x00\x07\r\n\u2028"


def text(name: str, content: str | bytes) -> Hurt:
    """Replace a file."""

    def hurt(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))

    return hurt


def pipe(name: str) -> Hurt:
    """Put a named pipe in the place of a file: who opens it waits for ever."""

    def hurt(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(folder / name)

    return hurt


def link(name: str, target: str) -> Hurt:
    """Put a link in the place of a file."""

    def hurt(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return hurt


def plug(folder: Path) -> None:
    """A Unix socket among the files; its own path is too long for one."""
    there, short = folder / "data" / "socket", f"/tmp/idaq-{os.getpid()}.socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(short)
    os.rename(short, there)


def value(name: str, path: str, new: Any) -> Hurt:
    """Set the value at a dotted path of a JSON document."""

    def alter(document: Any) -> None:
        *parents, last = path.split(".")
        for part in parents:
            document = document[part]
        document[last] = new

    return lambda folder: alter_document(folder / name, alter)


def metadata(**changes: Any) -> Hurt:
    return lambda folder: alter_metadata(folder, lambda document: document.update(changes))


def manifest(path: str, new: Any) -> Hurt:
    """Set a value of manifest.json, as the last before its hash is taken."""

    def alter(document: Any) -> None:
        *parents, last = path.split(".")
        for part in parents:
            document = document[int(part) if isinstance(document, list) else part]
        document[int(last) if isinstance(document, list) else last] = new

    def hurt(folder: Path) -> None:
        if path.startswith("recipe."):
            alter_document(folder / MANIFEST, alter)
            reseal(folder)
        else:
            reseal(folder, alter)

    return hurt


def tasks(alter: Callable[[list[Any]], object]) -> Hurt:
    return lambda folder: alter_tasks(folder, alter)


def sealed(name: str, content: bytes) -> Hurt:
    """Replace a file that the manifest states, and state the new one."""

    def hurt(folder: Path) -> None:
        text(f"data/{name}", content)(folder)
        reseal(folder)

    return hurt


def counted(hurt: Hurt, **counts: int) -> Hurt:
    """And let the manifest's counts agree with it."""

    def both(folder: Path) -> None:
        hurt(folder)
        reseal(folder, lambda document: document["counts"].update(counts))

    return both


def episodes(rows: int, *, digest: str = "0" * 64, **options: Any) -> Hurt:
    """An episode table of `rows` rows that take next to nothing in the file."""

    def hurt(folder: Path) -> None:
        schema = pq.read_schema(folder / "data" / layout.EPISODES)
        columns = {
            field.name: pa.array([digest if field.name == "digest" else "expert"] * rows)
            if field.type == pa.string()
            else pa.array(np.arange(rows) if field.name == "episode" else np.zeros(rows, bool)).cast(field.type)
            for field in schema
        }
        table = pa.table(columns, schema=schema)
        pq.write_table(table, folder / "data" / layout.EPISODES, **options)
        reseal(folder)

    return counted(hurt, episodes=rows)


def parquet(table: pa.Table) -> Hurt:
    def hurt(folder: Path) -> None:
        pq.write_table(table, folder / "data" / layout.EPISODES)
        reseal(folder)

    return hurt


def nested(depth: int) -> pa.Table:
    kind: pa.DataType = pa.int64()
    for _ in range(depth):
        kind = pa.struct([("a", kind)])
    return pa.table({"a": pa.array([None] * 8, kind)})


METADATA, MANIFEST, TASKS = "data/metadata.json", f"data/{layout.MANIFEST}", f"data/{layout.TASKS}"
EPISODES, HDF5 = f"data/{layout.EPISODES}", f"data/{layout.HDF5}"

LISTING: Kinds = {
    "metadata: a named pipe": (pipe(METADATA), "a named pipe, not a file"),
    "metadata: an endless device": (link(METADATA, "/dev/zero"), "a device, not a file"),
    "metadata: a directory": (
        lambda folder: ((folder / METADATA).unlink(), (folder / METADATA).mkdir()),
        "a directory",
    ),
    "metadata: missing": (lambda folder: (folder / METADATA).unlink(), "is missing"),
    "metadata: empty": (text(METADATA, ""), "not valid JSON"),
    "metadata: 64 MB": (text(METADATA, '{"a": "' + "x" * (64 << 20) + '"}'), "has 67108873 bytes"),
    "metadata: five million lists": (text(METADATA, "[" + "[]," * 5_000_000 + "0]"), "more than 1000000 lists"),
    "metadata: nested 5,000 deep": (text(METADATA, DEEP), "nested"),
    "metadata: nested 990 deep": (text(METADATA, "[" * 900 + "]" * 900), "nested"),
    "metadata: opened 1,000,000 times": (text(METADATA, "[" * 1_000_000), "not valid JSON"),
    "metadata: a list": (text(METADATA, "[1]"), "not a JSON object"),
    "metadata: a number": (text(METADATA, "7"), "not a JSON object"),
    "metadata: no UTF-8": (text(METADATA, b"\xff\xfe{}"), "cannot be read"),
    "metadata: half a surrogate pair": (text(METADATA, r'{"dataset_id": "\ud800"}'), "surrogates not allowed"),
    "metadata: the id of another folder": (value(METADATA, "dataset_id", "idaq/other-v0"), "its folder is that of"),
    "metadata: an id that steers": (value(METADATA, "dataset_id", f"a{STEER}/b-v0"), "its folder is that of"),
    "metadata: an id that is a number": (value(METADATA, "dataset_id", 7), "its folder is that of"),
    "metadata: an id that is a list": (value(METADATA, "dataset_id", [[]]), "its folder is that of"),
    "metadata: an id of 1 MB": (value(METADATA, "dataset_id", "x" * 1_000_000), "its folder is that of"),
    "metadata: no id": (lambda folder: alter_document(folder / METADATA, lambda m: m.pop("dataset_id")), "its folder"),
    "metadata: a number of 5,000 digits": (text(METADATA, '{"a": ' + "9" * 5000 + "}"), "Exceeds the limit"),
    "metadata: idaq is a number": (value(METADATA, "idaq", 3), ""),
    "metadata: idaq is null": (value(METADATA, "idaq", None), ""),
    "metadata: counts are a list": (value(METADATA, "idaq.counts", [1]), ""),
    "metadata: counts steer": (value(METADATA, "idaq.counts", {"tasks": STEER, STEER: 1}), ""),
    "metadata: totals are of wrong types": (value(METADATA, "total_episodes", {"a": STEER}), ""),
    "metadata: a version that steers": (value(METADATA, "idaq.format_version", STEER), ""),
    "metadata: size is true": (value(METADATA, "dataset_size", True), ""),
}
"""One dataset among others: the others are listed all the same. Refused = skipped with a warning."""

DATASET: Kinds = {
    "card: a link to a private file": (link("README.md", "/etc/passwd"), "leads out of the dataset"),
    "card: a link to nowhere": (link("README.md", "../nowhere"), "leads out of the dataset"),
    "card: a link in a circle": (link("README.md", "README.md"), "leads out of the dataset"),
    "card: a link to a file beside it": (link("README.md", "data/metadata.json"), ""),
    "card: a named pipe": (pipe("README.md"), "a named pipe, not a file"),
    "card: a device": (link("README.md", "/dev/zero"), "leads out of the dataset"),
    "extra: a link to a folder": (link("data/extra", "/"), "leads out of the dataset"),
    "extra: a named pipe": (pipe("data/idaq/extra"), "a named pipe, not a file"),
    "extra: a socket": (plug, "a socket, not a file"),
    "HDF5: a link out": (link(HDF5, "/etc/passwd"), "leads out of the dataset"),
    "HDF5: a named pipe": (pipe(HDF5), "a named pipe, not a file"),
    "manifest: a named pipe": (pipe(MANIFEST), "a named pipe, not a file"),
    "manifest: a link out": (link(MANIFEST, "/etc/passwd"), "leads out of the dataset"),
    "manifest: counts of 10**15 episodes": (manifest("counts.episodes", 10**15), "manifest counts 1000000000000000"),
    "manifest: counts of 10**30": (manifest("counts.episodes", 10**30), "too large for a number"),
    "manifest: a path that leaves": (manifest("files.0.path", "../../../etc/passwd"), "its files are"),
    "manifest: a size of 10**18": (manifest("files.0.size", 10**18), "the manifest says 1000000000000000000"),
    "manifest: a seed of 2**64": (manifest("recipe.seed", 2**64), "too large for a number"),
    "manifest: settings nested 5,000 deep": (
        lambda folder: (
            (folder / MANIFEST).write_text(DEEP),
            value(METADATA, "idaq.manifest_sha256", _sha(folder / MANIFEST))(folder),
        ),
        "nested",
    ),
    "manifest: a column of 2**60 numbers": (manifest("columns.actions.shape", [2**60]), "cannot have"),
    "manifest: a column of 65 dimensions": (manifest("columns.actions.shape", [1] * 65), "at most 31 items"),
    "manifest: a description that steers": (manifest("recipe.description", STEER), ""),
    "manifest: a dataset id that steers": (manifest("dataset_id", f"a{STEER}"), "dataset id"),
    "manifest: a family that steers": (manifest("family", f"point{STEER}"), "family"),
    "manifest: a date that steers": (manifest("provenance.created", STEER), ""),
    "manifest: a split of 300,000 tasks": (manifest("splits.train", list(range(300_000))), "splits"),
    "metadata: spaces nested deep": (metadata(observation_space=DEEP), "observation space"),
    "metadata: spaces that are no text": (metadata(observation_space=[[]], action_space=7), "observation space"),
    "tasks: a named pipe": (pipe(TASKS), "a named pipe, not a file"),
    "tasks: one line more": (tasks(lambda found: found.append(found[0])), "has 4 lines; the manifest counts 3"),
    "tasks: 8 MB of empty lines": (sealed(layout.TASKS, b"\n" * (8 << 20)), "lines; the manifest counts 3"),
    "tasks: 8 MB of empty lines, as counted": (
        counted(sealed(layout.TASKS, b"\n" * (8 << 20)), tasks=8 << 20),
        "line 1 is not valid JSON",
    ),
    "tasks: no UTF-8": (sealed(layout.TASKS, b"\xff\n\n\n"), "is not UTF-8"),
    "tasks: nested deep": (sealed(layout.TASKS, f"{DEEP}\n{DEEP}\n{DEEP}\n".encode()), "nested"),
    "tasks: an index of 2**63": (tasks(lambda found: found[2].update(task_index=2**63)), "task_index"),
    "tasks: an index of 10**40": (tasks(lambda found: found[2].update(task_index=10**40)), "too large for a number"),
    "tasks: a name that steers": (tasks(lambda found: found[2].update(task_id=f"a{STEER}")), "task_id"),
    "tasks: an unit that steers": (tasks(lambda found: found[2]["success"].update(unit=STEER)), ""),
    "tasks: parameters of wrong types": (tasks(lambda found: found[2].update(params={"a": {"b": 1}})), "params"),
    "episodes: a named pipe": (pipe(EPISODES), "a named pipe, not a file"),
    "episodes: empty": (sealed(layout.EPISODES, b""), "not a readable parquet"),
    "episodes: no parquet": (sealed(layout.EPISODES, b"PAR1" + b"\xff" * 5000 + b"PAR1"), "not a readable parquet"),
    "episodes: 4 MB for 8 rows": (sealed(layout.EPISODES, b"PAR1" + bytes(4 << 20) + b"PAR1"), "too many for 8 rows"),
    "episodes: 2,000,000 rows of one value": (episodes(2_000_000), "claims 2000000 rows"),
    "episodes: rows that the manifest does not count": (parquet(nested(1).slice(0, 7)), "has 7 rows"),
    "episodes: one long text, repeated": (episodes(300, digest="x" * 500_000), "texts of more than 64 bytes"),
    "episodes: long texts with shared beginnings": (
        episodes(
            300,
            digest="x" * 500_000,
            use_dictionary=False,
            column_encoding={"digest": "DELTA_BYTE_ARRAY", "behaviour": "DELTA_BYTE_ARRAY"},
        ),
        "not a readable parquet",
    ),
    "episodes: packed by zstd": (episodes(300, digest="x" * 500_000, compression="zstd"), "is packed by ZSTD"),
    "episodes: a group for each row": (episodes(2000, row_group_size=1), "too many for 2000 rows"),
    "episodes: columns nested 90 deep": (parquet(nested(90)), "has columns"),
    "episodes: columns nested 300 deep": (parquet(nested(300)), "too deeply nested"),
    "episodes: 3,000 columns": (parquet(pa.table({f"c{i}": np.zeros(8) for i in range(3000)})), "has columns"),
}
"""A dataset's own files: refused by verify, by opening, by its card, by a push."""

RUN: Kinds = {
    "run.json: a named pipe": (pipe("run.json"), "no run.json"),
    "run.json: nested deep": (text("run.json", DEEP), "nested"),
    "run.json: 64 MB": (text("run.json", " " * (64 << 20)), "67108864 bytes"),
    "run.json: a list": (text("run.json", "[]"), "run.json"),
    "run.json: a seed of 2**64": (value("run.json", "config.seed", 2**64), "too large for a number"),
    "run.json: a seed of 2**63": (value("run.json", "config.seed", 2**63), "config.seed"),
    "run.json: steps of 10**400": (value("run.json", "config.steps", 10**400), "too large for a number"),
    "run.json: a scale of 1e999": (
        lambda run: _swap(run / "run.json", '"reward_std": 1.0', '"reward_std": 1e999'),
        "1e999",
    ),
    "run.json: an id that steers": (value("run.json", "dataset_id", STEER), "checkpoint"),
    "results.json: a named pipe": (pipe("results.json"), "no results.json"),
    "results.json: nested deep": (text("results.json", DEEP), "nested"),
    "results.json: a list": (text("results.json", "[]"), "results.json"),
    "results.json: a seed of 10**40": (value("results.json", "train_seed", 10**40), "too large for a number"),
    "results.json: half a surrogate pair": (value("results.json", "dataset_id", "\ud800"), "surrogates not allowed"),
    "trace: a named pipe": (pipe("trace.safetensors"), "a named pipe, not a file"),
    "trace: no safetensors": (text("trace.safetensors", b"\xff" * 100), "cannot be read"),
    "trace: a header of 2**60 bytes": (
        text("trace.safetensors", (2**60).to_bytes(8, "little") + b"{}"),
        "cannot be read",
    ),
    "trace: a tensor of 2**62 numbers": (text("trace.safetensors", b""), "cannot be read"),
    "checkpoint: step 99999999999999999999": (
        text("checkpoint/step-99999999999999999999.safetensors", b""),
        "no check",
    ),
    "checkpoint: step x": (text("checkpoint/step-x.safetensors", b""), "no checkpoint"),
    "checkpoint: digits of another script": (
        text("checkpoint/step-\uff11\uff12\uff11\uff12\uff11\uff12\uff11\uff12.safetensors", b""),
        "no check",
    ),
    "checkpoint: a named pipe": (pipe("checkpoint/step-00000001.safetensors"), "no checkpoint"),
    "checkpoint: empty": (text("checkpoint/step-00000001.safetensors", b""), "can be read"),
    "checkpoint: a header of 2**60 bytes": (
        text("checkpoint/step-00000001.safetensors", (2**60).to_bytes(8, "little")),
        "can be read",
    ),
}
"""A run directory: all that is read of it."""

RECIPE: Kinds = {
    "recipe: a named pipe": (pipe("recipe.toml"), "a named pipe, not a file"),
    "recipe: a device": (link("recipe.toml", "/dev/zero"), "a device, not a file"),
    "recipe: 64 MB": (text("recipe.toml", "# " + "x" * (64 << 20)), "bytes"),
    "recipe: no UTF-8": (text("recipe.toml", b"\xff"), "is not TOML"),
    "recipe: lists nested deep": (text("recipe.toml", f"a = {DEEP}"), "is not TOML"),
    "recipe: tables nested deep": (text("recipe.toml", f"{'a.' * 3000}a = 1"), "nested"),
    "recipe: headers nested deep": (text("recipe.toml", f"[{'a.' * 3000}a]\nb = 1"), "nested"),
    "recipe: an integer of 5,000 digits": (text("recipe.toml", "seed = " + "9" * 5000), "is not TOML"),
    "recipe: an integer of 100 digits": (text("recipe.toml", "seed = " + "9" * 100), "64 bits"),
    "recipe: infinity and dates": (text("recipe.toml", "seed = inf\nid = 2024-01-01\n[train]\na = 1979-05-27"), "seed"),
    "recipe: 10**12 episodes": (
        lambda run: _swap(run / "recipe.toml", "episodes = ", "episodes = 1000000000000 # "),
        "1000000",
    ),
    "recipe: names that steer": (text("recipe.toml", '"a\\u001b[2J\\u202e" = 1'), "there is no such field"),
}

SETTINGS = {
    "a key of 10,000 parts": ".".join(["a"] * 10_000) + "=1",
    "an empty part": "a..b=1",
    "no value": "seed=",
    "an integer of 5,000 digits": "seed=" + "9" * 5000,
    "an integer of 100 digits": "seed=" + "9" * 100,
    "1e999": "seed=1e999",
    "not a number": "seed=nan",
    "a date": "seed=2024-01-01",
    "a table of dates": "train={a = 2024-01-01}",
    "lists nested deep": f"train={DEEP}",
    "tables nested deep": "train=" + "{a=" * 2000 + "1" + "}" * 2000,
    "10 MB of text": "description=" + "x" * 10_000_000 + "\x00",
    "an index far out": "behaviours.99999999999999999999.noise=1",
    "an index of another script": "behaviours.\uff10.noise=1",
    "half a surrogate pair": "family=\udcff",
    "a key that steers": f"{STEER}=1",
    "10**12 episodes": "episodes=1000000000000",
    "a split of 10**30 tasks": "splits.sizes={train = 1" + "0" * 30 + "}",
    "a seed of 2**63": "seed=9223372036854775808",
    "a value where a table is": "behaviours=3",
    "a table where a value is": "seed={a = 1}",
}

HUB: Kinds = {
    "hub: metadata is a named pipe": (pipe(METADATA), "JSON"),
    "hub: metadata is of another dataset": (
        value(METADATA, "dataset_id", "idaq/other-v0"),
        "its data/metadata.json is of",
    ),
    "hub: metadata of 64 MB": (text(METADATA, '{"a": "' + "x" * (64 << 20) + '"}'), "such documents have at most"),
    "hub: metadata nested deep": (text(METADATA, DEEP), "nested"),
    "hub: metadata is a link": (link(METADATA, "/etc/passwd"), "data/metadata.json is a link"),
    "hub: the card is a link to a private file": (link("README.md", "/etc/passwd"), "README.md is a link"),
    "hub: metadata half a surrogate pair": (text(METADATA, r'{"dataset_id": "\ud800"}'), "surrogates"),
}


def _sha(path: Path) -> str:
    from idaq.core.files import sha256_file

    return sha256_file(path)


def _swap(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content, (path, old)
    path.write_text(content.replace(old, new))


def huge_tensor() -> bytes:
    """A safetensors file whose header claims 2**62 numbers."""
    header = json.dumps({"a": {"dtype": "F64", "shape": [2**31, 2**31], "data_offsets": [0, 8]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


RUN["trace: a tensor of 2**62 numbers"] = (text("trace.safetensors", huge_tensor()), "cannot be read")
