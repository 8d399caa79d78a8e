"""Imported tasks belong to a family, or to an environment of one's own; and each is in a split."""

import sys
from pathlib import Path

import gymnasium as gym
import minari
import numpy as np
import pytest

from idaq.core.errors import DatasetError, PluginError, UsageError
from idaq.core.types import Episode
from idaq.format.importing import Import, ImportedEpisode, ImportedTask
from idaq.format.reader import StoredDataset, open_stored
from idaq.loader import open_dataset
from idaq.share.importers import import_dataset
from idaq.share.links import link
from idaq.tasks import get_family
from idaq.tasks.systems import make_env
from tests.share.test_sources import archive

NEW = "me/own/linked-v0"
MODULE = """
import gymnasium, numpy

def pendulum(mass=1.0, limit=20):
    env = gymnasium.make("Pendulum-v1", max_episode_steps=limit)
    env.unwrapped.m = mass
    return gymnasium.wrappers.RescaleAction(env, numpy.float32(-1), numpy.float32(1))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_links.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_links", raising=False)
    return "my_links"


def points(path: Path, tag: float = 0) -> Path:
    """Transitions of the size that point robots have."""
    steps = np.arange(4, dtype=np.float32)
    np.savez(
        path,
        observations=np.stack([steps, steps + tag], 1),
        next_observations=np.stack([steps + 1, steps + 1 + tag], 1),
        actions=np.zeros((4, 2), np.float32),
        rewards=steps,
        terminals=np.zeros(4, bool),
        timeouts=steps == 3,
    )
    return path


def swings(path: Path, tag: float = 0) -> Path:
    steps = np.arange(4, dtype=np.float32)
    np.savez(
        path,
        observations=np.zeros((4, 3), np.float32),
        next_observations=np.zeros((4, 3), np.float32),
        actions=np.zeros((4, 1), np.float32),
        rewards=steps + tag,
        terminals=np.zeros(4, bool),
        timeouts=steps == 3,
    )
    return path


def made_episode(observation: int, action: int) -> Episode:
    """Four steps of zeros, of rows of these sizes."""
    return Episode(
        observations=np.zeros((5, observation), np.float32),
        actions=np.zeros((4, action), np.float32),
        rewards=np.zeros(4),
        terminated=np.zeros(4, bool),
        truncated=np.arange(4) == 3,
    )


def imported(tmp_path: Path, *files: Path | str, **more: object) -> StoredDataset:
    return open_stored(import_dataset(files, NEW, root=tmp_path / "root", **more).path)  # type: ignore[arg-type]


def test_tasks_become_the_familys_by_index_and_are_written_in_its_order(tmp_path: Path) -> None:
    files = points(tmp_path / "a.npz", 1), points(tmp_path / "b.npz", 2)
    data = imported(tmp_path, *files, family="point-robot", task_indices=[31, 7])
    theirs = get_family("point-robot").tasks
    assert [(t.task_id, t.task_index, t.params) for t in data.tasks] == [
        (theirs[i].task_id, i, theirs[i].params) for i in (7, 31)
    ]
    assert [t.reset_options for t in data.tasks] == [{"task": 7}, {"task": 31}]
    assert data.tasks[0].success == theirs[7].success
    assert data.episodes.task_index.tolist() == [7, 31]
    env = minari.MinariDataset(data.path / "data").recover_environment()
    assert type(env.unwrapped) is type(get_family("point-robot").make().unwrapped)
    assert not any("tasks get the ids" in note for note in data.manifest.provenance.notes)


def test_tasks_become_the_familys_by_their_parameters_or_their_id(tmp_path: Path) -> None:
    theirs = get_family("point-robot").tasks[12]
    file = points(tmp_path / "a.npz")
    by_params = imported(tmp_path, file, family="point-robot", params=theirs.params)
    assert (by_params.tasks[0].task_index, by_params.tasks[0].task_id) == (12, theirs.task_id)
    assert any("1 tasks get the ids that the family" in note for note in by_params.manifest.provenance.notes)
    by_id = import_dataset([file], "me/own/b-v0", family="point-robot", tasks=[theirs.task_id], root=tmp_path)
    assert open_stored(by_id.path).tasks[0].params == theirs.params


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"family": "point-robot"}, "none of that id, and it has no parameters to go by"),
        ({"family": "point-robot", "params": {"goal": [9.0, 9.0]}}, "none with the parameters"),
        ({"family": "point-robot", "task_indices": [1, 2]}, "names 2 tasks; a.npz holds 1"),
        ({"family": "point-robot", "task_indices": [len(get_family("point-robot").tasks)]}, "has no such task"),
        ({"family": "point-robt", "task_indices": [1]}, "unknown task family"),
        ({"task_indices": [1]}, "--task-index is for the tasks of a family"),
        ({"env": "Pendulum-v1"}, r"has observations of shape \(2,\), the environment Pendulum-v1 of \(3,\)"),
        ({"env": "Pendulum-v1", "family": "point-robot"}, "--family and --env are both given"),
        ({"env": "MountainCar-v0"}, r"has actions of shape \(2,\), the environment MountainCar-v0 of \(\)"),
        ({"env": "Pendulum-v9"}, "Pendulum"),
        ({"env_settings": {"g": 1}}, "--env-arg is for an environment"),
    ],
)
def test_what_does_not_match_is_said_in_words_and_nothing_is_written(
    tmp_path: Path, more: dict[str, object], said: str
) -> None:
    with pytest.raises((DatasetError, UsageError), match=said):
        imported(tmp_path, points(tmp_path / "a.npz"), **more)
    assert not (tmp_path / "root" / NEW).exists()


def test_rounded_parameters_are_told_the_nearest_task(tmp_path: Path) -> None:
    theirs = get_family("point-robot").tasks[12]
    goal = np.round(theirs.params["goal"], 3).tolist()
    with pytest.raises(DatasetError, match="has none with the parameters") as caught:
        imported(tmp_path, points(tmp_path / "a.npz"), family="point-robot", params={"goal": goal})
    assert f"the nearest is {theirs.task_id} with" in str(caught.value.hint)
    assert "--task-index 12 would take it" in str(caught.value.hint)


def test_a_family_that_nobody_knows_here_is_a_label_and_that_is_told(tmp_path: Path) -> None:
    done = import_dataset([points(tmp_path / "a.npz")], NEW, family="our-robot", root=tmp_path)
    assert open_stored(done.path).manifest.family == "our-robot"
    assert any("no task family our-robot is known here" in note for note in done.notes)


def test_a_gymnasium_id_gets_each_tasks_parameters_as_keyword_arguments(tmp_path: Path) -> None:
    data = imported(tmp_path, swings(tmp_path / "a.npz"), env="Pendulum-v1", params={"g": 9.0})
    (task,) = data.tasks
    assert (task.env.id, task.env.kwargs, task.env.max_episode_steps) == ("Pendulum-v1", {"g": 9.0}, 200)
    assert task.reset_options == {}
    env = minari.MinariDataset(data.path / "data").recover_environment()
    assert env.spec is not None
    assert (env.spec.id, env.spec.max_episode_steps) == ("Pendulum-v1", 200)
    np.testing.assert_allclose(env.action_space.high, 2)  # type: ignore[attr-defined]
    assert not any("bounds are known" in note for note in data.manifest.provenance.notes)


def test_a_function_of_ones_own_is_recovered_with_its_arguments(tmp_path: Path, module: str) -> None:
    data = imported(
        tmp_path,
        swings(tmp_path / "a.npz"),
        env=f"{module}:pendulum",
        env_settings={"limit": 30},
        params={"mass": 2.0},
    )
    (task,) = data.tasks
    assert task.env.entry_point == f"{module}:pendulum"
    assert task.env.kwargs == {"limit": 30, "mass": 2.0}
    env = minari.MinariDataset(data.path / "data").recover_environment()
    np.testing.assert_allclose(env.action_space.high, 1)  # type: ignore[attr-defined]
    assert env.unwrapped.m == 1.0  # type: ignore[attr-defined]
    assert make_env(task.env.id, task.env.kwargs).unwrapped.m == 2.0  # type: ignore[attr-defined]


def test_an_environment_that_does_not_take_a_parameter_says_the_rule(tmp_path: Path, module: str) -> None:
    with pytest.raises(PluginError, match="unexpected keyword argument 'colour'") as caught:
        imported(tmp_path, swings(tmp_path / "a.npz"), env=f"{module}:pendulum", params={"colour": 2.0})
    assert "each parameter of a task as a keyword argument: colour" in str(caught.value.hint)


def test_spaces_that_the_data_state_are_kept(tmp_path: Path) -> None:
    """An environment brings those that are not stated, and overrules none."""
    stated = Import(
        tasks=[ImportedTask(name="a", episodes=[ImportedEpisode(episode=made_episode(3, 1))])],
        origin="a",
        action_space=gym.spaces.Box(-5, 5, (1,), np.float32),
    )
    link(stated, None, (), "Pendulum-v1", {})
    assert stated.action_space is not None
    assert stated.action_space.high.tolist() == [5.0]
    assert stated.observation_space is not None
    assert stated.observation_space.high.tolist() == [1.0, 1.0, 8.0]


@pytest.mark.parametrize(("files", "told"), [(1, False), (2, True)])
def test_tasks_that_the_environment_cannot_tell_apart_are_told(tmp_path: Path, files: int, told: bool) -> None:
    data = imported(tmp_path, *(swings(tmp_path / f"{n}.npz", n) for n in range(files)), env="Pendulum-v1")
    said = "tasks have no parameters: the environment is the same for all of them (--param)"
    assert any(f": {files} {said}" in note for note in data.manifest.provenance.notes) is told


def three(tmp_path: Path) -> list[str]:
    return [archive(tmp_path / f"{name}.npz", number) for number, name in enumerate("abc")]


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"test": "c"}, {"train": [0, 1], "test": [2]}),
        ({"train": "a,b", "test": "c"}, {"train": [0, 1], "test": [2]}),
        ({"test": "0:2", "validation": "2"}, {"test": [0, 1], "validation": [2]}),
        ({}, {"train": [0, 1, 2]}),
    ],
)
def test_tasks_are_put_into_splits(tmp_path: Path, splits: dict[str, str], expected: dict[str, list[int]]) -> None:
    data = imported(tmp_path, *three(tmp_path), tasks=["a", "b", "c"], splits=splits)
    assert data.manifest.splits == expected
    assert data.manifest.recipe.splits.sizes == {name: len(tasks) for name, tasks in expected.items()}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"splits": {"train": "a"}}, "tasks are in no split: b, c"),
        ({"splits": {"train": "a,b,c", "test": "c"}}, "task 2 would be in two splits, train and test"),
        ({"splits": {"test": "d"}}, "unknown task 'd'"),
        ({"test_tasks": 3}, "--test-tasks 3 of 3 tasks"),
        ({"test_tasks": 0}, "--test-tasks 0 of 3 tasks"),
        ({"test_tasks": 1, "splits": {"test": "a"}}, "--test-tasks 1 of 3 tasks"),
    ],
)
def test_splits_that_cannot_be_are_refused(tmp_path: Path, more: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        imported(tmp_path, *three(tmp_path), tasks=["a", "b", "c"], **more)


def test_a_number_of_test_tasks_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    first = imported(tmp_path, *three(tmp_path), test_tasks=1).manifest.splits
    again = import_dataset(three(tmp_path), "me/own/again-v0", test_tasks=1, root=tmp_path)
    assert open_stored(again.path).manifest.splits == first
    assert sorted(map(len, first.values())) == [1, 2]


def test_choices_of_an_environment_are_its_choices(tmp_path: Path) -> None:
    """Stable-Baselines stores one number a row; CartPole's actions are one of two."""
    rows = np.zeros((5, 4), np.float32)
    np.savez(
        tmp_path / "cart.npz",
        observations=rows,
        next_observations=rows,
        actions=np.array([[0], [1], [1], [0], [1]]),
        rewards=np.ones(5),
        terminals=np.arange(5) == 4,
        timeouts=np.zeros(5),
    )
    done = import_dataset([tmp_path / "cart.npz"], "me/cart/a-v0", env="CartPole-v1", root=tmp_path)
    dataset = open_dataset(done.path)
    assert dataset.episode(0).actions.tolist() == [0, 1, 1, 0, 1]
    assert dataset.leaves["actions"].counts == 2
    assert not any("space is known" in note or "bounds are known" in note for note in done.notes)
