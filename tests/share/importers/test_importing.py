"""Other people's data comes in with every (s, a, r, s') in its place, and what it lacks is told."""

import io
import warnings
import zipfile
from pathlib import Path

import h5py
import minari
import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetNotFoundError
from idaq.core.notes import Notes
from idaq.core.types import Array
from idaq.format.importing import Import, dataset_source
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.loader import Dataset, open_dataset
from idaq.share.exporters.npz import export_npz
from idaq.share.importers.focal import read_focal
from idaq.share.importers.transitions import read_d4rl, read_npz
from idaq.share.rows import Rows, episodes_of_rows
from idaq.share.sources import read_sources

NEW = "me/some/imported-v0"


def opened(imported: Import, root: Path) -> Dataset:
    path = write_dataset(dataset_source(imported, NEW, "imported", "Imported."), root, "# card\n")
    assert verify(path) == []
    return open_dataset(path)


def test_an_exported_archive_comes_back(made: Path, tmp_path: Path) -> None:
    export_npz(open_stored(made), tmp_path / "all.npz")
    back, there = opened(read_npz(tmp_path / "all.npz"), tmp_path), open_dataset(made)
    assert [task.task_index for task in back.tasks] == [2, 5, 9]
    assert not back.episodes.seed_known.any()
    for mine, theirs in zip(back, there, strict=True):
        for name in ("observations", "actions", "rewards", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=name)


def d4rl(path: Path, **columns: Array) -> Path:
    """Ten steps of one-number observations 0..9, actions 10..19; a terminal at step 3, a time-out at step 7."""
    steps = np.arange(10)
    standard = {
        "observations": steps[:, None].astype(np.float32),
        "actions": (steps[:, None] + 10).astype(np.float32),
        "rewards": steps.astype(np.float32) + 20,
        "terminals": steps == 3,
        "timeouts": steps == 7,
    }
    with h5py.File(path, "w") as file:
        for name, column in (standard | columns).items():
            file[name] = column
    return path


def test_d4rl_time_outs_do_not_become_terminals(tmp_path: Path) -> None:
    """Without s' a time-out's last step is left out, and a terminal's repeats s; both are told."""
    imported = read_d4rl(d4rl(tmp_path / "x.hdf5"))
    episodes = [entry.episode for entry in imported.tasks[0].episodes]
    assert [e.observations.ravel().tolist() for e in episodes] == [[0, 1, 2, 3, 3], [4, 5, 6, 7], [8, 9]]
    assert [e.actions.ravel().tolist() for e in episodes] == [[10, 11, 12, 13], [14, 15, 16], [18]]
    assert [(bool(e.terminated[-1]), bool(e.truncated[-1])) for e in episodes] == [(1, 0), (0, 1), (0, 1)]
    assert list(imported.notes) == [
        "x.hdf5: 2 last steps left out: the file does not hold their next observation, nor a terminal",
        "x.hdf5: 1 ends that the file does not flag are written as time-outs",
        "x.hdf5: 1 terminal steps have no next observation; it repeats the last one",
    ]
    dataset = opened(imported, tmp_path)
    assert len(dataset) == 3
    assert not dataset.episodes.seed_known.any()


