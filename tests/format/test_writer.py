import hashlib
import json
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idaq.core.errors import DatasetError, DatasetExistsError
from idaq.core.types import FIXED_COLUMNS, Episode
from idaq.format import layout
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.format.writer import EpisodeEntry, write_dataset
from idaq.loader import open_dataset
from tests.format.made import PLANS, Plan, entries_of, left_in, made_source, tagged_episode

ENTRIES = entries_of()


def test_the_dataset_has_the_files_of_the_format_and_nothing_else(made: Path) -> None:
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert files == {
        "README.md",
        "data/metadata.json",
        "data/main_data.hdf5",
        "data/idaq/manifest.json",
        "data/idaq/tasks.jsonl",
        "data/idaq/episodes.parquet",
    }
    assert (made / "README.md").read_text() == "# made by hand\n"


def test_a_written_dataset_verifies(made: Path) -> None:
    counted: list[int] = []
    assert verify(made, counted.append) == []
    assert sum(counted) == 2 * len(PLANS)  # values, then their place in the HDF5


def test_every_column_is_contiguous_uncompressed_and_starts_at_a_multiple_of_64(made: Path) -> None:
    stored = open_stored(made)
    with h5py.File(stored.hdf5) as file:
        for number in range(len(PLANS)):
            for name in ("observations", *FIXED_COLUMNS):
                dataset = file[f"episode_{number}"][name]
                assert (dataset.chunks, dataset.compression, dataset.external) == (None, None, None)
                assert dataset.id.get_offset() == stored.episodes.offsets[name][number]
                assert dataset.id.get_offset() % 64 == 0
    assert all((offsets % 64 == 0).all() for offsets in stored.episodes.offsets.values())


known = st.lists(st.none() | st.integers(0, 2**64 - 1), min_size=1, max_size=3)
plans = st.lists(st.builds(Plan, task=st.integers(0, 5), length=st.integers(1, 40), ends=st.just("open")), min_size=1)


@settings(max_examples=25)
@given(plans, known, st.sampled_from(["<f2", "<f4", "<f8", "<i2", "|u1"]), st.sampled_from([(), (1,), (3,), (2, 5)]))
def test_any_lengths_seeds_dtypes_and_shapes_are_aligned_and_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    made_plans: list[Plan],
    seeds: list[int | None],
    dtype: str,
    shape: tuple[int, ...],
) -> None:
    rng = np.random.default_rng(0)

    def episode(length: int) -> Episode:
        observations = rng.integers(0, 200, (length + 1, *shape)).astype(dtype)
        return replace(tagged_episode(Plan(task=0, length=length, ends="both"), 0), observations=observations)

    made_plans.sort(key=lambda plan: plan.task)
    entries = [
        replace(e, episode=episode(len(e.episode)), seed=seed)
        for e, seed in zip(entries_of(made_plans), cycle(seeds), strict=False)
    ]
    source = replace(made_source(entries), observation_space=gym.spaces.Box(0, 1, shape, np.dtype(dtype).type))
    path = write_dataset(source, tmp_path_factory.mktemp("any"), "")
    assert verify(path) == []
    table = open_stored(path).episodes
    assert [table.seed_of(number) for number in range(len(table))] == [entry.seed for entry in entries]
    assert all((offsets % 64 == 0).all() for offsets in table.offsets.values())
    for found, entry in zip(open_dataset(path), entries, strict=True):
        np.testing.assert_array_equal(found.observations, entry.episode.observations)
        assert found.observations.dtype == np.dtype(dtype)


@pytest.mark.parametrize("form", ["big-endian", "fortran", "strided"])
def test_values_in_any_memory_layout_are_stored_alike(tmp_path: Path, made: Path, form: str) -> None:
    def reformed(array: Any) -> Any:
        if form == "big-endian":
            return array.astype(array.dtype.newbyteorder(">"))
        return np.asfortranarray(array) if form == "fortran" else np.repeat(array, 2, axis=0)[::2]

    entries = [
        replace(e, episode=Episode.from_columns({n: reformed(column) for n, column in e.episode.columns.items()}))
        for e in ENTRIES
    ]
    path = write_dataset(made_source(entries), tmp_path, "")
    assert verify(path) == []
    assert (path / "data/main_data.hdf5").read_bytes() == (made / "data/main_data.hdf5").read_bytes()
    assert open_stored(path).manifest.content_digest == open_stored(made).manifest.content_digest


