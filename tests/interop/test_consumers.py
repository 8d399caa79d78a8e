"""Every tagged (s, a, r, s'), through other libraries' own interfaces. A docstring is the table's text of a check."""

import hashlib
from typing import Any

import numpy as np
import pytest

from idaq.format.layout import is_extra
from idaq.format.reader import open_stored
from idaq.loader import open_dataset
from tests.format.made import LARGEST, PLANS
from tests.golden import WRITERS, golden_path
from tests.interop.conftest import Read
from tests.share.everything import transitions_of
from tests.share.tagged import COLUMNS, TRANSITIONS, assert_tagged, tagged_rows

PAIRS = ("observation", "action", "reward", "next_observation")
ENDS = ("terminated", "truncated")
MINARI = pytest.mark.parametrize("environment", ["minari-0.5.0", "minari-newest"])
TORCHRL = pytest.mark.parametrize("environment", ["torchrl-0.10.1", "torchrl"])


def of_task(task: int) -> np.ndarray:
    return tagged_rows()["task_index"] == task


@MINARI
def test_minari_iterates_the_whole_dataset(read: Read, environment: str) -> None:
    """Minari loads and iterates the dataset"""
    assert_tagged(read(environment, "minari_reader")["whole"], (*PAIRS, *ENDS, "task_index"))


@MINARI
def test_minari_reads_the_golden_datasets(read: Read, environment: str) -> None:
    """Every space, pictures, infos, compressed columns, to the bit; MultiDiscrete and MultiBinary from 0.5.2 on"""
    found = read(environment, "minari_reader")["golden"]
    assert sorted(found) == sorted(golden_path(name).name for name in WRITERS)
    for name in WRITERS:
        ours = open_dataset(golden_path(name))
        if environment == "minari-0.5.0" and open_stored(ours.path).metadata["minari_version"] != "0.5.0":
            assert isinstance(found[golden_path(name).name], str), "0.5.0 has no MultiDiscrete and no MultiBinary"
            continue
        for episode, digests in zip(ours, found[golden_path(name).name], strict=True):
            columns = {n: c for n, c in episode.columns.items() if not is_extra(n) or n.startswith("infos/")}
            assert digests == {n: hashlib.sha256(c.tobytes()).hexdigest() for n, c in sorted(columns.items())}, name


@MINARI
def test_minari_iterates_each_task(read: Read, environment: str) -> None:
    """Minari lists, loads and iterates the datasets of single tasks"""
    found = read(environment, "minari_reader")
    assert found["listed"] == [
        "idaq/made/tagged-v0",
        *(f"idaq/made/tagged/task-{task}-v0" for task in (2, 5, 9)),
        "idaq/point-robot/expert-v0",
    ]
    for task, columns in zip((2, 5, 9), found["per_task"], strict=True):
        assert_tagged(columns, (*PAIRS, *ENDS, "task_index"), of_task(task))


@MINARI
def test_minari_filters_and_samples(read: Read, environment: str) -> None:
    """Minari filters and samples episodes"""
    found = read(environment, "minari_reader")
    assert found["long_episodes"] == [number for number, plan in enumerate(PLANS) if plan.length > 10]
    assert len(found["sampled"]) == 4
    assert all(PLANS[number].length == length for number, length in found["sampled"])


@MINARI
def test_minari_recovers_the_environment_of_each_task(read: Read, environment: str) -> None:
    """`recover_environment()` gives the family's environment with the task; normalised scores"""
    found = read(environment, "minari_reader")
    expected = [{"id": "idaq/point-robot-v0", "task": task, "observation": [2]} for task in (2, 5, 9)]
    assert found["environments"] == expected
    assert found["score_of_random"] == pytest.approx(0)


@MINARI
def test_minari_shows_the_dataset(read: Read, environment: str) -> None:
    """`minari show`"""
    status, names_it, errors = read(environment, "minari_reader")["show"]
    if environment == "minari-0.5.0" and "NamespaceNotFound" in errors:
        pytest.xfail("Minari 0.5.0 makes the environment by its id alone, so it must be registered; fixed in 0.5.4")
    assert (status, names_it) == (0, True), errors


