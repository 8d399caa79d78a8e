"""What verify calls valid, open_dataset opens and plain Minari reads; what either cannot, verify names.

The documents are damaged at random and sealed again, so that no hash betrays it.
"""

import json
import random
import re
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from minari import MinariDataset

from idaq.core.config import from_mapping, json_schema, to_mapping
from idaq.core.errors import ConfigError, DatasetError
from idaq.format.documents import Manifest, MetadataIdaq, TaskRecord
from idaq.format.layout import names_fault
from idaq.format.reader import open_stored
from idaq.format.recipe import Recipe
from idaq.format.verify import verify, warnings_of
from idaq.format.writer import write_dataset
from idaq.loader import open_dataset
from idaq.testing.examples import EXAMPLES
from tests.format.sealing import alter_episodes, alter_metadata, alter_tasks, problems, reseal

BOX = {"type": "Box", "dtype": "float32", "shape": [3], "low": [0.0] * 3, "high": [1.0] * 3}
OBJECTS = [
    None,
    True,
    0,
    1,
    -1,
    2**63,
    2**64,
    8,
    8.0,
    75.0,
    0.5,
    1e308,
    "",
    "x",
    "8",
    "hdf5",
    "arrow",
    "0.5.0",
    "9.9.9",
    "\u202e\x1b[2J",
    "\ud800",
    "../..",
    [],
    [1],
    [[1]],
    {},
    {"a": 1},
    "{}",
    "[]",
    "null",
    "{",
    "[" * 2000,
    ["a"] * 3,
    "os:system",
    {"type": "Box"},
]
SPACES = [
    {**BOX, "type": "Discrete", "n": 3, "start": 0},
    {**BOX, "type": "Dict", "subspaces": {}},
    {**BOX, "shape": [2]},
    {**BOX, "dtype": "float64"},
    {**BOX, "dtype": "object"},
    {**BOX, "dtype": "no"},
    {**BOX, "dtype": "V8"},
    {**BOX, "shape": [1] * 65},
    {**BOX, "shape": [2**40, 2**40]},
    {**BOX, "shape": [-3]},
    {**BOX, "shape": ["3"]},
    {**BOX, "shape": [3.0]},
    {**BOX, "shape": 3},
    {**BOX, "low": [0.0] * 2},
    {**BOX, "low": [2.0] * 3},
    {**BOX, "low": [float("nan")] * 3},
    {**BOX, "high": "1"},
    {**BOX, "low": None},
    {**BOX, "low": [[0.0]] * 3},
    {**BOX, "low": {"a": 1}},
    {"type": "Tuple", "subspaces": []},
    {"type": "Text", "max_length": 3, "min_length": 0, "charset": "ab"},
    {"type": "None"},
    [BOX],
    BOX,
    {**BOX, "more": 1},
    {**BOX, "low": ["0"] * 3},
    {**BOX, "high": [float("inf")] * 3},
]
"""the last four can be read"""


def check(path: Path) -> bool:
    """The property. Returns whether the dataset is valid."""
    with warnings.catch_warnings(action="ignore"):
        found = verify(path)
        assert not any("cannot be checked" in problem.what for problem in found), found
        if found:
            assert all(problem.where and problem.what for problem in found)
            return False
        warnings_of(path)
        dataset = open_dataset(path)
        table = dataset.transitions("ram")
        batch = table.gather(np.arange(len(table)))
        assert len(batch.rewards) == dataset.episodes.length.sum()
        read = MinariDataset(path / "data")
        episodes = list(read.iterate_episodes())
        assert [len(episode) for episode in episodes] == dataset.episodes.length.tolist()
        assert episodes[0].observations.shape[1:] == read.observation_space.shape
        assert len(list(read.storage.get_episode_metadata(range(len(episodes))))) == len(dataset)
    return True


