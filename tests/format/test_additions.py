"""Episodes of a system that somebody has become a dataset that joins the one it was trained from."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.core.errors import ConfigError, DatasetError, DatasetExistsError, UsageError
from idaq.core.types import Episode
from idaq.format.additions import write_episodes
from idaq.format.merge import merged
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.loader import open_dataset
from idaq.tasks import get_family
from idaq.tasks.systems import PlayedEpisode, run_episode

NEW = "me/point/tuesday-v0"


class Still:
    """A policy that stays where it is."""

    def act(self, observation: np.ndarray, /) -> np.ndarray:
        return np.zeros(2, np.float32)


@pytest.fixture(scope="module")
def trained_from(collected: Collected) -> StoredDataset:
    return open_stored(collected.path)


@pytest.fixture(scope="module")
def played() -> list[PlayedEpisode]:
    env = get_family("point-robot").make()
    return [run_episode(env, Still(), seed=seed, options={"task": 3}) for seed in (11, 12, 13)]


def test_a_new_system_joins_the_training_set_as_a_task_of_its_own(
    trained_from: StoredDataset, played: list[PlayedEpisode], tmp_path: Path
) -> None:
    done = write_episodes(NEW, played, task="robot-7", like=trained_from, behaviour="adapted", root=tmp_path)
    alone = open_stored(done.path)
    assert verify(done.path) == []
    assert (alone.manifest.family, alone.metadata["env_spec"]) == ("point-robot", trained_from.metadata["env_spec"])
    assert alone.episodes.seed.tolist() == [11, 12, 13]
    assert alone.episodes.behaviour.tolist() == ["adapted"] * 3
    assert alone.manifest.recipe.authors == trained_from.manifest.recipe.authors
    assert (done.task.task_id, done.task.task_index, done.task.split) == (
        "robot-7",
        1 + max(task.task_index for task in trained_from.tasks),
        "train",
    )
    source, duplicates = merged([trained_from, alone], "me/point/grown-v0")
    grown = open_dataset(write_dataset(source, tmp_path, ""))
    assert duplicates == 0
    assert (len(grown.tasks), len(grown)) == (len(trained_from.tasks) + 1, len(trained_from.episodes) + 3)
    *_, last = grown
    np.testing.assert_array_equal(last.observations, played[-1].observations)
    np.testing.assert_array_equal(last.rewards, played[-1].rewards)


def test_a_task_that_the_training_set_knows_is_that_task(
    trained_from: StoredDataset, played: list[PlayedEpisode], tmp_path: Path
) -> None:
    known = trained_from.tasks[2]
    done = write_episodes(NEW, played, task=known.task_id, like=trained_from, behaviour="adapted", root=tmp_path)
    alone = open_stored(done.path)
    assert (done.task.task_index, done.task.params, done.task.reset_options) == (
        known.task_index,
        known.params,
        {"task": known.task_index},
    )
    assert done.task.reference.random == known.reference.random
    source, _ = merged([trained_from, alone], "me/point/grown-v0")
    grown = open_stored(write_dataset(source, tmp_path, ""))
    mine = grown.episodes.task_index == known.task_index
    assert (len(grown.tasks), int(mine.sum())) == (len(trained_from.tasks), 3 + 3)
    with pytest.raises(DatasetError, match="has the parameters") as caught:
        write_episodes("me/a-v0", played, task=known.task_id, params={"x": 1.0}, like=trained_from, root=tmp_path)
    assert caught.value.hint == "give the task another name"


def test_without_a_dataset_to_join_everything_unknown_is_said(played: list[PlayedEpisode], tmp_path: Path) -> None:
    done = write_episodes(NEW, played, task="robot-7", params={"mass": 2.0}, root=tmp_path)
    assert open_stored(done.path).manifest.family == "imported"
    assert done.task.params == {"mass": 2.0}
    notes = " ".join(done.notes)
    for said in ("no action bounds are known", "no observation bounds are known", "authors and licence unknown"):
        assert said in notes


def test_rows_of_another_shape_are_refused(trained_from: StoredDataset, tmp_path: Path) -> None:
    env = gym.make("Pendulum-v1", max_episode_steps=5)

    class Weak:
        def act(self, observation: np.ndarray, /) -> np.ndarray:
            return np.zeros(1, np.float32)

    with pytest.raises(DatasetError, match=r"observations: rows of shape \[3\], in .* rows of shape \[2\]"):
        write_episodes(NEW, [run_episode(env, Weak(), seed=1)], task="pendulum", like=trained_from, root=tmp_path)
    assert not (tmp_path / NEW).exists()


def test_what_cannot_be_written_is_told_first(played: list[PlayedEpisode], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no episodes to write"):
        write_episodes(NEW, [], task="a", root=tmp_path)
    with pytest.raises(UsageError, match="is not a dataset id"):
        write_episodes("tuesday", played, task="a", root=tmp_path)
    with pytest.raises(ConfigError, match="no name of a split"):
        write_episodes(NEW, played, task="a", split="Not A Split", root=tmp_path)
    write_episodes(NEW, played, task="a", root=tmp_path)
    with pytest.raises(DatasetExistsError):
        write_episodes(NEW, played, task="a", root=tmp_path)


def test_an_episode_that_says_nothing_of_success_or_seed_is_of_unknown_ones(
    played: list[PlayedEpisode], tmp_path: Path
) -> None:
    columns = ("observations", "actions", "rewards", "terminated", "truncated")
    bare = Episode(**{name: getattr(played[0], name) for name in columns})
    table = open_stored(write_episodes(NEW, [bare], task="a", root=tmp_path).path).episodes
    assert (table.seed_of(0), table.solved(0)) == (None, None)
