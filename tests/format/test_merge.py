"""A merge keeps every episode under a task that is its own, tells what it changed, or refuses in words."""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from idaq.collect.collect import Collected, collect
from idaq.core.errors import DatasetError
from idaq.core.types import Episode
from idaq.format.columns import get_episode, map_columns
from idaq.format.documents import ReturnStatistics
from idaq.format.edit import Labels, relabelled, subset
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, dataset_source
from idaq.format.merge import Clash, merged
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.format.writer import DatasetSource, write_dataset
from tests.recipes import small_recipe

NEW = "me/goals/both-v0"
Params = dict[str, float | list[float]]


def episode(tag: float, dtype: Any = np.float32, length: int = 2) -> Episode:
    """Every number tells which episode it is of."""
    return Episode(
        observations=np.full((length + 1, 2), tag, np.float32),
        actions=np.zeros((length, 1), np.float32),
        rewards=np.full(length, tag, dtype),
        terminated=np.zeros(length, bool),
        truncated=np.arange(length) == length - 1,
    )


def task(tags: Sequence[float], index: int = 0, params: Params | None = None, dtype: Any = np.float32) -> ImportedTask:
    episodes = [ImportedEpisode(episode=episode(tag, dtype), seed=int(tag)) for tag in tags]
    return ImportedTask(name=f"task-{index}", index=index, params=params or {}, episodes=episodes)


def imported(name: str, *tasks: ImportedTask) -> DatasetSource:
    data = Import(tasks=list(tasks), origin=name, authors=["Ada"], license="MIT")
    return dataset_source(data, f"me/goals/{name}-v0", "imported", "Goals.")


def stored(source: DatasetSource, root: Path) -> StoredDataset:
    path = write_dataset(source, root, "")
    assert verify(path) == []
    return open_stored(path)


def contents(dataset: StoredDataset) -> list[tuple[float, str]]:
    """Tag and task of each episode."""
    columns, table = map_columns(dataset), dataset.episodes
    ids = {task.task_index: task.task_id for task in dataset.tasks}
    tags = [get_episode(columns, n, length).rewards[0].item() for n, length in enumerate(table.length.tolist())]
    return [(tag, ids[index]) for tag, index in zip(tags, table.task_index.tolist(), strict=True)]


@pytest.fixture
def goals(tmp_path: Path) -> list[StoredDataset]:
    """Two files imported one by one: goals of which nobody knows whether they are one."""
    return [stored(imported("left", task([1, 2])), tmp_path), stored(imported("right", task([3])), tmp_path)]


def test_two_unknown_goals_never_become_one_in_silence(goals: list[StoredDataset], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="unknown parameters: they may be two tasks") as caught:
        merged(goals, NEW)
    assert "--renumber" in str(caught.value.hint)
    assert "--same-tasks" in str(caught.value.hint)
    source, duplicates = merged(goals, NEW, "renumber")
    both = stored(source, tmp_path)
    assert duplicates == 0
    assert contents(both) == [(1, "task-0"), (2, "task-0"), (3, "task-0-1")]
    assert [t.task_index for t in both.tasks] == [0, 1]
    assert "me/goals/right-v0: 1 tasks get a new index or id, for another task has theirs" in source.notes
    assert list(source.notes) == both.manifest.provenance.notes[-len(source.notes) :]


def test_who_knows_that_they_are_one_may_say_so(goals: list[StoredDataset], tmp_path: Path) -> None:
    source, _ = merged(goals, NEW, "same")
    assert contents(stored(source, tmp_path)) == [(1, "task-0"), (2, "task-0"), (3, "task-0")]
    assert "me/goals/right-v0: 1 tasks of unknown parameters are taken for those of equal index and id" in source.notes
    other = stored(imported("other", replace_name(task([4]), "else")), tmp_path)
    with pytest.raises(DatasetError, match="task_id 'else', not 'task-0'"):
        merged([goals[0], other], NEW, "same")


def replace_name(one: ImportedTask, name: str) -> ImportedTask:
    one.name = name
    return one


def test_known_parameters_say_what_is_one_and_what_is_not(tmp_path: Path) -> None:
    light, more, heavy = (
        stored(imported(name, task(tags, params={"mass": mass})), tmp_path)
        for name, tags, mass in [("a", [1], 1.0), ("b", [2], 1.0), ("c", [3], 2.0)]
    )
    assert contents(stored(merged([light, more], NEW)[0], tmp_path)) == [(1, "task-0"), (2, "task-0")]
    with pytest.raises(DatasetError, match=r"params {'mass': 2.0}, not {'mass': 1.0}") as caught:
        merged([light, heavy], "me/x-v0")
    assert "--renumber" in str(caught.value.hint)
    apart = stored(merged([light, heavy], "me/x-v0", "renumber")[0], tmp_path)
    assert [(t.task_id, t.params) for t in apart.tasks] == [("task-0", {"mass": 1.0}), ("task-0-1", {"mass": 2.0})]
    moved = stored(imported("d", task([4], index=5, params={"mass": 1.0})), tmp_path)
    notes = merged([light, moved], "me/y-v0")[0].notes
    assert any("parameters of an earlier task of another index, and stay apart" in note for note in notes)


