"""A range of tasks: the bytes that move, the dataset that results, and damage of every sort."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from idaq.core.digest import dataset_digest
from idaq.core.errors import (
    CorruptDatasetError,
    DatasetExistsError,
    ShareError,
    TransferError,
    UnknownNameError,
    UsageError,
)
from idaq.core.types import FIXED_COLUMNS, Episode
from idaq.format import layout
from idaq.format.columns import get_episode, map_columns
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.format.writer import EpisodeEntry, write_dataset
from idaq.hub.lookup import look_up, open_remote
from idaq.hub.pull import Pulled
from idaq.hub.tasks import pull_tasks, subset_id
from idaq.loader import open_dataset
from idaq.testing.damage import reseal
from idaq.testing.examples import EXAMPLES
from tests.format.made import LARGEST, made_recipe, made_source, task_record
from tests.format.sealing import alter_episodes, alter_metadata, flip
from tests.hub import servers
from tests.hub.conftest import MADE, visible

DATA = "main_data.hdf5"
LONG, PACKED = "idaq/made/long-v0", "idaq/examples/tagged-v0"
TASKS, EPISODES, STEPS = 20, 5, 200


def fetch(url: str, tasks: range | str, root: Path, dataset_id: str = MADE, new_id: str | None = None) -> Pulled:
    with open_remote(url, timeout=1.0) as remote:
        return pull_tasks(look_up(remote, dataset_id), tasks, root, new_id)


def long_entry(task: int, number: int) -> EpisodeEntry:
    rng = np.random.default_rng((task, number))
    terminated = np.zeros(STEPS, bool)
    terminated[-1] = True
    episode = Episode(
        observations=rng.uniform(-1, 1, (STEPS + 1, 39)).astype(np.float32),
        actions=rng.uniform(-1, 1, (STEPS, 4)).astype(np.float32),
        rewards=rng.uniform(0, 1, STEPS),
        terminated=terminated,
        truncated=np.zeros(STEPS, bool),
    )
    return EpisodeEntry(episode=episode, task_index=task, behaviour="expert", seed=number, success=True)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A web server of a dataset large enough for its data to outweigh its documents: 3.5 MB, 20 tasks."""
    root = tmp_path_factory.mktemp("long")
    entries = [long_entry(task, task * EPISODES + number) for task in range(TASKS) for number in range(EPISODES)]
    spaces = made_source()
    box = type(spaces.observation_space)
    source = replace(
        spaces,
        recipe=made_recipe(f"id={LONG}"),
        entries=entries,
        tasks=tuple(task_record(task, entries, ("train", "test")[task % 2]) for task in range(TASKS)),
        observation_space=box(-LARGEST, LARGEST, (39,), np.float32),
        action_space=box(-LARGEST, LARGEST, (4,), np.float32),
    )
    write_dataset(source, root, "# long\n")
    with servers.file_server(root) as server:
        server.folder = root / LONG
        yield server


@pytest.mark.parametrize("tasks", [range(10), range(7, 9), range(18, 40)])
def test_little_more_moves_than_those_tasks_hold(long: Any, tmp_path: Path, tasks: range) -> None:
    long.sent = 0
    done = fetch(long.url, tasks, tmp_path, LONG)
    whole = open_stored(long.folder)
    wanted = [number for number, task in enumerate(whole.episodes.task_index) if task in tasks]
    columns = whole.manifest.columns.values()
    held = sum(layout.row_bytes(c) * layout.rows_of(c, STEPS) for c in columns) * len(wanted)
    documents = sum(record.size for record in whole.manifest.files if record.path != layout.HDF5)
    documents += sum((long.folder / f"data/{name}").stat().st_size for name in (layout.MANIFEST, layout.METADATA))
    print(f"{len(wanted)} episodes, {held} bytes: {long.sent / held:.3f} x moved, documents {documents / held:.3f} x")
    assert held < long.sent < 1.2 * held
    part = open_stored(done.path)
    assert verify(done.path) == []
    assert part.episodes.digest.tolist() == whole.episodes.digest[wanted].tolist()
    assert done.content_digest == dataset_digest(part.episodes.digest.tolist())