def test_d3rlpy_pairs_every_transition(read: Read) -> None:
    """`to_d3rlpy`: every transition as d3rlpy's own picker gives it, all tasks and one"""
    found = read("d3rlpy", "d3rlpy_reader")
    for columns, keep in ((found["whole"], np.full(TRANSITIONS, True)), (found["one_task"], of_task(9))):
        assert_tagged(columns, ("observation", "action", "reward", "terminated"), keep)
        expected = tagged_rows()
        bootstraps = ~expected["terminated"][keep]
        after = np.array(columns["next_observation"])
        np.testing.assert_array_equal(after[bootstraps], expected["next_observation"][keep][bootstraps])
    assert_tagged(found["whole"], ("episode",))
    rewards, episode = tagged_rows()["reward"], tagged_rows()["episode"]
    np.testing.assert_allclose(found["returns"], np.bincount(episode, rewards), rtol=1e-6)


def test_d3rlpy_reads_minari(read: Read) -> None:
    """`d3rlpy.datasets.get_minari`"""
    misread = read("d3rlpy", "d3rlpy_reader")["misread"]
    if misread == list(range(1, 24)):  # all 24 episodes but the first
        pytest.xfail("d3rlpy 2.8.1 shifts observations against actions by one more row each episode: use `to_d3rlpy`")
    assert not misread


def test_d3rlpy_trains(read: Read) -> None:
    """1,000 steps of TD3+BC on one task and on all"""
    found = read("d3rlpy", "d3rlpy_reader")
    assert (found["fit_one_task"]["transitions"], found["fit_all"]["transitions"]) == (60, 480)
    assert found["fit_one_task"]["finite"]
    assert found["fit_all"]["finite"]
    assert found["fit_all"]["shape"][1] == 2


@TORCHRL
@pytest.mark.parametrize("part", ["whole", "one_task"])
def test_torchrl_reads_minari(read: Read, environment: str, part: str) -> None:
    """`MinariExperienceReplay`"""
    found = read(environment, "torchrl_reader")[part]
    if environment == "torchrl" and not np.any(found["observation"]):
        pytest.xfail("TorchRL 0.14.1 returns zeros for any Minari dataset (0.10.1 does not): use `to_torchrl`")
    assert_tagged(found, (*PAIRS, *ENDS), of_task(9) if part == "one_task" else slice(None))


@pytest.mark.parametrize("name", ["dict", "grid"])
def test_torchrl_takes_every_space(read: Read, name: str) -> None:
    """`to_tensordict` with every space, extra columns and float64 rewards"""
    assert_everything(read("torchrl", "torchrl_reader")[name], name)


def test_torchrl_loads_by_id(read: Read) -> None:
    """`load_dataset("idaq:<id>")`, our source registered: two tasks of three"""
    assert_tagged(read("torchrl", "torchrl_reader")["source"], (*COLUMNS,), ~of_task(5))


@TORCHRL
def test_torchrl_takes_our_tensordict(read: Read, environment: str) -> None:
    """`to_tensordict` and `to_torchrl`: every transition, and a sampled batch"""
    found = read(environment, "torchrl_reader")
    assert_tagged(found["tensordict"], COLUMNS)
    assert_tagged(found["sampled"], COLUMNS, rows_of(found["sampled"]))
    assert len(found["sampled"]["step"]) == 40


def rows_of(found: dict[str, Any]) -> list[int]:
    """Which transitions these are, by episode and step."""
    first = np.cumsum([0, *(plan.length for plan in PLANS)])
    return [int(first[episode]) + step for episode, step in zip(found["episode"], found["step"], strict=True)]


def assert_everything(found: dict[str, Any], name: str, scale: float = 1) -> None:
    """`found` has transitions of such columns, `scale` times their values."""
    expected = transitions_of(name)
    for column, values in found.items():
        rows = np.asarray(values)
        np.testing.assert_array_equal(rows.reshape(expected[column].shape) / scale, expected[column], err_msg=column)


