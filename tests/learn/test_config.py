"""Whose settings a training takes."""

from dataclasses import fields

import pytest

from idaq.core.config import to_mapping
from idaq.core.errors import ConfigError
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import TrainConfig, settings_for, training_config
from idaq.learn.learners.config import Td3BcConfig


class OtherConfig(FocalTd3BcConfig):
    """Another algorithm, by its own name."""


HERE = f"{__name__}:OtherConfig"


def test_a_recipes_settings_are_of_its_own_algorithm() -> None:
    """The user's word comes first; a recipe that names no algorithm means the default one."""
    recipe = {"steps": 7, "learner": {"alpha": 0.25}}
    assert training_config({"seed": 3}, recipe).steps == 7
    other: TrainConfig = training_config({"seed": 3, "algorithm": HERE}, recipe)
    assert (other.algorithm, other.seed, to_mapping(other)["learner"]) == (HERE, 3, to_mapping(Td3BcConfig()))
    mine: TrainConfig = training_config({"algorithm": HERE}, {**recipe, "algorithm": HERE}, allow=[HERE])
    assert (mine.steps, to_mapping(mine)["learner"]["alpha"]) == (7, 0.25)


@pytest.mark.parametrize("name", sorted({field.name for field in fields(TrainConfig)} - {"algorithm", "sampler"}))
def test_what_all_algorithms_have_holds_for_any(name: str) -> None:
    """Which tasks a dataset is learned from, say."""
    values = {"split": "train+val", "discrete": "index", "validation": {"every": 5}}
    recipe = {"algorithm": "focal-td3bc", "context": 7, name: values.get(name, 32)}
    told = to_mapping(training_config({"algorithm": HERE}, recipe))
    expected = to_mapping(training_config({"algorithm": HERE, name: recipe[name]}))
    assert told == expected != to_mapping(training_config({"algorithm": HERE}))
    user = to_mapping(training_config({"algorithm": HERE, name: to_mapping(FocalTd3BcConfig())[name]}, recipe))
    assert user[name] == to_mapping(FocalTd3BcConfig())[name]


def test_the_sampler_is_an_algorithms_own_choice() -> None:
    recipe = {"algorithm": HERE, "sampler": "segments", "split": "train+val"}
    assert settings_for("focal-td3bc", recipe) == {"split": "train+val"}
    assert settings_for(HERE, recipe) == recipe


def test_a_setting_that_the_user_wrote_must_exist() -> None:
    with pytest.raises(ConfigError, match="training settings: alpha: there is no such field"):
        training_config({"alpha": 1}, {"steps": 7})
