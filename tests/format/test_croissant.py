"""The Croissant file: mlcroissant validates it, and iterates what was pushed with it; nothing in it is invented."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest

from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import DatasetError
from idaq.format.card import dataset_card
from idaq.format.croissant import Published, croissant, croissant_text, validate
from idaq.format.documents import About, References, TaskRecord
from idaq.format.published import published_files
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.recipe import Recipe
from idaq.format.writer import DatasetSource, EpisodeEntry, write_dataset
from idaq.testing.examples import EXAMPLES
from tests.format.made import entries_of, made_source

pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index"),
]
"""what rdflib and pandas say to mlcroissant"""
Alter = Callable[[DatasetSource], DatasetSource]


def as_is(source: DatasetSource) -> DatasetSource:
    return source


def with_recipe(**fields: Any) -> Alter:
    def alter(source: DatasetSource) -> DatasetSource:
        return replace(source, recipe=from_mapping(Recipe, to_mapping(source.recipe) | fields, where="test"))

    return alter


def with_tasks(change: Callable[[TaskRecord], TaskRecord]) -> Alter:
    return lambda source: replace(source, tasks=tuple(map(change, source.tasks)))


def with_entries(change: Callable[[int, EpisodeEntry], EpisodeEntry]) -> Alter:
    entries: Sequence[EpisodeEntry] = [change(number, entry) for number, entry in enumerate(entries_of())]
    return lambda source: replace(source, entries=entries)


def made(root: Path, alter: Alter = as_is) -> StoredDataset:
    return open_stored(write_dataset(alter(made_source()), root))


def records(stored: StoredDataset, record_set: str) -> list[dict[str, Any]]:
    """What mlcroissant itself reads of the dataset as it is pushed, without the record set's name before each key."""
    for name, content in published_files(stored, Published()).items():
        (stored.path / name).write_bytes(content)
    read = mlcroissant.Dataset(stored.path / "croissant.json").records(record_set)
    return [{key.removeprefix(f"{record_set}/"): plain(value) for key, value in row.items()} for row in read]


def plain(value: Any) -> Any:
    """A value without the types of pandas, to which null among texts is NaN."""
    if isinstance(value, float) and np.isnan(value):
        return None
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value.item() if hasattr(value, "item") else value


def test_it_says_whose_data_it_is_and_what_is_in_it(tmp_path: Path) -> None:
    cited = with_recipe(
        authors=["Ada", "Bob"], license="CC-BY-4.0", citation="@misc{a, title={A}}", source="https://example.org/raw"
    )
    stored = made(tmp_path, cited)
    found = croissant(stored, Published(page="https://h/a", files="https://h/a/", when=date(2026, 11, 26)))
    assert found["conformsTo"] == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    assert [author["name"] for author in found["creator"]] == ["Ada", "Bob"]
    assert found["license"]["url"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    assert (found["citeAs"], found["url"], found["version"]) == ("@misc{a, title={A}}", "https://h/a", "0.0.0")
    assert (found["rai:dataCollectionRawData"], found["datePublished"]) == ("https://example.org/raw", "2026-11-26")
    files = {file["@id"]: file for file in found["distribution"]}
    for record in stored.manifest.files:
        file = files[f"data/{record.path}"]
        assert (file["contentSize"], file["sha256"]) == (f"{record.size} B", record.sha256)
        assert file["contentUrl"] == f"https://h/a/data/{record.path}"
    assert "made" not in json.dumps(found["@context"])


def test_it_passes_its_own_validator_without_a_word(tmp_path: Path) -> None:
    complete = with_recipe(citation="A, 2026")
    found = croissant(made(tmp_path, complete), Published(page="https://h/a", when=date(2026, 11, 26)))
    issues = mlcroissant.Dataset(found).metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())


def test_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    stored = made(tmp_path, with_recipe(authors=[], license=None))
    found = croissant(stored)
    absent = ("creator", "license", "citeAs", "url", "datePublished", "rai:dataCollectionRawData")
    assert [name for name in absent if name in found] == []
    assert "null" not in json.dumps({name: value for name, value in found.items() if name != "recordSet"})
    assert {file["contentUrl"] for file in found["distribution"]} >= {"data/main_data.hdf5", "tasks.parquet"}
    validate(found)


