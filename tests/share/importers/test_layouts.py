"""Each layout that people send: every (s, a, r, s') in its place, what is assumed told, what is missing said.

`sources` makes two episodes; step t of episode k observes [t, k], acts t / 10 and earns 10 t + k.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idaq.core.errors import CorruptDatasetError, DatasetError, IdaqError, UsageError
from idaq.core.types import Array
from idaq.format.verify import verify
from idaq.loader import Dataset, open_dataset
from idaq.share.importers import ReadOptions, import_dataset, importer_of
from tests.share.importers import sources
from tests.share.importers.sources import EPISODES, LENGTHS


def opened(source: Path, root: Path, **options: Any) -> tuple[Dataset, tuple[str, ...]]:
    """The dataset that an import of it makes, which verify calls sound, and what was told."""
    done = import_dataset([source], "me/some/imported-v0", root=root, **options)
    assert verify(done.path) == []
    return open_dataset(done.path), done.notes


def told(notes: tuple[str, ...], *said: str) -> None:
    for each in said:
        assert any(each in note for note in notes), (each, notes)


def check(dataset: Dataset, cut: int = 0, rewarded: bool = True, seen: Callable[[Any], Array] | None = None) -> None:
    """The two episodes, less `cut` steps at the end of each; `seen` puts observations together as they were."""
    assert [len(episode) for episode in dataset] == [length - cut for length in LENGTHS]
    for found, made in zip(dataset, EPISODES, strict=True):
        length = len(found)
        observations = found.observations if seen is None else seen(found.observations)
        np.testing.assert_array_equal(observations, made["s"][: length + 1])
        np.testing.assert_array_equal(found.actions, made["a"][:length])
        np.testing.assert_array_equal(found.rewards, made["r"][:length] if rewarded else np.zeros(length))
        assert not (found.terminated | found.truncated)[:-1].any()
    assert dataset.column_info["rewards"].known == rewarded
    assert np.isnan(dataset.episodes.total_reward).all() == (not rewarded)


def ends(dataset: Dataset) -> list[str]:
    return ["t" * bool(e.terminated[-1]) + "o" * bool(e.truncated[-1]) for e in dataset]


def test_imitation(tmp_path: Path) -> None:
    dataset, notes = opened(sources.imitation(tmp_path / "x.npz"), tmp_path)
    check(dataset)
    assert ends(dataset) == ["t", "o"]
    told(notes, "1 trajectories end terminal, which here means a time-out too", "1 members that are not read: infos")


def test_trajectories_of_one_length_are_suspected_of_a_time_limit(tmp_path: Path) -> None:
    file = sources.imitation(
        tmp_path / "x.npz",
        terminal=np.ones(2, bool),
        indices=np.array([3]),
        acts=np.zeros((6, 1)),
        rews=np.zeros(6),
        obs=np.zeros((8, 2)),
    )
    _, notes = opened(file, tmp_path)
    told(notes, "all of them have 3 steps: it may well be a time limit")


def test_imitation_without_rewards_knows_none(tmp_path: Path) -> None:
    dataset, notes = opened(sources.imitation(tmp_path / "x.npz", rews=None), tmp_path)
    check(dataset, rewarded=False)
    assert dataset.all_tasks[0].reference.behaviour is None
    told(notes, "no rewards in the file: they are written as unknown")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"indices": np.array([9])}, "begin where indices say"),
        ({"indices": np.array([], int)}, "are no 2 trajectories"),
        ({"terminal": np.array([1, 2])}, "terminal holds 2 in row 1"),
        ({"rews": np.ones(3)}, "3 rews are not one for each of the 7 actions"),
        ({"acts": np.full((7, 1), np.nan)}, "actions holds NaN or infinity"),
        ({"obs": np.array(["a"] * 9)}, "obs is no array of numbers in this file: it is text"),
    ],
)
def test_imitation_that_does_not_fit(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        opened(sources.imitation(tmp_path / "x.npz", **changed), tmp_path)


def test_stable_baselines(tmp_path: Path) -> None:
    dataset, notes = opened(sources.stable_baselines(tmp_path / "x.npz"), tmp_path)
    check(dataset, cut=1)
    assert ends(dataset) == ["o", "o"]
    told(notes, "2 last steps left out: the file does not hold their next observation")


def test_stable_baselines_with_discrete_actions(tmp_path: Path) -> None:
    """Choices stay whole numbers, in a space from 0 to the highest."""
    file = sources.stable_baselines(tmp_path / "x.npz", actions=np.array([[0], [1], [2], [0], [1], [1], [0]]))
    dataset, notes = opened(file, tmp_path)
    assert dataset.episode(0).actions.tolist() == [0, 1, 2]
    assert dataset.leaves["actions"].kind == "Discrete"
    told(notes, "no action space is known: Discrete(3) is assumed, from the lowest to the highest value")


def test_stable_baselines_whose_returns_are_others(tmp_path: Path) -> None:
    with pytest.raises(CorruptDatasetError, match="do not have the 2 episode_returns that it states"):
        opened(sources.stable_baselines(tmp_path / "x.npz", episode_returns=np.array([1.0, 2.0])), tmp_path)


def test_ogbench_has_no_rewards_and_ends_by_time(tmp_path: Path) -> None:
    dataset, notes = opened(sources.ogbench(tmp_path / "x.npz"), tmp_path)
    check(dataset, rewarded=False)
    assert ends(dataset) == ["o", "o"]
    np.testing.assert_array_equal(dataset.episode(1).extras["qpos"], EPISODES[1]["s"] * 2)
    told(notes, "2 trajectories end by a time limit", "1 members kept as extra columns: qpos", "written as unknown")


def test_ogbench_with_rewards_and_masks(tmp_path: Path) -> None:
    rewards = np.concatenate([np.append(episode["r"], 99) for episode in EPISODES])
    masks = np.ones(len(rewards))
    masks[[3, 4]] = 0  # the first trajectory reaches its goal in its last transition
    dataset, _ = opened(sources.ogbench(tmp_path / "x.npz", rewards=rewards, masks=masks), tmp_path)
    check(dataset)
    assert ends(dataset) == ["t", "o"]
    assert dataset.episode(0).extras["masks"].tolist() == [1, 1, 1, 0]


def test_rows_behind_the_last_trajectory_are_counted(tmp_path: Path) -> None:
    terminals = np.concatenate([np.arange(5) == 4, np.zeros(4, bool)])
    dataset, notes = opened(sources.ogbench(tmp_path / "x.npz", terminals=terminals), tmp_path)
    assert [len(episode) for episode in dataset] == [4]
    told(notes, "4 rows behind the last trajectory's end are left out")


def test_images_of_ogbench_stay_images(tmp_path: Path) -> None:
    pixels = np.arange(9 * 12, dtype=np.uint8).reshape(9, 2, 2, 3)
    dataset, notes = opened(sources.ogbench(tmp_path / "x.npz", observations=pixels), tmp_path)
    np.testing.assert_array_equal(dataset.episode(1).observations, pixels[5:])
    assert not any("observation bounds" in note for note in notes)


def _of_robomimic(observations: Any) -> Array:
    return np.concatenate([observations["eef"], observations["object"]], axis=1)


def test_robomimic(tmp_path: Path) -> None:
    dataset, notes = opened(sources.robomimic(tmp_path / "x.hdf5"), tmp_path)
    check(dataset, seen=_of_robomimic)
    assert ends(dataset) == ["t", "t"]
    assert dataset.episodes.behaviour.tolist() == ["better", "worse"]
    np.testing.assert_array_equal(dataset.episode(0).extras["states"], EPISODES[0]["s"][:-1] * 3)
    told(notes, "filter key train of 1 demos is left out", "its environment is not written", ": Lift")


def test_robomimic_without_next_observations_loses_the_last_step(tmp_path: Path) -> None:
    file = sources.robomimic(tmp_path / "x.hdf5", **{"next_obs/eef": None, "next_obs/object": None, "dones": None})
    dataset, notes = opened(file, tmp_path)
    check(dataset, cut=1, seen=_of_robomimic)
    assert ends(dataset) == ["o", "o"]
    told(notes, "2 last steps left out: the file does not hold their next observation")


def test_a_demonstration_that_is_done_keeps_its_last_step(tmp_path: Path) -> None:
    """Whose s' no target reads: it repeats s."""
    file = sources.robomimic(tmp_path / "x.hdf5", **{"next_obs/eef": None, "next_obs/object": None})
    dataset, notes = opened(file, tmp_path)
    assert [len(episode) for episode in dataset] == list(LENGTHS)
    assert ends(dataset) == ["t", "t"]
    assert _of_robomimic(dataset.episode(0).observations)[:, 0].tolist() == [0, 1, 2, 3, 3]
    told(notes, "2 terminal steps have no next observation; it repeats the last one")


