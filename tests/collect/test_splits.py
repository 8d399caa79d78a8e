"""Which of a family's tasks a recipe takes, and for which split."""

from collections import Counter
from dataclasses import replace

import pytest

from idaq.collect.plan import assign_splits
from idaq.core.errors import ConfigError
from idaq.format.recipe import Splits
from idaq.tasks import Family, get_family
from idaq.testing.examples import example_recipe


def family() -> Family:
    """100 tasks: three sizes in turn, the last 40 stated to be for testing."""
    robots = get_family("point-robot")
    tasks = tuple(
        replace(task, params={**task.params, "size": task.task_index % 3}, split="train" if index < 60 else "test")
        for index, task in enumerate(robots.tasks)
    )
    return replace(robots, tasks=tasks)


def assigned(splits: Splits) -> dict[int, str]:
    return assign_splits(replace(example_recipe(), splits=splits), family())


def test_a_recipe_draws_from_all_tasks_unless_it_follows_the_family() -> None:
    drawn = assigned(Splits(seed=0, sizes={"train": 60, "test": 40}))
    assert any(index >= 60 for index, split in drawn.items() if split == "train")
    followed = assigned(Splits(seed=0, sizes={"train": 60, "test": 40}, assigned_by="family"))
    assert followed == {index: "train" if index < 60 else "test" for index in range(100)}


def test_a_split_that_the_family_does_not_state_is_drawn_from_its_training_tasks() -> None:
    followed = assigned(Splits(seed=0, sizes={"train": 30, "val": 30, "test": 5}, assigned_by="family"))
    assert Counter(followed.values()) == {"train": 30, "val": 30, "test": 5}
    assert {index for index, split in followed.items() if split != "test"} == set(range(60))
    assert min(index for index, split in followed.items() if split == "test") >= 60


def test_balanced_splits_take_as_many_tasks_of_each_value() -> None:
    """Ten of 33 or 34 each, and one more of some where it does not come out even."""
    splits = Splits(seed=0, sizes={"train": 30, "test": 11}, balance="size")
    of_size = {split: Counter() for split in ("train", "test")}
    for index, split in assigned(splits).items():
        of_size[split][index % 3] += 1
    assert of_size["train"] == {0: 10, 1: 10, 2: 10}
    assert sorted(of_size["test"].values()) == [3, 4, 4]
    assert assigned(splits) == assigned(splits)
    assert assigned(replace(splits, seed=1)) != assigned(splits)


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (
            {"sizes": {"train": 61, "test": 1}, "assigned_by": "family"},
            "split train asks for 61 tasks; point-robot has 60",
        ),
        (
            {"sizes": {"test": 39, "val": 1, "train": 60}, "assigned_by": "family"},
            "split train asks for 60 tasks; .* 59",
        ),
        ({"sizes": {"train": 101}}, "ask for 101 tasks; point-robot has 100"),
        (
            {"sizes": {"train": 1}, "balance": "colour"},
            "balance is 'colour', which task goal-000 of point-robot has no",
        ),
    ],
)
def test_splits_that_do_not_fit_the_family_are_refused(splits: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        assigned(Splits(seed=0, **splits))  # type: ignore[arg-type]
