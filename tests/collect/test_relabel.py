"""Relabelled episodes: other tasks' trajectories, with the rewards that the formulas of the point robot give there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idaq.collect.collect import Collected, collect
from idaq.collect.relabel import SUFFIX, Relabelling, with_relabelled
from idaq.core.errors import DatasetError, UsageError
from idaq.core.types import Episode
from idaq.format.edit import Labels, relabelled
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.loader import Dataset, open_dataset
from idaq.tasks import Family, get_family
from tests.recipes import small_recipe

NEW = "idaq/point-robot/relabelled-v0"


def written(
    stored: StoredDataset, root: Path, wanted: Relabelling | None = None, family: Family | None = None
) -> Dataset:
    source = with_relabelled(stored, NEW, family or get_family(stored.manifest.family), wanted or Relabelling())
    path = write_dataset(source, root)
    assert verify(path) == []
    return open_dataset(path)


@pytest.fixture
def stored(collected: Collected) -> StoredDataset:
    """point-robot/expert: 6 training and 2 test tasks, 3 episodes each."""
    return open_stored(collected.path)


def test_each_training_task_gets_other_training_tasks_episodes_paid_as_it_pays(
    stored: StoredDataset, tmp_path: Path
) -> None:
    before, after = open_dataset(stored.path), written(stored, tmp_path)
    own = {episode.observations.tobytes(): int(before.episodes.task_index[n]) for n, episode in numbered(before)}
    split = {task.task_index: task.split for task in after.tasks}
    lent = 0
    for number, episode in numbered(after):
        task, behaviour = int(after.episodes.task_index[number]), str(after.episodes.behaviour[number])
        origin = own[episode.observations.tobytes()]
        if behaviour == "expert":
            assert origin == task
            continue
        lent += 1
        assert behaviour == "expert" + SUFFIX
        assert (split[task], split[origin]) == ("train", "train")
        assert origin != task
        goal = np.array(after.tasks[[t.task_index for t in after.tasks].index(task)].params["goal"])
        distance = np.linalg.norm(episode.observations[1:] - goal, axis=1)
        np.testing.assert_allclose(episode.rewards, -distance, rtol=1e-5, atol=1e-6)
        assert after.episodes.solved(number) == (distance[-1] <= 0.2)
        assert episode.truncated.tolist() == [False] * 19 + [True]
    assert lent == 18
    kept = [episode.rewards.tobytes() for n, episode in numbered(after) if after.episodes.behaviour[n] == "expert"]
    assert kept == [episode.rewards.tobytes() for _, episode in numbered(before)]


def numbered(dataset: Dataset) -> list[tuple[int, Episode]]:
    return list(zip(dataset.numbers.tolist(), dataset, strict=True))


def test_how_many_and_which(stored: StoredDataset, tmp_path: Path) -> None:
    """Of the 15 episodes of the others none comes twice; the seed says which; more than there are repeat."""
    found = {}
    for name, wanted in {
        "one": Relabelling(episodes=2),
        "again": Relabelling(episodes=2),
        "other": Relabelling(episodes=2, seed=1),
        "all": Relabelling(episodes=15),
        "more": Relabelling(episodes=16),
    }.items():
        data = written(stored, tmp_path / name, wanted)
        table = data.episodes
        (task,) = [task for task in data.tasks if task.split == "train"][:1]
        mine = (table.task_index == task.task_index) & (table.behaviour != "expert")
        found[name] = [data.store.episode(number).observations.tobytes() for number in np.flatnonzero(mine).tolist()]
    assert found["one"] == found["again"] != found["other"]
    assert {name: (len(episodes), len(set(episodes))) for name, episodes in found.items()} == {
        "one": (2, 2), "again": (2, 2), "other": (2, 2), "all": (15, 15), "more": (16, len(set(found["more"]))),
    }  # fmt: skip
    assert len(set(found["more"])) < 16


def test_what_it_was_made_of_is_stated(stored: StoredDataset, tmp_path: Path) -> None:
    manifest = written(stored, tmp_path, Relabelling(episodes=1)).manifest
    assert manifest is not None
    assert manifest.provenance.operation == "relabel-rewards: split train, episodes a task 1, seed 0"
    assert [parent.content_digest for parent in manifest.provenance.parents] == [stored.manifest.content_digest]
    assert any("6 episodes are of other tasks of split train" in note for note in manifest.provenance.notes)
    assert {b.name: (b.kind, b.episodes) for b in manifest.recipe.behaviours} == {
        "expert": ("scripted", 3), "expert-relabelled": ("unknown", 1),
    }  # fmt: skip


def test_columns_beside_them_are_of_the_new_task(tmp_path: Path) -> None:
    """What the expert would do there, and not where it came from."""
    recipe = replace(small_recipe("point-robot-sparse"), expert_action=True)
    stored = open_stored(collect(recipe, tmp_path / "own").path)
    data = written(stored, tmp_path / "new", Relabelling(episodes=1))
    controller = get_family("point-robot-sparse").controller
    assert controller is not None
    for number, episode in numbered(data):
        task = np.full(20, data.episodes.task_index[number])
        expected = 0.1 * np.clip(controller(episode.observations[:-1], task), -1, 1)
        np.testing.assert_allclose(episode.extras["expert_action"], expected, rtol=1e-5, atol=1e-7)


def test_an_episode_that_ended_with_its_own_task_stops_there_and_its_success_is_not_known(tmp_path: Path) -> None:
    """In a dark room some episodes end at their goal, and may not have ended at another task's."""
    stored = open_stored(collect(small_recipe("dark-room", "expert"), tmp_path / "own").path)
    lengths = {int(n) for n in stored.episodes.length}
    data = written(stored, tmp_path / "new")
    horizon, table = get_family("dark-room").horizon, data.episodes
    for number, episode in numbered(data):
        assert len(episode) in lengths
        if str(table.behaviour[number]).endswith(SUFFIX) and len(episode) < horizon:
            ended = bool(episode.terminated[-1])
            assert (table.solved(number) is None) == (not ended)


def test_where_the_dynamics_depend_on_the_task_it_is_refused(tmp_path: Path) -> None:
    stored = open_stored(collect(small_recipe("point-robot-wind"), tmp_path).path)
    with pytest.raises(DatasetError, match=r"played again on task \d+, comes to other observations: start or dynamics"):
        written(stored, tmp_path)


def test_a_seed_that_matters_must_be_known(stored: StoredDataset, tmp_path: Path) -> None:
    unknown = replace(stored, episodes=replace(stored.episodes, seed_known=np.zeros_like(stored.episodes.seed_known)))
    family = get_family("point-robot")
    with pytest.raises(DatasetError, match="an episode's seed is unknown: it cannot be played again"):
        written(unknown, tmp_path)
    assert len(written(unknown, tmp_path, family=replace(family, deterministic=True))) == 24 + 18


def test_a_split_of_one_task_has_nobody_to_lend(stored: StoredDataset, tmp_path: Path) -> None:
    first = stored.tasks[0].task_index
    alone = relabelled(stored, "idaq/point-robot/alone-v0", Labels(splits={"val": [first]}, behaviours={}))
    one = open_stored(write_dataset(alone, tmp_path))
    with pytest.raises(UsageError, match="split 'val' of idaq/point-robot/alone-v0 has 1 tasks"):
        written(one, tmp_path, Relabelling(split="val"))


def test_another_family_is_refused(stored: StoredDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the family point-robot-wind has"):
        written(stored, tmp_path, family=get_family("point-robot-wind"))
