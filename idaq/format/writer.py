"""Writes a dataset: built in a hidden folder under the lock of its id, manifest last, then one atomic rename.

HDF5 note: with `alignment_threshold=1` and HDF5's default free-space tracking, creating groups costs time quadratic in
their number (4,500 episodes: 19 s against 3 s); `fs_strategy="none"` keeps it linear. A dataset is written once, so
there is no free space to track.
"""

import json
import os
import platform
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from minari.serialization import serialize_space

import idaq
from idaq.core.config import canonical_json, to_mapping
from idaq.core.digest import dataset_digest, episode_digest, value_digest
from idaq.core.errors import DatasetError, DatasetExistsError
from idaq.core.files import fsync_folder, fsync_tree, is_cut_short, sha256_file, write_bytes, write_json, write_text
from idaq.core.ids import parse_id
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, Advance, Episode, ignore_progress
from idaq.format import FORMAT_VERSION, layout
from idaq.format.card import dataset_card
from idaq.format.columns import check_columns
from idaq.format.documents import (
    About,
    Column,
    Counts,
    FileRecord,
    Manifest,
    MetadataIdaq,
    Parent,
    Provenance,
    TaskRecord,
    mean_behaviour,
    mean_random,
)
from idaq.format.gym_spaces import leaf_spaces, supported
from idaq.format.hdf5_write import EpisodeGroups, Written, open_hdf5
from idaq.format.lock import locked
from idaq.format.output import Output
from idaq.format.reader import EpisodeTable, open_stored
from idaq.format.recipe import Recipe

_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class EpisodeEntry:
    """An episode and where it came from."""

    episode: Episode
    task_index: int
    behaviour: str
    seed: int | None
    success: bool | None
    """None where it is unknown; so is the seed"""
    history: int | None = None
    """which learning history of its task and behaviour it belongs to; None where to none"""
    policy_step: int | None = None
    """environment steps that the behaviour policy had learned from before it; None where that is not known"""


def entry_of(table: EpisodeTable, number: int, episode: Episode) -> EpisodeEntry:
    """An episode with what the table of the dataset it is from says of it."""
    return EpisodeEntry(
        episode=episode,
        task_index=int(table.task_index[number]),
        behaviour=str(table.behaviour[number]),
        seed=table.seed_of(number),
        success=table.solved(number),
        history=table.history_of(number),
        policy_step=table.policy_step_of(number),
    )


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """Everything a dataset is written from. Entries come sorted by task index."""

    recipe: Recipe
    tasks: tuple[TaskRecord, ...]
    entries: Iterable[EpisodeEntry]
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    env_spec_json: str | None
    about: Mapping[str, About] = field(default_factory=dict)
    """what is said of columns, by name"""
    simulators: Mapping[str, str] = field(default_factory=dict)
    """versions of the packages that decide what an episode holds"""
    unstable: int = 0
    """episodes that were left out of it for NaN or infinity"""
    operation: str = ""
    notes: tuple[str, ...] = ()
    """what making it cut, cast, dropped or assumed"""
    inherited: tuple[str, ...] = ()
    """notes of its parents"""
    parents: tuple[Parent, ...] = ()
    """what made it, of what, where it was not collected"""
    provenance: Provenance | None = None
    """that of the dataset these episodes were first written into, if they are written again"""


def write_dataset(
    source: DatasetSource,
    root: Path,
    card: str | None = None,
    progress: Advance = ignore_progress,
    check: Callable[[Path], None] = lambda _folder: None,
) -> Path:
    """Write `source` as `<root>/<id>`, visible only once whole and passed by `check`; returns its folder.

    `check` gets a hidden folder that ends in the id, and raises what it finds wrong. `card` is the text of README.md;
    without it the documents tell what stands there. Raises DatasetExistsError if the id is taken, DatasetLockedError
    while another process writes it, DatasetError for entries out of order, of unequal columns or unequal lengths,
    OSError where the disk is full.
    """
    dataset_id = str(parse_id(source.recipe.id))
    with locked(root, dataset_id, source.operation or "collection") as work:
        refuse_taken(root / dataset_id)
        building = work / "made" / dataset_id
        data = layout.data_folder(building)
        (data / "idaq").mkdir(parents=True)
        table, chunks, columns = _write_hdf5(data / layout.HDF5, source, progress)
        pq.write_table(table, data / layout.EPISODES)
        if layout.compressed(columns):
            pq.write_table(chunks, data / layout.CHUNKS)
        write_text(data / layout.TASKS, "".join(canonical_json(to_mapping(t)) + "\n" for t in source.tasks))
        _write_documents(data, source, table, columns)
        check(building)
        write_text(building / layout.CARD, dataset_card(open_stored(building)) if card is None else card)
        return publish(building, root, dataset_id)