def test_tasks_and_episodes_are_iterated_with_their_values(tmp_path: Path) -> None:
    stored = made(tmp_path)
    tasks, episodes, table = records(stored, "tasks"), records(stored, "episodes"), stored.episodes
    assert [task["task_id"] for task in tasks] == [task.task_id for task in stored.tasks]
    assert [task["params/goal"] for task in tasks] == [task.params["goal"] for task in stored.tasks]
    assert [task["reference/random/mean"] for task in tasks] == [-1.0] * 3
    assert [episode["seed"] for episode in episodes] == table.seed.tolist()
    assert max(table.seed) == 2**64 - 1
    for name, values in {"return": table.total_reward, "success": table.success, "length": table.length}.items():
        assert [episode[name] for episode in episodes] == values.tolist()


def test_splits_behaviours_and_columns_are_iterated_too(tmp_path: Path) -> None:
    stored = made(tmp_path)
    assert [(row["name"], row["tasks"]) for row in records(stored, "splits")] == [("train", 1), ("test", 2)]
    assert [row["url"] for row in records(stored, "splits")] == ["cr:TrainingSplit", "cr:TestSplit"]
    assert [row["name"] for row in records(stored, "behaviours")] == ["expert", "medium", "random"]
    columns = {row["name"]: row for row in records(stored, "columns")}
    assert list(columns) == list(stored.manifest.columns)
    assert (columns["observations"]["dtype"], columns["observations"]["shape"]) == ("<f4", "[3]")


def test_one_behaviour_one_split_and_a_split_of_another_name(tmp_path: Path) -> None:
    def alone(source: DatasetSource) -> DatasetSource:
        splits = {"seed": 0, "sizes": {"held-out": 3}}
        source = with_recipe(splits=splits, behaviours=[to_mapping(source.recipe.behaviours[0])])(source)
        source = with_tasks(lambda task: replace(task, split="held-out"))(source)
        return with_entries(lambda _, entry: replace(entry, behaviour="expert"))(source)

    stored = made(tmp_path, alone)
    assert records(stored, "splits") == [{"name": "held-out", "tasks": 3}]
    assert [row["name"] for row in records(stored, "behaviours")] == ["expert"]


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    stored = made(tmp_path, with_tasks(lambda task: replace(task, task_id=f"00{task.task_index}")))
    assert [task["task_id"] for task in records(stored, "tasks")] == ["002", "005", "009"]


def test_parameters_of_any_name(tmp_path: Path) -> None:
    odd = 'a b/c#"d" \u00e9'
    stored = made(tmp_path, with_tasks(lambda task: replace(task, params={odd: 1.5})))
    (field,) = [name for name in records(stored, "tasks")[0] if name.startswith("params/")]
    assert records(stored, "tasks")[0][field] == 1.5
    assert f"parameter {odd} of the task" in json.dumps(croissant(stored), ensure_ascii=False).replace('\\"', '"')


def test_seeds_of_which_some_are_unknown_are_left_out_rather_than_rounded(tmp_path: Path) -> None:
    some = made(tmp_path / "some", with_entries(lambda n, entry: replace(entry, seed=None if n == 0 else entry.seed)))
    assert "seed" not in records(some, "episodes")[0]
    assert any("seed of 1 of 8 episodes is unknown" in text for text in as_list(croissant(some)["rai:dataLimitations"]))


