"""Whose settings a training takes."""

import pytest

from idaq.core.errors import ConfigError
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import TrainConfig, training_config


class OtherConfig(FocalTd3BcConfig):
    """Another algorithm, by its own name."""


HERE = f"{__name__}:OtherConfig"


def test_a_recipes_settings_are_of_its_own_algorithm() -> None:
    """The user's word comes first; a recipe that names no algorithm means the default one."""
    recipe = {"steps": 7, "learner": {"alpha": 0.25}}
    assert training_config({"seed": 3}, recipe).steps == 7
    other: TrainConfig = training_config({"seed": 3, "algorithm": HERE}, recipe)
    assert (other.algorithm, other.steps, other.seed) == (HERE, FocalTd3BcConfig().steps, 3)
    assert training_config({"algorithm": HERE}, {**recipe, "algorithm": HERE}, allow=[HERE]).steps == 7


def test_a_setting_that_the_user_wrote_must_exist() -> None:
    with pytest.raises(ConfigError, match="training settings: alpha: there is no such field"):
        training_config({"alpha": 1}, {"steps": 7})
