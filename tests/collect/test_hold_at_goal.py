"""Scripts that hold the object at its goal: what they earn, where they stop, and that other sets are refused."""

import dataclasses
import random

import numpy as np
import pytest

from idaq.catalogue.entries import catalogue_recipe, entries
from idaq.collect.hold_at_goal import (
    ABOVE,
    AT_STICK,
    BESIDE_PLATE,
    GAIN,
    ON_PLATE,
    OPENING,
    SCRIPTS,
    Script,
    View,
    action,
    drag_plate,
    hold_at_goal,
    press_button,
    press_handle,
    pull_by_stick,
    push_plate,
)
from idaq.collect.rollout import rollout
from idaq.core.errors import CollectError, ConfigError
from idaq.core.types import Array
from idaq.tasks import Family, get_family
from idaq.tasks.ml1 import HORIZON
from idaq.testing import BehaviourContract

HELD = catalogue_recipe("ml1/handle-press", "held").behaviours[0]


def xyz(*numbers: float) -> Array:
    return np.array(numbers)


PLACE, GOAL = xyz(0.1, 0.7, 0.1), xyz(0.14, 0.72, 0.05)
"""of an object, and where it shall be"""


def view(hand: Array, **changes: Array | float) -> View:
    start = View(hand=hand, opening=1.0, object=PLACE, second=np.zeros(3), goal=GOAL)
    return start._replace(**changes)


def shortened(name: str, horizon: int) -> Family:
    return dataclasses.replace(get_family(name), horizon=horizon)


class TestHoldAtGoal(BehaviourContract):
    @pytest.fixture
    def family(self):
        return shortened("ml1/handle-press", 40)

    @pytest.fixture
    def behaviour(self):
        return HELD


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("button-press-topdown-wall", 3400),
        ("handle-press", 4550),
        ("handle-press-side", 4600),
        ("plate-slide-back-side", 4550),
        ("plate-slide-side", 4000),
        ("stick-pull", 4050),
    ],
)
def test_an_episode_earns_until_its_end(name: str, least: float) -> None:
    done = rollout(get_family(f"ml1/{name}"), HELD, np.array([7]), np.array([1], np.uint64))
    (episode,) = done.episodes
    assert len(episode) == HORIZON
    assert episode.total_reward > least
    assert episode.rewards[-100:].min() > 8
    assert done.successes.all()
    assert done.clipped == 0


def test_the_recipe_is_for_the_sets_that_have_a_script() -> None:
    held = [entry for entry in entries() if entry.quality == "held"]
    assert {entry.family for entry in held} == set(SCRIPTS)
    for entry in held:
        recipe = catalogue_recipe(entry.family, "held")
        assert (recipe.id, recipe.family) == (f"idaq/ml1-{entry.name}/held-v0", entry.family)
        assert recipe.behaviours == [HELD]
        assert recipe.splits == catalogue_recipe(entry.family, "expert").splits


def test_other_sets_and_options_are_refused() -> None:
    tasks, seeds = np.zeros(1, np.int64), np.zeros(1, np.uint64)
    with pytest.raises(CollectError, match="no script for point-robot") as caught:
        hold_at_goal(get_family("point-robot"), tasks, seeds, {})
    assert all(name in str(caught.value.hint) for name in SCRIPTS)
    with pytest.raises(ConfigError, match="takes no options; it was given gain"):
        hold_at_goal(get_family("ml1/handle-press"), tasks, seeds, {"gain": 3})


def test_no_global_random_numbers_are_drawn() -> None:
    family, script = get_family("ml1/stick-pull"), SCRIPTS["ml1/stick-pull"]
    env = family.lockstep()
    env.reset(np.array([3]), np.zeros(1, np.uint64))
    (seen,) = env.controller_view()
    before, numpys = random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    action(script, seen)
    assert random.getstate() == before
    assert (np.random.get_state()[1] == numpys).all()  # type: ignore[index]