def test_d3rlpy_takes_discrete_actions(read: Read) -> None:
    """`to_d3rlpy` with discrete actions: every transition, and 200 steps of CQL"""
    found, expected = read("d3rlpy", "d3rlpy_reader")["grid"], transitions_of("grid")
    assert found["actions"] == 5
    assert set(found["chosen"]) <= {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(np.ravel(found["action"]), expected["actions"] - 1)
    np.testing.assert_array_equal(np.ravel(found["observation"]), expected["observations"])
    np.testing.assert_array_equal(found["terminated"], expected["terminations"])


def test_d3rlpy_takes_pictures(read: Read) -> None:
    """`to_d3rlpy` with pictures, channels first, and with a Dict as a tuple"""
    found = read("d3rlpy", "d3rlpy_reader")
    expected = transitions_of("pictures")["observations"].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found["pictures"]["observation"], expected)
    assert found["dict"]["shapes"] == [[3, 4, 5], [6], [3], [1], [3], [1], [2]]
    camera = transitions_of("dict")["observations/camera"][0].transpose(2, 0, 1)
    np.testing.assert_array_equal(found["dict"]["camera"], camera)


def test_ogbench_reads_the_export(read: Read) -> None:
    """`ogbench.load_dataset` reads the export: its transitions, and its compact form"""
    found = read("ogbench", "ogbench_reader")
    expected = tagged_rows()
    names = {"observation": "observations", "action": "actions", "next_observation": "next_observations"}
    assert_tagged({ours: found["rows"][theirs] for ours, theirs in names.items()}, tuple(names))
    last = expected["step"] == [PLANS[number].length - 1 for number in expected["episode"]]
    np.testing.assert_array_equal(found["rows"]["terminals"], last)
    valid = np.array(found["compact"]["valids"], bool)
    assert valid.sum() == TRANSITIONS
    np.testing.assert_array_equal(np.array(found["compact"]["observations"])[valid], expected["observation"])


def test_ogbench_reads_pictures_and_discrete_spaces(read: Read) -> None:
    """`ogbench.load_dataset` with pictures, and with discrete observations and actions"""
    for name in ("pictures", "grid"):
        found, expected = read("ogbench", "ogbench_reader")[name], transitions_of(name)
        np.testing.assert_array_equal(found["observations"], expected["observations"])
        np.testing.assert_array_equal(found["next_observations"], expected["next/observations"])
        np.testing.assert_array_equal(found["actions"], expected["actions"])


def test_xarray_opens_the_zarr_form(read: Read) -> None:
    """xarray opens the Zarr form, and a Dict's as a tree: named dimensions, the values of every row"""
    found = read("xarray", "xarray_reader")
    assert found["attributes"]["manifest"]["dataset_id"] == "idaq/made/tagged-v0"
    whole = found["whole"]
    assert whole["observations"]["dims"] == ["rows:T+1", "observations:0"]
    assert whole["actions"]["dims"] == ["rows:T", "actions:0"]
    assert set(tagged_rows()["reward"]) <= set(whole["rewards"]["values"])
    rows = {tuple(row) for row in whole["observations"]["values"]}
    assert {tuple(row) for row in tagged_rows()["observation"].tolist()} <= rows
    columns = {name for name in transitions_of("dict") if not name.startswith("next/")}
    assert set(found["dict"]) == columns
    assert found["dict"]["observations/camera"]["dims"][0] == "rows:T+1"
    assert set(transitions_of("dict")["infos/height"]) <= set(found["dict"]["infos/height"]["values"])


def test_jax_arrays(read: Read) -> None:
    """`to_jax`: every transition; float64 and int64 with `jax_enable_x64`, else int64 beyond int32 is refused"""
    found = read("jax", "jax_reader")
    assert_tagged(found["whole"], COLUMNS)
    grid, names = found["grid"], {"observation": "observations", "action": "actions", "reward": "rewards"}
    names |= {"next_observation": "next/observations", "infos/height": "infos/height", "step_": "step"}
    assert_everything({theirs: grid[ours] for ours, theirs in names.items()}, "grid")
    assert found["kind"] == "float64"
    assert "step_ has numbers that int32 does not hold" in found["refusal"]


