import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.collect.collect import Collected, collect
from idaq.core.digest import episode_digest
from idaq.core.errors import (
    CorruptDatasetError,
    DatasetError,
    DatasetNotFoundError,
    FormatVersionError,
    UnknownNameError,
    UsageError,
)
from idaq.format.reader import open_stored
from idaq.loader import Dataset, open_dataset
from idaq.tasks import get_family
from tests.recipes import small_recipe


def test_a_dataset_opens_by_id_and_by_path_to_the_same(
    datasets_root: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(datasets_root))
    by_id = "idaq/point-robot/expert-v0"
    for dataset in (open_dataset(by_id), open_dataset(by_id, datasets_root), open_dataset(collected.path)):
        assert (dataset.dataset_id, dataset.path, len(dataset)) == (by_id, collected.path, 24)
        assert dataset.mapped
        assert dataset.manifest
        assert dataset.manifest.content_digest == collected.content_digest


def test_a_dataset_knows_its_tasks_and_action_bounds(mixed: Dataset) -> None:
    family = get_family("point-robot-sparse")
    assert len(mixed.tasks) == 8
    assert mixed.tasks == mixed.all_tasks
    assert [task.task_index for task in mixed.tasks] == sorted(task.task_index for task in mixed.tasks)
    for task in mixed.tasks:
        assert task.params == family.tasks[task.task_index].params
    env = family.make()
    space: Any = env.action_space
    np.testing.assert_array_equal(mixed.action_low, space.low)
    np.testing.assert_array_equal(mixed.action_high, space.high)
    env.close()


def test_a_split_selects_its_tasks_and_all_splits_make_up_the_dataset(mixed: Dataset) -> None:
    assert mixed.manifest
    parts = {name: mixed.select(split=name) for name in ("train", "test")}
    assert [len(part) for part in parts.values()] == [6 * 9, 2 * 9]
    for name, part in parts.items():
        assert [task.task_index for task in part.tasks] == mixed.manifest.splits[name]
    np.testing.assert_array_equal(np.sort(np.concatenate([p.numbers for p in parts.values()])), mixed.numbers)


@pytest.mark.parametrize("joined", ["train", "val+test", "test+train", "train+val+test"])
def test_several_splits_select_the_tasks_of_each(joined: str, source_of_splits: Path) -> None:
    dataset = open_dataset(source_of_splits)
    names = joined.split("+")
    expected = np.sort(np.concatenate([dataset.select(split=name).numbers for name in names]))
    np.testing.assert_array_equal(dataset.select(split=joined).numbers, expected)
    assert {task.split for task in dataset.select(split=joined).tasks} == set(names)


def test_a_split_that_there_is_not_is_named_wherever_it_stands(mixed: Dataset) -> None:
    for joined in ("val", "val+train", "train+val+test"):
        with pytest.raises(UnknownNameError, match="unknown split 'val'"):
            mixed.select(split=joined)
    with pytest.raises(UsageError, match="'train\\+train': a name stands twice"):
        mixed.select(split="train+train")
    with pytest.raises(UsageError, match="'train\\+': a name is missing"):
        mixed.select(split="train+")


