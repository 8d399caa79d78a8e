"""The HDF5 library is asked only of what the bytes do not prove, and nothing is proven that it would object to."""

import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import h5py
import numpy as np
import pytest

from idaq.core.types import FIXED_COLUMNS, Array, Episode
from idaq.format import layout
from idaq.format.hdf5_structure import Structure, Unrecognised
from idaq.format.hdf5_walk import walk
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import _expected, verify
from idaq.format.writer import write_dataset
from tests.format.made import PLANS, entries_of, made_source
from tests.format.sealing import alter_episodes, flip, reseal
from tests.format.slow_verify import slow_verify


def unproven(stored: StoredDataset, content: bytes | None = None) -> list[int] | None:
    """The episodes that the bytes do not prove to be in order; None where the root already is not."""
    structure = Structure(stored.hdf5.read_bytes() if content is None else content)
    tasks = {task.task_index: task for task in stored.tasks}
    numbers = range(len(stored.episodes))
    try:
        members = structure.root(len(numbers))
    except Unrecognised:
        return None
    if set(members) != {f"episode_{number}" for number in numbers}:
        return None
    return [n for n in numbers if not structure.is_proven(members[f"episode_{n}"], _expected(stored, tasks, n))]


def test_all_that_our_writer_writes_is_proven(collected: object, made: Path, own_copy: Path) -> None:
    assert unproven(open_stored(made)) == []
    assert unproven(open_stored(own_copy)) == []


@pytest.mark.parametrize("dtype", ["|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"])
@pytest.mark.parametrize("shape", [(3,), (8, 8, 3), ()])
def test_columns_of_every_dtype_and_rank_are_proven(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    def other(episode: Episode) -> Episode:
        return replace(episode, observations=np.ones((len(episode) + 1, *shape), dtype))

    entries = [replace(entry, episode=other(entry.episode)) for entry in entries_of()]
    space = gym.spaces.Box(0, 1, shape, np.dtype(dtype).type)
    stored = open_stored(write_dataset(replace(made_source(entries), observation_space=space), tmp_path, ""))
    assert unproven(stored) == []
    assert verify(stored.path) == []


def test_many_episodes_make_a_tree_of_several_levels_which_is_proven(tmp_path: Path) -> None:
    stored = open_stored(write_dataset(made_source(entries_of(PLANS[:3] * 400)), tmp_path, ""))
    assert unproven(stored) == []


@pytest.fixture(scope="module")
def structural(made: Path) -> tuple[StoredDataset, bytes, list[int]]:
    """The hand-made dataset, its HDF5, and where there is neither a value of an episode nor a zero."""
    stored = open_stored(made)
    content = stored.hdf5.read_bytes()
    is_value = np.zeros(len(content), bool)
    for name, column in stored.manifest.columns.items():
        for offset, length in zip(stored.episodes.offsets[name], stored.episodes.length.tolist(), strict=True):
            is_value[offset : offset + layout.rows_of(column, length) * layout.row_bytes(column)] = True
    return stored, content, np.flatnonzero(~is_value & (np.frombuffer(content, np.uint8) != 0)).tolist()


def mutants(content: bytes, places: list[int], count: int) -> Iterator[bytes]:
    """Copies with one to three bytes altered, at places that say something or beside them."""
    rng = random.Random(0)
    for _ in range(count):
        mutant = bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 3])):
            place = min(max(rng.choice(places) + rng.choice([0, 0, 0, -4, 1, 7]), 0), len(mutant) - 1)
            mutant[place] = rng.choice([mutant[place] ^ 1 << rng.randrange(8), 0, 1, 2, 255, rng.randrange(256)])
        yield bytes(mutant)


