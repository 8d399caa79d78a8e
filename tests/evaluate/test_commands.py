"""The commands of a report make what they say, and nothing in a document can make them do more."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from idaq.adapt.config import AdaptConfig
from idaq.adapt.strategy import STRATEGIES
from idaq.catalogue.entries import catalogue_recipe, entries
from idaq.core.config import from_mapping, override, to_mapping
from idaq.evaluate.commands import collect_command, reproduce, settings
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.run import RunRecord, read_run
from tests.evaluate.factory import make_results, make_run


def _options(command: str) -> list[str]:
    words = shlex.split(command)
    return [words[i + 1] for i, word in enumerate(words) if word == "--set"]


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    return read_run(make_run(tmp_path / "run", make_results(train_seed=3)))


@pytest.mark.parametrize(("family", "quality"), [(e.family, e.quality) for e in entries()])
def test_a_catalogue_dataset_needs_no_settings(family: str, quality: str) -> None:
    recipe = catalogue_recipe(family, quality)
    assert collect_command(recipe.id, recipe) == f"idaq collect {family} --quality {quality}"
    assert collect_command(recipe.id, None) == f"idaq collect {family} --quality {quality}"


def test_changed_recipes_are_told_by_settings_that_make_them() -> None:
    changes = ["id=idaq/point-robot/noisy-v1", "episodes=3", "behaviours.expert.noise=1", "splits.sizes.train=6"]
    recipe = catalogue_recipe("point-robot", "mixed", changes)
    command = collect_command(recipe.id, recipe)
    quality = shlex.split(command)[4]
    assert catalogue_recipe("point-robot", quality, _options(command)) == recipe


@pytest.mark.parametrize("change", [{"family": "../../etc"}, {"family": "/etc"}, {"behaviours": 2}])
def test_what_no_setting_expresses_is_said(change: dict[str, object]) -> None:
    recipe = catalogue_recipe("point-robot", "expert")
    if "behaviours" in change:
        change = {"behaviours": [replace(recipe.behaviours[0], name=name) for name in "abcd"]}
    assert collect_command("idaq/x/y-v0", replace(recipe, **change)).startswith("idaq collect --recipe recipe.toml  #")


def test_settings_rebuild_a_config() -> None:
    config = FocalTd3BcConfig(steps=7, split="train+val", seed=2)
    config = replace(config, encoder=replace(config.encoder, lr=3e-5, next_observation=True))
    changed = settings(to_mapping(config), to_mapping(FocalTd3BcConfig()))
    assert from_mapping(FocalTd3BcConfig, override({}, changed), where="test") == config
    assert settings(to_mapping(config), to_mapping(config)) == []


def test_train_and_adapt_settings_are_told_against_the_recipe(record: RunRecord) -> None:
    recipe = catalogue_recipe("point-robot", "expert")
    trained = from_mapping(FocalTd3BcConfig, {**recipe.train, "steps": 40, "seed": 3}, where="test")
    results = replace(make_results(levels=dict.fromkeys(STRATEGIES.names(), -1.0)), config=AdaptConfig(seeds=2))
    results.strategies["idaq"].settings["context"] = 7
    for strategy in results.strategies.values():
        if "candidates" in strategy.settings:
            strategy.settings["candidates"] = 4
    commands = reproduce([replace(record, config=to_mapping(trained))], results, recipe)
    run = "runs/idaq-point-robot-expert-v0-seed3"
    assert commands == [
        "idaq collect point-robot --quality expert",
        f"idaq train --dataset idaq/point-robot/expert-v0 --seed 3 --out {run} --set steps=40",
        f"idaq adapt {run} --set seeds=2 --set candidates=4 --set idaq.context=7",
        f"idaq report {run}",
    ]


def test_a_recipe_with_a_value_for_a_strategys_table_is_taken_for_one_without(record: RunRecord) -> None:
    recipe = catalogue_recipe("point-robot", "expert")
    odd = replace(recipe, adapt={**recipe.adapt, "idaq": 3})
    assert reproduce([record], make_results(), odd)[-2] == reproduce([record], make_results(), recipe)[-2]
    odd = replace(recipe, adapt={"report_at": 3})
    bare = replace(recipe, adapt={})
    assert reproduce([record], make_results(), odd)[-2] == reproduce([record], make_results(), bare)[-2]


def test_hostile_names_are_one_word(record: RunRecord) -> None:
    hostile = replace(record, dataset_id="idaq/$(reboot); 'x'-v0")
    for command in reproduce([hostile], make_results(), None):
        assert not {";", "$(reboot)"} & set(shlex.split(command))
        assert any("$(reboot); " in word for word in shlex.split(command))
