"""Compressed columns: read without HDF5, kept by edits, proven by their bytes, and refused where they lie."""

import random
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import Array
from idaq.format import layout
from idaq.format.columns import CompressedColumn, FlatColumn, map_columns
from idaq.format.hdf5_walk import walk
from idaq.format.merge import merged
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import _expected, verify
from idaq.format.writer import DatasetSource, write_dataset
from idaq.loader import open_dataset
from idaq.testing.comparing import assert_same_bits
from idaq.testing.damage import reseal
from idaq.testing.examples import EXAMPLES
from tests.format.sealing import alter_hdf5, flip, problems, redigest
from tests.format.slow_verify import slow_verify
from tests.format.test_hdf5_structure import mutants, unproven

CAMERA, MASK, STATE = "observations/camera", "infos/mask", "observations/state"
LONGEST = 5
"""the episode of most steps: 33, of which the camera's 34 rows are four chunks"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(EXAMPLES["compressed"](), tmp_path_factory.mktemp("compressed"), "")


@pytest.fixture(scope="module")
def stored(written: Path) -> StoredDataset:
    return open_stored(written)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    return write_dataset(EXAMPLES["compressed"](), tmp_path / "root", "")


def values(name: str, number: int) -> Array:
    return list(EXAMPLES["compressed"]().entries)[number].episode.columns[name]


def alter_chunks(dataset: Path, alter: Callable[[dict[str, list[int]]], Any]) -> None:
    """Alter the table of chunks.parquet and seal."""
    path = layout.data_folder(dataset) / layout.CHUNKS
    table = pq.read_table(path).to_pydict()
    alter(table)
    pq.write_table(pa.table(table, schema=layout.CHUNK_SCHEMA), path)
    reseal(dataset)


def put_stream(dataset: Path, place: int, stream: bytes) -> None:
    """Let a chunk of the table be these bytes, at the end of the HDF5."""
    hdf5 = layout.data_folder(dataset) / layout.HDF5
    start = hdf5.stat().st_size
    with hdf5.open("ab") as file:
        file.write(stream)
    alter_chunks(dataset, lambda table: (set_(table, "offset", place, start), set_(table, "size", place, len(stream))))


def set_(table: dict[str, list[int]], name: str, place: int, value: int) -> None:
    table[name][place] = value


# -- as it is read -------------------------------------------------------------------------------------------------


def test_the_named_columns_are_packed_and_the_others_stay_mapped(stored: StoredDataset) -> None:
    kinds = {name: type(column) for name, column in map_columns(stored).items()}
    assert {name for name, kind in kinds.items() if kind is CompressedColumn} == {CAMERA, MASK}
    assert kinds[STATE] is FlatColumn
    assert stored.manifest.columns[CAMERA].chunk_rows == 10  # of 12,288 bytes: 120 KiB
    unpacked = sum(entry.episode.columns[CAMERA].nbytes for entry in EXAMPLES["compressed"]().entries)
    assert stored.hdf5.stat().st_size < unpacked / 8


def test_plain_h5py_reads_it_as_any_other(stored: StoredDataset) -> None:
    with h5py.File(stored.hdf5) as file:
        for number, entry in enumerate(EXAMPLES["compressed"]().entries):
            for name, column in entry.episode.columns.items():
                dataset: Any = file[f"episode_{number}/{name}"]
                assert np.array_equal(dataset[()], column)
                filters = (dataset.compression, dataset.shuffle, dataset.fletcher32)
                assert filters == ("gzip" if name in (CAMERA, MASK) else None, False, False)


@given(number=st.integers(0, 7), first=st.integers(0, 40), count=st.integers(0, 40))
def test_any_rows_of_any_episode_are_what_was_written(
    stored: StoredDataset, number: int, first: int, count: int
) -> None:
    columns, length = map_columns(stored), int(stored.episodes.length[number])
    for name in (CAMERA, MASK, STATE):
        expected = values(name, number)
        assert np.array_equal(columns[name].rows(number, length), expected)
        assert np.array_equal(columns[name].rows(number, length, first, first + count), expected[first : first + count])
        assert np.array_equal(columns[name].rows(number, length, first), expected[first:])


def test_threads_read_one_column_at_once(stored: StoredDataset) -> None:
    column, wrong = map_columns(stored)[CAMERA], list[int]()
    lengths = stored.episodes.length.tolist()
    expected = [values(CAMERA, number) for number in range(len(lengths))]

    def read(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, len(lengths), 50).tolist():
            if not np.array_equal(column.rows(number, lengths[number]), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_for_random_access_the_episodes_that_are_asked_for_are_unpacked(
    stored: StoredDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, numbers = open_dataset(stored.path).store, np.array([1, 5, 6])
    columns = store.columns(numbers)
    assert list(columns) == list(stored.manifest.columns)
    for number in numbers.tolist():
        for name in (CAMERA, MASK, STATE):
            found = columns[name].rows(number, int(stored.episodes.length[number]))
            assert np.array_equal(found, values(name, number))
    assert columns[CAMERA].flat.size == (8 + 34 + 2) * 64 * 64 * 3
    monkeypatch.setattr("idaq.format.columns.total_memory", lambda: 500_000)
    with pytest.raises(DatasetError, match=r"compressed columns of 3 episodes unpack to 0.0 GB, more than the memory"):
        store.columns(numbers)


@pytest.mark.parametrize("where", ["map", "ram"])
def test_a_loader_gives_the_same_transitions(where: Any, tmp_path: Path) -> None:
    source = EXAMPLES["pictures"]()
    packed = replace(source, recipe=replace(source.recipe, compress=["observations", "rewards", "terminations"]))
    one, other = (
        open_dataset(write_dataset(each, tmp_path / str(number), "")).select(tasks=[9]).transitions(where)
        for number, each in enumerate((source, packed))
    )
    assert_same_bits(other.gather(np.arange(len(other))), one.gather(np.arange(len(one))))


def test_rows_are_unpacked_from_no_more_chunks_than_hold_them(damaged: Path) -> None:
    stored = open_stored(damaged)
    offset, size = stored.chunks[CAMERA].of(LONGEST)[2]
    flip(stored.hdf5, offset + size // 2, 16)
    column, length = map_columns(open_stored(damaged))[CAMERA], int(stored.episodes.length[LONGEST])
    expected = values(CAMERA, LONGEST)
    for first, stop in ((0, 20), (30, 34)):
        assert np.array_equal(column.rows(LONGEST, length, first, stop), expected[first:stop])
    with pytest.raises(CorruptDatasetError, match=f"{CAMERA} of episode {LONGEST}: chunk 2 does not unpack"):
        column.rows(LONGEST, length, 19, 21)


def long_source(rows: int) -> DatasetSource:
    """One episode, its observations of `rows` rows of one byte compressed."""
    source = EXAMPLES["reward-free"]()
    entry, steps = next(iter(source.entries)), rows - 1
    episode = replace(
        entry.episode,
        observations=(np.arange(rows) * 7 % 251).astype(np.uint8)[:, None],
        actions=np.zeros((steps, 2)),
        rewards=np.zeros(steps),
        terminated=np.zeros(steps, bool),
        truncated=np.zeros(steps, bool),
    )
    splits = replace(source.recipe.splits, sizes={source.tasks[0].split: 1})
    return replace(
        source,
        tasks=source.tasks[:1],
        entries=[replace(entry, episode=episode)],
        observation_space=gym.spaces.Box(0, 255, (1,), np.uint8),
        recipe=replace(source.recipe, compress=["observations"], splits=splits),
    )


def test_many_chunks_make_a_tree_of_several_levels_which_is_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "CHUNK_BYTES", 2)
    stored = open_stored(write_dataset(long_source(9001), tmp_path, ""))
    assert stored.chunks["observations"].first.tolist() == [0, 4501]
    assert unproven(stored) == []
    assert verify(stored.path) == []


# -- who chooses ---------------------------------------------------------------------------------------------------


def test_a_merge_compresses_what_any_of_its_parents_does(tmp_path: Path) -> None:
    packed = EXAMPLES["compressed"]()
    plain = replace(packed, recipe=replace(packed.recipe, id="idaq/examples/plain-v0", compress=[MASK]))
    entries = [replace(entry, seed=n) for n, entry in enumerate(plain.entries)]
    parts = [open_stored(write_dataset(part, tmp_path, "")) for part in (replace(plain, entries=entries), packed)]
    whole = open_stored(write_dataset(merged(parts, "idaq/examples/both-v0", "same")[0], tmp_path, ""))
    assert verify(whole.path) == []
    assert list(layout.compressed(whole.manifest.columns)) == [CAMERA, MASK]


def test_a_column_that_there_is_not_and_one_that_is_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = EXAMPLES["compressed"]()
    with pytest.raises(DatasetError, match="there is no column observations/kamera: the episodes have observations/c"):
        write_dataset(replace(source, recipe=replace(source.recipe, compress=["observations/kamera"])), tmp_path, "")
    monkeypatch.setattr(layout, "LARGEST_COMPRESSED", 34 * 64 * 64 * 3 - 1)
    with pytest.raises(DatasetError, match=f"episode 5 of task 9 has {CAMERA} of 417792 bytes, too many to be compr"):
        write_dataset(source, tmp_path, "")


# -- what is damaged -----------------------------------------------------------------------------------------------


def test_the_same_is_found_as_by_asking_of_each_episode_alone(damaged: Path) -> None:
    """60 flipped bits of chunks, every third under hashes that say so too."""
    stored, rng = open_stored(damaged), random.Random(0)
    whole, documents = stored.hdf5.read_bytes(), {p: p.read_bytes() for p in damaged.rglob("*.json")}
    places = [place for chunks in stored.chunks.values() for n in range(8) for place in chunks.of(n)]
    for number in range(60):
        offset, size = rng.choice(places)
        flip(stored.hdf5, offset + rng.randrange(size), 1 << rng.randrange(8))
        if number % 3 == 0:
            reseal(damaged)
        found = [str(problem) for problem in verify(damaged, limit=1000)]
        assert found == slow_verify(damaged)
        assert ", episode " in "".join(found) or "main_data.hdf5: has another sha256" in "".join(found)
        stored.hdf5.write_bytes(whole)
        for path, content in documents.items():
            path.write_bytes(content)
    assert verify(damaged) == []


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (lambda t: set_(t, "offset", 0, -1), "episode 0, column observations/camera: chunk 0, "),
        (lambda t: set_(t, "offset", 8, 2**62), "episode 5, column observations/camera: chunk 2, "),
        (lambda t: set_(t, "size", 8, 2**62), "episode 5, column observations/camera: chunk 2, "),
        (lambda t: set_(t, "size", 8, 0), "episode 5, column observations/camera: chunk 2, 0 bytes"),
        (lambda t: set_(t, "size", -1, -5), "episode 7, column infos/mask: chunk 0, -5 bytes"),
        (lambda t: set_(t, "offset", 1, t["offset"][0]), "episode 1 overlaps column observations/camera of episode 0"),
        (lambda t: set_(t, "size", 0, 2000), "overlaps column observations/camera of episode 0"),
        (lambda t: [column.pop() for column in t.values()], "has 20 rows; the manifest counts 21 chunks"),
        (lambda t: [column.append(column[0]) for column in t.values()], "has 22 rows; the manifest counts 21 chunks"),
        (lambda t: [c.__setitem__(slice(6, 8), c[6:8][::-1]) for c in t.values()], "do not match their"),
        (lambda t: set_(t, "size", 6, t["size"][6] - 1), "chunk 0 does not unpack: the stream does not end where"),
        (lambda t: set_(t, "size", 6, t["size"][6] + 1), "chunk 0 does not unpack: the stream does not end where"),
        (lambda t: set_(t, "offset", 6, t["offset"][6] + 1), "chunk 0 does not unpack: Error -3"),
    ],
)
def test_a_table_of_chunks_that_lies_is_named(alter: Callable[[Any], Any], text: str, damaged: Path) -> None:
    alter_chunks(damaged, alter)
    found = problems(damaged)
    assert text in found
    assert found.count("\n") <= 2


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (b"", "chunk 1, 0 bytes"),
        (b"\0", "the stream does not end"),
        (b"\xff" * 9, "Error -3"),
        (zlib.compress(bytes(10 * 12288))[:-4], "the stream does not end"),
        (zlib.compress(bytes(10 * 12288)) + b"\0", "the stream does not end"),
        (zlib.compress(bytes(10 * 12288 - 1)), "122879 bytes, not 122880"),
        (zlib.compress(bytes(10 * 12288 + 1)), "122881 bytes, not 122880"),
        (zlib.compress(bytes(1 << 28), 9), "the stream does not end"),
        (zlib.compress(bytes(10 * 12288), wbits=-15), "Error -3"),
        (zlib.compress(bytes(10 * 12288), wbits=31), "Error -3"),
    ],
)
def test_a_stream_that_is_not_its_chunk_is_refused_in_little_memory(stream: bytes, text: str, damaged: Path) -> None:
    put_stream(damaged, 7, stream)  # the second of the longest episode
    assert text in problems(damaged)
    with pytest.raises(CorruptDatasetError) as caught:
        open_dataset(damaged).store.episode(LONGEST)
    assert text in caught.value.message
    assert "episode 5" in caught.value.message


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (f"columns.{CAMERA}.chunk_rows", None, "has columns"),
        (f"columns.{CAMERA}.chunk_rows", 5, "has 21 rows; the manifest counts 28 chunks"),
        (f"columns.{CAMERA}.chunk_rows", 9, "observations/camera is not in chunks of (9, 64, 64, 3)"),
        (f"columns.{CAMERA}.chunk_rows", 2**31, "rows; the manifest counts 1"),
        (f"columns.{CAMERA}.chunk_rows", 0, "chunk_rows"),
        (f"columns.{STATE}.chunk_rows", 5, "has columns"),
        (f"columns.{CAMERA}.shape", [2**60], "unpack to none or more than 2147483648 bytes"),
        ("recipe.compress", [], "compressed columns: stated [], found ['infos/mask', 'observations/camera']"),
    ],
)
def test_a_manifest_of_other_chunks_is_named(key: str, value: Any, text: str, damaged: Path) -> None:
    def alter(manifest: Any) -> None:
        *path, last = key.split(".")
        for step in path:
            manifest = manifest[step]
        manifest[last] = value

    reseal(damaged, alter)
    assert text in problems(damaged)


def test_lengths_that_no_memory_holds_are_refused_before_the_table_is_read(damaged: Path) -> None:
    path = layout.data_folder(damaged) / layout.EPISODES
    found = pq.read_table(path)
    lengths = [2**62, *found["length"].to_pylist()[1:]]
    pq.write_table(found.set_column(found.schema.get_field_index("length"), "length", pa.array(lengths)), path)
    reseal(damaged)
    assert "episode 0, column observations/camera: 4611686018427387904 steps unpack to none or more" in problems(
        damaged
    )


def test_a_table_of_chunks_that_is_missing_linked_or_too_small_is_refused(damaged: Path) -> None:
    path = layout.data_folder(damaged) / layout.CHUNKS
    content = path.read_bytes()
    path.unlink()
    assert "chunks.parquet is missing" in problems(damaged)
    path.write_bytes(content[:-1])
    assert "chunks.parquet has" in problems(damaged)
    path.write_bytes(b"PAR1" + bytes(len(content)))
    reseal(damaged)
    assert "not a readable parquet" in problems(damaged)


# -- what HDF5 itself says -----------------------------------------------------------------------------------------


def rewritten(**options: Any) -> Callable[[Path], None]:
    """The camera of the longest episode written again by h5py, the table made to agree as far as it can."""

    def damage(path: Path) -> None:
        found: list[tuple[int, int]] = []

        def alter(file: Any) -> None:
            group = file[f"episode_{LONGEST}/observations"]
            content = group["camera"][()]
            del group["camera"]
            dataset = group.create_dataset("camera", data=content, **options)
            if dataset.chunks and "scaleoffset" not in options:
                infos = [dataset.id.get_chunk_info(n) for n in range(dataset.id.get_num_chunks())]
                found.extend((info.byte_offset, info.size) for info in infos)

        alter_hdf5(path, alter)
        if len(found) == 4:
            alter_chunks(
                path,
                lambda t: [(set_(t, "offset", 6 + n, o), set_(t, "size", 6 + n, s)) for n, (o, s) in enumerate(found)],
            )

    return damage


CHUNK = {"chunks": (10, 64, 64, 3)}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({**CHUNK, "compression": "gzip", "shuffle": True}, "not in chunks of (10, 64, 64, 3) packed by deflate alone"),
        ({**CHUNK, "compression": "gzip", "fletcher32": True}, "does not unpack: the stream does not end"),
        ({**CHUNK, "compression": "lzf"}, "does not unpack: Error -3"),
        (CHUNK, "does not unpack: Error -3"),
        ({"chunks": (17, 64, 64, 3), "compression": "gzip"}, "observations/camera is not in chunks of (10, 64, 64, 3)"),
        ({"chunks": (10, 64, 32, 3), "compression": "gzip"}, "observations/camera is not in chunks of (10, 64, 64, 3)"),
        ({}, "observations/camera is not in chunks of (10, 64, 64, 3) packed by deflate alone"),
        ({**CHUNK, "compression": "gzip", "compression_opts": 9}, ""),
        ({**CHUNK, "compression": "gzip", "maxshape": (34, 64, 64, 3)}, ""),
        ({**CHUNK, "compression": "gzip", "maxshape": (None, 64, 64, 3)}, ""),
    ],
)
def test_what_plain_readers_would_unpack_otherwise_is_named(options: dict[str, Any], text: str, damaged: Path) -> None:
    rewritten(**options)(damaged)
    found = problems(damaged)
    assert text in found
    assert bool(found) == bool(text)


def test_an_index_in_the_hdf5_that_leads_to_other_chunks_is_named(damaged: Path) -> None:
    """Our readers would not notice; h5py would give the rows in another order."""
    stored = open_stored(damaged)
    (first, _), (second, _) = stored.chunks[CAMERA].of(LONGEST)[:2]
    content = stored.hdf5.read_bytes()
    places = [content.index(struct.pack("<Q", offset)) for offset in (first, second)]
    for place, offset in zip(places, (second, first), strict=True):
        content = content[:place] + struct.pack("<Q", offset) + content[place + 8 :]
    stored.hdf5.write_bytes(content)
    reseal(damaged)
    assert f"episode {LONGEST}: column {CAMERA} does not have its chunk 0 packed at byte {first}" in problems(damaged)
    assert problems(damaged).splitlines() == slow_verify(damaged)


def test_values_that_were_packed_anew_are_held_against_the_digest(damaged: Path) -> None:
    def alter(file: Any) -> None:
        file[f"episode_{LONGEST}/{CAMERA}"][3, 0, 0, 0] ^= 1

    alter_hdf5(damaged, alter)
    with h5py.File(open_stored(damaged).hdf5) as file:
        dataset: Any = file[f"episode_{LONGEST}/{CAMERA}"]
        info = dataset.id.get_chunk_info(0)
    alter_chunks(damaged, lambda t: (set_(t, "offset", 6, info.byte_offset), set_(t, "size", 6, info.size)))
    assert "values do not match their digest" in problems(damaged)
    redigest(damaged, LONGEST)
    assert problems(damaged) == ""


def test_nothing_is_proven_that_the_library_objects_to_or_reads_otherwise(
    stored: StoredDataset, tmp_path: Path
) -> None:
    """Bytes of structure are altered, and the library reads every file that passes as proven."""
    content = stored.hdf5.read_bytes()
    tasks, proven = {task.task_index: task for task in stored.tasks}, 0
    episodes = [(number, _expected(stored, tasks, number)) for number in range(len(stored.episodes))]
    is_value = np.zeros(len(content), bool)
    for name, column in stored.manifest.columns.items():
        for number, length in enumerate(stored.episodes.length.tolist()):
            whole = layout.rows_of(column, length) * layout.row_bytes(column)
            contiguous = name not in stored.chunks
            places = (
                [(int(stored.episodes.offsets[name][number]), whole)] if contiguous else stored.chunks[name].of(number)
            )
            for offset, size in places:
                is_value[offset : offset + size] = True
    places = np.flatnonzero(~is_value & (np.frombuffer(content, np.uint8) != 0)).tolist()
    path = tmp_path / "mutant.hdf5"
    for mutant in mutants(content, places, 600):
        if unproven(stored, mutant) == []:
            proven += 1
            path.write_bytes(mutant)
            found = list(walk(str(path), len(episodes), episodes))
            assert not found or mutant[:52] != content[:52], found  # the superblock has a checksum of its own
            if not found:
                with h5py.File(path) as file:
                    dataset: Any = file[f"episode_{LONGEST}/{CAMERA}"]
                    assert np.array_equal(dataset[()], values(CAMERA, LONGEST))
    assert 20 < proven < 500
