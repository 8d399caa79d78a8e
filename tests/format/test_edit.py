"""Datasets made from datasets: every kept episode is the same to the bit, every result is a valid dataset."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.collect.collect import Collected, collect
from idaq.core.errors import DatasetError, DatasetExistsError, UnknownNameError, UsageError
from idaq.format.difference import differences
from idaq.format.edit import Labels, relabelled, subset
from idaq.format.merge import merged
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.selection import Selection, parse_tasks, select
from idaq.format.store import delete_dataset, list_datasets
from idaq.format.verify import verify
from idaq.format.writer import DatasetSource, write_dataset
from tests.bench.test_loader import table_of
from tests.format.made import entries_of, made_source
from tests.recipes import small_recipe


def written(source: DatasetSource, root: Path) -> StoredDataset:
    path = write_dataset(source, root, "# a card\n")
    assert verify(path) == []
    return open_stored(path)


@pytest.fixture
def stored(made: Path) -> StoredDataset:
    return open_stored(made)


NEW = "idaq/made/new-v0"


def test_a_subset_keeps_digests_tasks_seeds_and_names_its_parent(stored: StoredDataset, tmp_path: Path) -> None:
    keep = select(stored.episodes, stored.tasks, Selection(tasks=("task-9", 2), behaviour="random"))
    new = written(subset(stored, NEW, keep, "subset: by test"), tmp_path)
    assert new.episodes.digest.tolist() == stored.episodes.digest[keep].tolist()
    assert [task.task_index for task in new.tasks] == [2, 9]
    assert new.manifest.provenance.parents[0].content_digest == stored.manifest.content_digest
    assert new.manifest.provenance.operation == "subset: by test"
    assert new.tasks[1].params == stored.tasks[2].params
    assert [behaviour.name for behaviour in new.manifest.recipe.behaviours] == ["random"]


def test_halves_merged_are_the_whole(stored: StoredDataset, tmp_path: Path) -> None:
    keep = np.arange(len(stored.episodes)) % 3 == 0
    halves = [
        written(subset(stored, f"idaq/made/half{n}-v0", mask, "subset"), tmp_path)
        for n, mask in enumerate([keep, ~keep])
    ]
    source, duplicates = merged([*halves, stored], NEW)
    whole = written(source, tmp_path)
    assert duplicates == len(stored.episodes)
    assert sorted(whole.episodes.digest) == sorted(stored.episodes.digest)
    assert [d.what for d in differences(stored, whole) if d.level == "episodes"] == ["order"]
    assert len(whole.manifest.provenance.parents) == 3


def test_a_merge_refuses_what_differs(stored: StoredDataset, collected: Collected, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="differ in shape of observations"):
        merged([stored, open_stored(collected.path)], NEW)
    moved = written(relabelled(stored, NEW, Labels(splits={"extra": [5]}, behaviours={})), tmp_path)
    with pytest.raises(DatasetError, match=r"task task-5 \(index 5\) of .* is another .*: split 'extra', not 'test'"):
        merged([stored, moved], "idaq/made/newer-v0")


def test_two_collections_of_other_seeds_become_one(collected: Collected, tmp_path: Path) -> None:
    other = collect(small_recipe("point-robot", "expert", "seed=77", "id=idaq/point-robot/other-v0"), tmp_path)
    parents = [open_stored(collected.path), open_stored(other.path)]
    source, duplicates = merged(parents, "idaq/point-robot/both-v0")
    both = written(source, tmp_path)
    assert duplicates == 0
    assert both.manifest.counts.episodes == 2 * parents[0].manifest.counts.episodes
    assert set(both.episodes.seed) == set(parents[0].episodes.seed) | set(parents[1].episodes.seed)
    with pytest.raises(DatasetExistsError):  # a recipe cannot have collected it
        collect(replace(both.manifest.recipe), tmp_path)


def test_relabelling_changes_labels_alone(stored: StoredDataset, tmp_path: Path) -> None:
    labels = Labels(splits={"held-out": ["task-2"]}, behaviours={"expert": "pro"}, description="Other names.")
    new = written(relabelled(stored, NEW, labels), tmp_path)
    assert new.manifest.content_digest == stored.manifest.content_digest
    assert new.manifest.splits["held-out"] == [2]
    assert set(new.episodes.behaviour) == {"pro", "random"}
    assert new.manifest.recipe.description == "Other names."
    with pytest.raises(UsageError, match="one name"):
        relabelled(stored, NEW, Labels(splits={}, behaviours={"expert": "random"}))
    with pytest.raises(UnknownNameError):
        relabelled(stored, NEW, Labels(splits={}, behaviours={"novice": "pro"}))


def test_nothing_is_learned_from_a_split_that_has_no_task_left(stored: StoredDataset, tmp_path: Path) -> None:
    halves = Labels(splits={"val": [5]}, behaviours={})
    source = relabelled(stored, NEW, halves)
    learning = replace(source, recipe=replace(source.recipe, train={"split": "train+val", "steps": 7}))
    both = written(learning, tmp_path)
    keep = select(both.episodes, both.tasks, Selection(split="train+test"))
    cut = written(subset(both, "idaq/made/cut-v0", keep, "subset: by test"), tmp_path)
    assert (set(cut.manifest.splits), cut.manifest.recipe.train) == ({"train", "test"}, {"split": "train", "steps": 7})
    moved = relabelled(
        cut, "idaq/made/moved-v0", Labels(splits={"other": [t.task_index for t in cut.tasks]}, behaviours={})
    )
    assert moved.recipe.train == {"steps": 7}


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-4, 4)), min_size=1, max_size=40),
    st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted),
)
def test_quantiles_are_numpys_of_each_task(episodes: list[tuple[int, int]], eighths: list[int]) -> None:
    task, returns = np.array(sorted(episodes), float).T
    table = replace(table_of(len(task), 1), task_index=task.astype(int), total_reward=returns)
    low, high = eighths[0] / 8, eighths[1] / 8
    expected = np.zeros(len(task), bool)
    for one in np.unique(task):
        bounds = np.quantile(returns[task == one], [low, high], method="inverted_cdf")
        expected |= (task == one) & (returns >= bounds[0]) & (returns <= bounds[1])
    np.testing.assert_array_equal(select(table, [], Selection(quantiles=(low, high))), expected)


def test_quantiles_are_of_each_task(stored: StoredDataset) -> None:
    best = select(stored.episodes, stored.tasks, Selection(quantiles=(0.75, 1.0)))
    for task in (2, 5, 9):
        mine = stored.episodes.task_index == task
        returns = stored.episodes.total_reward
        assert returns[mine & best].min() >= returns[mine & ~best].max(initial=-np.inf)
        assert (mine & best).any()
    with pytest.raises(UsageError, match="quantiles"):
        select(stored.episodes, stored.tasks, Selection(quantiles=(0.9, 0.1)))


@pytest.mark.parametrize(
    ("text", "indices"),
    [("0:6", (2, 5)), (":", (2, 5, 9)), ("9,2", (9, 2)), ("task-5,5:", (5, 9)), ("0-5, 9", (2, 5, 9))],
)
def test_lists_of_tasks(stored: StoredDataset, text: str, indices: tuple[int, ...]) -> None:
    assert parse_tasks(text, stored.tasks) == indices


@pytest.mark.parametrize("text", ["3:5", "3", "3-4", "6-5", "task-3", "", "1:2:3", "-1:", "2,"])
def test_tasks_that_are_not_there(stored: StoredDataset, text: str) -> None:
    with pytest.raises((UsageError, UnknownNameError)):
        parse_tasks(text, stored.tasks)


def test_a_difference_of_one_number_is_found_and_shown(stored: StoredDataset, tmp_path: Path) -> None:
    entries = entries_of()
    rewards = entries[5].episode.rewards.copy()
    rewards[17] += 0.5
    entries[5] = replace(entries[5], episode=replace(entries[5].episode, rewards=rewards))
    changed = written(made_source(entries), tmp_path)
    (value,) = [d for d in differences(stored, changed) if d.level == "values"]
    assert value.what == "episode 5 and 5: rewards[17], where it differs most"
    assert value.second == value.first + 0.5
    assert differences(stored, stored) == []


def test_an_emptied_selection_is_refused(stored: StoredDataset) -> None:
    with pytest.raises(DatasetError, match="no episode"):
        subset(stored, NEW, np.zeros(len(stored.episodes), bool), "subset")


def test_deleting_leaves_nothing_to_list(own_copy: Path, tmp_path: Path) -> None:
    delete_dataset(own_copy)
    assert not own_copy.exists()
    assert list_datasets(tmp_path / "root") == []


def test_a_task_asked_into_two_splits_is_refused(stored: StoredDataset) -> None:
    with pytest.raises(UsageError, match="task 5 would be in two splits, test and train"):
        relabelled(stored, "me/goals/twice-v0", Labels(splits={"test": [2, 5], "train": [5, 9]}, behaviours={}))


@pytest.mark.parametrize("name", ["", "A B", "../x"])
def test_names_that_are_none_are_refused_in_words(stored: StoredDataset, name: str) -> None:
    behaviour = str(stored.episodes.behaviour[0])
    for splits, behaviours in (({name: [2]}, {}), ({}, {behaviour: name})):
        with pytest.raises(UsageError, match="is no name of a"):
            relabelled(stored, "me/goals/odd-v0", Labels(splits=splits, behaviours=behaviours))