def mutate(value: Any, rng: random.Random) -> Any:
    """A copy of plain data with one thing in it altered: replaced, removed, added, repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {name: entry for name, entry in value.items() if name != key}
        if rng.random() < 0.05:
            return {**value, "unknown": rng.choice(OBJECTS)}
        return {**value, key: mutate(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value[:place] + value[place + 1 :] if rng.random() < 0.5 else [*value, value[place]]
        return [*value[:place], mutate(value[place], rng), *value[place + 1 :]]
    if isinstance(value, str) and value.startswith("{") and rng.random() < 0.8:
        return json.dumps(mutate(json.loads(value), rng))
    if type(value) is int and rng.random() < 0.5:
        return value + rng.choice([-1, 1, 2**31, 64])
    return rng.choice(OBJECTS)


def of_metadata(path: Path, rng: random.Random) -> None:
    def alter(metadata: dict[str, Any]) -> None:
        stated = metadata.pop("idaq")
        if rng.random() < 0.3:
            metadata[rng.choice(["observation_space", "action_space"])] = json.dumps(rng.choice(SPACES))
        else:
            altered = mutate(dict(metadata), rng)
            metadata.clear()
            metadata.update(altered if isinstance(altered, dict) else {})
        metadata["idaq"] = stated

    alter_metadata(path, alter)
    _true_spaces(path)


def _true_spaces(path: Path) -> None:
    """Digests of the spaces as they are now."""
    from idaq.core.digest import value_digest

    metadata = json.loads((path / "data/metadata.json").read_text())
    digests = {f"{name}_sha256": value_digest(metadata.get(name)) for name in ("observation_space", "action_space")}
    reseal(path, lambda manifest: manifest.update(digests))


def of_manifest(path: Path, rng: random.Random) -> None:
    def alter(manifest: dict[str, Any]) -> None:
        altered = mutate(dict(manifest), rng)
        manifest.clear()
        manifest.update(altered if isinstance(altered, dict) else {})

    reseal(path, alter)


def of_tasks(path: Path, rng: random.Random) -> None:
    def alter(tasks: list[Any]) -> None:
        altered = mutate(list(tasks), rng)
        tasks[:] = altered if isinstance(altered, list) else [altered]

    with suppress(UnicodeEncodeError):  # half a surrogate pair stands in no file
        alter_tasks(path, alter)


def of_episodes(path: Path, rng: random.Random) -> None:
    def alter(table: dict[str, list[Any]]) -> None:
        column = table[rng.choice(sorted(table))]
        place, kind = rng.randrange(len(column)), type(column[0]) if column[0] is not None else int
        wild = {
            int: [0, 1, -1, 64, 2**31, 2**62, 7],
            float: [0.0, 1e300, float("nan")],
            bool: [True, False],
            str: ["", "x", "expert"],
        }
        column[place] = rng.choice([*wild[kind], column[rng.randrange(len(column))]])  # fmt: skip

    with suppress(OverflowError):  # -1 is no uint64: nothing was altered
        alter_episodes(path, alter)


@pytest.mark.parametrize("alter", [of_metadata, of_manifest, of_tasks, of_episodes])
def test_verify_open_dataset_and_minari_agree_on_any_damaged_document(
    damaged: Path, alter: Callable[[Path, random.Random], None]
) -> None:
    whole, sound = damaged.with_name("whole"), 0
    damaged.rename(whole)
    rng = random.Random(alter.__name__)
    for _ in range(60):
        shutil.copytree(whole, damaged)
        alter(damaged, rng)
        sound += check(damaged)
        shutil.rmtree(damaged)
    assert sound < 40


@pytest.mark.parametrize("space", SPACES[:-4])
@pytest.mark.parametrize("name", ["observation_space", "action_space"])
def test_a_space_that_is_no_box_of_its_column_is_named_and_refused(damaged: Path, name: str, space: object) -> None:
    alter_metadata(damaged, lambda metadata: metadata.update({name: json.dumps(space)}))
    _true_spaces(damaged)
    assert f"the {name.replace('_', ' ')} " in problems(damaged)
    with pytest.raises(DatasetError, match=name.replace("_", " ")):
        open_dataset(damaged)


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("columns.observations.shape", [1] * 64 + [3], "columns.observations.shape: List should have at most 31 items"),
        ("columns.observations.shape", [1] * 31 + [3], "columns.observations.shape: List should have at most 31 items"),
        ("columns.observations.shape", [2**32, 2**32], "column observations cannot have"),
        ("columns.rewards.dtype", "<i8", "column rewards cannot have T rows of <i8"),
        ("columns.rewards.dtype", "<f2", "column rewards cannot have T rows of <f2"),
    ],
)
def test_a_column_that_no_reader_has_is_named_and_refused(damaged: Path, path: str, value: Any, text: str) -> None:
    *parents, last = path.split(".")

    def alter(manifest: dict[str, Any]) -> None:
        for part in parents:
            manifest = manifest[part]
        manifest[last] = value

    reseal(damaged, alter)
    assert text in problems(damaged)
    with pytest.raises(DatasetError, match=re.escape(text)):
        open_dataset(damaged)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("total_episodes", 8.0, "Minari's total_episodes: stated 8, found 8.0"),
        ("total_steps", True, "Minari's total_steps: stated 75, found True"),
        ("data_format", "arrow", "Minari's data_format: stated hdf5, found arrow"),
        ("minari_version", "9.9.9", "plain Minari cannot open it: ValueError: The installed Minari version"),
        ("env_spec", "{}", "plain Minari cannot open it: "),
        ("env_spec", 3, "plain Minari cannot open it: "),
        ("eval_env_spec", "[]", "plain Minari cannot open it: "),
    ],
)
def test_metadata_that_minari_cannot_use_is_named(damaged: Path, key: str, value: Any, text: str) -> None:
    alter_metadata(damaged, lambda metadata: metadata.update({key: value}))
    assert text in problems(damaged)


def test_columns_that_share_bytes_are_named_and_refused(damaged: Path) -> None:
    """A small file could else claim more values than any memory holds."""

    def alter(table: dict[str, list[Any]]) -> None:
        table["offset_rewards"][1] = table["offset_actions"][1]

    alter_episodes(damaged, alter)
    assert "column rewards of episode 1 overlaps column actions of episode 1" in problems(damaged)
    with pytest.raises(DatasetError, match="overlaps"):
        open_dataset(damaged)


def test_what_lies_in_data_and_is_no_part_of_the_format_is_named(damaged: Path, tmp_path: Path) -> None:
    (damaged / "data/notes\x1b[2J.txt").write_text("x")
    (damaged / "data/idaq/more").mkdir()
    assert problems(damaged).splitlines() == [
        f"{damaged}/data: holds what is no part of the format: 'notes\\x1b[2J.txt'",
        f"{damaged}/data: holds what is no part of the format: 'more'",
    ]


def test_a_document_that_is_a_link_is_named(damaged: Path) -> None:
    tasks = damaged / "data/idaq/tasks.jsonl"
    tasks.rename(damaged / "data/idaq/real")
    tasks.symlink_to("real")
    assert f"{tasks}: is a link" in problems(damaged)


# -- code of strangers ---------------------------------------------------------------------------------------------


def env_spec(metadata: dict[str, Any], **changes: Any) -> None:
    metadata["env_spec"] = json.dumps({**json.loads(metadata["env_spec"]), **changes})


WRAPPER = {"name": "w", "entry_point": "evil.wrap:Wrap", "kwargs": {}}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, []),
        ({"entry_point": "gymnasium.envs.mujoco.half_cheetah_v5:HalfCheetahEnv"}, []),
        ({"entry_point": "metaworld.envs:Reach"}, []),
        ({"entry_point": "evil.module:Env"}, ["evil.module:Env"]),
        ({"entry_point": "os:system"}, ["os:system"]),
        ({"entry_point": "idaq.tasksevil:Env"}, ["idaq.tasksevil:Env"]),
        ({"entry_point": "gymnasium.envs.registration:load_env_creator"}, ["gymnasium.envs.registration:load_env"]),
        ({"entry_point": "\x1b[2J:X"}, ["\\x1b[2J:X"]),
        ({"vector_entry_point": "evil.vector:Env"}, ["evil.vector:Env"]),
        ({"id": "evil.registers:Point-v0"}, ["evil.registers:Point-v0"]),
        ({"additional_wrappers": [WRAPPER]}, ["evil.wrap:Wrap"]),
    ],
)
def test_code_that_recover_environment_would_run_is_warned_of_by_name(
    damaged: Path, changes: dict[str, Any], named: list[str]
) -> None:
    alter_metadata(damaged, lambda metadata: env_spec(metadata, **changes))
    assert verify(damaged) == []
    found = [str(warning) for warning in warnings_of(damaged)]
    assert len(found) == len(named)
    assert all(f"names code: {name}" in text for name, text in zip(named, found, strict=True))


def test_code_named_by_a_task_is_warned_of_too(damaged: Path) -> None:
    alter_tasks(damaged, lambda tasks: tasks[1]["env"].update(entry_point="evil.module:Env"))
    (warning,) = warnings_of(damaged)
    assert warning.what.startswith("names code: evil.module:Env: recover_environment() would import and run it")


DOCUMENTS = {"Manifest": Manifest, "Recipe": Recipe, "TaskRecord": TaskRecord, "MetadataIdaq": MetadataIdaq}
BEYOND_SCHEMAS = (
    "Invalid JSON",  # half of a surrogate pair
    "a valid integer",  # 8.0 is an integer to JSON Schema
    "names must differ",
    "a behaviour of kind",
    "a trained behaviour",
)
"""what no JSON Schema can say, or not in few words: the reader refuses it all the same"""


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_the_reader_refuses_the_json_schemas_refuse(example: str, tmp_path: Path) -> None:
    stored, rng = open_stored(write_dataset(EXAMPLES[example](), tmp_path, "")), random.Random(example)
    whole: dict[str, Any] = {"Manifest": to_mapping(stored.manifest), "TaskRecord": to_mapping(stored.tasks[0])}
    whole |= {"Recipe": whole["Manifest"]["recipe"], "MetadataIdaq": stored.metadata["idaq"]}
    schemas = {name: Draft202012Validator(json_schema(kind)) for name, kind in DOCUMENTS.items()}
    for name, document in whole.items():
        assert schemas[name].is_valid(document)
    for _ in range(150):
        name = rng.choice(sorted(whole))
        altered = mutate(json.loads(json.dumps(whole[name])), rng)
        try:
            found = from_mapping(DOCUMENTS[name], altered, where="x", strict=True)
            refused = (isinstance(found, Manifest) and names_fault(found.columns)) or ""
        except ConfigError as error:
            refused = error.message
        known = any(words in refused for words in BEYOND_SCHEMAS)
        assert known or schemas[name].is_valid(altered) == (not refused), (name, refused, altered)