@pytest.fixture(scope="module")
def source_of_splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three splits: 3, 2 and 2 tasks."""
    sizes = "splits.sizes={train = 3, val = 2, test = 2}"
    return collect(small_recipe("point-robot", "expert", sizes), tmp_path_factory.mktemp("splits")).path


def test_tasks_are_selected_by_index_or_by_id(mixed: Dataset) -> None:
    first, last = mixed.tasks[0], mixed.tasks[-1]
    both = mixed.select(tasks=[first.task_index, last.task_id])
    assert both.tasks == (first, last)
    assert len(both) == 18
    assert len(mixed.select(tasks=[])) == 0
    np.testing.assert_array_equal(mixed.select(tasks=[np.int64(first.task_index)]).numbers, np.arange(9))


def test_a_behaviour_and_bounds_of_the_return_select_episodes(mixed: Dataset) -> None:
    assert set(mixed.episodes.behaviour[mixed.select(behaviour="medium").numbers]) == {"medium"}
    assert len(mixed.select(behaviour="medium")) == 24
    returns = mixed.episodes.total_reward
    middle = float(np.sort(returns)[40])
    assert (returns[mixed.select(min_return=middle).numbers] >= middle).all()
    assert (returns[mixed.select(max_return=middle).numbers] <= middle).all()
    exact = mixed.select(min_return=middle, max_return=middle)
    assert len(exact) == (returns == middle).sum() > 0
    assert len(mixed.select(min_return=float(returns.max()) + 1)) == 0


def test_conditions_join_in_one_call_or_in_several_in_any_order(mixed: Dataset) -> None:
    conditions: list[dict[str, Any]] = [{"split": "train"}, {"behaviour": "expert"}, {"max_return": 10.0}]
    joined = mixed.select(**{key: value for condition in conditions for key, value in condition.items()})
    for order in (conditions, conditions[::-1]):
        step = mixed
        for condition in order:
            step = step.select(**condition)
        np.testing.assert_array_equal(step.numbers, joined.numbers)
    assert 0 < len(joined) < len(mixed)
    assert len(mixed) == 72


@pytest.mark.parametrize(
    ("condition", "text", "hint"),
    [
        ({"split": "trian"}, "unknown split 'trian'", "did you mean 'train'?"),
        ({"behaviour": "exprt"}, "unknown behaviour 'exprt'", "did you mean 'expert'?"),
        ({"tasks": ["goal-1000"]}, "unknown task 'goal-1000'", "did you mean 'goal-"),
        ({"tasks": [99]}, "unknown task '99'", "one of 8, for example goal-"),
    ],
)
def test_what_the_dataset_does_not_have_is_answered_with_what_it_has(
    mixed: Dataset, condition: dict[str, Any], text: str, hint: str
) -> None:
    with pytest.raises(UnknownNameError) as caught:
        mixed.select(**condition)
    assert caught.value.message == text
    assert str(caught.value.hint).startswith(hint)


def test_selecting_reads_no_data(own_copy: Path) -> None:
    """Every value of the HDF5 is overwritten: opening and selecting do not notice, reading does."""
    whole = open_dataset(own_copy).select(split="test").episode(0)
    hdf5 = own_copy / "data" / "main_data.hdf5"
    hdf5.write_bytes(bytes(hdf5.stat().st_size))
    dataset = open_dataset(own_copy).select(split="test", behaviour="expert", min_return=-100.0)
    assert (len(dataset), len(dataset.tasks)) == (6, 2)
    assert whole.rewards.any()
    assert not dataset.episode(0).rewards.any()


def test_episodes_are_those_of_the_numbers_selected(mixed: Dataset) -> None:
    table = mixed.episodes
    for dataset in (mixed, mixed.select(split="test"), mixed.select(behaviour="random")):
        for position, episode in enumerate(dataset):
            number = dataset.numbers[position]
            digest = episode_digest(episode, task_index=int(table.task_index[number]), seed=int(table.seed[number]))
            assert digest == table.digest[number]
            assert episode.total_reward == table.total_reward[number]
        assert position == len(dataset) - 1


def test_an_episode_is_a_copy_and_positions_count_from_either_end(mixed: Dataset) -> None:
    mixed.episode(0).rewards[:] = 9
    assert (mixed.episode(0).rewards != 9).all()
    np.testing.assert_array_equal(mixed.episode(-1).observations, mixed.episode(71).observations)
    for position in (72, -73):
        with pytest.raises(IndexError):
            mixed.episode(position)


def test_an_empty_selection_has_no_transitions_and_says_so(mixed: Dataset) -> None:
    empty = mixed.select(min_return=1e9)
    assert (len(empty), empty.tasks, list(empty)) == (0, (), [])
    with pytest.raises(DatasetError, match="no episode of idaq/point-robot-sparse/mixed-v0 is selected") as caught:
        empty.transitions()
    assert caught.value.hint == "loosen select(...)"


@pytest.mark.parametrize(("free_pages", "in_ram"), [(10**7, True), (1, False)])
def test_auto_takes_ram_where_there_is_room_and_the_map_where_there_is_not(
    own_copy: Path, monkeypatch: pytest.MonkeyPatch, free_pages: int, in_ram: bool
) -> None:
    """Overwriting the file tells them apart: what is in RAM does not change."""
    real = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: free_pages if name == "SC_AVPHYS_PAGES" else real(name))
    table = open_dataset(own_copy).transitions("auto")
    assert table.in_ram == in_ram
    before = table.gather(np.arange(len(table))).rewards
    hdf5 = own_copy / "data" / "main_data.hdf5"
    hdf5.write_bytes(bytes(hdf5.stat().st_size))
    after = table.gather(np.arange(len(table))).rewards
    assert before.all()
    assert (after == before).all() if in_ram else not after.any()


def test_a_missing_dataset_is_answered_with_the_nearest(datasets_root: Path, collected: Collected) -> None:
    with pytest.raises(DatasetNotFoundError, match="there is no dataset 'idaq/point-robot/exper-v0'") as caught:
        open_dataset("idaq/point-robot/exper-v0", datasets_root)
    assert "'idaq/point-robot/expert-v0'" in str(caught.value.hint)


def test_a_damaged_dataset_is_refused(own_copy: Path) -> None:
    (own_copy / "data/idaq/tasks.jsonl").write_text("{}\n")
    with pytest.raises(CorruptDatasetError, match=r"tasks\.jsonl has 3 bytes, the manifest says"):
        open_dataset(own_copy)


def test_a_dataset_of_a_newer_format_is_refused(own_copy: Path) -> None:
    metadata = own_copy / "data/metadata.json"
    metadata.write_text(metadata.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(FormatVersionError, match="is written in format 2; this idaq reads format 1"):
        open_dataset(own_copy)


def test_the_manifest_tells_the_recipe_that_makes_the_dataset_again(collected: Collected) -> None:
    assert open_stored(collected.path).manifest.recipe == small_recipe()