def test_with_next_observations_nothing_is_left_out(tmp_path: Path) -> None:
    following = np.arange(1, 11)[:, None].astype(np.float32)
    following[7] = 70
    imported = read_d4rl(d4rl(tmp_path / "x.hdf5", next_observations=following))
    episodes = [entry.episode for entry in imported.tasks[0].episodes]
    assert [e.observations.ravel().tolist() for e in episodes] == [[0, 1, 2, 3, 4], [4, 5, 6, 7, 70], [8, 9, 10]]
    assert list(imported.notes) == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"rewards": np.array([0.0, np.nan] * 5)}, "NaN or infinity in row 1"),
        ({"actions": np.zeros((9, 1))}, "one row for each of the 10 transitions"),
        ({"terminals": np.array([b"no"] * 10)}, "terminals is no array of numbers in this file: it is text"),
    ],
)
def test_broken_hdf5_is_refused(tmp_path: Path, columns: dict[str, Array], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read_d4rl(d4rl(tmp_path / "x.hdf5", **columns))


def test_links_out_of_a_file_are_not_followed(tmp_path: Path) -> None:
    secret = d4rl(tmp_path / "secret.hdf5")
    with h5py.File(d4rl(tmp_path / "x.hdf5"), "a") as file:
        del file["actions"]
        file["actions"] = h5py.ExternalLink(str(secret), "/actions")
    with pytest.raises(CorruptDatasetError, match="in this file"):
        read_d4rl(tmp_path / "x.hdf5")


def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickle.npz", observations=np.array([{}], dtype=object))
    (tmp_path / "text.npz").write_text("<html>")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)})
        archive.writestr("observations.npy", head.getvalue() + bytes(1 << 20))
    with (
        zipfile.ZipFile(tmp_path / "zeros.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("observations.npy", "w", force_zip64=True) as entry,
    ):
        for _ in range(1100):
            entry.write(bytes(1 << 20))
    assert (tmp_path / "zeros.npz").stat().st_size < 2 << 20
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of what is meant here
        for value in (0.0, 1.0):
            content = io.BytesIO()
            np.save(content, np.full((3, 1), value))
            archive.writestr("observations.npy", content.getvalue())
    for name in ("pickle", "text", "bomb", "zeros", "twice"):
        with pytest.raises(DatasetError):
            read_npz(tmp_path / f"{name}.npz")


def trajectory(length: int, start: float) -> tuple[Array, ...]:
    s = start + np.arange(length + 1)[:, None] * [1.0, 0.5]
    return s[:-1], np.arange(length)[:, None] * 0.1, np.arange(length) * 2.0, s[1:]


@pytest.mark.parametrize("pickled", [False, True])
def test_goal_folders(tmp_path: Path, pickled: bool) -> None:
    for goal, number in [(0, 0), (0, 1), (3, 0)]:
        folder = tmp_path / "env" / f"goal_idx{goal}"
        folder.mkdir(parents=True, exist_ok=True)
        s, a, r, following = trajectory(6, 10.0 * goal + number)
        rows = np.hstack([s, a, r[:, None], following])
        if pickled:
            rows = np.empty((6, 4), object)
            for t in range(6):
                rows[t] = [s[t], a[t], r[t], following[t]]
        np.save(folder / f"trj_evalsample{number}_step4900.npy", rows, allow_pickle=pickled)
    (tmp_path / "env/goal_idx2").mkdir()
    if pickled:
        with pytest.raises(DatasetError, match="--allow-pickle"):
            read_focal(tmp_path / "env")
    imported = read_focal(tmp_path / "env", allow_pickle=pickled)
    assert list(imported.notes) == [
        "env: 1 goal folders that are missing: 1",
        "env: 3 episodes end by a time limit, as this layout means but no file says",
    ]
    assert [task.name for task in imported.tasks] == ["env.goal-0", "env.goal-2", "env.goal-3"]
    dataset = opened(imported, tmp_path)
    assert "env.goal-2: a task without an episode is left out" in list(imported.notes)
    assert dataset.episodes.task_index.tolist() == [0, 0, 3]
    assert not dataset.episodes.terminated.any()
    assert dataset.episodes.truncated.all()
    assert not dataset.episodes.seed_known.any()
    s, a, r, following = trajectory(6, 1.0)
    episode = dataset.episode(1)
    np.testing.assert_array_equal(episode.observations, np.vstack([s, following[-1:]]))
    np.testing.assert_array_equal(episode.actions, a)
    np.testing.assert_array_equal(episode.rewards, r)


def test_a_folder_without_goals_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="goal_idx"):
        read_focal(tmp_path)


def test_minari_datasets_keep_their_tasks_one_behind_the_other(
    collected: Collected, collected_mixed: Collected, datasets_root: Path, tmp_path: Path
) -> None:
    ids = ["minari:idaq/point-robot/expert-v0", "minari:idaq/point-robot-sparse/mixed-v0"]
    imported = read_sources(ids, root=datasets_root)
    dataset = opened(imported, tmp_path)
    first, second = ([task.task_index for task in open_dataset(c.path).tasks] for c in (collected, collected_mixed))
    assert [task.task_index for task in dataset.tasks] == first + [first[-1] + 1 + index for index in second]
    names = [task.task_id for task in dataset.tasks]
    assert names[0] == f"idaq.point-robot.expert-v0.{first[0]:03d}"
    moved = f"8 task indices of the file are written {first[-1] + 1} higher"
    assert f"minari: idaq/point-robot-sparse/mixed-v0: {moved}" in imported.notes
    parents = [open_dataset(collected.path), open_dataset(collected_mixed.path)]
    theirs = [episode for parent in parents for episode in parent]
    for mine, other in zip(dataset, theirs, strict=True):
        np.testing.assert_array_equal(mine.observations, other.observations)
        np.testing.assert_array_equal(mine.rewards, other.rewards)
    assert any("environments differ" in note for note in imported.notes)
    assert minari.MinariDataset(dataset.path / "data").total_episodes == len(theirs)


def test_what_goes_on_after_its_end_is_cut() -> None:
    rows = Rows(
        observations={"observations": np.arange(6.0)[:, None]},
        actions=np.zeros((6, 1)),
        rewards=np.zeros(6),
        next_observations={"observations": np.array([1.0, 2, 30, 4, 5, 6])[:, None]},
        terminated=np.array([0, 1, 0, 0, 0, 0], bool),
        truncated=np.zeros(6, bool),
        episode=np.array([0, 0, 0, 0, 0, 1]),
    )
    episodes = episodes_of_rows(rows, Notes(), "here")
    assert [e.observations.ravel().tolist() for e in episodes] == [[0, 1, 2], [2, 30], [3, 4, 5], [5, 6]]