def test_nothing_is_proven_that_the_library_objects_to(
    structural: tuple[StoredDataset, bytes, list[int]], tmp_path: Path
) -> None:
    """Bytes of structure are altered, and the library is asked of every file that passes as proven."""
    stored, content, places = structural
    tasks, proven = {task.task_index: task for task in stored.tasks}, 0
    episodes = [(number, _expected(stored, tasks, number)) for number in range(len(stored.episodes))]
    path = tmp_path / "mutant.hdf5"
    for mutant in mutants(content, places, 1000):
        if unproven(stored, mutant) == []:
            proven += 1
            path.write_bytes(mutant)
            found = list(walk(str(path), len(episodes), episodes))
            assert not found or mutant[:52] != content[:52], found  # the superblock has a checksum of its own
    assert 20 < proven < 700


@pytest.mark.parametrize(("signature", "used"), [(b"TREE", 48), (b"SNOD", 8 + 5 * 40)])
def test_a_node_of_which_the_file_holds_only_what_is_used_is_not_proven(
    structural: tuple[StoredDataset, bytes, list[int]], signature: bytes, used: int
) -> None:
    """The library reads whole nodes, and fails where the file ends in one."""
    stored, content, _ = structural
    place = content.index(signature, content.index(signature) + 1)  # of the first episode
    for size, expected in ((used, [0]), (len(content) - place, [])):
        moved = content + bytes(-len(content) % 8)
        end = len(moved)
        moved = moved.replace(struct.pack("<Q", place), struct.pack("<Q", end)) + content[place : place + size]
        moved = moved[:28] + struct.pack("<Q", len(moved)) + moved[36:]
        assert unproven(stored, moved) == expected


def test_where_nothing_is_read_as_hdf5_nothing_is_proven(
    structural: tuple[StoredDataset, bytes, list[int]],
) -> None:
    stored, content, _ = structural
    for other in (
        b"",
        content[:40],
        content[:100],
        content[:5000],
        content + b"\0",
        bytes(len(content)),
        b"\xff" * 999,
    ):
        assert unproven(stored, other) is None


def test_a_file_in_another_form_of_hdf5_is_left_to_the_library_and_sound(damaged: Path) -> None:
    """Rewritten in HDF5's latest form: its groups have no B-trees of the old kind."""
    path = damaged / "data" / layout.HDF5
    again, aligned = path.with_name("again"), {"alignment_threshold": 1, "alignment_interval": 64}
    with h5py.File(path) as old, h5py.File(again, "w", libver="latest", **aligned) as new:
        for name in old:
            old.copy(name, new)
        offsets = {name: [new[f"{k}/{name}"].id.get_offset() for k in old] for name in ("observations", *FIXED_COLUMNS)}
    again.rename(path)
    alter_episodes(damaged, lambda table: table.update({f"offset_{name}": v for name, v in offsets.items()}))
    assert unproven(open_stored(damaged)) is None
    assert verify(damaged) == []


def test_the_same_is_found_as_by_asking_of_each_episode_alone(damaged: Path) -> None:
    """200 flipped bits of the HDF5, every fifth under hashes that say so too."""
    stored, rng = open_stored(damaged), random.Random(0)
    whole, documents = stored.hdf5.read_bytes(), {p: p.read_bytes() for p in damaged.rglob("*.json")}
    values = np.concatenate(_value_bytes(stored)).tolist()
    for number in range(200):
        sealed = number % 5 == 0
        place = rng.choice(values) if sealed else rng.randrange(len(whole))
        flip(stored.hdf5, place, 1 << rng.randrange(8))
        if sealed:
            reseal(damaged)
        assert [str(problem) for problem in verify(damaged, limit=1000)] == slow_verify(damaged), place
        stored.hdf5.write_bytes(whole)
        if sealed:
            for path, content in documents.items():
                path.write_bytes(content)
    assert verify(damaged) == []


def _value_bytes(stored: StoredDataset) -> list[Array]:
    sizes = {name: layout.row_bytes(column) for name, column in stored.manifest.columns.items()}
    return [
        np.arange(offset, offset + length * sizes[name])
        for name in sizes
        for offset, length in zip(stored.episodes.offsets[name], stored.episodes.length, strict=True)
    ]