def test_an_environment_that_knows_tasks_by_index_keeps_their_indices(collected: Collected, tmp_path: Path) -> None:
    first = open_stored(collected.path)
    labels = Labels(splits={"extra": [first.tasks[0].task_index]}, behaviours={})
    moved = stored(relabelled(first, "me/moved-v0", labels), tmp_path)
    for clash in ("refuse", "renumber", "same"):
        with pytest.raises(DatasetError, match="split 'extra', not 'test'") as caught:
            merged([first, moved], NEW, clash)
        assert caught.value.hint == "idaq dataset relabel changes splits"


def test_numbers_are_cast_where_that_changes_none(tmp_path: Path) -> None:
    mass: Params = {"mass": 1.0}
    narrow = stored(imported("narrow", task([1, 2], params=mass)), tmp_path)
    wide = stored(imported("wide", task([1, 0.1], params=mass, dtype=np.float64)), tmp_path)
    source, duplicates = merged([narrow, wide], NEW)
    both = stored(source, tmp_path)
    assert both.manifest.columns["rewards"].dtype == "<f8"
    assert contents(both) == [(1, "task-0"), (2, "task-0"), (0.1, "task-0")]
    assert duplicates == 1  # found after the cast: the same numbers
    assert "me/goals/narrow-v0: 4 numbers of rewards cast from float32 to float64, without loss" in source.notes
    assert "me/goals/wide-v0: 1 episodes are left out: an earlier dataset has them" in source.notes


def with_observations(source: DatasetSource, values: Any, space: gym.spaces.Box) -> DatasetSource:
    entries = [
        replace(entry, episode=replace(entry.episode, observations=np.asarray(values)[:, None]))
        for entry in source.entries
    ]
    return replace(source, entries=entries, observation_space=space)


def test_a_cast_that_would_change_a_number_is_refused(tmp_path: Path) -> None:
    mass: Params = {"mass": 1.0}
    whole = gym.spaces.Box(0, 2**62, (1,), np.int64)
    floats = gym.spaces.Box(-1, 1, (1,), np.float64)
    large, small, other = (
        stored(with_observations(imported(name, task([tag], params=mass)), values, space), tmp_path)
        for name, tag, values, space in [
            ("large", 1, np.array([1, 2, 2**53 + 1]), whole),
            ("small", 2, np.array([1, 2, 2**53]), whole),
            ("other", 3, np.array([0.5, 0.0, 1.0]), floats),
        ]
    )
    assert stored(merged([small, other], "me/x-v0")[0], tmp_path).manifest.columns["observations"].dtype == "<f8"
    with pytest.raises(DatasetError, match="episode 0: observations of int64 are not all numbers that float64 holds"):
        merged([large, other], NEW)


