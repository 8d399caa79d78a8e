"""The card: whose data it is, what its columns hold, what it is not good for; and where a viewer finds its tables."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from idaq.core.config import from_mapping, to_mapping
from idaq.format import layout
from idaq.format.card import dataset_card
from idaq.format.documents import UNKNOWN_ENV, TaskRecord
from idaq.format.limits import biases, limits
from idaq.format.published import configs, with_configs
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.recipe import Recipe
from idaq.format.writer import DatasetSource, write_dataset
from tests.format.made import entries_of, made_source


def written(root: Path, made: DatasetSource, **recipe: object) -> StoredDataset:
    stated = from_mapping(Recipe, to_mapping(made.recipe) | recipe, where="test")
    return open_stored(write_dataset(replace(made, recipe=stated), root))


def test_a_dataset_of_which_all_is_known_has_no_limits(stored: StoredDataset) -> None:
    assert limits(stored) == []
    assert "## Limits" not in dataset_card(stored)


def test_the_card_says_whose_data_it_is_and_how_to_cite_it(tmp_path: Path) -> None:
    stored = written(
        tmp_path, made_source(), authors=["Ada", "Bob"], license="MIT", citation="@misc{a}", source="https://h/raw"
    )
    card = (stored.path / layout.CARD).read_text()
    assert "- authors: Ada, Bob; licence: MIT\n- source: https://h/raw\n" in card
    assert "Cite it as:\n\n~~~text\n@misc{a}\n~~~\n" in card
    assert card == dataset_card(stored)


def test_the_card_lists_every_column(stored: StoredDataset) -> None:
    card = dataset_card(stored)
    assert "| `observations` | T+1 | float32 (3) | not stated | not stated |" in card
    assert "| `rewards` | T | float64 | not stated | not stated |" in card


def test_what_nobody_knows_is_a_limit(tmp_path: Path) -> None:
    def bare(task: TaskRecord) -> TaskRecord:
        return replace(task, env=UNKNOWN_ENV, params={}, split="train", reference=replace(task.reference, random=None))

    source = made_source([replace(entry, seed=None, success=None) for entry in entries_of()])
    unknown = [{"name": name, "kind": "unknown", "quality": "unknown", "episodes": 4} for name in ("expert", "random")]
    tasks = (source.tasks[0], *map(bare, source.tasks[1:]))
    source = replace(source, tasks=tasks, unstable=3, notes=("a.npz: 12 last steps left out",), operation="import of a")
    splits = {"seed": 0, "sizes": {"train": 3}}
    stored = written(tmp_path, source, authors=[], license=None, behaviours=unknown, splits=splits)
    assert limits(stored) == [
        "The environment of 2 of 3 tasks is unknown: no agent can be run or judged there.",
        "The return of random actions was not measured for 2 of 3 tasks: scores cannot be normalised there.",
        "What distinguishes 2 of 3 tasks is unknown: they state no parameters.",
        "All tasks are in the split `train`: none is held out.",
        "Success is unknown of 8 of 8 episodes: rates of success leave them out.",
        "The seed of 8 of 8 episodes is unknown: they cannot be played again.",
        "How the behaviour policies `expert`, `random` chose actions is unknown.",
        "3 episodes were left out because their simulation became unstable.",
        "The licence is unknown: ask whose data it is before you use it.",
    ]
    card = dataset_card(stored)
    assert "## Limits\n\n- The environment of 2 of 3 tasks" in card
    assert "## Cut, cast, dropped or assumed\n\n- a.npz: 12 last steps left out\n" in card


def test_uneven_tasks_are_a_bias(stored: StoredDataset) -> None:
    assert "Tasks have from 1 to 4 episodes: means over episodes weigh them so." in biases(stored)


def test_a_bar_does_not_break_a_table(tmp_path: Path) -> None:
    stored = written(tmp_path, made_source())
    column = replace(stored.manifest.columns["actions"], meaning="left | right")
    columns = {**stored.manifest.columns, "actions": column}
    card = dataset_card(replace(stored, manifest=replace(stored.manifest, columns=columns)))
    assert r"| left \| right |" in card


@pytest.mark.parametrize(
    "card", ["", "# no front matter\n", "---\nlicense: mit\n---\n# text\n\n---\n\nmore\n", "---\nlicense: mit\n---\n"]
)
def test_a_viewer_finds_the_tables_in_any_card(card: str) -> None:
    made = with_configs(card)
    _, front, rest = made.split("---\n", 2)
    assert {entry["config_name"]: entry["data_files"] for entry in yaml.safe_load(front)["configs"]} == {
        "episodes": "data/idaq/episodes.parquet",
        "tasks": "tasks.parquet",
    }
    assert ("license" in yaml.safe_load(front)) == card.startswith("---")
    assert card.endswith(rest)
    assert with_configs(made) == made


def test_a_card_that_states_its_own_configs_keeps_them() -> None:
    card = "---\nconfigs:\n- config_name: mine\n  data_files: x.parquet\n---\n# text\n"
    assert with_configs(card) == card


def test_the_tables_of_a_folder_below() -> None:
    entries = yaml.safe_load(configs("made/tagged-v0"))["configs"]
    assert entries[1] == {"config_name": "tasks", "data_files": "made/tagged-v0/tasks.parquet"}
