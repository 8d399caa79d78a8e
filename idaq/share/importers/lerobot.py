"""LeRobot datasets, layouts v3.0 and v2.1: Parquet files of frames, and what `meta` says of them. Videos are left out.

A frame holds `observation.*` and `action`; the frame after it what followed, as recordings have it, unless
`next.observation.*` says so. `next.reward`, `next.done`, `next.success` are read where they are. The sentences that
name LeRobot's tasks name ours. F frames.
"""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from idaq.core.checks import as_column, as_flags, check_numbers
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.extras import optional
from idaq.core.files import parse_json, read_json
from idaq.core.notes import Notes
from idaq.core.reading import LARGEST_TABLE, read_document
from idaq.core.types import ACTIONS, OBSERVATIONS, Array
from idaq.format.documents import About
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug, unknown_rewards
from idaq.format.outside_columns import extra_columns
from idaq.share.rows import Rows, episodes_of_rows

INFO = "meta/info.json"
_INDEX = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_SEEN, _NEXT = "observation.", "next.observation."
_FLAGS = {"next.terminated": "terminated", "next.truncated": "truncated", "next.done": "dones"}


def is_lerobot(folder: Path) -> bool:
    """Whether a folder has LeRobot's document."""
    return (folder / INFO).is_file()


def read_lerobot(folder: Path) -> Import:
    """A task for each of LeRobot's. Raises CorruptDatasetError for what is damaged, DatasetError for what lacks."""
    info = read_json(folder / INFO)
    features: Any = info.get("features") if isinstance(info, dict) else None
    if not isinstance(features, dict) or "action" not in features:
        raise DatasetError(f"{folder / INFO} names no features with an action among them")
    result = Import(tasks=[], origin=folder.name)
    kept = _kept(features, info, result.notes, folder.name)
    names = _task_names(folder)
    frames = _frames(folder, kept)
    episode, task = (frames[name].to_numpy() for name in ("episode_index", "task_index"))
    columns = {name: _rows(frames[name], name, features[name], str(folder)) for name in kept}
    if "next.reward" not in columns:
        unknown_rewards(result)
    _say_names(features, columns, result)
    tasks: dict[int, ImportedTask] = {}
    edges = [0, *(np.flatnonzero(np.diff(episode)) + 1).tolist(), len(episode)]
    for first, end in pairwise(edges):
        index = int(task[first])
        result.notes.add(
            folder.name,
            "episodes of several tasks are those of their first frame",
            int((task[first:end] != index).any()),
        )
        if index not in tasks:
            name = names.get(index, f"task-{index}")
            tasks[index] = ImportedTask(name=slug(name), index=index, episodes=[])
            result.notes.add(folder.name, f"the task {name!r} is called {slug(name)}"[:300], int(slug(name) != name))
        part = {name: rows[first:end] for name, rows in columns.items()}
        tasks[index].episodes += _episodes(part, result.notes, folder.name)
    result.tasks += [tasks[index] for index in sorted(tasks)]
    return result


def _kept(features: Mapping[str, Any], info: Mapping[str, Any], notes: Notes, where: str) -> list[str]:
    """Features that are read; videos and text are told."""
    kinds = {name: str(about.get("dtype")) if isinstance(about, dict) else "" for name, about in features.items()}
    videos = [name for name, kind in kinds.items() if kind == "video"]
    notes.add(where, f"videos are left out: {', '.join(videos)}"[:300], len(videos))
    texts = [name for name, kind in kinds.items() if kind not in ("video", "image") and not _is_number(kind)]
    notes.add(where, f"features that are no numbers are left out: {', '.join(texts)}"[:300], len(texts))
    if info.get("fps") is not None:
        notes.add(where, f"frames are {info['fps']} a second, which is told here alone"[:100])
    return [name for name in features if name not in (*_INDEX, *videos, *texts)]


def _is_number(kind: str) -> bool:
    try:
        return np.dtype(kind).kind in "biuf"
    except TypeError:
        return False


def _task_names(folder: Path) -> dict[int, str]:
    table, lines = folder / "meta/tasks.parquet", folder / "meta/tasks.jsonl"
    if table.is_file():
        rows = _table(table).to_pylist()
        return {int(row["task_index"]): str(next((v for k, v in row.items() if k != "task_index"), "")) for row in rows}
    if lines.is_file():
        found = [parse_json(line, str(lines)) for line in read_document(lines, LARGEST_TABLE).decode().splitlines()]
        return {int(row["task_index"]): str(row["task"]) for row in found}
    return {}


def _table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        return pq.ParquetFile(path).read(columns=None if columns is None else list(columns))
    except Exception as error:  # what is damaged leads Arrow to errors of any kind
        raise CorruptDatasetError(f"{path} cannot be read as Parquet: {error}"[:500]) from None


