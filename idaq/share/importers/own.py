"""What `idaq dataset export` wrote: archives, Parquet, folders for LeRobot and FOCAL's family. All of it comes back.

Each carries a document that says what its columns are, so nothing is assumed: tasks, spaces, splits, seeds, behaviours
and columns are those of the dataset that was exported. If the numbers were changed since, that is told, and so is what
the form has no place for. S transitions, M episodes.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from idaq.core.digest import dataset_digest, episode_digest
from idaq.core.errors import CorruptDatasetError, DatasetError, UsageError
from idaq.core.extras import optional
from idaq.core.files import inside, parse_json, read_json
from idaq.core.reading import LARGEST_TABLE, read_document
from idaq.core.types import ACTIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode, is_observation
from idaq.format import layout
from idaq.format.documents import About, Manifest, TaskRecord
from idaq.format.importing import Import, ImportedEpisode, ImportedTask
from idaq.format.reader import document, read_space
from idaq.share.importers.members import archive_names, read_archive
from idaq.share.importers.pickled import read_objects

_DOCUMENT, _LEROBOT, _FOCAL = "idaq", "meta/idaq.json", "dataset.json"
_FACTS = ("task_index", "behaviour", "seed", "success", "history", "policy_step")
Facts = Mapping[str, Any]
"""of one episode: those above, None where nothing is known"""


def is_own(path: Path) -> bool:
    """Whether a file or folder carries the document of an export."""
    if path.suffix == ".npz" and path.is_file():
        return {_DOCUMENT, "episode_length"} <= set(archive_names(path))
    if path.suffix == ".parquet" and path.is_file():
        return _about_parquet(path) is not None
    return any((path / name).is_file() and _has_form(path / name) for name in (_LEROBOT, _FOCAL))


def _has_form(path: Path) -> bool:
    try:
        found = read_json(path)
    except CorruptDatasetError:
        return False
    return isinstance(found, dict) and {"form", "manifest"} <= found.keys()


def _about_parquet(path: Path) -> bytes | None:
    try:
        return (pq.read_schema(path).metadata or {}).get(_DOCUMENT.encode())
    except Exception:  # what is no Parquet leads Arrow to errors of any kind
        return None


def read_own(path: Path, allow_pickle: bool = False) -> Import:
    """Raises UsageError for what is none of ours, DatasetError or CorruptDatasetError for what was damaged since."""
    if not is_own(path):
        raise UsageError(f"{path} is nothing that idaq dataset export wrote, or comes from an earlier version of it")
    try:
        if path.suffix == ".npz":
            return _read_archive(path)
        if path.suffix == ".parquet":
            return _read_parquet(path)
        return _read_lerobot(path) if (path / _LEROBOT).is_file() else _read_focal(path, allow_pickle)
    except DatasetError:
        raise
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, OSError, pa.ArrowException) as error:
        raise CorruptDatasetError(f"{path} is no whole export of idaq: {error!r}"[:500]) from None


@dataclass(frozen=True, kw_only=True)
class _Export:
    """The document of an export, checked."""

    where: str
    form: str
    manifest: Manifest
    tasks: tuple[TaskRecord, ...]
    metadata: Mapping[str, Any]
    names: Mapping[str, Sequence[str]]
    """of each column: what it is called here, and where it has T + 1 rows what the rows are that follow"""


def _export(value: Any, where: str) -> _Export:
    tasks = tuple(document(TaskRecord, task, f"{where}: task {number}") for number, task in enumerate(value["tasks"]))
    manifest = document(Manifest, value["manifest"], f"{where}: manifest")
    if fault := layout.names_fault(manifest.columns):
        raise CorruptDatasetError(f"{where}: {fault}")
    names = {name: tuple(map(str, here)) for name, here in dict(value["names"]).items() if name in manifest.columns}
    return _Export(
        where=where,
        form=str(value["form"]),
        manifest=manifest,
        tasks=tasks,
        metadata=dict(value["metadata"]),
        names=names,
    )


def _import(export: _Export, episodes: Iterator[tuple[Facts, Mapping[str, Array]]]) -> Import:
    manifest, recipe = export.manifest, export.manifest.recipe
    observations, actions = (
        read_space(export.metadata, f"{what}_space", export.where) for what in ("observation", "action")
    )
    spec = export.metadata.get("env_spec")
    result = Import(
        tasks=[_task(task) for task in export.tasks],
        origin=f"{Path(export.where).name} ({manifest.dataset_id})",
        about={name: About(unit=c.unit, meaning=c.meaning, known=c.known) for name, c in manifest.columns.items()},
        observation_space=observations,
        action_space=actions,
        env_spec_json=spec if isinstance(spec, str) else None,
        authors=list(recipe.authors),
        license=recipe.license,
        citation=recipe.citation,
        source=recipe.source,
        simulators=dict(manifest.provenance.simulators),
    )
    tasks, digests = {task.index: task for task in result.tasks}, list[str]()
    for number, (facts, columns) in enumerate(episodes):
        entry, index = _entry(export, number, facts, columns), int(str(facts["task_index"]))
        if index not in tasks:
            raise CorruptDatasetError(f"{export.where}: episode {number} is of a task that it does not have")
        tasks[index].episodes.append(entry)
        digests.append(episode_digest(entry.episode, task_index=index, seed=entry.seed))
        result.compress = [name for name in layout.compressed(manifest.columns) if name in entry.episode.columns]
    _tell(export, dataset_digest(digests), result)
    return result


def _tell(export: _Export, digest: str, result: Import) -> None:
    """Whether all came back; if so, the spaces stand as they are stated."""
    left = [name for name in export.manifest.columns if export.names and name not in export.names]
    if export.form == "focal-npy":
        left = list(filter(layout.is_extra, export.manifest.columns))
    result.about = {name: about for name, about in result.about.items() if name not in left}
    if digest == export.manifest.content_digest:
        assert result.observation_space is not None
        assert result.action_space is not None
        result.spaces = result.observation_space, result.action_space
        return
    said = (
        f"columns that this form has no place for: {', '.join(left)}" if left else "numbers were changed since, or ends"
    )
    result.notes.add(result.origin, f"is not all of {export.manifest.dataset_id} as it was exported: {said}"[:300])


def _task(task: TaskRecord) -> ImportedTask:
    return ImportedTask(
        name=task.task_id,
        episodes=[],
        index=task.task_index,
        params=dict(task.params),
        env=task.env,
        reset_options=dict(task.reset_options),
        success=task.success,
        random=task.reference.random,
        split=task.split,
        family=task.family,
    )


def _entry(export: _Export, number: int, facts: Facts, columns: Mapping[str, Array]) -> ImportedEpisode:
    """An episode, its columns in the dtypes and shapes that the document states."""
    found: dict[str, Array] = {}
    for name, rows in columns.items():
        column = export.manifest.columns[name]
        try:
            found[name] = rows.astype(np.dtype(column.dtype), copy=False).reshape(len(rows), *column.shape)
        except (ValueError, TypeError):
            said = f"episode {number}: rows of {name} are {rows.dtype} {rows.shape[1:]}, not {column.shape}"
            raise CorruptDatasetError(f"{export.where}: {said}") from None
    return ImportedEpisode(
        episode=Episode.from_columns(found),
        behaviour=str(facts["behaviour"]),
        seed=facts["seed"],
        success=facts["success"],
        history=facts["history"],
        policy_step=facts["policy_step"],
    )


def _joined(export: _Export, number: int, rows: Mapping[str, Array]) -> dict[str, Array]:
    """The columns of an episode out of a row a transition: what is there, and of the last one what follows."""
    columns: dict[str, Array] = {}
    for name, (here, *following) in export.names.items():
        columns[name] = rows[here]
        for after in following:
            if rows[after][:-1].tobytes() != rows[here][1:].tobytes():
                said = f"{after} is not {here} of the row after: rows were changed, left out, or are in another order"
                raise CorruptDatasetError(f"{export.where}: episode {number}: {said}")
            columns[name] = np.concatenate([rows[here], rows[after][-1:]])
    return columns


def _read_archive(path: Path) -> Import:
    members = read_archive(path)
    export = _export(parse_json(members.texts[_DOCUMENT][0], str(path)), str(path))
    names = [name for here in export.names.values() for name in here]
    arrays = {name: members.array(name) for name in names}
    padded = export.form == "ogbench"  # T + 1 rows of all

    def episodes() -> Iterator[tuple[Facts, Mapping[str, Array]]]:
        lengths = members.array("episode_length")
        ends = (lengths + padded).cumsum().tolist()
        for number, end in enumerate(ends):
            span = slice(end - int(lengths[number]) - padded, end)
            rows = {name: array[span] for name, array in arrays.items()}
            if padded:
                whole = {name for name, column in export.manifest.columns.items() if column.rows == "T+1"}
                columns = {n: rows[here] if n in whole else rows[here][:-1] for n, (here, *_) in export.names.items()}
            else:
                columns = _joined(export, number, rows)
            yield _archived_facts(members.arrays, members.texts, number), columns

    return _import(export, episodes())


def _archived_facts(arrays: Mapping[str, Array], texts: Mapping[str, list[str]], number: int) -> Facts:
    known = {name: bool(arrays[f"episode_{name}_known"][number]) for name in ("seed", "success")}
    place = {name: int(arrays[f"episode_{name}"][number]) for name in ("history", "policy_step")}
    return {
        "task_index": int(arrays["episode_task_index"][number]),
        "behaviour": texts["episode_behaviour"][number],
        "seed": int(arrays["episode_seed"][number]) if known["seed"] else None,
        "success": bool(arrays["episode_success"][number]) if known["success"] else None,
        **{name: None if value < 0 else value for name, value in place.items()},
    }


def _read_parquet(path: Path) -> Import:
    export = _export(parse_json((_about_parquet(path) or b"").decode(), str(path)), str(path))
    names = [name for here in export.names.values() for name in here]
    table = pq.ParquetFile(path).read([*names, "episode", *_FACTS])

    def episodes() -> Iterator[tuple[Facts, Mapping[str, Array]]]:
        for number, (first, end) in enumerate(_edges(table["episode"].to_numpy())):
            part = table.slice(first, end - first)
            facts = {name: part[name][0].as_py() for name in _FACTS}
            yield facts, _joined(export, number, {name: _numbers(part[name]) for name in names})

    return _import(export, episodes())


def _read_lerobot(folder: Path) -> Import:
    export = _export(read_json(folder / _LEROBOT), str(folder))
    names = [name for here in export.names.values() for name in here]
    stated = [pq.ParquetFile(file).read() for file in sorted((folder / "meta/episodes").rglob("*.parquet"))]
    facts = {row["episode_index"]: row for table in stated for row in table.to_pylist()}

    def episodes() -> Iterator[tuple[Facts, Mapping[str, Array]]]:
        for file in sorted((folder / "data").rglob("*.parquet")):
            table = pq.ParquetFile(file).read([*names, "episode_index"])
            episode = table["episode_index"].to_numpy()
            for first, end in _edges(episode):
                part, row = table.slice(first, end - first), facts[int(episode[first])]
                rows = {name: _numbers(part[name]) for name in names}
                yield row | {"task_index": row["idaq_task_index"]}, _joined(export, int(episode[first]), rows)

    return _import(export, episodes())


def _edges(episode: Array) -> list[tuple[int, int]]:
    """First and one past the last row of each episode. Raises ValueError where its rows do not lie together."""
    if (np.diff(episode) < 0).any():
        raise ValueError("episodes are not in order")
    ends = [*(np.flatnonzero(np.diff(episode)) + 1).tolist(), len(episode)] if len(episode) else []
    return list(zip([0, *ends[:-1]], ends, strict=True)) if ends else []


def _numbers(column: Any) -> Array:
    """(T, ...) of Arrow's numbers, lists of them, or encoded pictures."""
    whole = column.combine_chunks()
    if pa.types.is_struct(whole.type):
        images = optional("PIL.Image")
        return np.stack([np.asarray(images.open(io.BytesIO(row["bytes"]))) for row in whole.to_pylist()])
    rows = len(whole)
    while pa.types.is_list(whole.type) or pa.types.is_fixed_size_list(whole.type):
        whole = whole.flatten()
    found = whole.to_numpy(zero_copy_only=False)
    return found if len(found) == rows else found.reshape(rows, -1)