def test_bounds_are_joined_and_told(tmp_path: Path) -> None:
    mass: Params = {"mass": 1.0}
    parents = [stored(imported(f"p{n}", task([n], params=mass)), tmp_path) for n in (1, 2)]
    narrow = replace(imported("q", task([3], params=mass)), action_space=gym.spaces.Box(-2, 0.5, (1,), np.float32))
    source, _ = merged([*parents, stored(narrow, tmp_path)], NEW)
    assert source.action_space == gym.spaces.Box(-2, 1, (1,), np.float32)
    said = "numbers of actions have narrower bounds than all datasets together, whose are written"
    assert f"me/goals/p1-v0 and 2 more: 3 {said}" in source.notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"env_spec_json": '{"id": "A-v0", "kwargs": {}}'}, r"environment, id: None and 'A-v0'"),
        ({"observation_space": gym.spaces.MultiBinary(2)}, "differ in the space of observations"),
    ],
)
def test_what_no_cast_fixes_is_refused_by_name(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    mass: Params = {"mass": 1.0}
    first = stored(imported("a", task([1], params=mass)), tmp_path)
    second = open_stored(write_dataset(replace(imported("b", task([2], params=mass)), **change), tmp_path, ""))
    with pytest.raises(DatasetError, match=said):
        merged([first, second], NEW)


def test_which_reference_and_which_behaviour_is_kept_is_told(tmp_path: Path) -> None:
    def measured(source: DatasetSource, mean: float) -> DatasetSource:
        random = ReturnStatistics(mean=mean, std=0.0, n=2, how="tested")
        tasks = tuple(replace(t, reference=replace(t.reference, random=random)) for t in source.tasks)
        return replace(source, tasks=tasks)

    mass: Params = {"mass": 1.0}
    bare = stored(imported("bare", task([1], params=mass)), tmp_path)
    five, six = (stored(measured(imported(n, task([m], params=mass)), m), tmp_path) for n, m in [("e", 5), ("f", 6)])
    source, _ = merged([bare, five, six], NEW)
    random = source.tasks[0].reference.random
    assert random is not None
    assert random.mean == 5
    assert list(source.notes) == [
        "me/goals/e-v0: 1 random references are taken from it, for earlier datasets have none",
        "me/goals/f-v0: 1 random references differ from earlier ones of the same tasks, which are kept",
        "me/goals/e-v0 and 1 more: behaviour unknown is of unknown make, and taken for that of the same name before it",
    ]


def test_counts_of_the_recipe_are_those_of_the_data(collected: Collected, tmp_path: Path) -> None:
    first = open_stored(collected.path)
    other = open_stored(collect(small_recipe("point-robot", "expert", "seed=77", "id=me/other-v0"), tmp_path).path)
    assert [b.episodes for b in merged([first, other], NEW)[0].recipe.behaviours] == [6]
    keep = first.episodes.task_index == first.episodes.task_index[0]
    keep[0] = False
    part = subset(first, "me/part-v0", keep, "subset")
    assert [b.episodes for b in part.recipe.behaviours] == [2]
    name = first.manifest.dataset_id
    assert part.notes[0] == f"{name}: 7 tasks without an episode left are dropped"
    assert part.notes[1].startswith(f"{name}: 1 splits without a task left are dropped")


def test_notes_of_the_parents_come_along(tmp_path: Path) -> None:
    parent = stored(replace(imported("a", task([1])), notes=("a.npz: 3 rows left out",)), tmp_path)
    child = stored(relabelled(parent, "me/b-v0", Labels(splits={}, behaviours={}, description="New.")), tmp_path)
    assert child.manifest.provenance.notes == ["a.npz: 3 rows left out"]


some_tasks = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([{}, {"goal": 0.0}, {"goal": 1.0}]), st.integers(1, 2)),
    min_size=1,
    max_size=3,
    unique_by=lambda plan: plan[0],
)
some_parents = st.lists(st.tuples(some_tasks, st.sampled_from([np.float32, np.float64])), min_size=2, max_size=3)


@settings(max_examples=20, phases=[Phase.generate])
@given(plans=some_parents, clash=st.sampled_from(["refuse", "renumber", "same"]), again=st.booleans())
def test_every_episode_is_there_once_with_its_parameters(plans: list[Any], clash: Clash, again: bool) -> None:
    tags = itertools.count(1)
    with tempfile.TemporaryDirectory() as folder:
        root, parents, expected = Path(folder), [], []
        for number, (tasks, dtype) in enumerate(plans):
            made = []
            for index, params, count in sorted(tasks, key=lambda plan: plan[0]):
                mine = [next(tags) for _ in range(count)]
                expected += [(tag, number, index, params) for tag in mine]
                made.append(task(mine, index, params, dtype))
            parents.append(open_stored(write_dataset(imported(f"p{number}", *made), root, "")))
        try:
            source, duplicates = merged([*parents, parents[0]] if again else parents, NEW, clash)
        except DatasetError:
            assert clash != "renumber"
            return
        child = stored(source, root)
        found = contents(child)
    params_of = {t.task_id: t.params for t in child.tasks}
    origins: dict[str, set[tuple[int, int]]] = {}
    for tag, number, index, params in expected:
        places = [name for other, name in found if other == tag]
        assert 1 <= len(places) <= 1 + (again and clash == "renumber" and number == 0 and not params)
        assert all(params_of[name] == params for name in places)
        origins.setdefault(places[0], set()).add((number, index))
    assert len(found) + duplicates == len(expected) + (sum(1 for e in expected if e[1] == 0) if again else 0)
    for name, parts in origins.items():
        assert params_of[name] or clash == "same" or len(parts) == 1


def test_labels_of_episodes_that_are_left_out_are_told(tmp_path: Path) -> None:
    first = stored(imported("plain", task([1, 2])), tmp_path)
    renamed = relabelled(first, "me/goals/named-v0", Labels(splits={}, behaviours={"unknown": "best"}))
    source, duplicates = merged([first, stored(renamed, tmp_path)], "me/goals/both-v0", "same")
    assert duplicates == 2
    said = "2 of the episodes left out have another behaviour or success than the earlier ones, whose are kept"
    assert f"me/goals/named-v0: {said}" in source.notes
