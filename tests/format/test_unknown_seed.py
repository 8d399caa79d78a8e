"""A seed that nobody knows is no number in any form of a dataset: nothing makes a 0 of it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import h5py
import minari
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from idaq.core.digest import episode_digest
from idaq.evaluate.explorer import write_explorer
from idaq.format import layout
from idaq.format.difference import differences
from idaq.format.edit import subset
from idaq.format.merge import merged
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.format.writer import DatasetSource, write_dataset
from idaq.format.zarr.reader import open_zarr
from idaq.format.zarr.transfer import export_zarr, import_zarr
from idaq.hub.lookup import look_up, open_remote
from idaq.hub.push import push
from idaq.hub.tasks import pull_tasks
from idaq.loader import open_dataset
from idaq.share.exporters.focal_npy import export_focal_npy
from idaq.share.exporters.lerobot import export_lerobot
from idaq.share.exporters.minari_per_task import export_minari_per_task
from idaq.share.exporters.parquet import export_parquet
from idaq.share.exporters.rlds import example_of
from idaq.share.exporting import each_episode
from tests.evaluate.held import index_of
from tests.format.made import entries_of, made_source
from tests.format.sealing import alter_episodes, alter_hdf5, problems, reseal
from tests.format.test_hdf5_structure import unproven

NAME = "idaq/made/tagged-v0"
SEEDS = [2**64 - 1, None, 0, None, None, 7, 1, None]
"""of the eight episodes, three of task 2, one of task 5, four of task 9; a 0 that is known stays one"""


def half_known(seeds: list[int | None] = SEEDS) -> DatasetSource:
    return made_source([replace(entry, seed=seed) for entry, seed in zip(entries_of(), seeds, strict=True)])


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> StoredDataset:
    path = write_dataset(half_known(), tmp_path_factory.mktemp("unknown"), "# card\n")
    assert verify(path) == []
    return open_stored(path)


@pytest.fixture
def own(unknown: StoredDataset, tmp_path: Path) -> StoredDataset:
    """A copy to be altered."""
    return open_stored(write_dataset(half_known(), tmp_path / "own", "# card\n"))


def seeds(stored: StoredDataset) -> list[int | None]:
    return [stored.episodes.seed_of(number) for number in range(len(stored.episodes))]


def test_the_table_says_null_and_the_hdf5_nothing(unknown: StoredDataset) -> None:
    assert seeds(unknown) == SEEDS
    assert unknown.episodes.seed.tolist() == [seed or 0 for seed in SEEDS]
    assert pq.read_table(layout.data_folder(unknown.path) / layout.EPISODES)["seed"].to_pylist() == SEEDS
    with h5py.File(unknown.hdf5) as file:
        assert [file[f"episode_{n}"].attrs.get("seed") for n in range(8)] == SEEDS
    assert unproven(unknown) == []


def test_plain_minari_reads_it(unknown: StoredDataset) -> None:
    dataset = minari.MinariDataset(layout.data_folder(unknown.path))
    assert [facts.get("seed") for facts in dataset.storage.get_episode_metadata(range(8))] == SEEDS
    assert [episode.rewards.tolist() for episode in dataset] == [e.episode.rewards.tolist() for e in entries_of()]


def test_the_digest_of_an_unknown_seed_is_of_no_text(unknown: StoredDataset) -> None:
    episode = entries_of()[1].episode
    state = hashlib.sha256()
    for name in ("observations", "actions", "rewards", "terminated", "truncated"):
        values = getattr(episode, name)
        state.update(f"{name}:{values.dtype.str}:{','.join(map(str, values.shape))};".encode() + values.tobytes())
    state.update(b"task:2;seed:")
    assert unknown.episodes.digest[1] == state.hexdigest()
    assert episode_digest(episode, task_index=2, seed=0) != state.hexdigest()


def test_verify_finds_a_seed_that_is_stated_in_one_place_only(own: StoredDataset) -> None:
    alter_hdf5(own.path, lambda file: file["episode_1"].attrs.create("seed", np.uint64(0)))
    assert "episode 1: holds attributes that do not belong there: ['seed']" in problems(own.path)
    alter_hdf5(own.path, lambda file: file["episode_1"].attrs.__delitem__("seed"))
    assert problems(own.path) == ""
    alter_hdf5(own.path, lambda file: file["episode_2"].attrs.__delitem__("seed"))
    assert "episode 2: attribute seed is None, not 0" in problems(own.path)
    alter_episodes(own.path, lambda table: table["seed"].__setitem__(2, None))
    assert "episode 2: values do not match their digest" in problems(own.path)


def test_datasets_written_before_it_could_be_unknown_still_open(damaged: Path) -> None:
    path = layout.data_folder(damaged) / layout.EPISODES
    table, known = pq.read_table(path), seeds(open_stored(damaged))
    place = table.schema.get_field_index("seed")
    pq.write_table(table.cast(table.schema.set(place, pa.field("seed", pa.uint64(), nullable=False))), path)
    assert not pq.read_schema(path).field("seed").nullable
    reseal(damaged)
    assert verify(damaged) == []
    assert seeds(open_stored(damaged)) == known


def test_it_goes_through_edits_zarr_and_a_pull_of_tasks(unknown: StoredDataset, tmp_path: Path) -> None:
    part = open_stored(write_dataset(subset(unknown, "me/part-v0", np.arange(8) < 5, "subset"), tmp_path, ""))
    assert seeds(part) == SEEDS[:5]
    source, duplicates = merged([part, unknown], "me/whole-v0")
    whole = open_stored(write_dataset(source, tmp_path, ""))
    assert (duplicates, seeds(whole)) == (5, SEEDS)
    export_zarr(unknown, str(tmp_path / "x.zarr"))
    there = open_zarr(str(tmp_path / "x.zarr")).episodes
    assert [there.seed_of(number) for number in range(8)] == SEEDS
    back = open_stored(import_zarr(str(tmp_path / "x.zarr"), tmp_path / "back"))
    assert (seeds(back), back.manifest.content_digest) == (SEEDS, unknown.manifest.content_digest)
    with open_remote((tmp_path / "hub").as_uri()) as hub:
        push(unknown.path, hub)
        pulled = open_stored(pull_tasks(look_up(hub, NAME), range(5, 10), tmp_path / "pulled").path)
    assert seeds(pulled) == SEEDS[3:]


def test_episodes_of_unknown_seed_are_compared_by_number(unknown: StoredDataset, tmp_path: Path) -> None:
    entries = list(half_known([None] * 8).entries)
    paths = []
    for root in ("first", "second"):
        paths.append(write_dataset(made_source(entries), tmp_path / root, ""))
        rewards = entries[5].episode.rewards + np.eye(1, 33, 17)[0]
        entries[5] = replace(entries[5], episode=replace(entries[5].episode, rewards=rewards))
    first, second = map(open_stored, paths)
    (value,) = [found for found in differences(first, second) if found.level == "values"]
    assert value.what == "episode 5 and 5: rewards[17], where it differs most"


def test_exports_say_null_or_nothing(unknown: StoredDataset, tmp_path: Path) -> None:
    export_parquet(unknown, tmp_path / "x.parquet")
    rows = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert [row["seed"] for row in rows if row["step"] == 0] == SEEDS
    export_focal_npy(unknown, tmp_path / "focal")
    lines = (tmp_path / "focal/episodes.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == SEEDS
    export_lerobot(unknown, tmp_path / "robot")
    assert pq.read_table(next((tmp_path / "robot").glob("meta/episodes/*/*")))["seed"].to_pylist() == SEEDS
    examples = [example_of(entry)["seed"] for entry in each_episode(unknown, lambda _: None)]
    assert examples == ["18446744073709551615", "", "0", "", "", "7", "1", ""]
    export_minari_per_task(unknown, tmp_path / "each")
    with h5py.File(tmp_path / "each/idaq/made/tagged/task-2-v0/data/main_data.hdf5") as file:
        assert [file[f"episode_{n}"].attrs.get("seed") for n in range(3)] == SEEDS[:3]


def test_the_explorer_shows_it(unknown: StoredDataset, tmp_path: Path) -> None:
    write_explorer(open_dataset(unknown.path), tmp_path / "x.html")
    shown = index_of(tmp_path / "x.html")["episodes"]["seed"]
    assert [None if seed is None else int(seed) for seed in shown] == SEEDS