def publish(built: Path, root: Path, dataset_id: str) -> Path:
    """Make a whole dataset folder durable and give it its name below `root`, by one rename; returns it.

    Raises DatasetExistsError if the id is taken, DatasetLockedError while another process writes it.
    """
    target = root / str(parse_id(dataset_id))
    with locked(root, dataset_id, "publication"):
        refuse_taken(target)
        fsync_tree(built)
        make_namespaces(root, target.parent)
        os.rename(built, target)
        fsync_folder(target.parent)
    return target


def refuse_taken(target: Path) -> None:
    """Raise DatasetExistsError where a dataset is."""
    if target.exists():
        raise DatasetExistsError(f"{target} exists already", hint="choose another id")


def _write_hdf5(path: Path, source: DatasetSource, progress: Advance) -> tuple[pa.Table, pa.Table, dict[str, Column]]:
    """Write all episodes; returns the tables of episodes, of chunks and of columns."""
    chunks: dict[str, array[int]] = {}
    columns: dict[str, Column] = {}
    rows: _Rows | None = None
    last_task = 0
    tasks = {task.task_index: task for task in source.tasks}
    with closing(Output(path)) as output:
        with open_hdf5(output) as file:
            groups = EpisodeGroups(file)
            for number, entry in enumerate(source.entries):
                if rows is None:
                    columns = _columns(entry.episode, source)
                    rows = _Rows(layout.episode_schema(columns))
                if fault := _fault(entry, columns, last_task, tasks):
                    raise DatasetError(f"episode {number} of task {entry.task_index} {fault}")
                written = _write_episode(groups, number, entry, tasks[entry.task_index], columns)
                output.raise_failure()
                rows.add(_row(number, entry, written.offsets, columns[REWARDS].known))
                for name, places in written.chunks.items():
                    chunks.setdefault(name, array("q")).extend(chain.from_iterable(places))
                last_task = entry.task_index
                progress(1)
        output.raise_failure()
    if rows is None:
        raise DatasetError("a dataset needs at least one episode")
    places = np.concatenate([np.empty(0, np.int64), *chunks.values()]).reshape(-1, 2)
    return rows.table(), pa.table(list(places.T), schema=layout.CHUNK_SCHEMA), columns


class _Rows:
    """Rows of a table that grows: a million would take gigabytes as Python's objects, and a tenth as Arrow's."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._tables: list[pa.Table] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS_AT_ONCE:
            self._tables.append(pa.Table.from_pylist(self._rows, self._schema))
            self._rows = []

    def table(self) -> pa.Table:
        return pa.concat_tables([*self._tables, pa.Table.from_pylist(self._rows, self._schema)])


def _columns(episode: Episode, source: DatasetSource) -> dict[str, Column]:
    columns = layout.columns_of(episode, source.about, source.recipe.compress)
    check_columns(columns, "the dataset", 2**63)
    return columns


def _fault(
    entry: EpisodeEntry, columns: Mapping[str, Column], last_task: int, tasks: Mapping[int, TaskRecord]
) -> str | None:
    """What keeps an episode from being written after one of `last_task` in a file of `columns`."""
    found, length = entry.episode.columns, len(entry.episode)
    if list(found) != list(columns):
        return f"has the columns {', '.join(found)}, not {', '.join(columns)}"
    kinds = {name: _kind(array.dtype.newbyteorder("<").str, array.shape[1:]) for name, array in found.items()}
    expected = {name: _kind(column.dtype, column.shape) for name, column in columns.items()}
    if differing := [name for name in columns if kinds[name] != expected[name]]:
        return "; ".join(f"has {name} of {kinds[name]}, not {expected[name]}" for name in differing)
    rows = {name: len(array) for name, array in found.items()}
    if length == 0 or rows != {name: layout.rows_of(column, length) for name, column in columns.items()}:
        return f"must have T + 1 observations and T of everything else, at least one, not {rows}"
    large = [name for name in layout.compressed(columns) if found[name].nbytes > layout.LARGEST_COMPRESSED]
    if large:
        return f"has {large[0]} of {found[large[0]].nbytes} bytes, too many to be compressed"
    if entry.task_index not in tasks:
        return "belongs to no task of the dataset"
    return "comes after a later task" if entry.task_index < last_task else None


def _kind(dtype: str, shape: Sequence[int]) -> str:
    return f"{dtype} and row shape {list(shape)}"


def _write_episode(
    groups: EpisodeGroups, number: int, entry: EpisodeEntry, task: TaskRecord, columns: Mapping[str, Column]
) -> Written:
    """One group of Minari's layout."""
    attributes: dict[str, int | str] = {
        "id": number,
        **({} if entry.seed is None else {"seed": entry.seed}),
        "total_steps": len(entry.episode),
        "task_id": task.task_id,
        "task_index": entry.task_index,
        "options/task": layout.task_option(task),
    }
    chunk_rows = {name: column.chunk_rows for name, column in columns.items() if column.chunk_rows is not None}
    return groups.add(f"episode_{number}", attributes, entry.episode.columns, chunk_rows)


