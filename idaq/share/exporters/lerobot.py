"""A LeRobot dataset, layout v3.0, without video: `LeRobotDataset(name, root=folder)` opens it.

A frame is a transition. D observation and A action numbers, in the dataset's dtypes (LeRobot hands out float32):

    observation.state (D,)   next.observation.state (D,)   action (A,)   next.reward
    next.success   of the episode; left out where it is not known of every one
    next.terminated, next.truncated   kept apart      next.done   either of the two
    idaq_task_index   the task's index in its family (may have gaps)
    task_index        LeRobot's own: its place among the tasks, 0 .. n-1; `item["task"]` is then the task id

Of a Dict its parts, `observation.a.b`; extra columns by their names, `.` for `/`; those of T + 1 rows with a second one
before whose name stands `next.`. Bytes of (height, width, 1 or 3) are pictures, `observation.image` or
`observation.images.a`, stored as PNG, which loses nothing; all other rows of more than one dimension are flattened.
`meta/episodes` has seed (null where it is not known), behaviour, place in a learning history and the rest of each
episode; `meta/idaq.json` the manifest, the tasks, how each column is called here, and where all came from. `timestamp`
is step / fps. Statistics are mean, std, min, max and count of whole columns, added up in float64: no quantiles and none
by episode; of pictures by channel, from 0 to 1.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from idaq.core.config import to_mapping
from idaq.core.extras import optional
from idaq.core.files import write_json
from idaq.core.notes import Notes
from idaq.core.types import (
    ACTIONS,
    OBSERVATIONS,
    REWARDS,
    TERMINATIONS,
    TRUNCATIONS,
    Advance,
    Array,
    ignore_progress,
    is_observation,
)
from idaq.format.documents import Column, Counts
from idaq.format.reader import StoredDataset
from idaq.share.exporting import (
    ExportedEpisode,
    Names,
    document_of,
    each_episode,
    has_last_rows,
    new_folder,
    transition_names,
    transition_rows,
)

FILE_MEGABYTES = 100
"""LeRobot's own limit of a data file"""
_FILES_PER_CHUNK = 1000
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"

