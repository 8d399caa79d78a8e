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
        ({"observations": np.zeros((6, 4), np.float32)}, r"shape \(6, 4\) do not have 6 rows of \(3,\) numbers"),
        ({"actions": np.zeros((5, 1), np.float32)}, r"actions of shape \(5, 1\) do not have 5 rows of \(2,\) numbers"),
        ({"rewards": np.ones((5, 2))}, "episode 1: rewards must hold one number a row"),
        ({"terminations": np.full(5, 3)}, "episode 1: terminations holds 3 in row 0: flags are 0 or 1"),
        ({"rewards": np.ones(5, complex)}, "episode 1: rewards of shape None do not have 5 rows of numbers"),
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
    said = f"other/made-v0: 5 numbers of rewards cast from {np.dtype(kind)} to float32"
    assert list(imported.notes) == [said]


def test_images_keep_their_shape_dtype_and_bounds(tmp_path: Path) -> None:
    image = gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    pixels = np.random.default_rng(0).integers(0, 255, (6, 4, 4, 3)).astype(np.uint8)
    path = made(tmp_path, episode(observations=pixels), observation=image, jpeg_encoding=False)
    imported = read_minari(path)
    dataset = opened(imported, tmp_path)
    np.testing.assert_array_equal(dataset.episode(0).observations, pixels)
    np.testing.assert_array_equal(open_dataset(path).episode(0).observations, pixels)
    assert minari.MinariDataset(dataset.path / "data").observation_space == image
    assert list(imported.notes) == []


def test_images_that_minari_stored_as_jpeg_are_read_decoded_and_told(tmp_path: Path) -> None:
    """Made by Minari itself, in a Dict, and decoded to what Minari decodes."""
    space = gym.spaces.Dict({"image": gym.spaces.Box(0, 255, (32, 32, 3), np.uint8), "x": gym.spaces.Box(-1, 1, (1,))})
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)
    steps: Any = minari.data_collector.EpisodeBuffer(
        id=0,
        seed=3,
        observations={"image": pixels, "x": np.zeros((4, 1), np.float32)},
        actions=np.zeros((3, 2), np.float32),
        rewards=np.ones(3),
        terminations=np.array([0, 0, 1], bool),
        truncations=np.zeros(3, bool),
    )
    (tmp_path / "other/made-v0/data").mkdir(parents=True)
    storage = minari.dataset.minari_storage.MinariStorage.new(
        tmp_path / "other/made-v0/data", observation_space=space, action_space=ACTIONS, data_format="hdf5"
    )
    storage.update_episodes([steps])
    storage.update_metadata({"dataset_id": "other/made-v0", "minari_version": minari.__version__})
    imported = read_minari(tmp_path / "other/made-v0")
    decoded = minari.MinariDataset(tmp_path / "other/made-v0/data")[0].observations["image"]
    found = opened(imported, tmp_path).episode(0)
    np.testing.assert_array_equal(found.observations["image"], decoded)
    assert (found.observations["image"] != pixels).any()
    assert any("stored as JPEG are read decoded" in note for note in imported.notes)


def test_whole_numbers_in_a_box_of_actions_stay_whole(tmp_path: Path) -> None:
    box = gym.spaces.Box(0, 3, (2,), np.int64)
    imported = read_minari(made(tmp_path, episode(actions=np.ones((5, 2), np.int64)), action=box))
    dataset = opened(imported, tmp_path)
    assert dataset.episode(0).actions.dtype == np.int64
    assert dataset.action_high.tolist() == [3, 3]
    assert list(imported.notes) == []


CHOICES = [
    (gym.spaces.Discrete(3, start=1), np.array([1, 3, 2, 1, 1])),
    (gym.spaces.Discrete(3), np.array([0, 2, 1, 0, 2], np.int8)),
    (gym.spaces.MultiDiscrete([2, 3]), np.array([[0, 2], [1, 0], [1, 1], [0, 0], [1, 2]])),
    (gym.spaces.MultiBinary(4), np.eye(5, 4, dtype=np.int8)),
]


@pytest.mark.parametrize(("space", "values"), CHOICES, ids=str)
def test_choices_are_actions_as_they_stand(space: Any, values: Any, tmp_path: Path) -> None:
    path = made(tmp_path, episode(actions=values), action=space)
    imported = read_minari(path)
    dataset = opened(imported, tmp_path)
    for each in (dataset, open_dataset(path)):
        np.testing.assert_array_equal(each.episode(0).actions, values)
        assert each.episode(0).actions.dtype == values.dtype
        assert each.leaves["actions"].kind == type(space).__name__
    assert minari.MinariDataset(dataset.path / "data").action_space == space
    assert list(imported.notes) == []


@pytest.mark.parametrize(("space", "values"), CHOICES, ids=str)
def test_choices_may_be_observed(space: Any, values: Any, tmp_path: Path) -> None:
    """As observations, and as a leaf of a Dict beside numbers."""
    seen = np.concatenate([values, values[:1]])
    path = made(tmp_path / "one", episode(observations=seen), observation=space)
    np.testing.assert_array_equal(opened(read_minari(path), tmp_path / "one").episode(0).observations, seen)
    columns = episode()
    columns |= {"observations/z": columns.pop("observations"), "observations/a/b": seen}
    several = gym.spaces.Dict({"z": BOX, "a": gym.spaces.Dict({"b": space})})
    path = made(tmp_path / "two", columns, observation=several)
    for dataset in (opened(read_minari(path), tmp_path / "two"), open_dataset(path)):
        assert list(dataset.episode(0).columns)[:2] == ["observations/a/b", "observations/z"]
        np.testing.assert_array_equal(dataset.episode(0).observations["a"]["b"], seen)