@pytest.mark.parametrize(
    ("script", "touch"),
    [(press_handle, xyz(0, 0, 0)), (press_button, xyz(0, 0, 0)), (drag_plate, ON_PLATE), (push_plate, BESIDE_PLATE)],
)
def test_from_beside_the_hand_comes_from_above(script: Script, touch: Array) -> None:
    place, _ = script(view(PLACE + touch + xyz(0.03, 0.03, 0)))
    np.testing.assert_allclose(place, PLACE + touch + ABOVE)


@pytest.mark.parametrize(("script", "touch"), [(drag_plate, ON_PLATE), (push_plate, BESIDE_PLATE)])
def test_it_goes_down_to_a_plate_before_it_moves_it(script: Script, touch: Array) -> None:
    place, fingers = script(view(PLACE + touch + 0.5 * ABOVE))
    np.testing.assert_allclose(place, PLACE + touch)
    assert fingers == 1


@pytest.mark.parametrize(
    ("script", "touch", "stays"),
    [
        (press_handle, xyz(0.01, 0, 0.03), {0: PLACE[0], 1: PLACE[1]}),
        (drag_plate, ON_PLATE, {}),
        (push_plate, BESIDE_PLATE, {1: 0.6, 2: (PLACE + BESIDE_PLATE)[2]}),
    ],
)
def test_the_hand_moves_by_what_the_object_lacks_and_stays_once_it_is_there(
    script: Script, touch: Array, stays: dict[int, float]
) -> None:
    for goal in (GOAL, PLACE):
        expected = PLACE + touch + 0.4 * (goal - PLACE)
        for axis, value in stays.items():
            expected[axis] = value
        place, fingers = script(view(PLACE + touch, goal=goal))
        np.testing.assert_allclose(place, expected)
        assert fingers == 1


def test_the_fingers_on_the_button_are_kept_half_open() -> None:
    assert [np.sign(press_button(view(PLACE, opening=OPENING + by))[1]) for by in (0.1, -0.1)] == [1, -1]
    np.testing.assert_array_equal(press_button(view(PLACE + 0.01))[0], PLACE)


def test_the_stick_is_grasped_lifted_put_into_the_ring_and_pulled() -> None:
    stick, ring = xyz(0, 0.6, 0.02), xyz(0.2, 0.5, 0.13)
    up = xyz(0, 0, ring[2] - stick[2])

    def goes(hand: Array, at: Array, where: Array, fingers: float) -> None:
        found, command = pull_by_stick(view(hand, object=at, second=ring))
        np.testing.assert_allclose(found, where)
        assert command == fingers

    grip = stick + AT_STICK
    goes(grip + xyz(0.03, 0, 0), stick, grip + ABOVE, -1)
    goes(grip + 0.5 * ABOVE, stick, grip, 0.7)
    goes(grip, stick, xyz(grip[0], ring[1], grip[2]), 0.7)
    level = xyz(stick[0], ring[1], stick[2])
    goes(level + AT_STICK, level, level + AT_STICK + up, 0.7)
    goes(level + AT_STICK + up + 0.1, level + up, ring + AT_STICK, 0.7)  # lifted, the stick is not let go
    inside = ring - xyz(0.03, 0, 0.01)
    goes(inside, inside, inside + xyz(*0.4 * (GOAL - ring)[:2], 0.01), 0.7)


def test_an_action_leads_to_the_place_and_stays_within_bounds() -> None:
    seen = np.zeros(39)
    seen[:3], seen[3], seen[4:7], seen[-3:] = PLACE + 0.02, 1, PLACE, GOAL

    def script(view: View) -> tuple[Array, float]:
        np.testing.assert_array_equal(np.concatenate([view.object, view.goal]), [*PLACE, *GOAL])
        return view.hand + xyz(0.01, -0.02, 1), 0.3

    np.testing.assert_allclose(action(script, seen), [0.01 * GAIN, -0.02 * GAIN, 1, 0.3])