def test_flashbax_samples(read: Read) -> None:
    """`to_flashbax`: an item buffer that samples transitions"""
    sampled = read("jax", "jax_reader")["sampled"]
    assert len(sampled["step"]) == 40
    assert_tagged(sampled, COLUMNS, rows_of(sampled))


def test_amago_samples_trajectories(read: Read) -> None:
    """`to_amago`: an RLDataset of whole episodes, and batches of them by AMAGO's own collation"""
    found, expected = read("amago", "amago_reader"), tagged_rows()
    assert len(found["batches"]) == 3
    assert all(shape[0] == 4 and shape[1] <= 9 and shape[2] == 3 for shape in found["batches"])
    for number, trajectory in enumerate(found["single"]):
        mine = expected["episode"] == number
        observations = np.array(trajectory["obs"]["observation"])
        np.testing.assert_array_equal(observations[:-1], expected["observation"][mine])
        np.testing.assert_array_equal(observations[1:], expected["next_observation"][mine])
        np.testing.assert_allclose(np.array(trajectory["actions"]) * LARGEST, expected["action"][mine], rtol=1e-6)
        np.testing.assert_array_equal(np.ravel(trajectory["rews"]), expected["reward"][mine])
        np.testing.assert_array_equal(np.ravel(trajectory["dones"]), expected["terminated"][mine])
        np.testing.assert_array_equal(np.array(trajectory["rl2s"])[1:, :1], trajectory["rews"])


def test_amago_joins_episodes(read: Read) -> None:
    """`to_amago` with several episodes a trajectory, in the order of a learning history; discrete actions one-hot"""
    found, rows = read("amago", "amago_reader"), transitions_of("grid")
    one_hot = np.array(found["grid"][5]["actions"])
    episodes = tagged_rows()["episode"]
    np.testing.assert_array_equal(one_hot.argmax(1), rows["actions"][episodes == 5] - 1)
    joined = found["histories"][0]  # episodes 0 and 2 are of history 0 of task 2
    first, second = episodes == 0, episodes == 2
    expected = np.concatenate([rows["observations"][first], rows["observations"][second]])
    observed = np.ravel(joined["obs"]["observation"])
    np.testing.assert_array_equal(observed[:-1], expected)
    assert observed[-1] == rows["next/observations"][second][-1]
    assert np.flatnonzero(np.ravel(joined["obs"]["reset"])).tolist() == [0, int(first.sum())]
    assert not np.any(joined["dones"])
    assert sorted(found["dict"][0]["obs"]) == sorted(
        name.removeprefix("observations/") for name in transitions_of("dict") if name.startswith("observations/")
    )


def test_agilerl_reads_minari(read: Read) -> None:
    """`minari_to_agile_dataset`, the dataset and one task of it"""
    found = read("agilerl", "agilerl_reader")
    assert_tagged(found["whole"], (*PAIRS, "terminated"))
    assert_tagged(found["one_task"], (*PAIRS, "terminated"), of_task(9))


def test_lerobot_opens_the_export(read: Read) -> None:
    """`LeRobotDataset` opens the export: all frames, one episode, a window of time"""
    found = read("lerobot", "lerobot_reader")
    names = (*COLUMNS, "task_id")
    assert_tagged(found["whole"], names)
    expected = tagged_rows()
    assert_tagged(found["one_episode"], names, expected["episode"] == 5)
    window, is_pad = found["window"]
    np.testing.assert_array_equal(window, expected["observation"][29:32])
    assert is_pad == [False] * 3
    assert found["totals"] == [len(PLANS), TRANSITIONS, 3]
    assert found["mean_reward"] == pytest.approx(expected["reward"].mean())


