"""Behaviour policy `hold-at-goal`: scripts of ours for the sets of ML1 whose own script solves its task, then loses it.

Meta-World pays 10 a step only while the object is at its goal. The scripts of these sets push a handle or a plate past
it, press a button beside its middle, or let the stick slip out. Ours come near as those do; once the hand has the
object, it moves by what the object still lacks of its goal, and so holds it where it has arrived. Their numbers were
chosen by hand (datasets/ml1/notes.md). Places are (3,), in metres.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from idaq.collect.behaviours import StatelessPolicy
from idaq.core.errors import CollectError, ConfigError
from idaq.core.types import Array
from idaq.tasks.family import Family

GAIN = 25.0
"""action for each metre that the hand is away from where it shall be"""
NEAR = 0.04
"""what is beside a place by no more is there"""
ABOVE = np.array([0, 0, 0.1])
ON_PLATE, BESIDE_PLATE = np.array([0.023, 0, 0.025]), np.array([0.07, 0, -0.005])
PLATE_Y = 0.6
"""where every plate starts; pushed from there it stays near"""
AT_STICK = np.array([-0.015, 0, 0.03])
OPENING = 0.7
"""of the fingers on the button: what is open is paid for, and from 0.75 on the button slips between them"""


class View(NamedTuple):
    """What a script sees of one episode, goal included."""

    hand: Array
    opening: float
    """of the fingers, from 0 to 1"""
    object: Array
    second: Array
    """object, where there is one"""
    goal: Array
    """of the object, or of the second one where there is one"""


Script = Callable[[View], tuple[Array, float]]
"""-> where the hand shall be, and the fingers' command, from -1 (open) to 1 (close)"""


def press_handle(view: View) -> tuple[Array, float]:
    """Down on a handle that stays where it is left, with closed fingers."""
    if _beside(view, view.object):
        return view.object + ABOVE, 1.0
    return np.array([*view.object[:2], view.hand[2] + _ahead(view.object, view.goal)[2]]), 1.0


def press_button(view: View) -> tuple[Array, float]:
    """Down on the middle of a button, to its stop, with fingers half open."""
    return view.object + (ABOVE if _beside(view, view.object) else 0), 2 * (view.opening - OPENING)


def drag_plate(view: View) -> tuple[Array, float]:
    """With closed fingers on top of the plate."""
    place = _approach(view, view.object + ON_PLATE)
    return view.hand + _ahead(view.object, view.goal) if place is None else place, 1.0


def push_plate(view: View) -> tuple[Array, float]:
    """Along x, with closed fingers at the plate's side: the goal's frame leaves no room to drag it."""
    place = _approach(view, view.object + BESIDE_PLATE)
    if place is None:
        place = np.array([view.hand[0] + _ahead(view.object, view.goal)[0], PLATE_Y, view.hand[2]])
    return place, 1.0


def pull_by_stick(view: View) -> tuple[Array, float]:
    """Grasp the stick, lift it, put it into the ring of the second object, and pull that over the table."""
    grip, ring = view.object + AT_STICK, view.second + AT_STICK
    lifted = view.object[2] > 0.03
    fingers = -1.0 if _beside(view, grip, 0.02) and not lifted else 0.7
    x_apart, y_apart, z_apart = np.abs(grip - ring)
    place = None if lifted else _approach(view, grip, 0.02)
    if x_apart <= NEAR:
        place = view.hand + np.array([*_ahead(view.second, view.goal)[:2], ring[2] - grip[2]])
    elif place is None and y_apart > 0.02:
        place = np.array([grip[0], ring[1], grip[2]])
    elif place is None:
        place = np.array([grip[0] if z_apart > 0.02 else ring[0], *ring[1:]])
    return place, fingers


def _beside(view: View, touch: Array, near: float = NEAR) -> bool:
    return bool(np.linalg.norm((view.hand - touch)[:2]) > near)


def _approach(view: View, touch: Array, near: float = NEAR) -> Array | None:
    """Above the place to touch, then down to it; None once the hand is there."""
    if _beside(view, touch, near):
        return touch + ABOVE
    return touch if abs(view.hand[2] - touch[2]) > near else None


def _ahead(place: Array, goal: Array) -> Array:
    """How far the hand is led ahead of an object that it has: less and less, so that the object is not carried past."""
    return 0.4 * (goal - place)


SCRIPTS: dict[str, Script] = {
    "ml1/button-press-topdown-wall": press_button,
    "ml1/handle-press": press_handle,
    "ml1/handle-press-side": press_handle,
    "ml1/plate-slide-back-side": drag_plate,
    "ml1/plate-slide-side": push_plate,
    "ml1/stick-pull": pull_by_stick,
}
"""by family"""


def hold_at_goal(
    family: Family, tasks: NDArray[np.int64], seeds: NDArray[np.uint64], options: dict[str, Any]
) -> StatelessPolicy:
    """The script of a family, for B episodes. Raises CollectError for a family without one, ConfigError for options."""
    script = SCRIPTS.get(family.name)
    if script is None:
        said = f"the behaviour policy hold-at-goal has no script for {family.name}"
        raise CollectError(said, hint=f"it has one for {', '.join(SCRIPTS)}")
    if options:
        raise ConfigError(f"the behaviour policy hold-at-goal takes no options; it was given {', '.join(options)}")
    return StatelessPolicy(lambda views, _step: np.array([action(script, seen) for seen in views]))


def action(script: Script, seen: Array) -> Array:
    """What a script does (4,), within [-1, 1], at an observation (39,) with the goal."""
    view = View(hand=seen[:3], opening=seen[3], object=seen[4:7], second=seen[11:14], goal=seen[-3:])
    place, fingers = script(view)
    return np.clip([*(GAIN * (place - view.hand)), fingers], -1, 1)
