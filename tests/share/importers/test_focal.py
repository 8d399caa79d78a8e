"""Goal folders of all kinds. An episode is `walk(T)`: T steps of two observation numbers and three action numbers."""

from pathlib import Path

import numpy as np
import pytest

from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetNotFoundError
from idaq.core.types import Array
from idaq.format.importing import Import, unify
from idaq.share.importers.focal import read_focal


def walk(length: int = 5, seed: int = 0, size: int = 2) -> Array:
    """Rows [s, a, r, s'] (T, 2 D + 4)."""
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(length + 1, size))
    return np.hstack([s[:-1], rng.uniform(-1, 1, (length, 3)), rng.normal(size=(length, 1)), s[1:]])


def objects(rows: Array, *more: Array) -> Array:
    """The same as an object array of rows [s, a, r, s', ...]."""
    made = np.empty((len(rows), 4 + len(more)), object)
    for t, row in enumerate(rows):
        made[t] = [row[:2], row[2:5], row[5], row[6:], *(column[t] for column in more)]
    return made


def save(folder: Path, *files: Array, goal: str = "0", pickled: bool = False) -> Path:
    target = folder / "goals" / f"goal_idx{goal}"
    target.mkdir(parents=True, exist_ok=True)
    for number, array in enumerate(files):
        np.save(target / f"trj_evalsample{number}_step100.npy", array, allow_pickle=pickled)
    return folder / "goals"


def observations(imported: Import) -> list[Array]:
    return [entry.episode.observations for task in imported.tasks for entry in task.episodes]


@pytest.mark.parametrize("length", [1, 10])
def test_what_stands_still_is_read_as_the_others_are(length: int, tmp_path: Path) -> None:
    still = walk(length)
    still[:, :2] = still[:, 6:] = 0.5
    episodes = observations(read_focal(save(tmp_path, walk(seed=1), still)))
    np.testing.assert_array_equal(episodes[1], np.full((length + 1, 2), 0.5))
    np.testing.assert_array_equal(episodes[0][:-1], walk(seed=1)[:, :2])


def test_the_size_may_be_told_by_another_goal(tmp_path: Path) -> None:
    save(tmp_path, walk(1), goal="0")
    episodes = observations(read_focal(save(tmp_path, walk(4), goal="1")))
    assert [e.shape for e in episodes] == [(2, 2), (5, 2)]


def test_a_file_of_two_episodes_is_cut_where_it_jumps(tmp_path: Path) -> None:
    imported = read_focal(save(tmp_path, walk(4), np.vstack([walk(3, seed=5), walk(2, seed=6)])))
    assert [len(e) - 1 for e in observations(imported)] == [4, 3, 2]
    assert any("1 rows whose s' is not the next row's s" in note for note in imported.notes)


