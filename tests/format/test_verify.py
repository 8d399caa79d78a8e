"""Datasets whose hashes are all in order and whose content is not: the deep checks of verify."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from idaq.core.digest import episode_digest
from idaq.core.errors import CorruptDatasetError
from idaq.format.verify import verify
from idaq.loader import open_dataset
from tests.format.made import PLANS
from tests.format.sealing import (
    alter_episodes,
    alter_hdf5,
    alter_metadata,
    alter_tasks,
    problems,
    redigest,
    reseal,
    set_value,
)


def test_a_dataset_sealed_again_without_an_alteration_verifies(damaged: Path) -> None:
    alter_hdf5(damaged, lambda file: None)
    alter_tasks(damaged, lambda tasks: None)
    alter_metadata(damaged, lambda metadata: None)
    alter_episodes(damaged, lambda table: None)
    for number in range(len(PLANS)):
        redigest(damaged, number)
    assert verify(damaged) == []


COLUMN = {"dtype": "<f4", "shape": [], "rows": "T", "chunk_rows": None, "unit": None, "meaning": None, "known": True}


def put(path: str, value: Any) -> Callable[[Any], None]:
    """An alteration: the value at a dotted path of nested plain data."""

    def alter(data: Any) -> None:
        *parents, last = path.split(".")
        for part in parents:
            data = data[int(part) if isinstance(data, list) else part]
        data[int(last) if isinstance(data, list) else last] = value

    return alter


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("dataset_id", "idaq/made/other-v0", "dataset id (folder): stated idaq/made/other-v0"),
        (
            "dataset_id",
            "idaq/made/other-v0",
            "dataset id (metadata.json): stated idaq/made/other-v0, found idaq/made/ta",
        ),
        (
            "recipe.id",
            "idaq/made/other-v0",
            "dataset id (recipe): stated idaq/made/tagged-v0, found idaq/made/other-v0",
        ),
        ("recipe.id", "../../other-v0", "manifest.json: recipe.id: is not a dataset id"),
        ("family", "other", "family: stated other, found point-robot"),
        ("recipe_digest", "0" * 64, "recipe digest: stated 0000"),
        ("content_digest", "0" * 64, "content digest: stated 0000"),
        ("observation_space_sha256", "0" * 64, "observation space: stated 0000"),
        ("action_space_sha256", "0" * 64, "action space: stated 0000"),
        ("metadata_digest", "0" * 64, "metadata.json disagrees with the manifest"),
        ("splits", {"train": [2], "test": [5]}, "splits: stated {'train': [2], 'test': [5]}, found {'train': [2], '"),
        ("splits", {"train": [5], "test": [2, 9]}, "splits: stated"),
        ("splits", {"train": [2], "test": [9, 5]}, "splits: stated"),
        ("splits", {"train": [2]}, "splits of tasks: stated set(), found {'test'}"),
        ("splits", {"train": [2], "Test": [5, 9]}, "splits.Test.[key]: String should match pattern"),
        ("counts.tasks", 4, "tasks.jsonl has 3 lines; the manifest counts 4 tasks"),
        ("columns.rewards.dtype", "<f4", "task task-2, episode 0: values do not match their digest"),
        ("columns.rewards.dtype", "|b1", "column rewards cannot have T rows of |b1 and shape []"),
        ("columns.terminations.dtype", "|u1", "column terminations cannot have T rows of |u1 and shape []"),
        ("columns.rewards.shape", [1], "column rewards cannot have T rows of <f8 and shape [1]"),
        ("columns.rewards.rows", "T+1", "column rewards cannot have T+1 rows of <f8 and shape []"),
        ("columns.observations.rows", "T", "column observations cannot have T rows"),
        ("columns.actions.shape", [2**40, 2**40], "column actions cannot have T rows of <f8 and shape [1099511627776"),
        ("columns.actions.dtype", "|O8", "columns.actions.dtype: Input should be"),
        ("recipe.behaviours.0.noise", float("nan"), "manifest.json is not valid JSON: NaN is not JSON"),
        ("columns", {}, "its columns lack actions, rewards, terminations, truncations"),
        ("columns.infos", COLUMN, "the name 'infos' is that of a group"),
        ("files", [], "its files are [], not ['main_data.hdf5', 'idaq/tasks.jsonl', 'idaq/episodes.parquet']"),
        ("files.0.path", "../data/main_data.hdf5", "its files are ['../data/main_data.hdf5'"),
        ("files.0.path", "/etc/passwd", "its files are ['/etc/passwd'"),
        ("files.0.size", 3, "bytes, the manifest says 3"),
        ("files.0.sha256", "0" * 64, "main_data.hdf5: has another sha256 than the manifest says"),
        ("files.1.sha256", "0" * 64, "tasks.jsonl has another sha256 than the manifest says"),
    ],
)
def test_a_false_manifest_is_found(damaged: Path, path: str, value: Any, text: str) -> None:
    reseal(damaged, put(path, value))
    assert text in problems(damaged)


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (
            "dataset_id",
            "idaq/made/other-v0",
            "dataset id (metadata.json): stated idaq/made/tagged-v0, found idaq/made/ot",
        ),
        ("total_episodes", 9, "Minari's total_episodes: stated 8, found 9"),
        ("total_steps", 74, "Minari's total_steps: stated 75, found 74"),
        ("observation_space", "{}", "observation space: stated"),
        ("action_space", None, "action space: stated"),
        ("dataset_id", "\ud800", "surrogates not allowed"),
    ],
)
def test_false_metadata_is_found(damaged: Path, path: str, value: Any, text: str) -> None:
    alter_metadata(damaged, put(path, value))
    assert text in problems(damaged)


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (
            put("0.split", "test"),
            "splits: stated {'train': [2], 'test': [5, 9]}, found {'train': [], 'test': [2, 5, 9]}",
        ),
        (put("0.split", "valid"), "splits of tasks: stated set(), found {'valid'}"),
        (put("1.task_id", "task-2"), "task ids: stated 3, found 2"),
        (put("1.task_index", 2), "task indices: stated [2, 9], found [2, 2, 9]"),
        (put("1.task_index", "5"), "tasks.jsonl line 2: task_index: Input should be a valid integer (got '5')"),
        (put("1.reference.behaviour.n", True), "reference.behaviour.n: Input should be a valid integer (got True)"),
        (put("1.task_index", 6), "tasks of episodes: stated set(), found {5}"),
        (lambda tasks: tasks.reverse(), "task indices: stated [2, 5, 9], found [9, 5, 2]"),
        (lambda tasks: tasks.pop(), "tasks.jsonl has 2 lines; the manifest counts 3 tasks"),
        (put("1.reference.behaviour.mean", 0.5), "tasks.jsonl, task task-5: behaviour return 0.5 ± "),
        (put("1.reference.behaviour.std", 0.5), "task task-5: behaviour return "),
        (put("1.reference.behaviour.n", 2), "over 2, found"),
        (put("1.reference.behaviour.n", 0), "tasks.jsonl line 2: reference.behaviour.n: Input should be greater"),
        (put("0.params.goal", "north"), "tasks.jsonl line 1: params.goal"),
        (put("2.more", 1), "tasks.jsonl line 3: more: there is no such field"),
        (put("1", 3), "tasks.jsonl line 2: (top)"),
        (lambda tasks: tasks.clear(), "tasks.jsonl has 1 lines; the manifest counts 3 tasks"),
    ],
)
def test_a_false_task_is_found_and_named(damaged: Path, alter: Callable[[Any], Any], text: str) -> None:
    alter_tasks(damaged, alter)
    assert text in problems(damaged)


def test_a_task_without_episodes_is_found(damaged: Path) -> None:
    def alter(tasks: list[dict[str, Any]]) -> None:
        tasks.append({**tasks[-1], "task_id": "task-11", "task_index": 11})

    alter_tasks(damaged, alter)
    reseal(damaged, lambda manifest: manifest["counts"].update(tasks=4))
    assert "tasks.jsonl, task task-11: has no episodes" in problems(damaged)


@pytest.mark.parametrize("content", [b'{"task_id": NaN}\n', b"\xff\n", b"", b"{\n", b"[" * 100_000])
def test_a_task_table_that_is_not_json_lines_is_found(damaged: Path, content: bytes) -> None:
    (damaged / "data/idaq/tasks.jsonl").write_bytes(content)
    reseal(damaged)
    assert "tasks.jsonl" in problems(damaged)


def test_a_unicode_line_separator_in_a_task_does_not_break_its_line(damaged: Path) -> None:
    alter_tasks(damaged, put("0.success.unit", "a\u2028b\x85c"))
    assert verify(damaged) == []
    assert open_dataset(damaged).tasks[0].success.unit == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (put("return.4", 0.25), "task task-9, episode 4: return is "),
        (put("return.4", float("nan")), "task task-9, episode 4: return is "),
        (put("return.4", float("inf")), "task task-9, episode 4: return is "),
        (put("terminated.5", False), "episode 5: ends otherwise than stated (terminated, truncated)"),
        (put("truncated.5", True), "episode 5: ends otherwise than stated (terminated, truncated)"),
        (put("length.1", 6), "task task-2, episode 1: values do not match their digest"),
        (put("length.1", 6), "number of steps: stated 75, found 74"),
        (put("length.1", 0), "episodes.parquet: episode 1, column observations: offset"),
        (put("length.7", 10**6), "episodes.parquet: episode 7, column observations: offset"),
        (put("length.7", 2**62), "is not a 64-byte aligned place inside main_data.hdf5"),
        (put("seed.3", 7), "task task-5, episode 3: values do not match their digest"),
        (put("task_index.3", 9), "task task-9, episode 3: values do not match their digest"),
        (put("task_index.3", 77), "task unknown task 77, episode 3: values do not match their digest"),
        (put("task_index.3", 77), "tasks of episodes: stated set(), found {77}"),
        (put("task_index.0", 9), "order of episodes: stated [2, 2, 5, 9, 9, 9, 9, 9], found [9, 2, 2, 5, 9, 9, 9, 9]"),
        (put("behaviour.2", "clever"), "behaviours of episodes: stated set(), found {'clever'}"),
        (put("digest.2", "0" * 64), "episode 2: values do not match their digest (stated 000000000000…, found "),
        (put("digest.2", "ü"), "episode 2: values do not match their digest (stated ü…, found "),
        (put("episode.2", 7), "episodes.parquet does not list the episodes 0 to 7 in order"),
        (put("offset_rewards.6", -64), "episode 6, column rewards: offset -64 is not a 64-byte aligned place inside"),
        (put("offset_rewards.6", 2**40), "episode 6, column rewards: offset 1099511627776 is not a 64-byte aligned"),
        (put("offset_rewards.6", 2**62), "episode 6, column rewards: offset"),
        (put("offset_rewards.6", -(2**63)), "episode 6, column rewards: offset"),
        (put("offset_rewards.6", 65), "episode 6, column rewards: offset 65 is not a 64-byte aligned place inside"),
        (put("offset_rewards.6", 32), "episode 6, column rewards: offset 32 is not a 64-byte aligned place inside"),
        (put("offset_rewards.6", 0), "episode 6: values do not match their digest"),
    ],
)
def test_a_false_episode_table_is_found(damaged: Path, alter: Callable[[Any], Any], text: str) -> None:
    alter_episodes(damaged, alter)
    assert text in problems(damaged)


def test_offsets_that_lead_to_another_episodes_values_are_found(damaged: Path) -> None:
    def swap(table: dict[str, list[Any]]) -> None:
        offsets = table["offset_rewards"]
        offsets[0], offsets[6] = offsets[6], offsets[0]

    alter_episodes(damaged, swap)
    assert "task task-2, episode 0: values do not match their digest" in problems(damaged)


def test_an_episode_table_without_its_last_row_or_any_is_found(damaged: Path) -> None:
    alter_episodes(damaged, lambda table: [column.pop() for column in table.values()])
    assert "episodes.parquet has 7 rows; the manifest counts 8 episodes" in problems(damaged)
    reseal(damaged, lambda manifest: manifest["counts"].update(episodes=7))
    assert "root holds other than its episodes: ['episode_7']" in problems(damaged)
    alter_episodes(damaged, lambda table: [column.clear() for column in table.values()])
    assert "episodes.parquet has 0 rows; the manifest counts 7 episodes" in problems(damaged)


def test_an_episode_table_with_other_columns_is_found(damaged: Path) -> None:
    path = damaged / "data/idaq/episodes.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["seed"]), path)
    reseal(damaged)
    assert (
        "episodes.parquet has columns ['episode', 'task_index', 'behaviour', 'history', 'policy_step', 'length'"
        in problems(damaged)
    )
    path.write_bytes(b"PAR1")
    reseal(damaged)
    assert "episodes.parquet is not a readable parquet file" in problems(damaged)


@pytest.mark.parametrize(
    ("column", "index", "value", "text"),
    [
        ("rewards", 1, np.nan, "task task-2, episode 1: rewards holds NaN or infinity"),
        ("observations", (7, 2), np.inf, "task task-2, episode 1: observations holds NaN or infinity"),
        ("actions", (0, 0), -np.inf, "task task-2, episode 1: actions holds NaN or infinity"),
        ("rewards", 1, 0.5, "task task-2, episode 1: return is "),
        ("terminations", 3, True, "task task-2, episode 1: continues after it terminated or was truncated"),
        ("truncations", 6, False, "task task-2, episode 1: ends otherwise than stated (terminated, truncated)"),
    ],
)
def test_a_value_that_cannot_be_is_found_even_under_a_true_digest(
    damaged: Path, column: str, index: Any, value: Any, text: str
) -> None:
    set_value(damaged, 1, column, index, value)
    assert text in problems(damaged)
    assert "digest" not in problems(damaged)


def test_rewards_that_overflow_are_found_without_a_warning(damaged: Path) -> None:
    set_value(damaged, 1, "rewards", slice(0, 2), [np.inf, -np.inf])
    assert "episode 1: rewards holds NaN or infinity" in problems(damaged)
    set_value(damaged, 1, "rewards", slice(0, 2), [1.7e308, 1.7e308])
    assert "episode 1: return is inf" in problems(damaged)


def test_a_flag_byte_that_is_neither_0_nor_1_is_found(damaged: Path) -> None:
    stored = open_dataset(damaged).episodes
    path = damaged / "data/main_data.hdf5"
    content = bytearray(path.read_bytes())
    content[int(stored.offsets["terminations"][0])] = 2
    path.write_bytes(content)
    reseal(damaged)
    assert "task task-2, episode 0: values do not match their digest" in problems(damaged)
    digest = episode_digest(open_dataset(damaged).episode(0), task_index=2, seed=int(stored.seed[0]))
    alter_episodes(damaged, put("digest.0", digest))
    assert problems(damaged).endswith("task task-2, episode 0: terminations holds bytes other than 0 and 1")


def relink(file: h5py.File, link: Any) -> None:
    del file["episode_3"]
    file["episode_3"] = link


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (lambda f: f.create_group("notes"), "root holds other than its episodes: ['notes']"),
        (lambda f: f.move("episode_3", "episode_8"), "root holds other than its episodes: ['episode_3', 'episode_8']"),
        (lambda f: f["episode_3"].attrs.create("seed", 7), "episode 3: attribute seed is np.int64(7), not "),
        (lambda f: f["episode_3"].attrs.create("task_id", "x"), "episode 3: attribute task_id is 'x', not 'task-5'"),
        (lambda f: f["episode_3"].attrs.create("task_index", [5, 5]), "episode 3: attribute task_index is None, not 5"),
        (lambda f: f["episode_3"].attrs.create("options/task", 2), "attribute options/task is np.int64(2), not 5"),
        (lambda f: f["episode_3"].attrs.__delitem__("id"), "episode 3: attribute id is None, not 3"),
        (lambda f: f["episode_3"].attrs.create("total_steps", 4), "attribute total_steps is np.int64(4), not 3"),
        (lambda f: f["episode_3"].__delitem__("rewards"), "episode 3: column rewards is None, not (3,) of <f8"),
        (lambda f: relink(f, h5py.SoftLink("/episode_4")), "task task-5, episode 3: is no group"),
        (lambda f: relink(f, h5py.ExternalLink("../other.hdf5", "/x")), "task task-5, episode 3: is no group"),
        (lambda f: relink(f, np.zeros(3)), "task task-5, episode 3: is no group"),
    ],
)
def test_what_plain_hdf5_readers_would_trip_over_is_found(
    damaged: Path, alter: Callable[[h5py.File], Any], text: str
) -> None:
    alter_hdf5(damaged, alter)
    assert text in problems(damaged)


@pytest.mark.parametrize("options", [{"chunks": (2,)}, {"compression": "gzip"}, {"dtype": ">f8"}, {"dtype": "f4"}, {}])
def test_a_column_stored_otherwise_than_the_format_says_is_found(damaged: Path, options: dict[str, Any]) -> None:
    def restore(file: h5py.File) -> None:
        values = file["episode_3/rewards"][()]
        del file["episode_3/rewards"]
        file["episode_3"].create_dataset("rewards", data=values, **options)

    alter_hdf5(damaged, restore)
    expected = "is <HDF5 dataset" if "dtype" in options else "is not contiguous at byte"
    assert f"episode 3: column rewards {expected}" in problems(damaged)


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (lambda content: b"", "cannot have T+1 rows of <f4 and shape [3]"),
        (lambda content: content[:100], "is not a 64-byte aligned place inside main_data.hdf5 (100 bytes)"),
        (
            lambda content: bytes(512) + content[512:],
            "main_data.hdf5: HDF5 cannot read it: Unable to synchronously open",
        ),
    ],
)
def test_an_hdf5_that_is_no_hdf5_is_found_under_true_hashes(
    damaged: Path, alter: Callable[[bytes], bytes], text: str
) -> None:
    path = damaged / "data/main_data.hdf5"
    path.write_bytes(alter(path.read_bytes()))
    reseal(damaged)
    assert text in problems(damaged)


def test_what_the_format_does_not_name_within_an_episode_is_found(damaged: Path) -> None:
    """Nothing vouches for it, and plain Minari reads it."""

    def add(file: h5py.File) -> None:
        file["episode_3"].attrs["note"] = "checked"
        file["episode_3"].create_dataset("infos/success", data=np.zeros(3, bool))

    alter_hdf5(damaged, add)
    found = problems(damaged)
    assert "episode 3: holds members that do not belong there: ['infos']" in found
    assert "episode 3: holds attributes that do not belong there: ['note']" in found


def test_a_dataset_without_an_action_space_is_refused_by_the_loader(damaged: Path) -> None:
    for value in (None, 3, "{}", "not json"):
        alter_metadata(damaged, put("action_space", value))
        with pytest.raises(
            CorruptDatasetError, match=r"the action space.* is no Box, Discrete, MultiDiscrete, MultiBinary or Dict"
        ):
            open_dataset(damaged)
    alter_metadata(damaged, lambda metadata: metadata.pop("action_space"))
    with pytest.raises(
        CorruptDatasetError, match=r"the action space.* is no Box, Discrete, MultiDiscrete, MultiBinary or Dict"
    ):
        open_dataset(damaged)
