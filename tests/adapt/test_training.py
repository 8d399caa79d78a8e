"""Trainings by name: the matrix of a sweep."""

import pytest

from idaq.adapt.training import combinations
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


@pytest.mark.parametrize("vary", [["a"], ["a="], ["=1"], ["a=1", "a=2"], ["a=1,1"]])
def test_what_is_not_understood(vary: list[str]) -> None:
    with pytest.raises(UsageError):
        combinations(vary)