def _frames(folder: Path, kept: Sequence[str]) -> pa.Table:
    """All frames by episode and frame. Raises CorruptDatasetError where frames of an episode are missing."""
    files = sorted((folder / "data").rglob("*.parquet"))
    if not files:
        raise DatasetError(f"{folder} has no Parquet file below data")
    tables = [_table(file, [*kept, "episode_index", "frame_index", "task_index"]) for file in files]
    missing = [
        name for name in (*kept, "episode_index", "frame_index", "task_index") if name not in tables[0].column_names
    ]
    if missing:
        raise CorruptDatasetError(f"{folder}: its frames lack {', '.join(missing)}"[:500])
    try:
        frames = pa.concat_tables(tables).combine_chunks()
    except pa.ArrowInvalid as error:
        raise CorruptDatasetError(f"{folder}: its data files differ: {error}"[:500]) from None
    frames = frames.take(pa.array(np.lexsort([frames["frame_index"].to_numpy(), frames["episode_index"].to_numpy()])))
    episode, step = (frames[name].to_numpy().astype(np.int64) for name in ("episode_index", "frame_index"))
    starts = np.flatnonzero(np.diff(episode, prepend=-1))
    expected = np.arange(len(step)) - np.repeat(starts, np.diff(starts, append=len(step)))
    if not len(step) or (step != expected).any():
        raise CorruptDatasetError(f"{folder}: frames of an episode are missing, or stand twice")
    return frames


def _rows(column: Any, name: str, feature: Mapping[str, Any], where: str) -> Array:
    """(F, ...) of numbers, lists of numbers or encoded images."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    if whole.null_count:
        raise CorruptDatasetError(f"{where}: {name} holds nulls")
    if pa.types.is_struct(whole.type):
        return _images(whole.to_pylist(), name, where)
    shape = tuple(feature.get("shape") or ())
    while isinstance(whole, pa.ListArray | pa.FixedSizeListArray | pa.LargeListArray):
        whole = whole.flatten()
    numbers = check_numbers(name, whole.to_numpy(zero_copy_only=False), where)
    try:
        return numbers.reshape(len(column), *(() if shape == (1,) and len(numbers) == len(column) else shape))
    except (ValueError, TypeError):
        raise CorruptDatasetError(
            f"{where}: rows of {name} are not of the shape {shape} that info.json states"
        ) from None


def _images(rows: Sequence[Any], name: str, where: str) -> Array:
    images = optional("PIL.Image")
    try:
        return np.stack([np.asarray(images.open(io.BytesIO(row["bytes"]))) for row in rows])
    except Exception as error:  # what is no image leads Pillow to errors of any kind
        raise CorruptDatasetError(
            f"{where}: {name} are no images of one size that lie in the file: {error}"[:500]
        ) from None


def _observed(columns: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Columns of observations: `observation.state` alone is all of them."""
    found = {name.removeprefix(prefix): rows for name, rows in columns.items() if name.startswith(prefix)}
    if list(found) == ["state"]:
        return {OBSERVATIONS: found["state"]}
    return {f"{OBSERVATIONS}/{name}": found[name] for name in sorted(found)}


def _episodes(columns: Mapping[str, Array], notes: Notes, where: str) -> list[ImportedEpisode]:
    size = len(columns["action"])
    seen, following = _observed(columns, _SEEN), _observed(columns, _NEXT)
    if not seen:
        raise DatasetError(f"{where}: its frames hold no observation of numbers: {', '.join(columns)}"[:500])
    flags = {what: as_flags(name, columns[name], where) for name, what in _FLAGS.items() if name in columns}
    terminated = flags.get(
        "terminated", flags.get("dones", np.zeros(size, bool)) & ~flags.get("truncated", np.zeros(size, bool))
    )
    if "terminated" not in flags:
        said = "dones, which do not distinguish terminals from time-outs, are taken as terminals"
        notes.add(where, said, int(terminated.sum()))
    known = {"action", "next.reward", "next.success", *_FLAGS}
    others = {name: rows for name, rows in columns.items() if name not in known and not name.startswith((_SEEN, _NEXT))}
    rewards = (
        as_column("next.reward", columns["next.reward"], where)
        if "next.reward" in columns
        else np.zeros(size, np.float32)
    )
    rows = Rows(
        observations=seen,
        next_observations=following or None,
        actions=columns["action"],
        rewards=rewards,
        terminated=terminated,
        truncated=flags.get("truncated", np.zeros(size, bool)),
        extras=extra_columns(others, notes, where),
    )
    made = episodes_of_rows(rows, notes, where)
    solved = bool(columns["next.success"].any()) if "next.success" in columns and len(made) == 1 else None
    return [ImportedEpisode(episode=episode, success=solved) for episode in made]


def _say_names(features: Mapping[str, Any], columns: Mapping[str, Array], result: Import) -> None:
    """The names of motors and axes, as the meaning of a column."""
    whole = list(_observed(columns, _SEEN)) == [OBSERVATIONS]
    for name in columns:
        stated: Any = features[name].get("names")
        listed = next(iter(stated.values()), None) if isinstance(stated, dict) else stated
        if (
            not isinstance(listed, list)
            or not listed
            or not all(isinstance(t, str) and t.isprintable() for t in listed)
        ):
            continue
        if name == "action":
            result.about[ACTIONS] = About(meaning=", ".join(listed)[:200])
        elif name.startswith(_SEEN):
            column = OBSERVATIONS if whole else f"{OBSERVATIONS}/{name.removeprefix(_SEEN)}"
            result.about[column] = About(meaning=", ".join(listed)[:200])