def test_rounded_next_observations_are_next_observations(tmp_path: Path) -> None:
    rows = walk(6)
    rows[:, 6:] = rows[:, 6:].astype(np.float32)
    (episode,) = observations(read_focal(save(tmp_path, rows)))
    np.testing.assert_array_equal(episode[:-1], rows[:, :2])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([walk(1)], r"8 columns can be .* observations of \[1, 2, 3\] size"),
        ([np.random.default_rng(0).normal(size=(5, 10))], "observations of .* size"),
        ([walk(), walk(size=3)], "files of different widths are no one dataset: .*8 columns, .*10 columns"),
        ([np.zeros((0, 10))], "holds no rows"),
        ([np.float64(3)], "holds no rows"),
        ([np.full((3, 10), np.nan)], "the array holds NaN or infinity in row 0"),
        ([np.full((3, 10), "x")], "no array of numbers"),
        ([walk().astype(complex)], "no array of numbers"),
    ],
)
def test_files_that_tell_no_size_are_refused(files: list[Array], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        read_focal(save(tmp_path, *files))


def test_a_fifth_entry_is_a_terminal_and_is_told(tmp_path: Path) -> None:
    rows = [objects(walk(5), np.arange(5) == 4), objects(walk(3, seed=1), np.zeros(3))]
    imported = read_focal(save(tmp_path, *rows, pickled=True), allow_pickle=True)
    first, second = (entry.episode for entry in imported.tasks[0].episodes)
    assert (first.terminated.tolist(), first.truncated.any()) == ([0, 0, 0, 0, 1], False)
    assert (second.terminated.any(), second.truncated.tolist()) == (False, [0, 0, 1])
    assert any(note.startswith("goals: 1 rows whose fifth entry, done, is 1") for note in imported.notes)
    assert "goals: 1 episodes end by a time limit, as this layout means but no file says" in list(imported.notes)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (objects(walk(), np.zeros(5), np.zeros(5)), r"they have \[6\] entries"),
        (objects(walk(), np.full(5, 0.5)), "the fifth entry holds 0.5 in row 0: flags are 0 or 1"),
        (objects(walk(), np.array(["no"] * 5)), "done is no array of numbers"),
        (objects(walk(size=2))[:, [0, 1, 2, 1]], "rows .* of shapes"),
    ],
)
def test_rows_that_are_not_understood_are_refused(rows: Array, said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        read_focal(save(tmp_path, rows, pickled=True), allow_pickle=True)


def test_object_files_of_unequal_sizes_are_refused_by_name(tmp_path: Path) -> None:
    wide = np.empty((3, 4), object)
    for t in range(3):
        wide[t] = [np.zeros(3), np.zeros(3), 0.0, np.zeros(3)]
    with pytest.raises(DatasetError, match=r"sample1_step100.npy has .* of \[3, 3\] numbers, .*sample0.* of \[2, 3\]"):
        read_focal(save(tmp_path, objects(walk()), wide, pickled=True), allow_pickle=True)


def test_one_goal_of_two_names_is_refused(tmp_path: Path) -> None:
    save(tmp_path, walk(), goal="3")
    with pytest.raises(DatasetError, match="goal_idx03 and goal_idx3 are the same goal, 3"):
        read_focal(save(tmp_path, walk(), goal="03"))


def test_files_of_other_names_are_counted(tmp_path: Path) -> None:
    folder = save(tmp_path, walk())
    (folder / "goal_idx0/trj_best.npy").touch()
    (folder / "goal_idx0/notes.txt").touch()
    (folder / "goal_idx7").touch()  # a file, no folder
    imported = read_focal(folder)
    assert "goals: 2 files of another name are left out, such as ['notes.txt']" in list(imported.notes)
    assert [task.name for task in imported.tasks] == ["goals.goal-0"]


def test_a_folder_of_other_things_says_what_to_name(tmp_path: Path) -> None:
    for path, hint in [("minari/data/metadata.json", "minari:<id>"), ("arrays/x.npz", "name the files themselves")]:
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
        with pytest.raises(DatasetNotFoundError, match="no goal_idx") as caught:
            read_focal(tmp_path / path.split("/")[0])
        assert hint in str(caught.value.hint)


def test_integers_in_folders_stay_whole_where_they_can(tmp_path: Path) -> None:
    rows = np.arange(6)[:, None] + np.array([0, 1, 50, 60, 70, 80, 1, 2])
    imported = read_focal(save(tmp_path, rows))
    unify(imported)
    (entry,) = imported.tasks[0].episodes
    assert [getattr(entry.episode, name).dtype.kind for name in ("observations", "actions", "rewards")] == [
        "i",
        "i",
        "f",
    ]
    assert entry.episode.rewards.tolist() == [80, 81, 82, 83, 84, 85]


def test_a_pickle_is_refused_unless_allowed(tmp_path: Path) -> None:
    folder = save(tmp_path, objects(walk()), pickled=True)
    with pytest.raises(DatasetError, match="is a pickle") as caught:
        read_focal(folder)
    assert caught.value.hint == "--allow-pickle, if you trust whoever made it"
    (folder / "goal_idx0/trj_evalsample0_step100.npy").write_bytes(b"not NumPy")
    for allowed in (False, True):
        with pytest.raises(CorruptDatasetError, match="is no NumPy array: it does not begin as one"):
            read_focal(folder, allow_pickle=allowed)


def test_what_lies_beside_the_goals_is_told(tmp_path: Path) -> None:
    folder = save(tmp_path, walk())
    for name in ("goal_idx1234567", "goal_idx1b"):
        (folder / name).mkdir()
    np.save(folder / "trj_evalsample0_step100.npy", walk())
    (folder / "goal_idx1").symlink_to("nowhere")
    imported = read_focal(folder)
    assert [task.index for task in imported.tasks] == [0]
    assert "goals: 4 entries beside the goal folders are not read, such as ['goal_idx1']" in imported.notes


@pytest.mark.parametrize("stated", ["9", "true", '"2"', "2.0"])
def test_a_stated_size_that_cannot_be_is_refused(stated: str, tmp_path: Path) -> None:
    folder = save(tmp_path, walk())
    (folder / "dataset.json").write_text(f'{{"observation_numbers": {stated}}}')
    with pytest.raises(CorruptDatasetError, match=r"observation.numbers"):
        read_focal(folder)
