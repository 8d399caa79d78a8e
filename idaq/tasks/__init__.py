"""Task families: what there is to solve. A family = a list of tasks + a Gymnasium env that takes one."""

import functools
from collections.abc import Collection

from idaq.core.errors import IdaqError, PluginError, UsageError
from idaq.core.registry import Registry
from idaq.core.types import NO_FAMILY
from idaq.tasks import dark_room, locomotion, ml1, ml10, point
from idaq.tasks.family import Family, LockstepEnv, Spaces, StepBatch, SyncEnvs

BUILT_IN: dict[str, object] = {
    "point-robot": point.point_robot,
    "point-robot-sparse": point.point_robot_sparse,
    "point-robot-wind": point.point_robot_wind,
    **{name: functools.partial(dark_room.dark_room, name) for name in dark_room.VARIANTS},
    **{name: functools.partial(locomotion.locomotion, name) for name in locomotion.VARIANTS},
    **{f"ml1/{name}": functools.partial(ml1.ml1, name) for name in ml1.NAMES},
    **{name: functools.partial(ml10.multi, name) for name in ml10.TRAINING},
}

__all__ = [
    "BUILT_IN", "FAMILIES", "Family", "LockstepEnv", "Spaces", "StepBatch", "SyncEnvs", "find_family", "get_family",
]  # fmt: skip


def _family(name: str, thing: object) -> Family:
    """A family, or what a function without arguments makes. Raises TypeError for anything else."""
    if callable(thing):
        try:
            thing = thing()
        except IdaqError:
            raise
        except Exception as error:
            raise PluginError(f"making the family {name} raised {type(error).__name__}: {error}") from error
    if not isinstance(thing, Family):
        raise TypeError(f"{thing!r:.80} is no idaq.tasks.Family, nor a function that makes one")
    return thing


FAMILIES = Registry("task family", "idaq.families", BUILT_IN, _family)


def get_family(name: str) -> Family:
    """The family that a user has named: built in, installed, or `package.module:thing`. Raises as Registry.get."""
    return FAMILIES.get(name)


def find_family(name: str, allow: Collection[str] = ()) -> Family:
    """The family that a document has named; `package.module:thing` only if it is among `allow`, which the user wrote.

    Raises as Registry.find, and UsageError for data that are of none.
    """
    if name == NO_FAMILY and name not in FAMILIES.names():
        hint = "idaq adapt RUN --env ENV takes one system; idaq dataset import --family NAME makes tasks a family's"
        raise UsageError("the data are of no task family", hint=hint)
    return FAMILIES.find(name, allow)