def test_what_is_known_of_success_is_null_where_it_is_not(tmp_path: Path) -> None:
    stored = made(tmp_path, with_entries(lambda n, entry: replace(entry, success=None if n < 3 else entry.success)))
    found = [episode["success"] for episode in records(stored, "episodes")]
    assert found == [None] * 3 + [entry.success for entry in entries_of()[3:]]
    assert "Success is unknown of 3 of 8 episodes" in json.dumps(croissant(stored)["rai:dataLimitations"])


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_what_made_it_and_of_what_stands_in_its_provenance(tmp_path: Path) -> None:
    stored = made(tmp_path, lambda source: replace(source, operation="merge", notes=("12 cast",)))
    found = croissant(stored)
    assert found["prov:wasGeneratedBy"]["prov:label"] == "merge"
    assert found["rai:dataPreprocessingProtocol"] == "12 cast"
    assert "rai:dataCollectionType" not in found


@pytest.mark.parametrize("text", ["]]>\"'{}", "http://not a url", "@id", "\u2028"])
def test_any_text_of_a_user_is_text(tmp_path: Path, text: str) -> None:
    fields = {"description": text} if text == "\u2028" else {"description": text, "authors": [text], "license": text}
    stored = made(tmp_path, with_recipe(**fields))
    assert json.loads(croissant_text(stored))["description"] == text


def test_a_date_that_is_none_is_left_out(tmp_path: Path) -> None:
    stored = made(tmp_path)
    provenance = replace(stored.manifest.provenance, created="yesterday")
    found = croissant(replace(stored, manifest=replace(stored.manifest, provenance=provenance)))
    assert "dateCreated" not in found
    assert "prov:endedAtTime" not in found["prov:wasGeneratedBy"]
    assert croissant(stored)["dateCreated"][:19] == stored.manifest.provenance.created[:19]


@pytest.mark.parametrize("example", EXAMPLES)
def test_datasets_of_every_shape_are_described_and_iterated(tmp_path: Path, example: str) -> None:
    stored = open_stored(write_dataset(EXAMPLES[example](), tmp_path))
    counts = {name: len(records(stored, name)) for name in ("splits", "behaviours", "columns", "tasks", "episodes")}
    assert (counts["tasks"], counts["episodes"]) == (len(stored.tasks), len(stored.episodes))
    assert (counts["splits"], counts["columns"]) == (len(stored.manifest.splits), len(stored.manifest.columns))
    if stored.episodes.history.max() >= 0:
        found = [-1 if row["history"] is None else row["history"] for row in records(stored, "episodes")]
        assert found == stored.episodes.history.tolist()


def test_what_is_no_croissant_file_is_refused(tmp_path: Path) -> None:
    found = croissant(made(tmp_path))
    del found["distribution"][0]["sha256"]
    with pytest.raises(DatasetError, match="sha256"):
        validate(found)


def test_units_meanings_and_what_nobody_knows_of_columns(tmp_path: Path) -> None:
    def without_rewards(source: DatasetSource) -> DatasetSource:
        about = {"actions": About(unit="m", meaning="how far to go"), "rewards": About(known=False)}
        return replace(with_entries(unpaid)(with_tasks(unmeasured)(source)), about=about)

    def unpaid(_: int, entry: EpisodeEntry) -> EpisodeEntry:
        return replace(entry, episode=replace(entry.episode, rewards=np.zeros_like(entry.episode.rewards)))

    def unmeasured(task: TaskRecord) -> TaskRecord:
        return replace(task, reference=References(random=None, behaviour=None))

    stored = made(tmp_path, without_rewards)
    columns = {row["name"]: row for row in records(stored, "columns")}
    assert (columns["actions"]["unit"], columns["actions"]["meaning"]) == ("m", "how far to go")
    assert (columns["observations"]["unit"], columns["rewards"]["known"]) == (None, False)
    assert [episode["return"] for episode in records(stored, "episodes")] == [None] * 8
    assert {task["reference/behaviour/mean"] for task in records(stored, "tasks")} == {None}
    limits = json.dumps(croissant(stored)["rai:dataLimitations"])
    assert "The values of `rewards` are unknown and written as 0" in limits
    card = dataset_card(stored)
    assert "| `actions` | T | float64 (2) | m | how far to go |" in card
    assert "| `rewards` | T | float64 | not stated | not stated; the values are unknown and written as 0 |" in card
    assert "- mean return over tasks: behaviour unknown, as the rewards are, random not measured" in card
