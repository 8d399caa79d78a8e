"""Minari datasets of other makers, as Minari's HDF5 storage lays them out, of all kinds."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from minari.serialization import serialize_space

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.format.importing import Import, dataset_source
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.loader import Dataset, open_dataset
from idaq.share.importers.minari import read_minari

BOX = gym.spaces.Box(-8, 8, (3,))
ACTIONS = gym.spaces.Box(-2, 2, (2,))
SPEC = json.loads(gym.spec("Hopper-v5").to_json())


def episode(length: int = 5, **changed: Any) -> dict[str, Any]:
    rng = np.random.default_rng(length)
    last = np.arange(length) == length - 1
    return {
        "observations": rng.uniform(-1, 1, (length + 1, 3)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        "rewards": np.ones(length),
        "terminations": last,
        "truncations": last & False,
        **changed,
    }


def made(
    root: Path,
    *episodes: dict[str, Any],
    observation: Any = BOX,
    action: Any = ACTIONS,
    attributes: Any = lambda k: {"seed": k},
    **metadata: Any,
) -> Path:
    """A dataset of these episodes, other/made-v0."""
    data = root / "other/made-v0/data"
    data.mkdir(parents=True)
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for number, columns in enumerate(episodes):
            group = file.create_group(f"episode_{number}")
            stated = {"id": number, "total_steps": len(columns["rewards"]), **attributes(number)}
            for name, value in stated.items():
                group.attrs[name] = value
            for name, value in columns.items():
                group[name] = value
    document = {
        "dataset_id": "other/made-v0",
        "total_episodes": len(episodes),
        "total_steps": sum(len(columns["rewards"]) for columns in episodes),
        "data_format": "hdf5",
        "observation_space": serialize_space(observation),
        "action_space": serialize_space(action),
        "minari_version": "0.5.3",
        "env_spec": json.dumps(SPEC),
        **metadata,
    }
    document = {name: value for name, value in document.items() if value is not None}
    (data / "metadata.json").write_text(json.dumps(document))
    return data.parent


def opened(imported: Import, root: Path) -> Dataset:
    path = write_dataset(dataset_source(imported, "me/some/imported-v0", "imported", "Imported."), root, "# card\n")
    assert verify(path) == []
    return open_dataset(path)


def test_the_plain_case_needs_no_note(tmp_path: Path) -> None:
    columns = episode()
    imported = read_minari(made(tmp_path, columns, episode(3)))
    dataset = opened(imported, tmp_path)
    assert list(imported.notes) == []
    assert dataset.episodes.seed.tolist() == [0, 1]
    np.testing.assert_array_equal(dataset.episode(0).observations, columns["observations"])
    spaces = minari.MinariDataset(dataset.path / "data")
    assert (spaces.observation_space, spaces.action_space) == (BOX, ACTIONS)
    assert dataset.tasks[0].task_id == "other.made-v0"


@pytest.mark.parametrize("seed", [np.int64(-1), "None", 1.5, np.bool_(True), np.array([1, 2])])
def test_a_seed_that_is_none_is_unknown(seed: Any, tmp_path: Path) -> None:
    path = made(tmp_path, episode(), episode(3), attributes=lambda k: {"seed": seed if k else 7})
    imported = read_minari(path)
    assert [entry.seed for entry in imported.tasks[0].episodes] == [7, None]
    said = "1 episodes state a seed that is no whole number from 0 to 2^64 - 1: it is unknown"
    assert list(imported.notes) == [f"other/made-v0: {said}"]
    for dataset in (opened(imported, tmp_path), open_dataset(path)):
        assert [dataset.episodes.seed_of(number) for number in range(2)] == [7, None]


def test_seeds_that_are_not_there_are_unknown_and_nothing_is_assumed(tmp_path: Path) -> None:
    imported = read_minari(made(tmp_path, episode(), episode(3), attributes=lambda k: {"seed": 0} if k else {}))
    assert [entry.seed for entry in imported.tasks[0].episodes] == [None, 0]
    assert list(imported.notes) == []


def test_episodes_without_steps_are_left_out_and_counted(tmp_path: Path) -> None:
    path = made(tmp_path, episode(4), episode(0), episode(2))
    imported = read_minari(path)
    assert [len(entry.episode) for entry in imported.tasks[0].episodes] == [4, 2]
    assert [entry.seed for entry in imported.tasks[0].episodes] == [0, 2]
    assert list(imported.notes) == ["other/made-v0: 1 episodes without steps are left out"]
    with pytest.warns(UserWarning, match="1 episodes without steps are left out"):
        assert open_dataset(path).episodes.length.tolist() == [4, 2]


def test_nothing_but_empty_episodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no episodes with steps"):
        read_minari(made(tmp_path, episode(0)))


def test_what_is_stored_is_read_whatever_is_stated(tmp_path: Path) -> None:
    path = made(tmp_path, episode(), episode(3), episode(2), total_episodes=2, total_steps=8)
    imported = read_minari(path)
    assert [len(entry.episode) for entry in imported.tasks[0].episodes] == [5, 3, 2]
    said = "metadata.json states 2 episodes, 3 are stored: all of them are read"
    assert list(imported.notes) == [f"other/made-v0: {said}"]
    with pytest.warns(UserWarning, match=said):
        assert len(open_dataset(path)) == 3


def test_fewer_than_stated_are_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(CorruptDatasetError, match="states 9 episodes and stores 1"):
        read_minari(made(tmp_path, episode(), total_episodes=9))


def test_episodes_behind_a_missing_number_are_counted(tmp_path: Path) -> None:
    path = made(tmp_path, episode(), episode(3), episode(2), total_episodes=1)
    with h5py.File(path / "data/main_data.hdf5", "a") as file:
        del file["episode_1"]
    imported = read_minari(path)
    assert [len(entry.episode) for entry in imported.tasks[0].episodes] == [5]
    said = "1 episodes whose numbers do not follow on 0 to 0 are not read"
    assert list(imported.notes) == [f"other/made-v0: {said}"]


def test_another_number_of_steps_than_stated_is_told(tmp_path: Path) -> None:
    imported = read_minari(made(tmp_path, episode(), attributes=lambda k: {"seed": k, "total_steps": 6}))
    assert list(imported.notes) == [
        "other/made-v0: 1 episodes state another number of steps than they have: those stored are read"
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rewards": np.array([1, 1, np.nan, 1, 1])}, "episode 1: rewards holds NaN or infinity in row 2"),
        ({"observations": np.full((6, 3), np.inf, np.float32)}, "episode 1: observations holds NaN .* in row 0"),
        ({"actions": np.full((5, 2), np.nan)}, "episode 1: actions holds NaN or infinity in row 0"),
        ({"rewards": np.full(5, 1e300)}, "episode 1: rewards of up to 1e.300 have no standard deviation"),
        ({"observations": np.zeros((5, 6), np.float32)}, r"episode 1: observations of shape .* do not have 6 rows"),
        ({"observations": np.zeros((6, 4), np.float32)}, r"episode 1: observations and actions have \(4, 2\) numbers"),
        ({"actions": np.zeros((5, 1), np.float32)}, r"observations and actions have \(3, 1\) numbers"),
        ({"rewards": np.ones((5, 2))}, "episode 1: rewards must hold one number a row"),
        ({"terminations": np.full(5, 3)}, "episode 1: terminations holds 3 in row 0: flags are 0 or 1"),
        ({"rewards": np.ones(5, complex)}, "episode 1: rewards is no array of numbers"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_names_its_episode(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    """On import and on opening for training alike."""
    path = made(tmp_path, episode(), episode(**changed))
    for read in (read_minari, open_dataset):
        with pytest.raises(DatasetError, match=said):
            read(path)


@pytest.mark.parametrize("kind", ["i1", "i8", "f2", "?"])
def test_rewards_of_any_kind_are_written_as_floats(kind: str, tmp_path: Path) -> None:
    rewards = np.array([0, 1, 0, 1, 1]).astype(kind)
    imported = read_minari(made(tmp_path, episode(rewards=rewards)))
    dataset = opened(imported, tmp_path)
    assert dataset.episode(0).rewards.dtype == np.float32
    assert dataset.episode(0).rewards.tolist() == [0, 1, 0, 1, 1]
    said = f"other.made-v0: 5 numbers of rewards cast from {np.dtype(kind)} to float32"
    assert list(imported.notes) == [said]


def test_images_keep_their_dtype_and_bounds_as_rows(tmp_path: Path) -> None:
    image = gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    pixels = np.random.default_rng(0).integers(0, 255, (6, 4, 4, 3)).astype(np.uint8)
    imported = read_minari(made(tmp_path, episode(observations=pixels), observation=image, jpeg_encoding=False))
    dataset = opened(imported, tmp_path)
    np.testing.assert_array_equal(dataset.episode(0).observations, pixels.reshape(6, 48))
    assert minari.MinariDataset(dataset.path / "data").observation_space == gym.spaces.Box(0, 255, (48,), np.uint8)
    said = "observations of shape (4, 4, 3) are written as rows of 48 numbers"
    assert list(imported.notes) == [f"other/made-v0: {said}"]


def test_integers_in_a_box_of_actions_become_floats(tmp_path: Path) -> None:
    box = gym.spaces.Box(0, 3, (2,), np.int64)
    imported = read_minari(made(tmp_path, episode(actions=np.ones((5, 2), np.int64)), action=box))
    dataset = opened(imported, tmp_path)
    assert dataset.episode(0).actions.dtype == np.float32
    assert dataset.action_high.tolist() == [3, 3]
    assert list(imported.notes) == ["other.made-v0: 10 numbers of actions cast from int64 to float32"]


@pytest.mark.parametrize("space", [gym.spaces.Discrete(3), gym.spaces.MultiDiscrete([2, 3])])
def test_discrete_actions_are_refused_by_name(space: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a Box; only continuous actions are supported"):
        read_minari(made(tmp_path, episode(actions=np.zeros((5, 2), np.int64)), action=space))


def test_a_dict_is_written_as_one_row_and_told(tmp_path: Path) -> None:
    space = gym.spaces.Dict({"b": gym.spaces.Box(-1, 1, (2,)), "a": gym.spaces.Box(0, 9, (1,), np.uint8)})
    columns = episode()
    del columns["observations"]
    columns |= {"observations/a": np.full((6, 1), 9, np.uint8), "observations/b": np.full((6, 2), 0.5, np.float32)}
    imported = read_minari(made(tmp_path, columns, observation=space))
    assert opened(imported, tmp_path).episode(0).observations[0].tolist() == [9, 0.5, 0.5]
    said = "Dict observations are written as one row of numbers of one dtype: a (1 of uint8), b (2 of float32)"
    assert list(imported.notes) == [f"other/made-v0: {said}"]


def test_infos_are_counted(tmp_path: Path) -> None:
    imported = read_minari(
        made(tmp_path, episode() | {"infos/goal": np.zeros((6, 2)), "infos/x": np.zeros(6)}, episode(3))
    )
    assert list(imported.notes) == ["other/made-v0: 1 episodes with infos, which are not read: goal, x"]


@pytest.mark.parametrize("name", ["observations", "actions"])
def test_what_lies_outside_of_its_space_widens_it(name: str, tmp_path: Path) -> None:
    columns = episode()
    columns[name][2, 0] = 50
    imported = read_minari(made(tmp_path, columns))
    dataset = opened(imported, tmp_path)
    assert list(imported.notes) == [
        f"minari: other/made-v0: 1 {name} lie outside of the stated bounds: the bounds are widened to hold them"
    ]
    space = getattr(minari.MinariDataset(dataset.path / "data"), f"{name.removesuffix('s')}_space")
    assert space.high.tolist() == [50, *[8 if name == "observations" else 2] * (len(space.high) - 1)]


def test_unbounded_actions_get_the_bounds_of_the_data(tmp_path: Path) -> None:
    columns = episode()
    imported = read_minari(made(tmp_path, columns, action=gym.spaces.Box(-np.inf, np.inf, (2,))))
    dataset = opened(imported, tmp_path)
    np.testing.assert_array_equal(dataset.action_high, columns["actions"].max(0))
    assert list(imported.notes) == [
        "minari: other/made-v0: 2 action bounds are infinite: the data's are assumed"
    ]  # fmt: skip


def test_what_goes_on_after_its_end_is_cut_and_counted(tmp_path: Path) -> None:
    imported = read_minari(made(tmp_path, episode(terminations=np.array([0, 1, 0, 0, 1], bool))))
    assert [len(entry.episode) for entry in imported.tasks[0].episodes] == [2, 3]
    assert [entry.seed for entry in imported.tasks[0].episodes] == [0, None]  # nothing was reset amid an episode
    assert list(imported.notes) == [
        "other/made-v0: 1 episodes that go on after an end are cut there into several",
        "other/made-v0: 1 pieces of episodes of known seed begin without a reset: theirs is unknown",
    ]


def test_kwargs_that_json_cannot_hold_are_named(tmp_path: Path) -> None:
    spec = json.dumps(SPEC | {"kwargs": {"healthy_z_range": [0.7, float("inf")], "weight": 2.0}})
    imported = read_minari(made(tmp_path, episode(), env_spec=spec))
    dataset = opened(imported, tmp_path)
    said = "1 kwargs of its env_spec that JSON cannot hold are left to env_spec: healthy_z_range"
    assert list(imported.notes) == [f"other/made-v0: {said}"]
    assert imported.tasks[0].env.kwargs == {"weight": 2.0}
    stated = minari.MinariDataset(dataset.path / "data").env_spec
    assert stated is not None
    assert stated.kwargs["healthy_z_range"] == [0.7, float("inf")]


def test_no_environment_is_told_as_such(tmp_path: Path) -> None:
    imported = read_minari(made(tmp_path, episode(), env_spec=None))
    assert list(imported.notes) == [
        "other/made-v0: no environment is named: minari's recover_environment() has none"
    ]  # fmt: skip


def test_tasks_that_episodes_name_stay_apart(tmp_path: Path) -> None:
    attributes = [{"seed": 0, "task_index": 4}, {"seed": 1, "task_index": 2}, {"seed": 2, "task_index": 4}]
    imported = read_minari(made(tmp_path, episode(5), episode(3), episode(2), attributes=lambda k: attributes[k]))
    dataset = opened(imported, tmp_path)
    assert [task.task_id for task in dataset.tasks] == ["other.made-v0.002", "other.made-v0.004"]
    assert dataset.episodes.length.tolist() == [3, 5, 2]


@pytest.mark.parametrize("index", [-1, 0.5, "left", None])
def test_a_task_index_that_is_none_is_told(index: Any, tmp_path: Path) -> None:
    first = {"seed": 0} | ({} if index is None else {"task_index": index})
    path = made(tmp_path, episode(), episode(3), attributes=lambda k: {"seed": 1, "task_index": 3} if k else first)
    imported = read_minari(path)
    assert [(task.name, len(task.episodes)) for task in imported.tasks] == [("other.made-v0", 2)]
    assert [note.split(" episodes name a task_index")[0] for note in imported.notes] == [
        f"other/made-v0: {1 if index is None else 2}"
    ]


def test_dtypes_that_differ_between_episodes_are_told(tmp_path: Path) -> None:
    wide = episode(3)
    wide["observations"] = wide["observations"].astype(np.float64)
    imported = read_minari(made(tmp_path, episode(), wide))
    assert list(imported.notes) == [
        "other/made-v0: observations of unequal dtypes, float32, float64, are read as the widest"
    ]


def test_what_episodes_state_beyond_what_is_read_is_told(tmp_path: Path) -> None:
    stated = [{"seed": 0}, {"seed": 1, "task_id": "left", "behaviour": "expert"}]
    imported = read_minari(made(tmp_path, episode(), episode(3), attributes=lambda k: stated[k]))
    assert "other/made-v0: 1 episodes state more than is read: behaviour, task_id" in imported.notes


@pytest.mark.parametrize("index", [np.uint64(2**63), 2**53 + 1])
def test_a_task_index_beyond_all_is_told_and_not_used(index: Any, tmp_path: Path) -> None:
    imported = read_minari(made(tmp_path, episode(), attributes=lambda k: {"task_index": index}))
    assert [(task.index, len(task.episodes)) for task in imported.tasks] == [(None, 1)]
    assert any("1 episodes name a task_index, which is not used" in note for note in imported.notes)


def test_bounds_that_float32_cannot_hold_are_told(tmp_path: Path) -> None:
    wide = gym.spaces.Box(np.array([-1e300, -8, -8]), np.array([8, 1e300, np.inf]), dtype=np.float64)
    dataset = opened(read_minari(made(tmp_path, episode(), observation=wide)), tmp_path)
    said = "minari: other/made-v0: 2 stated bounds of observations are not numbers of float32: others are written"
    assert said in dataset.manifest.provenance.notes