def test_success_amid_a_demonstration_ends_nothing(tmp_path: Path) -> None:
    """robomimic's done_mode 0: done wherever the task is solved."""
    with h5py.File(sources.robomimic(tmp_path / "x.hdf5"), "a") as file:
        file["data/demo_0/dones"][2] = True
    dataset, notes = opened(tmp_path / "x.hdf5", tmp_path)
    check(dataset, seen=_of_robomimic)
    told(notes, "1 demos with dones before their last step, which end nothing")


def test_maniskill(tmp_path: Path) -> None:
    dataset, _ = opened(sources.maniskill(tmp_path / "x.h5"), tmp_path)
    check(dataset, rewarded=False)
    assert ends(dataset) == ["t", "o"]
    assert dataset.episode(0).extras["success"].tolist() == [False, False, True, True]
    np.testing.assert_array_equal(dataset.episode(1).extras["env_states/actors/cube"], EPISODES[1]["s"] + 5)


def test_demonstrations_without_observations_are_described(tmp_path: Path) -> None:
    """robosuite's own recordings hold simulator states and actions."""
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["data/demo_1/states"], file["data/demo_1/actions"] = np.zeros((9, 32)), np.zeros((9, 7))
    with pytest.raises(
        DatasetError, match=r"lacks observations in demo_1, which holds .*states float64 \(9, 32\); it holds data/"
    ) as caught:
        opened(tmp_path / "x.hdf5", tmp_path)
    assert "dataset_states_to_obs.py" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rewards": np.ones(2)}, "2 rewards for 4 actions"),
        ({"obs/eef": np.ones((2, 1))}, "4 actions and observations of"),
        ({"next_obs/eef": np.ones((4, 1)) * 7}, "next observations/eef are not those of the next step"),
        ({"actions": np.full((4, 1), np.inf)}, "actions holds NaN or infinity"),
        ({"dones": np.full(4, 2)}, "dones holds 2 in row 0"),
    ],
)
def test_demonstrations_that_do_not_fit(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        opened(sources.robomimic(tmp_path / "x.hdf5", **changed), tmp_path)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_a_recording_of_lerobot(version: str, tmp_path: Path) -> None:
    dataset, notes = opened(sources.lerobot(tmp_path / "x", version), tmp_path)
    check(dataset, rewarded=False)
    assert [task.task_id for task in dataset.tasks] == ["pick-the-cube", "put-it-down"]
    assert (dataset.column_info["observations"].meaning, dataset.column_info["actions"].meaning) == ("x, y", "gripper")
    told(notes, "1 videos are left out: observation.images.top", "the task 'Pick the cube.' is called pick-the-cube")


def test_lerobot_with_rewards_and_success(tmp_path: Path) -> None:
    size = sum(LENGTHS) + 2
    solved = np.arange(size) == 3
    more = {"next.reward": np.arange(size, dtype=np.float32), "next.success": solved, "next.done": np.zeros(size, bool)}
    dataset, _ = opened(sources.lerobot(tmp_path / "x", **more), tmp_path)
    assert dataset.episode(0).rewards.tolist() == [0, 1, 2, 3]
    assert [dataset.episodes.solved(number) for number in range(2)] == [True, False]


def test_frames_that_are_missing_are_named(tmp_path: Path) -> None:
    frames = np.array([0, 1, 2, 3, 5, 0, 1, 2, 3])
    with pytest.raises(CorruptDatasetError, match="frames of an episode are missing"):
        opened(sources.lerobot(tmp_path / "x", frame_index=frames), tmp_path)


def test_dapg(tmp_path: Path) -> None:
    file = sources.paths(tmp_path / "x.pickle")
    with pytest.raises(DatasetError, match="is a pickle, which can run any code") as caught:
        opened(file, tmp_path)
    assert "--allow-pickle" in str(caught.value.hint)
    dataset, notes = opened(file, tmp_path, allow_pickle=True)
    check(dataset, cut=1)
    assert dataset.episode(0).extras["infos/success"].tolist() == [False, False, True]
    told(notes, "2 init_state_dict/qpos of paths is left out: it is float64 (7,), not one row of numbers a step")


def test_paths_that_end_in_a_terminal(tmp_path: Path) -> None:
    dataset, notes = opened(sources.paths(tmp_path / "x.pkl", terminated=True), tmp_path, allow_pickle=True)
    assert [len(episode) for episode in dataset] == list(LENGTHS)
    assert ends(dataset) == ["t", "t"]
    told(notes, "2 paths that are terminated, which may mean a time-out too", "terminal steps have no next observation")


@pytest.mark.parametrize("form", [2, 3])
def test_a_replay_buffer_of_diffusion_policy(form: int, tmp_path: Path) -> None:
    dataset, notes = opened(sources.zarr_buffer(tmp_path / "x.zarr", form), tmp_path)
    check(dataset, cut=1, rewarded=False, seen=lambda observations: observations["state"])
    assert dataset.episode(1).observations["img"].shape == (3, 2, 2, 3)
    assert dataset.episode(1).observations["img"][:, 0, 0, 0].tolist() == [1, 11, 21]
    told(notes, "everything but actions is taken as observed: img, state")


def test_chunks_that_zarr_leaves_out_are_its_fill_value_and_told(tmp_path: Path) -> None:
    """Zarr 3 stores no chunk that is all zeros, such as rewards that are rare; a killed writer leaves the same."""
    rewards = np.array([0, 0, 0, 0, 0, 0, 1.0])
    dataset, notes = opened(sources.zarr_buffer(tmp_path / "x.zarr", **{"data/reward": rewards}), tmp_path)
    assert [episode.rewards.tolist() for episode in dataset] == [[0, 0, 0], [0, 0]]
    told(notes, "1 chunks of /data/reward are not stored, which in Zarr means that they are all 0.0")


def test_episode_ends_that_divide_nothing(tmp_path: Path) -> None:
    path = sources.zarr_buffer(tmp_path / "x.zarr", **{"meta/episode_ends": np.array([3, 3])})
    with pytest.raises(CorruptDatasetError, match="episode_ends do not divide its 7 rows"):
        opened(path, tmp_path)


def test_focal_in_one_file_a_goal(tmp_path: Path) -> None:
    dataset, notes = opened(sources.focal_dense(tmp_path / "goals"), tmp_path)
    assert [task.task_id for task in dataset.tasks] == ["goals.goal-0", "goals.goal-1"]
    check(dataset.select(tasks=[0]))
    np.testing.assert_array_equal(dataset.episode(3).observations, EPISODES[1]["s"] + 1)
    assert dataset.episodes.behaviour.tolist() == ["step-300"] * 4
    told(notes, "4 episodes end by a time limit, as this layout means")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ep_lengths": np.array([4, 4])}, r"ep_lengths, which add up to \[8\], do not divide 7 rows"),
        ({"last_next_obs": np.zeros((3, 2))}, r"last_next_obs \(3, 2\) are not one for each"),
        ({"rewards": np.zeros((7, 2))}, "rewards must hold one number a row"),
    ],
)
def test_focal_files_that_do_not_fit(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        opened(sources.focal_dense(tmp_path / "goals", **changed), tmp_path)


def rlds(folder: Path, kind: str = "tensorflow_datasets.core.features.features_dict.FeaturesDict") -> Path:
    """The documents of an RLDS dataset; tests/interop has TensorFlow Datasets write the records too."""
    folder.mkdir()
    (folder / "features.json").write_text(json.dumps({"pythonClassName": kind, "featuresDict": {"features": {}}}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_class_that_an_rlds_document_names_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    with pytest.raises(DatasetError, match=r"names evil\.Feature: reading it would import that module"):
        opened(rlds(tmp_path / "toy", "evil.Feature"), tmp_path)


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_rlds_without_tensorflow_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pip install tensorflow-cpu"):
        opened(rlds(tmp_path / "toy"), tmp_path)


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("x.csv", b"1,2", "it is a file of 3 bytes"),
        ("x.npy", None, r"it is one array, float64 \(3, 2\)"),
        ("x.npz", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
        ("folder", None, "it is a folder of readme.md"),
        ("none.npz", None, "there is no file"),
    ],
)
def test_what_is_none_of_these_is_described(name: str, made: bytes | None, said: str, tmp_path: Path) -> None:
    if made is not None:
        (tmp_path / name).write_bytes(made)
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/readme.md").touch()
    with pytest.raises(IdaqError, match=said):
        opened(tmp_path / name, tmp_path)


MAKERS: list[tuple[Callable[[Path], Path], str]] = [
    (sources.imitation, "x.npz"),
    (sources.stable_baselines, "x.npz"),
    (sources.ogbench, "x.npz"),
    (sources.robomimic, "x.hdf5"),
    (sources.maniskill, "x.h5"),
    (sources.paths, "x.pkl"),
]


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_a_file_that_is_cut_short_is_refused_in_words(make: Callable[[Path], Path], name: str, tmp_path: Path) -> None:
    whole = make(tmp_path / name).read_bytes()
    importer = importer_of(str(tmp_path / name))
    for size in range(0, len(whole), max(1, len(whole) // 6)):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(IdaqError):
            importer.read(str(tmp_path / name), ReadOptions(root=tmp_path, allow_pickle=True))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_an_archive_of_these_names_holds_is_imported_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Members of any dtype and of shapes that nearly fit, in each of the layouts that NumPy archives have."""
    root = tmp_path_factory.mktemp("drawn")
    make = data.draw(st.sampled_from([sources.imitation, sources.stable_baselines, sources.ogbench]))
    with np.load(make(root / "x.npz"), allow_pickle=True) as archive:
        members = {name: archive[name] for name in archive.files if name != "infos"}
    for name in data.draw(st.sets(st.sampled_from(sorted(members)), max_size=2)):
        shape = data.draw(st.sampled_from([members[name].shape, (0,), (), (7,), (7, 2), (2,), (9, 1, 1)]))
        fill = data.draw(st.sampled_from([0, 1, -1, 7, 0.5, np.nan, np.inf]))
        kind = data.draw(st.sampled_from(["f4", "f8", "f2", "i8", "u1", "?", "U3", "c8"]))
        with np.errstate(all="ignore"):
            members[name] = np.full(shape, fill).astype(kind)
    np.savez(root / "x.npz", **members)
    with suppress(IdaqError), catch_warnings(action="ignore"):
        opened(root / "x.npz", root)


def _of_parts(folder: Path, form: str, *keys: str) -> Path:
    """An episode of 4 steps, 3 where s_T is not there, whose part k is observed as [t + 10 k]."""
    parts: dict[str, Any] = {key: np.arange(4.0)[:, None] + 10 * k for k, key in enumerate(keys)}
    rest: dict[str, Any] = {"actions": np.zeros((4, 1)), "rewards": np.ones(4)}
    match form:
        case "npz":
            columns = rest | {f"obs/{key}": rows for key, rows in parts.items()}
            np.savez(folder / "x.npz", timeouts=np.arange(4) == 3, **columns)
            return folder / "x.npz"
        case "demos":
            with h5py.File(folder / "x.hdf5", "w") as file:
                for name, rows in (rest | {f"obs/{key}": rows for key, rows in parts.items()}).items():
                    file[f"data/demo_0/{name}"] = rows
            return folder / "x.hdf5"
        case "pickle":
            return sources.paths(folder / "x.pkl", observations=parts, env_infos={}, **rest)
        case _:
            stored: dict[str, Any] = {f"data/{key}": rows for key, rows in parts.items()}
            stored |= {"data/action": rest["actions"]}
            stored |= {"data/state": None, "data/img": None, "meta/episode_ends": np.array([4])}
            return sources.zarr_buffer(folder / "x.zarr", **stored)


@pytest.mark.parametrize("form", ["npz", "demos", "pickle", "zarr"])
def test_parts_whose_names_no_column_can_have_are_renamed_and_told(form: str, tmp_path: Path) -> None:
    dataset, notes = opened(_of_parts(tmp_path, form, "grip pose", "höhe", "a.b"), tmp_path, allow_pickle=True)
    columns = dataset.episode(0).columns
    assert list(columns)[:3] == ["observations/a.b", "observations/grip_pose", "observations/h_he"]
    assert [columns[name][0].item() for name in list(columns)[:3]] == [20, 0, 10]
    told(notes, "the column observations/grip pose is written as observations/grip_pose")


@pytest.mark.parametrize("form", ["npz", "demos", "pickle", "zarr"])
def test_parts_of_one_name_are_refused_by_both(form: str, tmp_path: Path) -> None:
    """One of them was lost, and nothing said so."""
    with pytest.raises(DatasetError, match="observations/a b and observations/a_b would both be the column") as raised:
        opened(_of_parts(tmp_path, form, "a b", "a_b"), tmp_path, allow_pickle=True)
    assert raised.value.hint is not None


def test_what_lies_beside_the_numbers_of_a_replay_buffer_is_told(tmp_path: Path) -> None:
    path = sources.zarr_buffer(tmp_path / "x.zarr", **{"data/words": np.array(["up"] * 7), "meta/goal": np.zeros(2)})
    _, notes = opened(path, tmp_path)
    told(notes, "2 arrays of text, or beside data, are not read: data/words, meta/goal")


@pytest.mark.parametrize("following", ["obs_next", "obs2"])
def test_tianshou_and_spinning_up_call_them_otherwise(following: str, tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "obs": sources.joined("s", slice(None, -1)),
        "act": sources.joined("a"),
        "rew": sources.joined("r"),
        "done": np.isin(np.arange(7), [3, 6]),
        following: sources.joined("s", slice(1, None)),
    }
    np.savez(tmp_path / "x.npz", **columns)
    check(opened(tmp_path / "x.npz", tmp_path)[0])


def test_what_paths_hold_beside_is_one_note_whatever_their_lengths(tmp_path: Path) -> None:
    steps = [{"observations": np.ones((n, 1)), "actions": np.ones((n, 1)), "words": ["up"] * n} for n in (2, 3)]
    (tmp_path / "x.pkl").write_bytes(sources.pickle.dumps(steps))
    _, notes = opened(tmp_path / "x.pkl", tmp_path, allow_pickle=True)
    told(notes, "2 words of paths is left out")
