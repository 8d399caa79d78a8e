"""Trainings by name: the matrix of a sweep."""

import pytest

from idaq.adapt.training import TrainJob, combinations
from idaq.collect.collect import Collected
from idaq.core.errors import UsageError


def test_every_value_meets_every_other() -> None:
    found = combinations(["learner.alpha=1, 2", "encoder.hidden=16,32"])
    assert [one.settings for one in found] == [
        ("learner.alpha=1", "encoder.hidden=16"),
        ("learner.alpha=1", "encoder.hidden=32"),
        ("learner.alpha=2", "encoder.hidden=16"),
        ("learner.alpha=2", "encoder.hidden=32"),
    ]
    assert found[0].name == "learner.alpha=1-encoder.hidden=16"


def test_commas_within_a_value_are_its_own() -> None:
    found = combinations(["a=[1, 2],[3]", 'b="x,y",z'])
    assert [one.settings for one in found] == [
        ("a=[1, 2]", 'b="x,y"'), ("a=[1, 2]", "b=z"), ("a=[3]", 'b="x,y"'), ("a=[3]", "b=z"),
    ]  # fmt: skip
    assert "/" not in combinations(["algorithm=my_pkg.a:B,c/d"])[1].name


@pytest.mark.parametrize(
    ("algorithm", "notes"),
    [
        ("focal-td3bc", ()),
        ("focal-bc", ("the recipe's training settings are of focal-td3bc: focal-bc takes split, and not learner",)),
    ],
)
def test_what_another_algorithm_takes_of_a_recipe_is_told(
    collected: Collected, algorithm: str, notes: tuple[str, ...]
) -> None:
    opened = TrainJob(dataset=str(collected.path), settings={"algorithm": algorithm}).open()
    assert opened.notes == notes
    assert opened.config.split == "train"


@pytest.mark.parametrize("vary", [["a"], ["a="], ["=1"], ["a=1", "a=2"], ["a=1,1"]])
def test_what_is_not_understood(vary: list[str]) -> None:
    with pytest.raises(UsageError):
        combinations(vary)