def _row(number: int, entry: EpisodeEntry, offsets: dict[str, int], rewarded: bool) -> dict[str, Any]:
    episode = entry.episode
    return {
        "episode": number,
        "task_index": entry.task_index,
        "behaviour": entry.behaviour,
        "history": entry.history,
        "policy_step": entry.policy_step,
        "seed": entry.seed,
        "length": len(episode),
        "return": episode.total_reward if rewarded else None,
        "success": entry.success,
        "terminated": bool(episode.terminated[-1]),
        "truncated": bool(episode.truncated[-1]),
        **{f"offset_{name}": offset for name, offset in offsets.items()},
        "digest": episode_digest(episode, task_index=entry.task_index, seed=entry.seed),
    }


def _write_documents(data: Path, source: DatasetSource, table: pa.Table, columns: dict[str, Column]) -> None:
    """metadata.json and, before it, the manifest it vouches for."""
    recipe = source.recipe
    steps = int(table["length"].to_numpy().sum())
    counts = Counts(tasks=len(source.tasks), episodes=len(table), steps=steps)
    metadata = _minari_metadata(data, source, counts)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        dataset_id=recipe.id,
        family=recipe.family,
        recipe=recipe,
        recipe_digest=value_digest(to_mapping(recipe)),
        content_digest=dataset_digest(digest.as_py() for digest in table["digest"]),
        splits=_splits(source),
        columns=columns,
        observation_space_sha256=value_digest(metadata["observation_space"]),
        action_space_sha256=value_digest(metadata["action_space"]),
        metadata_digest=value_digest(json.loads(json.dumps(metadata))),
        counts=counts,
        files=[_file_record(data, name) for name in layout.hashed_files(columns)],
        provenance=source.provenance or _provenance(source),
    )
    write_json(data / layout.MANIFEST, to_mapping(manifest))
    idaq_object = MetadataIdaq(
        format_version=FORMAT_VERSION, manifest_sha256=sha256_file(data / layout.MANIFEST), counts=counts
    )
    write_json(data / layout.METADATA, {**metadata, "idaq": to_mapping(idaq_object)})


def _minari_version(source: DatasetSource) -> str:
    """The oldest whose reader opens the dataset."""
    spaces = [*leaf_spaces(source.observation_space).values(), source.action_space]
    late = any(isinstance(space, gym.spaces.MultiDiscrete | gym.spaces.MultiBinary) for space in spaces)
    return layout.MINARI_VERSIONS[late]


def _minari_metadata(data: Path, source: DatasetSource, counts: Counts) -> dict[str, Any]:
    """The keys that Minari itself would write."""
    recipe = source.recipe
    return {
        "dataset_id": recipe.id,
        "description": recipe.description,
        "total_episodes": counts.episodes,
        "total_steps": counts.steps,
        "data_format": "hdf5",
        "observation_space": serialize_space(supported(source.observation_space, OBSERVATIONS)),
        "action_space": serialize_space(supported(source.action_space, ACTIONS)),
        **({} if source.env_spec_json is None else {"env_spec": source.env_spec_json}),
        "algorithm_name": ", ".join(b.name for b in recipe.behaviours),
        "author": list(recipe.authors),
        **({} if recipe.license is None else {"license": recipe.license}),
        "author_email": [],
        "code_permalink": "",
        "requirements": ["idaq"],
        "minari_version": _minari_version(source),
        "jpeg_encoding": False,
        **_reference_scores(source.tasks),
        "dataset_size": round((data / layout.HDF5).stat().st_size / 1e6, 1),
    }


def _reference_scores(tasks: Sequence[TaskRecord]) -> dict[str, float]:
    """The ends of Minari's normalised score, where both are known of every task."""
    random, behaviour = mean_random(tasks), mean_behaviour(tasks)
    return {} if random is None or behaviour is None else {"ref_min_score": random, "ref_max_score": behaviour}


def _splits(source: DatasetSource) -> dict[str, list[int]]:
    splits: dict[str, list[int]] = {name: [] for name in source.recipe.splits.sizes}
    for task in source.tasks:
        splits[task.split].append(task.task_index)
    return splits


def _file_record(data: Path, name: str) -> FileRecord:
    return FileRecord(path=name, size=(data / name).stat().st_size, sha256=sha256_file(data / name))


def _provenance(source: DatasetSource) -> Provenance:
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        idaq=idaq.__version__,
        python=sys.version.split()[0],
        numpy=np.__version__,
        h5py=h5py.__version__,
        platform=f"{platform.system()} {platform.machine()}",
        simulators=dict(source.simulators),
        unstable=source.unstable,
        operation=source.operation,
        notes=[*source.inherited, *source.notes],
        parents=list(source.parents),
    )


def make_namespaces(root: Path, namespace: Path) -> None:
    """Minari wants a namespace_metadata.json in every namespace folder; one that is torn is written again."""
    namespace.mkdir(parents=True, exist_ok=True)
    while namespace != root:
        document = namespace / layout.NAMESPACE
        if not document.exists() or is_cut_short(document.read_bytes(), layout.NO_NAMESPACE):
            write_bytes(document, layout.NO_NAMESPACE)
        fsync_folder(namespace.parent)
        namespace = namespace.parent