def _read_focal(folder: Path, allow_pickle: bool) -> Import:
    export = _export(read_json(folder / _FOCAL), str(folder))
    lines = read_document(folder / "episodes.jsonl", LARGEST_TABLE).decode().splitlines()

    def episodes() -> Iterator[tuple[Facts, Mapping[str, Array]]]:
        for line in lines:
            facts = parse_json(line, str(folder))
            rows = read_objects(inside(folder, facts["path"]), allow_pickle)
            yield facts, _of_rows(export, rows, facts)

    return _import(export, episodes())


def _of_rows(export: _Export, rows: Array, facts: Facts) -> dict[str, Array]:
    """The columns of rows s, a, r, s', flat or objects."""
    columns, ends = export.manifest.columns, np.arange(len(rows)) == len(rows) - 1
    seen = [name for name in columns if is_observation(name)]
    widths = [layout.row_width(columns[name]) for name in seen]
    size, width = sum(widths), layout.row_width(columns[ACTIONS])
    if rows.dtype == object:
        parts = [np.stack([np.ravel(row[part]) for row in rows]) for part in range(4)]
    else:
        parts = np.split(rows, np.cumsum([size, width, 1]), axis=1)
    if [part.shape[1] for part in parts] != [size, width, 1, size]:
        raise CorruptDatasetError(
            f"{export.where}: rows of {facts['path']} are not {size}, {width}, 1 and {size} numbers"
        )
    s, a, r, last = parts
    leaves = np.split(np.concatenate([s, last[-1:]]), np.cumsum(widths)[:-1], axis=1)
    return {
        **dict(zip(seen, leaves, strict=True)),
        ACTIONS: a,
        REWARDS: r[:, 0],
        TERMINATIONS: ends & bool(facts["terminated"]),
        TRUNCATIONS: ends & bool(facts["truncated"]),
    }
