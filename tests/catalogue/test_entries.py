from pathlib import Path

import pytest

from idaq.catalogue.entries import catalogue_recipe, entries, find_entry, load_recipe, matching
from idaq.collect.collect import episode_count, reference_count
from idaq.collect.plan import assign_splits
from idaq.core.errors import ConfigError, UnknownNameError
from idaq.format.recipe import Recipe
from idaq.tasks import BUILT_IN, get_family
from tests.recipes import small_recipe

EXPERT = find_entry("point-robot", "expert").folder / "recipe.toml"
MIXED = find_entry("point-robot", "mixed").folder / "recipe.toml"


@pytest.mark.parametrize(("family", "quality"), [(e.family, e.quality) for e in entries() if "/" not in e.family])
def test_every_recipe_of_the_catalogue_makes_the_dataset_it_is_named_after(family: str, quality: str) -> None:
    recipe = catalogue_recipe(family, quality)
    assert recipe.id == f"idaq/{family}/{quality}-v0"
    assert recipe.family == family
    assert set(assign_splits(recipe, get_family(family)).values()) == set(recipe.splits.sizes)


def test_every_family_is_in_the_catalogue() -> None:
    assert {entry.family for entry in entries()} == set(BUILT_IN)


@pytest.mark.parametrize(
    ("family", "quality", "text", "near"),
    [
        ("point-robo", "expert", "unknown dataset family 'point-robo'", "'point-robot'"),
        ("point-robot", "exprt", "unknown quality of point-robot 'exprt'", "did you mean 'expert'?"),
        ("../point-robot", "expert", "unknown dataset family '../point-robot'", "'point-robot'"),
    ],
)
def test_an_unknown_entry_is_answered_with_the_nearest(family: str, quality: str, text: str, near: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_entry(family, quality)
    assert caught.value.message == text
    assert near in str(caught.value.hint)


def test_a_quality_of_some_sets_is_refused_for_the_others_and_says_which_it_is_for() -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_entry("ml1/reach", "held")
    assert caught.value.message.startswith(
        "ml1/reach has no quality 'held': it is for ml1/button-press-topdown-wall, ml1/h"
    )
    assert caught.value.hint == "of ml1/reach there are expert, medium, mixed"
    assert str(find_entry("ml1/handle-press", "held")) == "ml1/handle-press/held"
    assert [entry.name for entry in matching("ml1/plate-*/held")] == ["plate-slide-back-side", "plate-slide-side"]


def test_episodes_sets_the_number_of_every_behaviour_and_later_settings_win() -> None:
    recipe = load_recipe(MIXED, ["episodes=4", "behaviours.random.episodes=1"])
    assert [behaviour.episodes for behaviour in recipe.behaviours] == [4, 4, 1]


@pytest.mark.parametrize(
    ("setting", "text", "hint"),
    [
        ("sed=3", "sed: there is no such field", "did you mean 'seed'?"),
        ("behaviours.expert.nois=3", "behaviours.0.nois: there is no such field", "did you mean 'noise' or 'options'?"),
        ("reference.random_episode=3", "there is no such field", "did you mean 'random_episodes'?"),
        ("splits.size.train=3", "splits.size: there is no such field", "did you mean 'sizes' or 'seed'?"),
        ("episodes=0", "behaviours.0.episodes: Input should be greater than or equal to 1 (got 0)", None),
        ("episodes", "--set 'episodes' is not of the form key=value", "for example --set seed=1"),
        ("reference.random_episodes=1", "random_episodes: Input should be greater than or equal to 2", None),
        ("seed=-1", "seed: Input should be greater than or equal to 0 (got -1)", None),
        ("behaviours.0.noise=nan", "behaviours.0.noise: Input should be a finite number (got nan)", None),
        (
            "behaviours.0.kind=clever",
            "Input should be 'scripted', 'trained', 'policy', 'random', 'mixture' or 'unknown' (got 'clever')",
            None,
        ),
        ("behaviours.1.name=expert", "behaviour names must differ, got ['expert', 'expert', 'random']", None),
        ("behaviours=[]", "behaviours: List should have at least 1 item", None),
        ("splits.sizes={}", "splits.sizes: Dictionary should have at least 1 item", None),
        ("splits.sizes.Test=1", "splits.sizes.Test.[key]: String should match pattern", None),
        ("behaviours.0.name=../x", "behaviours.0.name: String should match pattern", None),
        ("id=../../etc/passwd-v0", "id: is not a dataset id; ids look like idaq/point-robot/expert-v0", None),
        ("id=idaq/x", "id: is not a dataset id; ids look like", None),
        ("train.lr=inf", "train: must be plain data that JSON can hold: no NaN, infinity or dates", None),
        ("adapt.day=2020-01-01", "adapt: must be plain data that JSON can hold", None),
        ("recipe_version=2", "recipe_version tells how to read the file; it cannot be set", None),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_place_and_the_rule(setting: str, text: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(MIXED, [setting])
    assert text in caught.value.message
    assert caught.value.hint == hint


@pytest.mark.parametrize("version", ["2", "true", '"1"', "1.0"])
def test_a_recipe_of_another_version_is_refused_by_its_file(tmp_path: Path, version: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(EXPERT.read_text().replace("recipe_version = 1", f"recipe_version = {version}"))
    with pytest.raises(ConfigError, match=r"recipe.toml: recipe_version: (Input should be 1|must be the integer 1)"):
        load_recipe(path)


def test_an_unknown_family_is_answered_with_the_nearest() -> None:
    recipe = load_recipe(EXPERT, ["family=point-robto"])
    with pytest.raises(UnknownNameError, match="'point-robot'"):
        get_family(recipe.family)


def test_splits_are_a_seeded_permutation_of_the_tasks_in_index_order() -> None:
    family = get_family("point-robot")
    recipe = load_recipe(EXPERT)
    splits = assign_splits(recipe, family)
    assert list(splits) == sorted(splits) == list(range(100))
    assert [list(splits.values()).count(name) for name in ("train", "val", "test")] == [72, 8, 20]
    assert assign_splits(load_recipe(EXPERT, ["splits.seed=8"]), family) != splits
    assert assign_splits(load_recipe(EXPERT, ["seed=8"]), family) == splits


def test_smaller_splits_take_their_tasks_from_the_same_permutation() -> None:
    family = get_family("point-robot")
    few, all_tasks = (assign_splits(r, family) for r in (small_recipe(), load_recipe(EXPERT)))
    assert len(few) == 8
    train = [task for task, split in few.items() if split == "train"]
    assert all(all_tasks[task] == "train" for task in train)


@pytest.mark.parametrize(
    ("changes", "learned"),
    [
        (["splits.sizes={train = 6, test = 2}"], "train"),
        (["splits.sizes.val=0"], "train"),
        (["splits.sizes={val = 6, test = 2}"], "val"),
        (["splits.sizes={test = 2}"], None),
        (["splits.sizes.train=6"], "train+val"),
        (["splits.sizes={train = 6, more = 2}", "train.split=train+more"], "train+more"),
    ],
)
def test_nothing_is_learned_from_a_split_that_gets_no_tasks(changes: list[str], learned: str | None) -> None:
    recipe = load_recipe(EXPERT, changes)
    assert recipe.train.get("split") == learned
    assert {**recipe.train, "split": 0} == {**load_recipe(EXPERT).train, "split": 0}, "the rest stays"


@pytest.mark.parametrize("sizes", [{"train": 101}, {"train": 80, "test": 21}, {"train": 0}])
def test_splits_of_no_tasks_or_too_many_are_refused(sizes: dict[str, int]) -> None:
    recipe = load_recipe(EXPERT, [f"splits.sizes={{{', '.join(f'{k} = {v}' for k, v in sizes.items())}}}"])
    with pytest.raises(ConfigError, match=f"ask for {sum(sizes.values())} tasks; point-robot has 100"):
        assign_splits(recipe, get_family("point-robot"))


def test_the_episodes_that_are_counted_are_those_asked_for_and_the_random_reference_is_counted_apart() -> None:
    recipe: Recipe = small_recipe("point-robot", "mixed")
    assert (episode_count(recipe), reference_count(recipe)) == (8 * 3 * 3, 8 * 2)
