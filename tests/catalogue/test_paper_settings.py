"""The settings of the IDAQ reference code, as `idaq train --config` takes them."""

import tomllib

import pytest

from idaq.core.resources import resource_root
from idaq.learn.algorithms.cpearl_config import CpearlConfig
from idaq.learn.config import training_config

FOLDER = resource_root("datasets") / "paper"


@pytest.mark.parametrize(
    ("name", "steps", "context", "gamma", "reward_scale", "focal_weight", "brac"),
    [
        ("point-robot", 50_000, 1024, 0.9, 100, 10, False),
        ("cheetah-vel", 100_000, 100, 0.99, 5, 10, False),
        ("ml1", 300_000, 400, 0.99, 5, 100, True),
    ],
)
def test_they_are_those_of_its_scripts(
    name: str, steps: int, context: int, gamma: float, reward_scale: float, focal_weight: float, brac: bool
) -> None:
    config = training_config(tomllib.loads((FOLDER / f"{name}.toml").read_text()))
    assert isinstance(config, CpearlConfig)
    learner = config.learner
    assert (config.steps, config.context, config.focal_weight) == (steps, context, focal_weight)
    assert (learner.gamma, learner.reward_scale, learner.brac) == (gamma, reward_scale, brac)
    assert (config.meta_batch, config.batch, config.lr_end, config.bottleneck) == (16, 256, 1.0, False)
    assert (learner.hidden, learner.layers, learner.lr, learner.dual_lr) == (256, 3, 3e-4, 1e-4)
