"""Dark Room as the literature has it: rewards, moves, the best actions, pictures; 81 hidden goals."""

from typing import Any

import numpy as np
import pytest

from idaq.core.errors import UnknownNameError
from idaq.tasks import get_family
from idaq.tasks.dark_room import DOWN, GOALS, LEFT, RIGHT, STAY, UP, controller, dark_room, pictures

DENSE, SPARSE, PIXELS = (get_family(name) for name in ("dark-room", "dark-room-sparse", "dark-room-pixels"))


def task_of(x: int, y: int) -> int:
    (task,) = np.flatnonzero(([x, y] == GOALS).all(1))
    return int(task)


def played(name: str, goal: tuple[int, int], actions: list[int]) -> tuple[list[Any], list[float], list[bool]]:
    """Observations, rewards, and whether each step was the goal's."""
    env = get_family(name).make(task_of(*goal))
    seen, paid, there = [env.reset()[0]], [], []
    for action in actions:
        observation, reward, _, _, info = env.step(action)
        seen.append(observation)
        paid.append(float(reward))
        there.append(info["success"])
    return seen, paid, there


def test_every_cell_is_the_goal_of_one_task() -> None:
    goals = [task.params["goal"] for task in DENSE.tasks]
    assert goals == [[float(x), float(y)] for x in range(9) for y in range(9)]
    assert DENSE.tasks[task_of(2, 7)].task_id == "goal-2-7"


def test_an_agent_starts_in_the_centre_and_walls_hold_it() -> None:
    seen, _, _ = played("dark-room", (0, 0), [RIGHT, LEFT, UP, DOWN, STAY] + [RIGHT] * 6 + [UP] * 5)
    assert [place.tolist() for place in seen[:6]] == [[4, 4], [5, 4], [4, 4], [4, 5], [4, 4], [4, 4]]
    assert [place.tolist() for place in seen[6:12]] == [[5, 4], [6, 4], [7, 4], [8, 4], [8, 4], [8, 4]]
    assert seen[-1].tolist() == [8, 8]


def test_the_dense_room_pays_every_step_on_the_goal_and_the_sparse_one_the_first_of_an_episode() -> None:
    actions = [UP, RIGHT, STAY, LEFT, RIGHT]
    _, dense, there = played("dark-room", (5, 5), actions)
    _, sparse, _ = played("dark-room-sparse", (5, 5), actions)
    assert there == [False, True, True, False, True]
    assert dense == [0, 1, 1, 0, 1]
    assert sparse == [0, 1, 0, 0, 0]
    env = SPARSE.make(task_of(5, 4))
    for _ in range(2):
        env.reset()
        assert [env.step(RIGHT)[1], env.step(STAY)[1]] == [1, 0], "paid again in the next episode"


def test_success_is_to_have_been_there_where_one_visit_pays_and_to_be_there_at_the_end_elsewhere() -> None:
    found = {family.name: family.tasks[0].success for family in (DENSE, SPARSE, PIXELS)}
    said = {name: success.when for name, success in found.items() if success is not None}
    assert said == {"dark-room": "last-step", "dark-room-sparse": "any-step", "dark-room-pixels": "last-step"}


def test_a_goal_in_the_centre_is_paid_from_the_first_step() -> None:
    assert played("dark-room", (4, 4), [STAY, STAY])[1] == [1, 1]
    assert played("dark-room-sparse", (4, 4), [STAY, STAY])[1] == [1, 0]


@pytest.mark.parametrize(
    ("place", "goal", "best"),
    [
        ((4, 4), (6, 1), RIGHT),
        ((6, 4), (6, 1), DOWN),
        ((4, 4), (0, 8), LEFT),
        ((0, 4), (0, 8), UP),
        ((3, 3), (3, 3), STAY),
    ],
)
def test_the_best_action_goes_along_x_then_along_y_then_stays(
    place: tuple[int, int], goal: tuple[int, int], best: int
) -> None:
    assert controller(np.array([place]), np.array([task_of(*goal)])).tolist() == [best]


def test_the_best_actions_reach_every_goal_as_soon_as_can_be() -> None:
    env, tasks = DENSE.lockstep(), np.arange(81)
    env.reset(tasks, np.zeros(81, np.uint64))
    returns = np.zeros(81)
    for _ in range(20):
        step = env.step(controller(env.controller_view(), tasks))
        returns += step.rewards
    distance = np.abs(GOALS - 4).sum(1)
    np.testing.assert_array_equal(returns, 21 - np.maximum(distance, 1))
    assert step.success.all()


def test_a_picture_shows_where_the_agent_is_and_not_where_the_goal_is() -> None:
    """81 pictures, no two alike; the bright cell is where the coordinates say, y up."""
    assert len({picture.tobytes() for picture in pictures().reshape(81, -1)}) == 81
    actions = [RIGHT, UP, UP, LEFT]
    for goal in ((0, 0), (8, 3)):
        seen, _, _ = played("dark-room-pixels", goal, actions)
        places, _, _ = played("dark-room", goal, actions)
        for picture, (x, y) in zip(seen, places, strict=True):
            rows, columns = np.nonzero(picture[..., 0] > 200)
            assert (set(rows // 4), set(columns // 4)) == ({8 - y}, {x})
            assert picture.shape == (36, 36, 3)
            assert picture.dtype == np.uint8


def test_a_rendered_picture_has_the_goal_too() -> None:
    env = DENSE.make(task_of(0, 8), render_mode="rgb_array")
    env.reset()
    image: Any = env.render()
    green = np.argwhere((image == [110, 190, 110]).all(-1))
    assert (image.shape, image.dtype, green.min(0).tolist()) == ((252, 252, 3), np.uint8, [0, 0])
    assert green.max() < 28


def test_a_misspelt_room_is_told_near_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown dark room 'dark-rom'") as caught:
        dark_room("dark-rom")
    assert "'dark-room'" in str(caught.value.hint)