def test_a_choice_outside_of_its_space_widens_it(tmp_path: Path) -> None:
    path = made(tmp_path, episode(actions=np.array([0, 1, 5, 0, 1])), action=gym.spaces.Discrete(3))
    imported = read_minari(path)
    dataset = opened(imported, tmp_path)
    assert minari.MinariDataset(dataset.path / "data").action_space == gym.spaces.Discrete(6)
    assert any("1 actions are not in the stated Discrete(3): it is widened" in note for note in imported.notes)


def test_leaves_of_a_dict_are_columns_in_their_own_dtypes(tmp_path: Path) -> None:
    space = gym.spaces.Dict({"b": gym.spaces.Box(-1, 1, (2,)), "a": gym.spaces.Box(0, 9, (1,), np.uint8)})
    columns = episode()
    del columns["observations"]
    columns |= {"observations/a": np.full((6, 1), 9, np.uint8), "observations/b": np.full((6, 2), 0.5, np.float32)}
    imported = read_minari(made(tmp_path, columns, observation=space))
    found = opened(imported, tmp_path).episode(0).observations
    assert (found["a"].dtype, found["b"].dtype, found["b"][0].tolist()) == (np.uint8, np.float32, [0.5, 0.5])
    assert list(imported.notes) == []


def test_a_tuple_becomes_a_dict_and_text_its_bytes(tmp_path: Path) -> None:
    space = gym.spaces.Tuple([BOX, gym.spaces.Text(5)])
    columns = episode()
    columns |= {"observations/_index_0": columns.pop("observations"), "observations/_index_1": ["ab", "", "xyz"] * 2}
    imported = read_minari(made(tmp_path, columns, observation=space))
    found = opened(imported, tmp_path).episode(0).observations
    assert found["_index_1"].dtype == np.uint8
    assert [bytes(row).rstrip(b"\0").decode() for row in found["_index_1"]] == ["ab", "", "xyz"] * 2
    assert list(imported.notes) == [
        "other/made-v0: observations: a Tuple is written as a Dict of _index_0, _index_1, ...",
        "other/made-v0: observations/_index_1: text is written as rows of 5 bytes of UTF-8, zeros behind it",
    ]


def test_actions_of_several_boxes_become_one_row_and_others_are_refused(tmp_path: Path) -> None:
    space = gym.spaces.Dict({"arm": gym.spaces.Box(-1, 1, (2,)), "grip": gym.spaces.Box(0, 5, (1,))})
    columns = episode()
    columns |= {"actions/arm": columns.pop("actions"), "actions/grip": np.full((5, 1), 3, np.float32)}
    imported = read_minari(made(tmp_path / "boxes", columns, action=space))
    dataset = opened(imported, tmp_path / "boxes")
    np.testing.assert_array_equal(dataset.episode(0).actions[:, :2], columns["actions/arm"])
    assert dataset.episode(0).actions[:, 2].tolist() == [3] * 5
    assert dataset.action_high.tolist() == [1, 1, 5]
    assert any("written as one row of numbers: arm (2), grip (1)" in note for note in imported.notes)
    mixed = gym.spaces.Dict({"arm": gym.spaces.Box(-1, 1, (2,)), "grip": gym.spaces.Discrete(2)})
    with pytest.raises(DatasetError, match="actions are one array"):
        read_minari(made(tmp_path / "mixed", columns, action=mixed))


def test_infos_are_columns_where_every_episode_has_them(tmp_path: Path) -> None:
    """One for each step or one more for the reset; what only some episodes have is left out, and so is text."""
    infos = {"infos/goal": np.zeros((6, 2)), "infos/done": np.ones(5), "infos/why": ["a"] * 6}
    short = {"infos/done": np.ones(3)}
    path = made(tmp_path, episode() | infos, episode(3) | short)
    imported = read_minari(path)
    for dataset in (opened(imported, tmp_path), open_dataset(path)):
        assert {n: list(column) for n, column in dataset.episode(1).extras.items()} == {"infos/done": [1, 1, 1]}
    assert list(imported.notes) == [
        "other/made-v0: 1 infos/why is left out: it is not one number, or row of them, a step",
        "other/made-v0: the extra column infos/goal is left out: not every episode has it, in one shape",
    ]


def test_an_episode_that_is_cut_keeps_its_infos_in_place(tmp_path: Path) -> None:
    more = {"infos/before": np.arange(6), "infos/after": np.arange(5) * 10}
    path = made(tmp_path, episode(terminations=np.array([0, 1, 0, 0, 1], bool)) | more)
    pieces = [entry.episode.extras for entry in read_minari(path).tasks[0].episodes]
    assert [piece["infos/before"].tolist() for piece in pieces] == [[0, 1, 2], [2, 3, 4, 5]]
    assert [piece["infos/after"].tolist() for piece in pieces] == [[0, 10], [20, 30, 40]]


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
    assert list(imported.notes) == ["other/made-v0: 18 numbers of observations cast from float32 to float64"]


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