def test_the_same_source_is_written_to_the_same_bytes(tmp_path: Path, made: Path) -> None:
    path = write_dataset(made_source(), tmp_path, "")
    for name in layout.hashed_files({}):
        assert (path / "data" / name).read_bytes() == (made / "data" / name).read_bytes(), name


def test_an_id_that_is_taken_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "idaq/made/tagged-v0").mkdir(parents=True)
    with pytest.raises(DatasetExistsError, match="tagged-v0 exists already") as caught:
        write_dataset(made_source(), tmp_path, "")
    assert caught.value.hint == "choose another id"
    assert list((tmp_path / "idaq/made/tagged-v0").iterdir()) == []


def altered(number: int, **columns: Any) -> list[EpisodeEntry]:
    entries = list(ENTRIES)
    entries[number] = replace(entries[number], episode=replace(entries[number].episode, **columns))
    return entries


FIELDS = ("observations", "actions", "rewards", "terminated", "truncated")


def first(name: str) -> Any:
    return getattr(ENTRIES[1].episode, name)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (ENTRIES[::-1], "episode 4 of task 5 comes after a later task"),
        ([], "a dataset needs at least one episode"),
        (
            altered(1, rewards=first("rewards").astype(np.float32)),
            "episode 1 of task 2 has rewards of <f4 and row shape []",
        ),
        (
            altered(1, actions=first("actions")[:, :1]),
            "<f8 and row shape [1], not <f8 and row shape [2]",
        ),
        (altered(1, actions=first("actions").astype(complex)), "episode 1 of task 2 has actions of <c16"),
        (altered(0, rewards=np.zeros((1, 0))), "column rewards: shape.0: Input should be greater than or equal to 1"),
        (altered(1, observations=first("observations")[:-1]), "episode 1 of task 2 must have T + 1 observations"),
        (altered(1, actions=first("actions")[:-1]), "episode 1 of task 2 must have T + 1 observations"),
        (altered(1, rewards=first("rewards")[1:]), "episode 1 of task 2 must have T + 1 observations"),
        (
            altered(1, **{n: first(n)[:0] for n in FIELDS}),
            "at least one",
        ),
    ],
)
def test_episodes_that_do_not_fit_together_are_refused_and_nothing_is_left(
    tmp_path: Path, entries: list[EpisodeEntry], text: str
) -> None:
    source = replace(made_source(), entries=entries)
    with pytest.raises(DatasetError) as caught:
        write_dataset(source, tmp_path, "")
    assert text in caught.value.message
    assert left_in(tmp_path) == []


def test_an_episode_of_no_task_is_refused(tmp_path: Path) -> None:
    source = made_source()
    with pytest.raises(DatasetError, match="episode 3 of task 5 belongs to no task of the dataset"):
        write_dataset(replace(source, tasks=(source.tasks[0], source.tasks[2])), tmp_path, "")


def test_a_failure_of_any_kind_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Any:
        yield from ENTRIES[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(replace(made_source(), entries=failing()), tmp_path, "")
    assert left_in(tmp_path) == []


def test_what_an_earlier_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    building = tmp_path / ".idaq" / "building" / "idaq--made--tagged-v0"
    (building / "data" / "idaq").mkdir(parents=True)
    (building / "data" / "junk.json").write_text("{")
    path = write_dataset(made_source(), tmp_path, "")
    assert not building.exists()
    assert not (path / "data" / "junk.json").exists()


def test_every_namespace_gets_the_file_that_minari_wants_and_keeps_one_it_has(tmp_path: Path) -> None:
    (tmp_path / "idaq").mkdir()
    (tmp_path / "idaq" / "namespace_metadata.json").write_text('{"description": "mine"}')
    write_dataset(made_source(), tmp_path, "")
    assert json.loads((tmp_path / "idaq/namespace_metadata.json").read_text()) == {"description": "mine"}
    assert json.loads((tmp_path / "idaq/made/namespace_metadata.json").read_text()) == {}
    assert not (tmp_path / "namespace_metadata.json").exists()


def test_the_hashes_in_the_documents_are_those_of_the_files(made: Path) -> None:
    data = made / "data"
    metadata = json.loads((data / "metadata.json").read_text())
    manifest = json.loads((data / "idaq/manifest.json").read_text())
    assert metadata["idaq"]["manifest_sha256"] == hashlib.sha256((data / "idaq/manifest.json").read_bytes()).hexdigest()
    for record in manifest["files"]:
        content = (data / record["path"]).read_bytes()
        assert (record["size"], record["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert manifest["splits"] == {"train": [2], "test": [5, 9]}
    assert manifest["counts"] == {"tasks": 3, "episodes": 8, "steps": 75}