def test_lerobot_opens_pictures_and_dicts(read: Read) -> None:
    """`LeRobotDataset` opens pictures, a Dict and extra columns; it gives pictures from 0 to 1, channels first"""
    for name in ("pictures", "dict"):
        found, expected = read("lerobot", "lerobot_reader")[name], transitions_of(name)
        for column, values in found.items():
            rows = np.asarray(values)
            if rows.ndim == 4:
                rows = np.round(rows.transpose(0, 2, 3, 1) * 255)
            kind = np.float32 if expected[column].dtype.kind == "f" else expected[column].dtype
            np.testing.assert_array_equal(rows.astype(kind), expected[column].astype(kind), err_msg=column)


def test_pandas_reads_every_column(read: Read) -> None:
    """pandas reads the Parquet file of a Dict dataset with extra columns; Polars and DuckDB open it"""
    found, expected = read("tables", "tables_reader"), transitions_of("dict")
    assert found["dict_rows"] == [TRANSITIONS, TRANSITIONS]
    for name in ("observations/camera", "observations/state/speed", "next/observations/tiles", "belief", "next/belief"):
        here = name.replace("next/observations", "next_observation").replace("next/", "next_")
        values = np.array(found["dict"][here.replace("observations", "observation")])
        np.testing.assert_array_equal(values.reshape(expected[name].shape), expected[name], err_msg=name)
    assert found["dict"]["history"][:9] == [0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert found["dict"]["policy_step"][0] == 0
    assert found["dict"]["history"][-1] is None or np.isnan(found["dict"]["history"][-1])


@pytest.mark.parametrize("library", ["pandas", "polars", "duckdb"])
def test_tables_read_the_parquet(read: Read, library: str) -> None:
    """reads the Parquet file, and queries it by task"""
    found = read("tables", "tables_reader")
    assert_tagged(found[library], (*COLUMNS, "task_id", "behaviour", "success"))
    assert found[library]["seed"] == tagged_rows()["seed"].tolist()
    assert found["of_task_9"][library] == int(of_task(9).sum())


def test_plain_h5py_reads_the_dataset(read: Read) -> None:
    """plain h5py reads the dataset, NumPy the `.npz`"""
    found = read("tables", "tables_reader")
    assert_tagged(found["h5py"], (*PAIRS, *ENDS))
    assert_tagged({"observation": found["npz"]["observations"], "truncated": found["npz"]["truncated"]}, PAIRS[:1])


def test_tensorflow_datasets_reads_rlds(read: Read) -> None:
    """TensorFlow Datasets reads the RLDS export: steps, splits and episode facts; a Dict, pictures, extra columns"""
    found = read("rlds", "rlds_reader")
    assert found["counts"] == len(PLANS)
    assert_everything(found["dict"]["columns"], "dict")
    assert found["dict"]["policy_steps"] == [-1, -1, *range(0, 6000, 1000)]
    for split, parity in (("train", 0), ("test", 1)):
        columns, facts = found[split]["transitions"], found[split]["facts"]
        rows = rows_of(columns)
        assert sorted(rows) == np.flatnonzero(tagged_rows()["task_index"] % 2 == parity).tolist()
        assert_tagged(columns, (*PAIRS, *ENDS, "episode", "step"), rows)
        for fact in facts:
            plan = PLANS[fact["episode"]]
            assert (fact["task_index"], fact["task_id"]) == (plan.task, f"task-{plan.task}")
            assert fact["terminated"] == (plan.ends in ("terminated", "both"))
            assert fact["truncated"] == (plan.ends in ("truncated", "both"))
            assert fact["success"] == (plan.ends == "terminated")
            assert int(fact["seed"]) == 2**64 - 1 - fact["episode"]


def test_datasets_opens_the_tables_of_what_was_pushed(read: Read) -> None:
    """`load_dataset(FOLDER, "tasks")` and `"episodes"` of a pushed dataset"""
    found = read("datasets", "datasets_reader")
    assert found["configs"] == ["episodes", "tasks"]
    assert [(task["task_index"], task["split"]) for task in found["tasks"]] == [(2, "train"), (5, "test"), (9, "test")]
    assert [episode["length"] for episode in found["episodes"]] == [plan.length for plan in PLANS]
    assert [episode["seed"] for episode in found["episodes"]] == [2**64 - 1 - number for number in range(len(PLANS))]
