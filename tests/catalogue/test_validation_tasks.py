"""Validation tasks are carved out of the training tasks: what was published on test tasks stays comparable."""

from collections import Counter
from dataclasses import replace

import pytest

from idaq.catalogue.entries import Entry, catalogue_recipe, entries
from idaq.collect.plan import assign_splits
from idaq.core.config import to_mapping
from idaq.core.digest import value_digest
from idaq.learn.config import ALGORITHMS, training_config
from idaq.tasks import get_family

OF_100 = [5, 11, 15, 18, 21, 25, 31, 33, 34, 38, 41, 43, 52, 60, 66, 69, 71, 72, 87, 95]
OF_50 = [2, 5, 11, 21, 23, 25, 31, 34, 41, 43]
OF_81 = [5, 11, 15, 18, 21, 25, 31, 33, 34, 38, 41, 43, 52, 60, 66, 69]
OF_80 = [5, 11, 13, 15, 17, 18, 21, 25, 30, 31, 33, 34, 38, 41, 43, 52, 60, 65, 66, 69]
ALL, ONE_OF_TEN = {"train": 80, "test": 20}, {"train": 40, "test": 10}
PUBLISHED: dict[str, tuple[dict[str, int], list[int] | str]] = {
    "point-robot": (ALL, OF_100),
    "point-robot-sparse": (ALL, OF_100),
    "point-robot-wind": (ONE_OF_TEN, OF_50),
    "cheetah-vel": (ALL, OF_100),
    "cheetah-dir": ({"train": 2}, []),
    "ant-dir": (ONE_OF_TEN, OF_50),
    "ant-goal": ({"train": 60, "test": 20}, OF_80),
    "humanoid-dir": (ALL, OF_100),
    "walker-rand-params": (ONE_OF_TEN, OF_50),
    "hopper-rand-params": (ONE_OF_TEN, OF_50),
    "dark-room": ({"train": 65, "test": 16}, OF_81),
    "dark-room-sparse": ({"train": 65, "test": 16}, OF_81),
    "dark-room-pixels": ({"train": 65, "test": 16}, OF_81),
    "ml1": (ONE_OF_TEN, OF_50),
    "ml10": ({"train": 100, "test": 50}, "942151c32e457cbb8d2f8147b1d156c5b6514eb6c228d45fc7ce6c259ce21226"),
    "ml45": ({"train": 225, "test": 25}, "352f8d78ddf793aad9b24caa60016758f39d728676e92ab20912450238b3d273"),
}
"""by suite: the sizes of the splits before there were validation tasks, and the test tasks then (of many: a digest)"""
RECIPES = list({(e.suite, e.quality): e for e in entries()}.values())
"""one set of a suite stands for all: they share recipe and number of tasks"""


def of(splits: dict[int, str], *names: str) -> list[int]:
    return [index for index, split in splits.items() if split in names]


@pytest.mark.parametrize("entry", RECIPES, ids=str)
def test_the_test_tasks_are_those_of_before_and_the_others_are_shared_out(entry: Entry) -> None:
    pytest.importorskip("metaworld" if entry.suite.startswith("ml") else "numpy")
    recipe, family = catalogue_recipe(entry.family, entry.quality), get_family(entry.family)
    before, tests = PUBLISHED[entry.suite]
    now = assign_splits(recipe, family)
    then = assign_splits(replace(recipe, splits=replace(recipe.splits, sizes=before)), family)
    assert (of(now, "test") if isinstance(tests, list) else value_digest(of(now, "test"))) == tests
    assert of(now, "test") == of(then, "test")
    assert of(now, "train", "val") == of(then, "train")
    assert Counter(now.values()) == recipe.splits.sizes


@pytest.mark.parametrize("entry", RECIPES, ids=str)
def test_one_training_task_in_ten_or_more_validates_and_the_reported_agents_learn_from_it_too(entry: Entry) -> None:
    """By every algorithm. Half-cheetah's two directions cannot be shared out."""
    recipe = catalogue_recipe(entry.family, entry.quality)
    sizes = recipe.splits.sizes
    learned = sizes["train"] + sizes.get("val", 0)
    assert entry.suite == "cheetah-dir" or 0.09 < sizes["val"] / learned <= 0.2
    for algorithm in ALGORITHMS.builtin:
        split = to_mapping(training_config({"algorithm": algorithm}, recipe.train))["split"]
        assert split == ("train+val" if "val" in sizes else "train")
