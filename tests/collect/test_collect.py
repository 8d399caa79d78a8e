import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from idaq.collect.collect import Collected, collect, episode_count
from idaq.collect.plan import behaviours_of
from idaq.collect.rollout import rollout
from idaq.core.errors import CollectError, ConfigError, DatasetExistsError, DatasetLockedError
from idaq.core.seeds import episode_seed
from idaq.format.reader import open_stored
from idaq.format.recipe import Recipe
from idaq.format.verify import verify
from idaq.loader import open_dataset
from idaq.tasks import get_family
from tests.recipes import small_recipe


class Interrupted(BaseException):
    """Like KeyboardInterrupt: no handler for errors may swallow it."""


def collect_until(recipe: Recipe, root: Path, episodes: int) -> None:
    """Collect, and stop once `episodes` were counted."""
    seen = 0

    def progress(count: int) -> None:
        nonlocal seen
        seen += count
        if seen >= episodes:
            raise Interrupted

    with pytest.raises(Interrupted):
        collect(recipe, root, progress=progress)


def shards(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of each shard: another value means written again."""
    found = (root / ".idaq" / "collect").rglob("*.npz")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_collects_the_same_content(tmp_path: Path, collected: Collected, workers: int) -> None:
    counted: list[int] = []
    again = collect(small_recipe(), tmp_path, workers=workers, progress=counted.append)
    assert again.content_digest == collected.content_digest
    assert (again.cells, again.resumed, again.existed) == (16, 0, False)
    assert sum(counted) == episode_count(small_recipe())
    assert again.path == tmp_path / "idaq/point-robot/expert-v0"
    assert verify(again.path) == []


def test_point_robots_are_the_same_content_under_kernels_that_round_otherwise(
    tmp_path: Path, collected: Collected
) -> None:
    """As docs/concepts/determinism.md says; on x86, where NumPy's OpenBLAS has these kernels for every processor."""
    program = "import sys; from idaq.collect.collect import collect; from tests.recipes import small_recipe as recipe;"
    program += "print(collect(recipe(), sys.argv[1]).content_digest)"
    told = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        env={**os.environ, "OPENBLAS_CORETYPE": "Nehalem"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == [collected.content_digest]


def test_another_seed_collects_other_content(tmp_path: Path, collected: Collected) -> None:
    assert collect(small_recipe("point-robot", "expert", "seed=1"), tmp_path).content_digest != collected.content_digest


@pytest.mark.parametrize("episodes", [1, 6, 13, 24])
def test_an_interrupted_collection_goes_on_and_collects_nothing_twice(
    tmp_path: Path, collected: Collected, episodes: int
) -> None:
    collect_until(small_recipe(), tmp_path, episodes)
    assert not (tmp_path / "idaq").exists()
    before, kept = shards(tmp_path), {}
    counted: list[int] = []

    def progress(count: int) -> None:
        counted.append(count)
        kept.update({name: stamp for name, stamp in shards(tmp_path).items() if name in before})

    resumed = collect(small_recipe(), tmp_path, progress=progress)
    assert resumed.content_digest == collected.content_digest
    assert (resumed.cells, resumed.resumed) == (16, len(before))
    assert kept == before
    assert sum(counted) == episode_count(small_recipe())


def test_nothing_but_the_lock_is_left_beside_a_finished_dataset(tmp_path: Path) -> None:
    collect_until(small_recipe(), tmp_path, 12)
    path = collect(small_recipe(), tmp_path).path
    others = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(path)}
    assert others == {
        ".idaq/idaq--point-robot--expert-v0.lock",
        "idaq/namespace_metadata.json",
        "idaq/point-robot/namespace_metadata.json",
    }


def test_running_a_finished_collection_again_does_nothing(tmp_path: Path) -> None:
    first = collect(small_recipe(), tmp_path)
    before, counted = snapshot(tmp_path / "idaq"), []
    again = collect(small_recipe(), tmp_path, progress=counted.append)
    assert again == Collected(path=first.path, content_digest=first.content_digest, cells=0, resumed=0, existed=True)
    assert snapshot(tmp_path / "idaq") == before
    assert counted == []


def test_shards_left_by_a_kill_after_the_dataset_appeared_are_removed(tmp_path: Path) -> None:
    left = tmp_path / ".idaq" / "collect"
    collect_until(small_recipe(), tmp_path, 12)
    shutil.copytree(left, tmp_path / "kept")
    collect(small_recipe(), tmp_path)
    shutil.copytree(tmp_path / "kept", left, dirs_exist_ok=True)
    assert shards(tmp_path)
    assert collect(small_recipe(), tmp_path).existed
    assert list(left.iterdir()) == []


def test_another_recipe_under_the_same_id_is_refused(tmp_path: Path) -> None:
    path = collect(small_recipe(), tmp_path).path
    before = snapshot(tmp_path / "idaq")
    with pytest.raises(DatasetExistsError) as caught:
        collect(small_recipe("point-robot", "expert", "seed=1"), tmp_path)
    assert caught.value.message == f"{path} exists already and was collected from another recipe"
    assert "--set id=" in str(caught.value.hint)
    assert snapshot(tmp_path / "idaq") == before


def test_interrupted_collections_of_two_recipes_under_one_id_do_not_mix(tmp_path: Path, collected: Collected) -> None:
    collect_until(small_recipe("point-robot", "expert", "seed=1"), tmp_path, 12)
    first = collect(small_recipe(), tmp_path)
    assert (first.resumed, first.content_digest) == (0, collected.content_digest)


def test_too_many_tasks_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ask for 102 tasks; point-robot has 100"):
        collect(small_recipe("point-robot", "expert", "splits.sizes.train=100"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_second_collector_at_the_same_time_is_refused_and_the_first_goes_on(
    tmp_path: Path, collected: Collected
) -> None:
    refused: list[BaseException | None] = []

    def progress(_count: int) -> None:
        if not refused:
            with ThreadPoolExecutor() as second:
                refused.append(second.submit(collect, small_recipe(), tmp_path).exception())

    assert collect(small_recipe(), tmp_path, progress=progress).content_digest == collected.content_digest
    (error,) = refused
    assert isinstance(error, DatasetLockedError)
    assert error.message.startswith(f"{small_recipe().id} is being written by collection, process {os.getpid()} on ")
    assert error.hint == "wait for it to end"


def test_collections_of_different_datasets_run_side_by_side(tmp_path: Path, collected: Collected) -> None:
    others: list[Collected] = []

    def progress(_count: int) -> None:
        others.append(collect(small_recipe("point-robot-wind"), tmp_path))

    assert collect(small_recipe(), tmp_path, progress=progress).content_digest == collected.content_digest
    assert [other.existed for other in others] == [False] + [True] * (len(others) - 1)
    assert verify(others[0].path) == []


def test_a_lock_file_left_by_a_dead_process_does_not_block(tmp_path: Path) -> None:
    (tmp_path / ".idaq").mkdir()
    (tmp_path / ".idaq" / "idaq--point-robot--expert-v0.lock").touch()
    assert not collect(small_recipe(), tmp_path).existed


def test_seeds_and_episodes_are_those_of_the_recipe(collected_mixed: Collected) -> None:
    recipe, stored = small_recipe("point-robot-sparse", "mixed"), open_stored(collected_mixed.path)
    table, names = stored.episodes, [behaviour.name for behaviour in recipe.behaviours]
    expected = [
        (task.task_index, name, episode_seed(recipe.seed, task.task_index, b, e))
        for task in stored.tasks
        for b, name in enumerate(names)
        for e in range(3)
    ]
    assert list(zip(table.task_index.tolist(), table.behaviour.tolist(), table.seed.tolist(), strict=True)) == expected


def test_reference_returns_are_those_of_the_same_rollouts_made_again(collected_mixed: Collected) -> None:
    recipe, family = small_recipe("point-robot-sparse", "mixed"), get_family("point-robot-sparse")
    stored = open_stored(collected_mixed.path)
    for task in stored.tasks:
        returns = []
        for b, behaviour in enumerate(behaviours_of(recipe)):
            seeds = [episode_seed(recipe.seed, task.task_index, b, e) for e in range(behaviour.episodes)]
            done = rollout(family, behaviour, np.full(len(seeds), task.task_index), np.array(seeds, np.uint64))
            returns.append([episode.total_reward for episode in done.episodes])
        for stated, values in (
            (task.reference.random, returns[-1]),
            (task.reference.behaviour, np.concatenate(returns[:-1])),
        ):
            assert (stated.mean, stated.std, stated.n) == (np.mean(values), np.std(values), len(values))
            assert stated.how
    assert {task.reference.random.n for task in stored.tasks} == {2}


def test_success_is_that_of_the_last_observation(collected: Collected) -> None:
    stored = open_stored(collected.path)
    goals = {task.task_index: np.array(task.params["goal"]) for task in stored.tasks}
    assert set(stored.episodes.success.tolist()) <= {True, False}
    for number, episode in enumerate(open_dataset(collected.path)):
        distance = np.linalg.norm(episode.observations[-1] - goals[int(stored.episodes.task_index[number])])
        assert stored.episodes.success[number] == (distance <= 0.2)


def test_the_card_gives_front_matter_and_figures(collected: Collected) -> None:
    text = (collected.path / "README.md").read_text()
    stored = open_stored(collected.path)
    mean = np.mean([task.reference.behaviour.mean for task in stored.tasks])
    assert text.startswith("---\nlicense: mit\n")
    assert f"behaviour {mean:.3f} (" in text
    assert "8 tasks (6 train, 2 test), 24 episodes, recipe seed 100" in text
    assert "| expert | scripted | expert | 0.5 | 0 | 3 |" in text


def test_a_worker_that_is_killed_is_reported_and_its_cells_are_collected_later(tmp_path: Path) -> None:
    recipe = small_recipe("point-robot", "expert", "episodes=200")

    killed: list[int] = []

    def progress(count: int) -> None:
        if count and not killed:
            killed.extend(worker_pids())
            for pid in killed:
                os.kill(pid, 9)

    with pytest.raises(CollectError, match="a worker was lost") as caught:
        collect(recipe, tmp_path, workers=2, progress=progress)
    assert caught.value.hint == "finished cells are kept: run the same command again to go on"
    assert len(killed) == 2
    assert 0 < collect(recipe, tmp_path).resumed < 16


def worker_pids() -> list[int]:
    """Joblib's worker processes that this process started."""
    children = (Path("/proc") / str(os.getpid()) / "task" / str(os.getpid()) / "children").read_text().split()
    return [int(pid) for pid in children if b"LokyProcess" in (Path("/proc") / pid / "cmdline").read_bytes()]


def test_columns_are_compressed_as_the_recipe_says_and_hold_the_same(tmp_path: Path, collected: Collected) -> None:
    recipe = small_recipe("point-robot", "expert", 'compress=["observations"]')
    again = collect(recipe, tmp_path)
    assert again.content_digest == collected.content_digest
    assert open_stored(again.path).chunks.keys() == {"observations"}
    assert verify(again.path) == []
    kept = collect(small_recipe(), tmp_path)
    assert kept.existed
    assert any("keeps its own compress = ['observations']" in note for note in kept.notes)


def test_a_name_that_no_observation_has_is_refused_before_anything_is_collected(tmp_path: Path) -> None:
    recipe = small_recipe("point-robot", "expert", 'compress=["observations/camera"]')
    with pytest.raises(ConfigError, match="compress names the column observations/camera; the observations are obs"):
        collect(recipe, tmp_path)
    assert shards(tmp_path) == {}
