"""Episodes join a dataset as a new version: each once, under its task, and the old version is as it was."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.collect.record import record
from idaq.core.digest import dataset_digest
from idaq.core.errors import DatasetError, DatasetExistsError, UsageError
from idaq.core.files import sha256_file
from idaq.format.additions import write_episodes
from idaq.format.columns import get_episode, map_columns
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.share.appending import Appended, append_episodes
from idaq.share.importers import import_dataset
from tests.share.pendulums import make_module, swings

FIRST = "me/pendulum/swings-v0"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return make_module(tmp_path / "code", monkeypatch)


@pytest.fixture
def first(tmp_path: Path) -> StoredDataset:
    """Tasks light and heavy, an episode each, of rewards 0 and 1."""
    files = [swings(tmp_path / "light.npz", 0), swings(tmp_path / "heavy.npz", 1)]
    done = import_dataset(files, FIRST, authors=["Ada"], license="MIT", splits={"test": "heavy"}, root=tmp_path)
    return open_stored(done.path)


def appended(tmp_path: Path, *sources: Path | str, to: str = FIRST, **more: Any) -> StoredDataset:
    done = append_episodes(to, sources, root=tmp_path, **more)
    assert verify(done.path) == []
    return open_stored(done.path)


def tags(stored: StoredDataset) -> list[tuple[str, float]]:
    """Task and first reward of each episode."""
    ids, columns = {task.task_index: task.task_id for task in stored.tasks}, map_columns(stored)
    indices, lengths = stored.episodes.task_index.tolist(), stored.episodes.length.tolist()
    return [
        (ids[index], float(get_episode(columns, n, length).rewards[0]))
        for n, (index, length) in enumerate(zip(indices, lengths, strict=True))
    ]


def test_episodes_join_the_task_of_their_name_and_others_are_new(first: StoredDataset, tmp_path: Path) -> None:
    before = {path: sha256_file(path) for path in first.path.rglob("*") if path.is_file()}
    (tmp_path / "more").mkdir()
    second = appended(tmp_path, swings(tmp_path / "more/heavy.npz", 5), swings(tmp_path / "more/huge.npz", 6))
    assert second.manifest.dataset_id == "me/pendulum/swings-v1"
    assert tags(second) == [("light", 0), ("heavy", 1), ("heavy", 5), ("huge", 6)]
    assert second.manifest.splits == {"train": [0, 2], "test": [1]}
    assert {path: sha256_file(path) for path in first.path.rglob("*") if path.is_file()} == before
    made = second.manifest.provenance
    assert [parent.dataset_id for parent in made.parents] == [FIRST]
    assert made.operation == "append of heavy.npz, huge.npz"
    recipe = second.manifest.recipe
    assert (recipe.authors, recipe.license) == (["Ada"], "MIT")
    assert not any("authors" in note for note in made.notes)
    assert second.tasks[1].reference.behaviour.n == 2


def test_each_new_task_gets_an_index_of_its_own(first: StoredDataset, tmp_path: Path) -> None:
    second = appended(tmp_path, swings(tmp_path / "c.npz", 5), swings(tmp_path / "b.npz", 6))
    assert [(task.task_id, task.task_index) for task in second.tasks[2:]] == [("c", 2), ("b", 3)]
    third = appended(tmp_path, swings(tmp_path / "a.npz", 7), to="me/pendulum/swings-v1")
    assert [(task.task_id, task.task_index) for task in third.tasks[4:]] == [("a", 4)]


def test_several_sources_may_be_of_one_task(first: StoredDataset, tmp_path: Path) -> None:
    files = [swings(tmp_path / "a.npz", 5), swings(tmp_path / "b.npz", 6)]
    assert tags(appended(tmp_path, *files, task="light")) == [("light", 0), ("light", 5), ("light", 6), ("heavy", 1)]
    new = appended(tmp_path, *files, task="huge", params={"mass": 9.0}, split="validation")
    assert tags(new)[2:] == [("huge", 5), ("huge", 6)]
    assert (new.tasks[2].params, new.tasks[2].split) == ({"mass": 9.0}, "validation")


def test_a_split_that_an_old_task_does_not_take_is_noted(first: StoredDataset, tmp_path: Path) -> None:
    more = swings(tmp_path / "a.npz", 5)
    done = append_episodes(first.manifest.dataset_id, [more], task="light", split="val", root=tmp_path)
    assert any("stays in split train" in note for note in done.notes)
    quiet = append_episodes(first.manifest.dataset_id, [more], "me/quiet-v0", task="light", root=tmp_path)
    assert not any("stays in split" in note for note in quiet.notes)


def test_the_digest_says_what_is_in_it_however_it_came_there(first: StoredDataset, tmp_path: Path) -> None:
    a, b = swings(tmp_path / "a.npz", 5), swings(tmp_path / "b.npz", 6)
    at_once = appended(tmp_path, a, b, task="light")
    again = appended(tmp_path, a, b, task="light", new_id="me/again-v0")
    one_by_one = appended(tmp_path, b, to=str(appended(tmp_path, a, task="light").path), task="light")
    digests = {stored.manifest.content_digest for stored in (at_once, again, one_by_one)}
    assert digests == {dataset_digest(at_once.episodes.digest.tolist())}
    assert appended(tmp_path, b, a, task="light").manifest.content_digest not in digests


def test_a_recording_that_has_grown_is_added_without_what_was_there(module: str, tmp_path: Path) -> None:
    options = {"env": f"{module}:pendulum", "policy": "random", "task": "heavy", "params": {"mass": 2.0}}
    record(tmp_path / "out", episodes=2, max_steps=5, **options)  # type: ignore[arg-type]
    import_dataset([tmp_path / "out"], FIRST, root=tmp_path)
    record(tmp_path / "out", episodes=5, max_steps=5, **options)  # type: ignore[arg-type]
    done = append_episodes(FIRST, [tmp_path / "out"], root=tmp_path)
    assert (done.episodes, done.new, done.duplicates) == (5, 3, 2)
    assert any("2 episodes are left out: an earlier dataset has them" in note for note in done.notes)
    fresh = import_dataset([tmp_path / "out"], "me/fresh-v0", root=tmp_path)
    assert done.content_digest == fresh.content_digest
    with pytest.raises(DatasetError, match="has all 5 episodes already: nothing is written"):
        append_episodes(done.dataset_id, [tmp_path / "out"], root=tmp_path)
    assert not (tmp_path / "me/pendulum/swings-v2").exists()


def test_another_dataset_is_a_source_with_all_that_is_known_of_it(
    collected: Collected, datasets_root: Path, tmp_path: Path
) -> None:
    stored = open_stored(collected.path)
    from idaq.tasks import get_family
    from idaq.tasks.systems import run_episode

    class Still:
        def act(self, observation: np.ndarray, /) -> np.ndarray:
            return np.zeros(2, np.float32)

    env, index = get_family("point-robot").make(), stored.tasks[0].task_index
    played = [run_episode(env, Still(), seed=seed, options={"task": index}) for seed in (1, 2)]
    session = write_episodes(
        "me/point/session-v0", played, task=stored.tasks[0].task_id, like=stored, behaviour="adapted", root=tmp_path
    )
    done = append_episodes(collected.path, [session.path], "me/point/grown-v0", root=tmp_path)
    grown = open_stored(done.path)
    assert (done.new, done.duplicates, done.episodes) == (2, 0, len(stored.episodes) + 2)
    assert [parent.dataset_id for parent in grown.manifest.provenance.parents] == [
        stored.manifest.dataset_id,
        "me/point/session-v0",
    ]
    assert grown.episodes.behaviour.tolist()[:4] == ["expert"] * 3 + ["adapted"]
    assert grown.tasks[0].reference.random == stored.tasks[0].reference.random


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        (
            {"task": "heavy", "params": {"mass": 3.0}},
            DatasetError,
            "that of me/pendulum/swings-v0 has unknown ones",
        ),
        ({"task": "Not A Task"}, UsageError, "is no task id"),
        ({"new_id": FIRST}, DatasetExistsError, "exists already"),
        ({"new_id": "nothing"}, UsageError, "is not a dataset id"),
        ({"strict": True}, DatasetError, "--strict allows no cut"),
    ],
)
def test_what_cannot_be_appended_is_refused_and_nothing_is_left(
    first: StoredDataset, tmp_path: Path, more: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        append_episodes(FIRST, [swings(tmp_path / "a.npz", 5)], root=tmp_path, **more)
    assert not (tmp_path / "me/pendulum/swings-v1").exists()
    assert list((tmp_path / ".idaq/building").iterdir()) == []


def test_rows_of_another_shape_are_refused_in_words(first: StoredDataset, tmp_path: Path) -> None:
    steps = np.arange(4, dtype=np.float32)
    columns = {"observations": np.zeros((4, 2), np.float32), "actions": np.zeros((4, 1), np.float32)}
    np.savez(tmp_path / "a.npz", rewards=steps, terminals=steps == 3, **columns)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"a: observations: rows of shape \[2\], in .* rows of shape \[3\]"):
        append_episodes(FIRST, [tmp_path / "a.npz"], root=tmp_path)


def test_bounds_that_differ_are_joined_and_told(module: str, first: StoredDataset, tmp_path: Path) -> None:
    record(tmp_path / "out", env="Pendulum-v1", policy="random", task="normal", episodes=1, max_steps=5)
    done = append_episodes(FIRST, [tmp_path / "out"], root=tmp_path)
    space = json.loads(open_stored(done.path).metadata["action_space"])
    assert (space["low"], space["high"]) == ([-2.0], [2.0])
    assert any("have narrower bounds than all datasets together" in note for note in done.notes)
    assert any("states an environment and me/pendulum/swings-v0 none" in note for note in done.notes)
    assert open_stored(done.path).tasks[-1].env.id == "Pendulum-v1"


def test_task_names_are_for_files(first: StoredDataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--task and --param are for files"):
        append_episodes(FIRST, [FIRST], task="light", root=tmp_path)
    with pytest.raises(UsageError, match="nothing that can be imported"):
        append_episodes(FIRST, ["me/no/such-v0"], root=tmp_path)


def test_a_result_says_all_of_itself(first: StoredDataset, tmp_path: Path) -> None:
    done = append_episodes(FIRST, [swings(tmp_path / "a.npz", 5)], root=tmp_path)
    assert done == Appended(
        dataset_id="me/pendulum/swings-v1",
        path=tmp_path / "me/pendulum/swings-v1",
        content_digest=open_stored(done.path).manifest.content_digest,
        episodes=3,
        new=1,
        duplicates=0,
        notes=done.notes,
    )