_TYPES = {"seed": pa.uint64(), "success": pa.bool_(), "history": pa.int64(), "policy_step": pa.int64()}
"""of columns that may hold nulls alone, from which no type can be inferred"""
_PLAIN = {
    OBSERVATIONS: "observation",
    REWARDS: "next.reward",
    ACTIONS: "action",
    TERMINATIONS: "next.terminated",
    TRUNCATIONS: "next.truncated",
}
_TAKEN = (
    "next.done",
    "next.success",
    "idaq_task_index",
    "timestamp",
    "frame_index",
    "episode_index",
    "index",
    "task_index",
    "task",
)
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""how the Hugging Face datasets library holds a picture"""


@dataclass(kw_only=True)
class _Moments:
    """Statistics of one column so far, (W,) each."""

    count: int = 0
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    """summed squares of the distance from the mean"""
    low: NDArray[np.float64] = field(default_factory=lambda: np.array(np.inf))
    high: NDArray[np.float64] = field(default_factory=lambda: np.array(-np.inf))

    def add(self, rows: Array) -> None:
        """Take in (T, W) rows; merging means is exact where adding raw squares would cancel."""
        wide = rows.astype(np.float64)
        total, mean = self.count + len(wide), wide.mean(0)
        shift = mean - self.mean
        self.squares = self.squares + ((wide - mean) ** 2).sum(0) + shift**2 * (self.count * len(wide) / total)
        self.mean = self.mean + shift * (len(wide) / total)
        self.low, self.high = np.minimum(self.low, wide.min(0)), np.maximum(self.high, wide.max(0))
        self.count = total

    def as_mapping(self, frames: int) -> dict[str, Any]:
        """As LeRobot has it; of pictures in the shape (C, 1, 1)."""
        found = {
            "mean": self.mean,
            "std": np.sqrt(self.squares / self.count),
            "min": self.low,
            "max": self.high,
        }
        shape = (-1, 1, 1) if self.count > frames else (-1,)
        return {**{name: value.reshape(shape).tolist() for name, value in found.items()}, "count": [frames]}


def export_lerobot(
    stored: StoredDataset,
    target: Path,
    *,
    fps: int = 1,
    file_megabytes: float = FILE_MEGABYTES,
    progress: Advance = ignore_progress,
) -> Notes:
    """Write the folder `target` atomically; `progress` counts episodes. One episode is in memory at a time.

    `fps` is the steps of a second, where the environment has such; with 1, timestamps count steps. A data file is
    closed once it holds `file_megabytes`. Raises DatasetExistsError if `target` exists, MissingExtraError where
    pictures need Pillow and it is not installed.
    """
    notes = Notes()
    names = _names(stored.manifest.columns, notes)
    places = {task.task_index: place for place, task in enumerate(stored.tasks)}
    unknown = set() if stored.episodes.success_known.all() else {"next.success"}
    rows = list[dict[str, Any]]()
    moments: dict[str, _Moments] = {}
    features: dict[str, Any] = {}
    with new_folder(target) as folder:
        writer, first = _DataWriter(folder, file_megabytes), 0
        with writer:
            for entry in each_episode(stored, progress):
                columns = _columns(entry, names, places[entry.task.task_index], first, fps)
                columns = {name: values for name, values in columns.items() if name not in unknown}
                features = features or {name: _feature(values) for name, values in columns.items()}
                for name, values in columns.items():
                    numbers = values.reshape(-1, values.shape[-1]) / 255 if _is_pictures(values) else values
                    moments.setdefault(name, _Moments()).add(numbers)
                file = writer.write(columns)
                rows.append(_episode_row(entry, first, file))
                first += len(entry.episode)
        counts = stored.manifest.counts
        _write_meta(folder, stored, names, rows)
        statistics = {name: value.as_mapping(counts.steps) for name, value in moments.items()}
        write_json(folder / "meta/stats.json", statistics)
        write_json(folder / "meta/info.json", _info(features, counts, fps, file_megabytes))
    return notes


def _names(columns: dict[str, Column], notes: Notes) -> Names:
    plain = dict(_PLAIN)
    for name, column in columns.items():
        if is_observation(name) and _is_picture(np.dtype(column.dtype), column.shape):
            plain[name] = "observation.image" + name.removeprefix(OBSERVATIONS).replace("/", "s/", 1)
        elif name == OBSERVATIONS:
            plain[name] = "observation.state"
    return transition_names(has_last_rows(columns), plain, _TAKEN, notes, prefix="next.", separator=".")


def _is_picture(dtype: np.dtype[Any], shape: Sequence[int]) -> bool:
    return dtype == np.uint8 and len(shape) == 3 and shape[2] in (1, 3)


def _is_pictures(rows: Array) -> bool:
    return _is_picture(rows.dtype, rows.shape[1:])


def _columns(entry: ExportedEpisode, names: Names, place: int, first: int, fps: int) -> dict[str, Array]:
    """All columns of an episode as (T, width), or (T, H, W, C) pictures."""
    episode, length = entry.episode, len(entry.episode)
    steps = np.arange(length)
    columns = transition_rows(episode.columns, names) | {
        "next.done": episode.terminated | episode.truncated,
        "next.success": np.full(length, bool(entry.success)),
        "idaq_task_index": np.full(length, entry.task.task_index),
        "timestamp": (steps / fps).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(length, entry.number),
        "index": first + steps,
        "task_index": np.full(length, place),
    }
    return {name: rows if _is_pictures(rows) else rows.reshape(length, -1) for name, rows in columns.items()}


def _feature(rows: Array) -> dict[str, Any]:
    if _is_pictures(rows):
        return {"dtype": "image", "shape": list(rows.shape[1:]), "names": ["height", "width", "channels"]}
    return {"dtype": rows.dtype.name, "shape": [rows.shape[1]], "names": None}


class _DataWriter:
    """Data files of about equal size, a row group an episode, as LeRobot's own recorder writes them."""

    def __init__(self, folder: Path, megabytes: float) -> None:
        self._folder, self._limit = folder / "data", megabytes * 2**20
        self._writer: pq.ParquetWriter | None = None
        self._number, self._bytes = -1, 0

    def __enter__(self) -> "_DataWriter":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._close()

    def write(self, columns: dict[str, Array]) -> tuple[int, int]:
        """Append an episode; returns chunk and file index of where it went."""
        table = pa.table({name: _arrow(rows) for name, rows in columns.items()})
        if self._writer is None or self._bytes >= self._limit:
            self._close()
            self._number, self._bytes = self._number + 1, 0
            chunk, file = self._place()
            path = self._folder / _FILE.format(chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._writer.write_table(table, row_group_size=len(table))
        self._bytes += table.nbytes
        return self._place()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _place(self) -> tuple[int, int]:
        """Chunk and file index of the open file."""
        return divmod(self._number, _FILES_PER_CHUNK)


def _arrow(rows: Array) -> pa.Array:
    """(T, W) as lists of W numbers, or as plain numbers where W is 1: what LeRobot takes shape (1,) for."""
    if _is_pictures(rows):
        return pa.array([{"bytes": _png(picture), "path": None} for picture in rows], _IMAGE)
    flat = pa.array(rows.ravel())
    return flat if rows.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])


