"""Task families: what there is to solve. A family = a list of tasks + a Gymnasium env that takes one."""

import functools
from collections.abc import Callable, Collection

from idaq.core.errors import unknown_name
from idaq.tasks import locomotion, ml1, point
from idaq.tasks.family import Family, LockstepEnv, Singles, StepBatch

FAMILIES: dict[str, Callable[[], Family]] = {
    "point-robot": point.point_robot,
    "point-robot-sparse": point.point_robot_sparse,
    "point-robot-wind": point.point_robot_wind,
    **{name: functools.partial(locomotion.locomotion, name) for name in locomotion.VARIANTS},
    **{f"ml1/{name}": functools.partial(ml1.ml1, name) for name in ml1.NAMES},
}

__all__ = ["FAMILIES", "Family", "LockstepEnv", "Singles", "StepBatch", "find_family", "get_family"]


def get_family(name: str) -> Family:
    """Look a family up by name. Raises UnknownNameError with the nearest names."""
    if name not in FAMILIES:
        raise unknown_name("task family", name, FAMILIES)
    return FAMILIES[name]()


def find_family(name: str, allow: Collection[str] = ()) -> Family:
    """The family that a document has named. Raises UnknownNameError with the nearest names."""
    return get_family(name)
