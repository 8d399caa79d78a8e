"""What nobody knows stays unknown, in every form of a dataset and in every place that shows it; it is never 0 or no."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from idaq.catalogue.suite import describe
from idaq.collect.collect import collect
from idaq.evaluate.explorer import write_explorer
from idaq.evaluate.markdown import percent
from idaq.format import layout
from idaq.format.edit import subset
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.format.writer import DatasetSource, write_dataset
from idaq.format.zarr.reader import open_zarr
from idaq.format.zarr.transfer import export_zarr, import_zarr
from idaq.loader import open_dataset
from idaq.share.exporters.focal_npy import export_focal_npy
from idaq.share.exporters.lerobot import export_lerobot
from idaq.share.exporters.parquet import export_parquet
from idaq.share.exporters.rlds import example_of
from idaq.share.exporting import each_episode
from idaq.tasks import get_family
from tests.evaluate.held import index_of
from tests.format.made import entries_of, made_source
from tests.format.sealing import reseal
from tests.recipes import small_recipe

SOLVED = [True, None, False, True, None, True, None, False]
"""of the eight episodes"""


def half_known(solved: Sequence[bool | None] = SOLVED) -> DatasetSource:
    """The hand-made dataset, success of some of its episodes unknown, and not defined for its tasks."""
    entries = [replace(entry, success=known) for entry, known in zip(entries_of(), solved, strict=True)]
    source = made_source(entries)
    return replace(source, tasks=tuple(replace(task, success=None) for task in source.tasks))


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> StoredDataset:
    path = write_dataset(half_known(), tmp_path_factory.mktemp("unknown"), "# card\n")
    assert verify(path) == []
    return open_stored(path)


def solved(stored: StoredDataset) -> list[bool | None]:
    return [stored.episodes.solved(number) for number in range(len(stored.episodes))]


def test_it_is_kept_on_disk_and_no_rate_counts_it(unknown: StoredDataset) -> None:
    table = unknown.episodes
    assert solved(unknown) == SOLVED
    assert not table.success[~table.success_known].any()
    assert table.success_rate() == pytest.approx(3 / 5)
    assert table.success_rate(np.array([1, 4])) is None
    assert table.success_rate(table.task_index == 9) == 0.5
    assert (table.success_text(), table.success_text(np.array([1])), table.success_text(np.array([0, 2]))) == (
        "60% (unknown of 3)",
        "unknown",
        "50%",
    )
    assert pq.read_table(layout.data_folder(unknown.path) / layout.EPISODES)["success"].to_pylist() == SOLVED
    assert open_dataset(unknown.path).tasks[0].success is None


def test_the_digest_does_not_depend_on_it(unknown: StoredDataset, made: Path) -> None:
    assert unknown.manifest.content_digest == open_stored(made).manifest.content_digest


def test_datasets_written_before_it_could_be_unknown_still_open(damaged: Path) -> None:
    path = layout.data_folder(damaged) / layout.EPISODES
    table, known = pq.read_table(path), solved(open_stored(damaged))
    place = table.schema.get_field_index("success")
    schema = table.schema.set(place, pa.field("success", pa.bool_(), nullable=False))
    pq.write_table(table.cast(schema), path)
    assert not pq.read_schema(path).field("success").nullable
    reseal(damaged)
    assert verify(damaged) == []
    assert solved(open_stored(damaged)) == known


def test_it_goes_through_a_subset_and_through_zarr(unknown: StoredDataset, tmp_path: Path) -> None:
    keep = np.arange(8) < 5
    part = open_stored(write_dataset(subset(unknown, "me/part-v0", keep, "subset"), tmp_path, ""))
    assert solved(part) == SOLVED[:5]
    export_zarr(unknown, str(tmp_path / "x.zarr"))
    there = open_zarr(str(tmp_path / "x.zarr")).episodes
    assert [there.solved(number) for number in range(8)] == SOLVED
    back = import_zarr(str(tmp_path / "x.zarr"), tmp_path / "back")
    assert solved(open_stored(back)) == SOLVED


def test_exports_say_null_or_nothing(unknown: StoredDataset, made: Path, tmp_path: Path) -> None:
    export_parquet(unknown, tmp_path / "x.parquet")
    rows = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert [row["success"] for row in rows if row["step"] == 0] == SOLVED
    export_focal_npy(unknown, tmp_path / "focal")
    lines = (tmp_path / "focal/episodes.jsonl").read_text().splitlines()
    assert [json.loads(line)["success"] for line in lines] == SOLVED
    export_lerobot(unknown, tmp_path / "robot")
    assert "next.success" not in json.loads((tmp_path / "robot/meta/info.json").read_text())["features"]
    assert pq.read_table(next((tmp_path / "robot").glob("meta/episodes/*/*")))["success"].to_pylist() == SOLVED
    assert [example_of(entry)["success"] for entry in each_episode(unknown, lambda _: None)] == SOLVED


def test_a_lerobot_episode_table_of_unknowns_alone_keeps_its_type(tmp_path: Path) -> None:
    path = write_dataset(half_known([None] * 8), tmp_path, "")
    export_lerobot(open_stored(path), tmp_path / "robot")
    assert pq.read_schema(next((tmp_path / "robot").glob("meta/episodes/*/*"))).field("success").type == pa.bool_()


def test_pages_show_it(unknown: StoredDataset, tmp_path: Path) -> None:
    assert describe(unknown).success == pytest.approx(0.6)
    assert describe(open_stored(write_dataset(half_known([None] * 8), tmp_path, ""))).success is None
    assert (percent(None), percent(0.0)) == ("unknown", "0%")
    write_explorer(open_dataset(unknown.path), tmp_path / "x.html")
    assert index_of(tmp_path / "x.html")["episodes"]["success"] == SOLVED


def test_a_family_that_defines_no_success_collects_none(tmp_path: Path) -> None:
    family = get_family("point-robot")
    bare = replace(family, tasks=tuple(replace(task, success=None) for task in family.tasks))
    stored = open_stored(collect(small_recipe(), tmp_path, family=bare).path)
    assert not stored.episodes.success_known.any()
    assert stored.tasks[0].success is None