def _png(picture: Array) -> bytes:
    """(H, W, 1 or 3) bytes as PNG."""
    written = io.BytesIO()
    optional("PIL.Image").fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(written, "PNG")
    return written.getvalue()


def _episode_row(entry: ExportedEpisode, first: int, file: tuple[int, int]) -> dict[str, Any]:
    facts = {name: value for name, value in entry.facts.items() if name not in ("episode", "task_index", "length")}
    return {
        "episode_index": entry.number,
        "tasks": [entry.task.task_id],
        "length": len(entry.episode),
        "data/chunk_index": file[0],
        "data/file_index": file[1],
        "dataset_from_index": first,
        "dataset_to_index": first + len(entry.episode),
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
        "idaq_task_index": entry.task.task_index,
        **facts,
    }


def _write_meta(folder: Path, stored: StoredDataset, names: Names, rows: list[dict[str, Any]]) -> None:
    """Episodes, tasks, and what LeRobot has no place for."""
    episodes = folder / "meta/episodes" / _FILE.format(chunk_index=0, file_index=0)
    episodes.parent.mkdir(parents=True)
    columns = {name: pa.array([row[name] for row in rows], _TYPES.get(name)) for name in rows[0]}
    pq.write_table(pa.table(columns), episodes)
    pq.write_table(_task_table([task.task_id for task in stored.tasks]), folder / "meta/tasks.parquet")
    about = {
        **document_of(stored, "lerobot", names),
        "counts": to_mapping(stored.manifest.counts),
        "splits": stored.manifest.splits,
    }
    write_json(folder / "meta/idaq.json", about)


def _task_table(names: list[str]) -> pa.Table:
    """LeRobot reads it with pandas and takes the index for the tasks' names, which this metadata states for pandas."""
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    about = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    table = pa.table({"task_index": pa.array(range(len(names)), pa.int64()), "task": names})
    return table.replace_schema_metadata({"pandas": json.dumps(about)})


def _info(features: dict[str, Any], counts: Counts, fps: int, file_megabytes: float) -> dict[str, Any]:
    return {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": counts.episodes,
        "total_frames": counts.steps,
        "total_tasks": counts.tasks,
        "chunks_size": _FILES_PER_CHUNK,
        "data_files_size_in_mb": max(1, round(file_megabytes)),
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{counts.episodes}"},
        "data_path": f"data/{_FILE}",
        "video_path": None,
        "features": features,
    }
