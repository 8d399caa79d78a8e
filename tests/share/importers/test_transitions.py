"""NumPy archives and HDF5 files of all kinds: imported to the number, told what was done to them, or refused in words.

Row t of `columns()` observes t, acts t / 100 and earns t. Three episodes: a terminal at 3, time-outs at 7 and 9.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import Array
from idaq.format.importing import Import, dataset_source, unify
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.loader import Dataset, StreamedBatches, open_dataset
from idaq.share.importers.transitions import read_d4rl, read_npz

STEPS = np.arange(10)
ENDS = (STEPS == 3) | (STEPS == 7) | (STEPS == 9)
Save = Callable[..., Import]


def columns(**changed: Any) -> dict[str, Array]:
    standard = {
        "observations": STEPS[:, None].astype(np.float32),
        "actions": (STEPS[:, None] / 100).astype(np.float32),
        "rewards": STEPS.astype(np.float32),
        "next_observations": STEPS[:, None].astype(np.float32) + 1,
        "terminals": STEPS == 3,
        "timeouts": (STEPS == 7) | (STEPS == 9),
    }
    return {name: value for name, value in (standard | changed).items() if value is not None}


def as_npz(folder: Path, **changed: Any) -> Import:
    np.savez(folder / "x.npz", **columns(**changed))
    return read_npz(folder / "x.npz")


def as_hdf5(folder: Path, **changed: Any) -> Import:
    with h5py.File(folder / "x.hdf5", "w") as file:
        for name, value in columns(**changed).items():
            file[name] = value
    return read_d4rl(folder / "x.hdf5")


def observed(imported: Import) -> list[list[float]]:
    """Observations of each episode."""
    return [entry.episode.observations.ravel().tolist() for task in imported.tasks for entry in task.episodes]


def ends(imported: Import) -> list[str]:
    """How each episode ends: t(erminated), o(ut of time), both, or nothing."""
    episodes = [entry.episode for task in imported.tasks for entry in task.episodes]
    return ["t" * bool(e.terminated[-1]) + "o" * bool(e.truncated[-1]) for e in episodes]


def opened(imported: Import, root: Path) -> Dataset:
    path = write_dataset(dataset_source(imported, "me/some/imported-v0", "imported", "Imported."), root, "# card\n")
    assert verify(path) == []
    return open_dataset(path)


THREE = [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8], [8, 9, 10]]


@pytest.mark.parametrize("save", [as_npz, as_hdf5])
def test_the_plain_case(save: Save, tmp_path: Path) -> None:
    imported = save(tmp_path)
    assert (observed(imported), ends(imported), list(imported.notes)) == (THREE, ["t", "o", "o"], [])
    assert [task.name for task in imported.tasks] == ["x"]


@pytest.mark.parametrize(
    ("changed", "ended", "said"),
    [
        ({"terminals": None, "dones": ENDS}, ["t", "o", "o"], "2 dones at timeouts are time-outs"),
        ({"timeouts": None, "dones": ENDS}, ["t", "o", "o"], "2 dones that are no terminals are taken as time-outs"),
        ({"terminals": None, "timeouts": None, "dones": STEPS % 4 == 3}, ["t", "t", ""], "are taken as terminals"),
        ({"timeouts": None}, ["t", ""], "no time-outs in the file"),
        ({"timeouts": ENDS}, ["to", "o", "o"], "1 steps are flagged both terminal and time-out"),
        ({"timeouts": STEPS == 9}, ["t", "o"], ""),
        ({"terminals": (STEPS == 3).astype(float)}, ["t", "o", "o"], ""),
        ({"terminals": (STEPS == 3).astype(np.int8)[:, None]}, ["t", "o", "o"], ""),
        ({"dones": STEPS == 3}, ["t", "o", "o"], "1 members that are not read: dones"),
        ({"terminated": STEPS == 9}, ["o", "to"], "1 members that are not read: terminals"),
    ],
)  # fmt: skip
def test_a_time_out_is_no_terminal(changed: dict[str, Any], ended: list[str], said: str, tmp_path: Path) -> None:
    imported = as_npz(tmp_path, **changed)
    assert ends(imported) == ended
    assert any(said in note for note in imported.notes) if said else not len(imported.notes)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"terminals": np.full(10, 2)}, "terminals holds 2 in row 0: flags are 0 or 1"),
        ({"timeouts": np.where(STEPS == 4, np.nan, 0)}, "timeouts holds nan in row 4"),
        ({"terminals": None, "timeouts": None}, "lacks a terminal flag; it holds observations float32"),
        ({"terminals": np.zeros((10, 2), bool)}, "terminals must hold one number a row"),
        ({"rewards": np.zeros((10, 2))}, "rewards must hold one number a row"),
        ({"rewards": np.float32(3)}, "one row for each of the 1 transitions"),
        ({"observations": np.zeros((9, 1))}, r"one row for each of the 10 transitions: .*\(9, 1\)"),
        ({"observations": np.zeros((10, 2))}, "observations of shape"),
        ({"observations": np.zeros((10, 1), complex)}, "observations is no array of numbers .* complex128"),
        ({"observations": np.zeros((10, 1), np.longdouble)}, "observations is no array .* it is of float128"),
        ({"rewards": np.array(["one"] * 10)}, "rewards is no array of numbers"),
        ({"rewards": np.zeros(10, "datetime64[s]")}, "rewards is no array of numbers"),
        ({"actions": np.zeros(10, [("x", "f4")])}, "actions is no array of numbers"),
        ({"actions": np.zeros(10, object)}, "actions is no array .*: it is objects, which only pickle can store"),
        ({"rewards": np.where(STEPS == 6, np.inf, 0)}, "rewards holds NaN or infinity in row 6"),
        ({"next_observations": np.where(STEPS == 3, np.nan, 0)[:, None]}, "next_observations holds NaN .* in row 3"),
        ({"task_index": STEPS - 1}, "task_index holds -1 in row 0"),
        ({"task_index": STEPS / 2}, "task_index holds 0.5 in row 1"),
        ({"task_index": np.full(10, np.nan)}, "task_index holds nan in row 0"),
        ({"task_index": np.full(10, 1e300)}, "task_index holds 1e.300 in row 0"),
        ({"episode": np.full(10, np.nan)}, "episode holds NaN or infinity in row 0"),
        ({"action_low": np.zeros(2), "action_high": np.ones(2)}, "action_low and action_high are no bounds"),
        ({"action_low": np.ones(1), "action_high": np.zeros(1)}, "no bounds of 1 numbers"),
        ({"action_high": np.ones(1)}, "no bounds of 1 numbers"),
        ({name: value[:0] for name, value in columns().items()}, "holds no transitions"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_refused_in_words(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        as_npz(tmp_path, **changed)


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    (tmp_path / "empty.hdf5").touch()
    for name in ("empty.npz", "array.npz"):
        with pytest.raises(CorruptDatasetError, match="no NumPy archive"):
            read_npz(tmp_path / name)
    with pytest.raises(CorruptDatasetError, match="reading it failed"):
        read_d4rl(tmp_path / "empty.hdf5")


def test_an_hdf5_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("observations", (1 << 40, 8), "f8", chunks=(1024, 8))
    with pytest.raises(CorruptDatasetError, match="would unpack to"):
        read_d4rl(tmp_path / "x.hdf5")


def test_numbers_that_lie_in_another_file_are_not_read(tmp_path: Path) -> None:
    as_hdf5(tmp_path)
    (tmp_path / "x.hdf5").rename(tmp_path / "secret.hdf5")
    layout = h5py.VirtualLayout((10, 1), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.hdf5"), "observations", (10, 1))
    as_hdf5(tmp_path)
    with h5py.File(tmp_path / "x.hdf5", "a") as file:
        del file["observations"]
        file.create_virtual_dataset("observations", layout)
    with pytest.raises(CorruptDatasetError, match="observations is no array of numbers in this file"):
        read_d4rl(tmp_path / "x.hdf5")


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("f8", "f8"), (">f4", "f4"), ("f2", "f2"), ("i8", "i8"), ("u1", "u1"), (">i2", "i2"), ("?", "u1")],
)
def test_observations_of_any_kind(kind: str, stored: str, tmp_path: Path) -> None:
    """What HDF5 and Box hold is kept; booleans become 0 and 1, told."""
    values = (STEPS[:, None] % 2).astype(kind)
    imported = as_npz(tmp_path, observations=values, next_observations=None, timeouts=STEPS == 9, episode=STEPS * 0)
    dataset = opened(imported, tmp_path)
    assert dataset.episode(1).observations.dtype == np.dtype(stored)
    assert dataset.episode(1).observations.ravel().tolist() == [0, 1, 0, 1, 0, 1]
    assert any("cast from bool to uint8" in note for note in imported.notes) == (kind == "?")
    np.testing.assert_array_equal(dataset.transitions().gather(np.arange(3)).observations.ravel(), [0, 1, 0])


@pytest.mark.parametrize(
    ("rewards", "stored", "changed"),
    [
        (STEPS.astype(np.float16), "f4", 0),
        (STEPS.astype(np.int8), "f4", 0),
        (STEPS > 4, "f4", 0),
        (STEPS + 2**24, "f8", 0),
        (np.where(STEPS == 1, 2**53 + 1, 0), "f8", 1),
        (STEPS.astype(np.float64), "f8", 0),
        (STEPS[:, None].astype(np.float32), "f4", 0),
    ],
)
def test_rewards_become_floats(rewards: Array, stored: str, changed: int, tmp_path: Path) -> None:
    imported = as_npz(tmp_path, rewards=rewards)
    unify(imported)
    found = [entry.episode.rewards for task in imported.tasks for entry in task.episodes]
    assert {r.dtype for r in found} == {np.dtype(stored)}
    np.testing.assert_array_equal(np.concatenate(found), rewards.ravel().astype(stored))
    was_cast = rewards.dtype.kind != "f" or rewards.dtype.itemsize == 2
    assert any("numbers of rewards cast" in note for note in imported.notes) == was_cast
    assert any(f"{changed} numbers of rewards changed" in note for note in imported.notes) == bool(changed)
    opened(imported, tmp_path)


def test_images_and_other_layouts_in_memory(tmp_path: Path) -> None:
    images = np.asfortranarray(np.random.default_rng(0).integers(0, 255, (10, 4, 4, 3)).astype(np.uint8))
    imported = as_npz(tmp_path, observations=images, next_observations=None)
    np.testing.assert_array_equal(opened(imported, tmp_path).episode(0).observations[2], images[2])


def test_one_row_and_scalar_columns(tmp_path: Path) -> None:
    one = {name: value[3:4].ravel() for name, value in columns().items()}
    imported = as_npz(tmp_path, **one)
    assert (observed(imported), ends(imported)) == ([[3, 4]], ["t"])
    unknown = as_npz(tmp_path, **(one | {"next_observations": None, "terminals": np.zeros(1)}))
    with pytest.raises(DatasetError, match=r"holds no episodes\n.*1 last steps left out"):
        unify(unknown)


def test_infos_are_extra_columns_and_metadata_is_told(tmp_path: Path) -> None:
    extra = {
        "infos/qpos": STEPS[:, None] * np.array([1.0, np.nan]),
        "infos/log prob": STEPS * 2.0,
        "metadata/algorithm": np.bytes_("SAC"),
        "metadata/policy/fc0/weight": np.zeros((64, 64)),
    }
    imported = as_hdf5(tmp_path, **extra)
    second = opened(imported, tmp_path).episode(1)
    assert second.extras["infos/qpos"][:, 0].tolist() == [4, 5, 6, 7]
    assert np.isnan(second.extras["infos/qpos"][:, 1]).all()
    assert second.extras["infos/log_prob"].tolist() == [8, 10, 12, 14]
    assert list(imported.notes)[:4] == [
        "x.hdf5: 1 the column infos/log prob is written as infos/log_prob",
        "x.hdf5: states algorithm SAC, which is told here alone",
        "x.hdf5: 1 members that are not read: metadata/policy/fc0/weight",
        "x.hdf5: 2 members kept as extra columns: infos/log_prob and 1 more below infos",
    ]


@pytest.mark.parametrize("actions", [STEPS % 2, (STEPS % 2)[:, None], STEPS % 2 == 0])
def test_whole_numbers_as_actions_are_choices(actions: Array, tmp_path: Path) -> None:
    imported = as_npz(tmp_path, actions=actions)
    dataset = opened(imported, tmp_path)
    assert dataset.episode(0).actions.tolist() == np.ravel(actions[:4]).astype(int).tolist()
    assert dataset.leaves["actions"].kind == "Discrete"
    assert any("no action space is known: Discrete(2) is assumed" in note for note in imported.notes)


def test_several_whole_numbers_are_several_choices_between_the_bounds_that_are_stated(tmp_path: Path) -> None:
    actions = np.stack([STEPS % 3, STEPS % 2], 1)
    imported = as_npz(tmp_path, actions=actions, action_low=np.array([0, -1]), action_high=np.array([4, 1]))
    _, space = unify(imported)
    assert space == gym.spaces.MultiDiscrete([5, 3], start=[0, -1])


def test_observations_may_be_several_arrays(tmp_path: Path) -> None:
    groups = {
        f"{of}observations/{name}": STEPS[:, None] + shift + more
        for of, shift in (("", 0), ("next_", 1))
        for name, more in (("a", 0.0), ("b", 100.0))
    }
    imported = as_hdf5(tmp_path, observations=None, next_observations=None, **groups)
    found = opened(imported, tmp_path).episode(2).observations
    assert (found["a"].ravel().tolist(), found["b"].ravel().tolist()) == ([8, 9, 10], [108, 109, 110])


@pytest.mark.parametrize(
    ("members", "held", "hint"),
    [
        (
            "data/demo_0/actions data/demo_1/actions mask/train",
            r"data/demo_0/actions float64 \(5,\) and 1 more below data, mask/train",
            "robomimic",
        ),
        ("episode_0/observations episode_0/actions", r"episode_0/actions float64 \(5,\) and 1 more", "minari:<id>"),
        ("observations actions terminals qpos", "lacks rewards; it holds actions float64", "OGBench"),
        ("a/b/c/d/e/f empty/", r"it holds a/b/c/d/e/f float64 \(5,\), empty \(an empty group\)", "numpy.savez"),
        ("", "it holds nothing", "numpy.savez"),
    ],
)
def test_other_layouts_are_told_by_what_they_hold(members: str, held: str, hint: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for name in members.split():
            file.create_group(name) if name.endswith("/") else file.create_dataset(name, data=np.zeros(5))
    with pytest.raises(DatasetError, match=held) as caught:
        read_d4rl(tmp_path / "x.hdf5")
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_groups_that_hold_each_other_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_group("a")["again"] = file["/"]
    with pytest.raises(DatasetError, match=r"it holds a/again \(a link"):
        read_d4rl(tmp_path / "x.hdf5")


def test_bounds_are_kept_where_the_file_holds_them_and_told_where_not(tmp_path: Path) -> None:
    bounds = {"action_low": [-2], "action_high": [2], "observation_low": [0], "observation_high": [20]}
    stated = as_npz(tmp_path, **{name: np.array(value) for name, value in bounds.items()})
    observations, actions = unify(stated)
    assert (observations.low[0], observations.high[0], actions.low[0], actions.high[0]) == (0, 20, -2, 2)
    assert list(stated.notes) == []
    assumed = as_npz(tmp_path)
    _, actions = unify(assumed)
    assert (actions.low[0], actions.high[0]) == (-1, 1)
    assert list(assumed.notes) == [
        "x.npz: no observation bounds are known: written as unbounded (observation_low, observation_high)",
        "x.npz: no action bounds are known: [-1, 1] is assumed, where all lie (action_low, action_high)",
    ]


def test_infinite_bounds_of_integers_are_the_greatest_integers(tmp_path: Path) -> None:
    endless = {"observation_low": np.array([-np.inf]), "observation_high": np.array([np.inf])}
    imported = as_npz(tmp_path, observations=STEPS[:, None].astype(np.uint8), next_observations=None, **endless)
    observations, _ = unify(imported)
    assert (observations.low.tolist(), observations.high.tolist()) == ([0], [255])


def test_actions_outside_of_what_is_stated_widen_it(tmp_path: Path) -> None:
    imported = as_npz(tmp_path, action_low=np.zeros(1), action_high=np.full(1, 0.05))
    _, actions = unify(imported)
    assert (actions.low[0], actions.high[0]) == (0, np.float32(0.09))
    assert any("4 actions lie outside of the stated bounds" in note for note in imported.notes)


def test_a_constant_action_gets_a_width(tmp_path: Path) -> None:
    imported = as_npz(tmp_path, actions=np.full((10, 1), 5.0))
    _, actions = unify(imported)
    assert (actions.low[0], actions.high[0]) == (0, 10)


members = st.dictionaries(
    st.sampled_from([*columns(), "dones", "task_index", "episode", "action_low", "action_high", "infos"]),
    st.tuples(
        st.sampled_from(["f4", "f8", "f2", "i1", "u8", "?", ">i2", "c8", "S2", "M8[s]"]),
        st.sampled_from([(10,), (10, 1), (10, 2), (10, 2, 2), (), (1,), (9,), (0,), (10, 0)]),
        st.sampled_from([0, 1, -1, 2, 300, np.nan, 1e300]),
    ),
    max_size=4,
)


@given(members)
@settings(max_examples=80)
def test_whatever_an_archive_holds_is_imported_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, drawn: dict[str, tuple[str, tuple[int, ...], float]]
) -> None:
    with np.errstate(all="ignore"):
        changed = {name: np.full(shape, value).astype(kind) for name, (kind, shape, value) in drawn.items()}
    try:
        imported = as_npz(tmp_path_factory.mktemp("drawn"), **changed)
        unify(imported)
    except DatasetError:
        return
    for task in imported.tasks:
        for entry in task.episodes:
            check = entry.episode.observations, entry.episode.actions, entry.episode.rewards
            assert all(np.isfinite(column).all() for column in check)
            assert [len(column) - len(entry.episode) for column in check] == [1, 0, 0]


def test_numbers_beyond_float32_are_told(tmp_path: Path) -> None:
    imported = as_npz(tmp_path, rewards=np.where(STEPS < 2, 1e100, 0) * (1 + STEPS))
    dataset = opened(imported, tmp_path)
    assert "x.npz: 2 numbers of rewards are beyond float32: idaq train will refuse them" in list(imported.notes)
    streamed = StreamedBatches(dataset, meta_batch=1, batch=2, context=2, seed=0, memory=10**6)
    for source in (dataset.transitions("ram"), dataset.transitions("map"), streamed):
        with pytest.raises(DatasetError, match="rewards of episode 0 hold NaN, infinity or a number beyond float32"):
            source.statistics()


@pytest.mark.parametrize("chunks", [(2,), None])
def test_numbers_that_were_never_written_are_not_taken_for_data(tmp_path: Path, chunks: tuple[int] | None) -> None:
    """HDF5 reads its fill value there."""
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = np.zeros((6, 2), "f4"), np.zeros((6, 1), "f4")
        file["terminals"] = np.arange(6) == 5
        rewards = file.create_dataset("rewards", (6,), "f4", chunks=chunks, fillvalue=7)
        if chunks:
            rewards[:4] = 1
    with pytest.raises(CorruptDatasetError, match="parts of rewards were never written"):
        read_d4rl(path)
    with h5py.File(path, "a") as file:
        file["rewards"][:] = 1
    assert read_d4rl(path).tasks[0].episodes[0].episode.rewards.tolist() == [1.0] * 6


def test_whole_numbers_too_large_for_choices_are_named_as_they_are(tmp_path: Path) -> None:
    """They were told as negative ones: 2^63 + 1 has no place in int64."""
    imported = as_npz(tmp_path, actions=np.full(len(columns()["actions"]), 2**63 + 1, np.uint64))
    with pytest.raises(DatasetError, match="9223372036854775809 is no choice: it is too large"):
        unify(imported)