def test_the_part_is_a_dataset_with_its_tasks_seeds_and_values_as_they_were(
    web: Any, made: Path, tmp_path: Path
) -> None:
    done = fetch(web.url, range(5, 10), tmp_path)
    assert done.dataset_id == "idaq/made/tagged-tasks-5-10-v0"
    whole, part = open_stored(made), open_stored(done.path)
    assert [
        replace(task, reference=other.reference) for task, other in zip(part.tasks, whole.tasks[1:], strict=True)
    ] == [*whole.tasks[1:]]
    (parent,) = part.manifest.provenance.parents
    assert parent.content_digest == whole.manifest.content_digest
    assert part.episodes.seed.tolist() == whole.episodes.seed[3:].tolist()
    assert {b.name for b in part.manifest.recipe.behaviours} == set(part.episodes.behaviour)
    for name in ("observation_space", "action_space", "env_spec"):
        assert part.metadata[name] == whole.metadata[name]
    before, after = map_columns(whole), map_columns(part)
    for number, length in enumerate(part.episodes.length.tolist()):
        first, second = get_episode(before, number + 3, length), get_episode(after, number, length)
        np.testing.assert_array_equal(first.observations, second.observations)
    assert len(open_dataset(done.path)) == 5
    card = (done.path / "README.md").read_text()
    assert f"Made by subset: tasks 5:10, pulled from a hub, from {MADE}." in card


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A web server of a dataset with compressed columns."""
    root = tmp_path_factory.mktemp("packed")
    write_dataset(EXAMPLES["compressed"](), root, "")
    with servers.file_server(root) as server:
        server.folder = root / PACKED
        yield server


def test_of_compressed_columns_the_chunks_of_those_tasks_move_and_stay_compressed(packed: Any, tmp_path: Path) -> None:
    done = fetch(packed.url, "9", tmp_path, PACKED)
    whole, part = open_stored(packed.folder), open_stored(done.path)
    assert verify(done.path) == []
    assert part.episodes.digest.tolist() == whole.episodes.digest[4:].tolist()
    assert part.manifest.columns == whole.manifest.columns
    assert part.chunks.keys() == {"observations/camera", "infos/mask"}


def test_chunks_that_lead_out_of_the_file_or_do_not_unpack_are_named(packed: Any, tmp_path: Path) -> None:
    whole = open_stored(packed.folder)
    offset, size = whole.chunks["observations/camera"].of(5)[1]
    flip(whole.hdf5, offset + size // 2, 1)
    with pytest.raises(CorruptDatasetError, match=r"observations/camera of episode 5: chunk \d does not unpack"):
        fetch(packed.url, "9", tmp_path, PACKED)
    assert visible(tmp_path) == []
    flip(whole.hdf5, offset + size // 2, 1)
    path = packed.folder / "data" / layout.CHUNKS
    documents = {file: file.read_bytes() for file in (path, *packed.folder.rglob("*.json"))}
    table = pq.read_table(path).to_pydict()
    table["offset"][8] = 2**62
    pq.write_table(pa.table(table, schema=layout.CHUNK_SCHEMA), path)
    reseal(packed.folder)
    with pytest.raises(CorruptDatasetError, match="column observations/camera of episode 5 leaves the file"):
        fetch(packed.url, "9", tmp_path, PACKED)
    for file, content in documents.items():
        file.write_bytes(content)
    assert verify(fetch(packed.url, "9", tmp_path, PACKED).path) == []


def test_an_id_may_be_chosen_and_a_taken_one_is_left_alone(web: Any, tmp_path: Path) -> None:
    name = "idaq/mine/part-v3"
    done = fetch(web.url, range(3), tmp_path, new_id=name)
    assert done.path == tmp_path / name
    assert fetch(web.url, range(3), tmp_path, new_id=name).existed
    with pytest.raises(DatasetExistsError, match="another content"):
        fetch(web.url, range(9), tmp_path, new_id=name)
    assert open_stored(done.path).manifest.content_digest == done.content_digest
    with pytest.raises(UsageError, match="is not a dataset id") as caught:
        subset_id("a/" + "x" * 60 + "-v0", "0:10")
    assert "--id" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("tasks", "name"),
    [
        ("0:10", "a/b-tasks-0-10-v0"),
        ("0-9", "a/b-tasks-0-10-v0"),
        ("3,17, 40", "a/b-tasks-3_17_40-v0"),
        (":5,task-031,90:", "a/b-tasks-0-5_task-031_90-end-v0"),
        ("mass.5", "a/b-tasks-mass-5-v0"),
    ],
)
def test_a_part_is_named_by_its_tasks(tasks: str, name: str) -> None:
    assert subset_id("a/b-v0", tasks) == name


def test_single_tasks_are_pulled_and_only_their_bytes(web: Any, tmp_path: Path) -> None:
    done = fetch(web.url, "9,2", tmp_path)
    assert done.dataset_id.endswith("-tasks-9_2-v0")
    assert set(open_stored(done.path).episodes.task_index.tolist()) == {2, 9}
    assert verify(done.path) == []
    assert fetch(web.url, "task-2,9-9", tmp_path, new_id="idaq/same/part-v0").content_digest == done.content_digest
    with pytest.raises(UnknownNameError, match="unknown task 'task-7'"):
        fetch(web.url, "task-7", tmp_path)


def test_tasks_that_are_not_there(web: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no task has an index from 10:20"):
        fetch(web.url, range(10, 20), tmp_path)


def test_a_wrong_byte_is_found_by_the_episode_it_is_in(long: Any, tmp_path: Path) -> None:
    long.inject(servers.flip(200_000), path=DATA)
    with pytest.raises(CorruptDatasetError, match=r"episode 1\d \(task [23]\) .* do not match its digest"):
        fetch(long.url, range(2, 4), tmp_path, LONG)
    assert visible(tmp_path) == []
    long.heal()
    assert verify(fetch(long.url, range(2, 4), tmp_path, LONG).path) == []


@pytest.mark.parametrize("fault", [servers.cut(20_000), servers.grown, servers.shrunk, servers.stall(9000)])
def test_faults_that_pass(long: Any, tmp_path: Path, fault: servers.Fault) -> None:
    long.inject(fault, path=DATA, times=3)
    assert verify(fetch(long.url, range(2, 3), tmp_path, LONG).path) == []
    long.heal()


def test_a_cut_range_goes_on_where_it_stopped(long: Any, tmp_path: Path) -> None:
    long.inject(servers.cut(50_000), times=1, path=DATA)
    long.inject(servers.hang_up, path=DATA)
    with pytest.raises(TransferError):
        fetch(long.url, range(4, 6), tmp_path, LONG)
    assert visible(tmp_path) == []
    long.heal()
    long.log.clear()
    done = fetch(long.url, range(4, 6), tmp_path, LONG)
    start = min(
        int(open_stored(long.folder).episodes.offsets[name][4 * EPISODES]) for name in ("observations", *FIXED_COLUMNS)
    )
    spans = [span for _, path, span in long.log if DATA in path]
    assert spans[0].startswith(f"bytes={start + 50_000}-")
    assert verify(done.path) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("offset_rewards", -64),
        ("offset_actions", 2**62),
        ("offset_observations", 2**63 - 64),
        ("length", 2**62),
        ("length", -5),
        ("length", 0),
    ],
)
def test_tables_that_lead_out_of_the_file(web: Any, own_folder: Path, tmp_path: Path, column: str, value: int) -> None:
    def alter(table: dict[str, list[Any]]) -> None:
        table[column][1] = value

    alter_episodes(own_folder / MADE, alter)
    web.sent = 0
    with pytest.raises(CorruptDatasetError):
        fetch(web.url, range(9), tmp_path)
    assert visible(tmp_path) == []
    assert web.sent < 60_000


def test_offsets_of_another_episode_are_found(web: Any, own_folder: Path, tmp_path: Path) -> None:
    def alter(table: dict[str, list[Any]]) -> None:
        for name in ("observations", *FIXED_COLUMNS):
            table[f"offset_{name}"][1] = table[f"offset_{name}"][2]

    alter_episodes(own_folder / MADE, alter)
    with pytest.raises(CorruptDatasetError, match=r"episode 1\b"):
        fetch(web.url, range(9), tmp_path)
    assert visible(tmp_path) == []


def test_data_that_is_not_there(web: Any, own_folder: Path, tmp_path: Path) -> None:
    web.inject(servers.refuse(404), path=DATA)
    with pytest.raises(ShareError, match="is missing"):
        fetch(web.url, range(9), tmp_path)


@pytest.mark.parametrize("text", ["{}", "[", '{"type": "Box"}', 7, None])
def test_spaces_that_are_none(web: Any, own_folder: Path, tmp_path: Path, text: object) -> None:
    alter_metadata(own_folder / MADE, lambda metadata: metadata.update(observation_space=text))
    with pytest.raises(CorruptDatasetError, match="observation_space"):
        fetch(web.url, range(9), tmp_path)
    assert visible(tmp_path) == []
