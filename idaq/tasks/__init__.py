"""Task families: what there is to solve. A family = a list of tasks + a Gymnasium env that takes one."""

import functools
from collections.abc import Callable

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

__all__ = ["FAMILIES", "Family", "LockstepEnv", "Singles", "StepBatch", "get_family"]


def get_family(name: str) -> Family:
    """Look a family up by name. Raises UnknownNameError with the nearest names."""
    if name not in FAMILIES:
        raise unknown_name("task family", name, FAMILIES)
    return FAMILIES[name]()
