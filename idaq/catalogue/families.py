"""Task families and what can be collected of each: the list reads recipes alone, and imports no simulator."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import gymnasium as gym

from idaq.catalogue.entries import catalogue_recipe, entries
from idaq.core.errors import unknown_name
from idaq.core.extras import missing_extra
from idaq.core.registry import is_reference
from idaq.core.types import Task
from idaq.tasks import BUILT_IN, FAMILIES, get_family, locomotion

_SIMULATORS = {**dict.fromkeys(("ml1", "ml10", "ml45"), "metaworld"), **dict.fromkeys(locomotion.VARIANTS, "mujoco")}
"""by family or suite: the library that an extra brings"""


@dataclass(frozen=True, kw_only=True)
class FamilyFacts:
    """A task family, as far as it is known without making it; what is not known is None."""

    name: str
    source: str
    """`idaq`, or the installed package and its version"""
    description: str | None
    tasks: int | None
    """that the catalogue's recipe takes"""
    qualities: tuple[str, ...]
    """of data that `idaq collect NAME --quality` makes; empty for a family that takes a recipe of your own"""
    needs: str | None
    """what pip installs for it; None where idaq itself is enough, or nobody knows"""
    installed: bool | None
    """whether that is there; None for a family of another package, which is not imported to see"""

    @property
    def commands(self) -> tuple[str, ...]:
        """One to collect each quality."""
        return tuple(f"idaq collect {self.name} --quality {quality}" for quality in self.qualities)


@dataclass(frozen=True, kw_only=True)
class FamilyDetails:
    """What the family itself says, once it is made."""

    tasks: tuple[Task, ...]
    horizon: int
    """steps of an episode at most"""
    observation: str
    """space"""
    action: str
    """space"""
    scripted: bool
    """whether it has a controller that knows the task"""
    task_changes_dynamics: bool


def families(name: str | None = None) -> list[FamilyFacts]:
    """All families, those of one suite (`ml1`), or the one of that name: built in, installed or package.module:thing.

    Raises UnknownNameError with near names.
    """
    if name is not None and is_reference(name):
        return [_unknown(name, "your own")]
    found = [facts for facts in _all() if name in (None, facts.name, facts.name.partition("/")[0])]
    if not found:
        raise unknown_name("task family", str(name), [facts.name for facts in _all()])
    return found


def family_details(name: str) -> FamilyDetails:
    """Of a family that the user has named; makes one environment. Raises as `get_family`, so for a missing extra."""
    family = get_family(name)
    spaces = family.spaces()
    return FamilyDetails(
        tasks=tuple(family.tasks),
        horizon=family.horizon,
        observation=_space_text(spaces.observations),
        action=_space_text(spaces.actions),
        scripted=family.controller is not None,
        task_changes_dynamics=family.task_changes_dynamics,
    )


def _space_text(space: gym.Space[Any]) -> str:
    """A space without the bounds of a Box: `Box(39,) float32`, `Discrete(5)`."""
    if isinstance(space, gym.spaces.Dict):
        return ", ".join(f"{key} {_space_text(inner)}" for key, inner in space.spaces.items())
    return f"Box{space.shape} {space.dtype}" if isinstance(space, gym.spaces.Box) else str(space)


def _all() -> Iterator[FamilyFacts]:
    known = entries()
    for origin in FAMILIES.origins():
        if origin.name not in BUILT_IN:
            yield _unknown(origin.name, origin.source)
            continue
        qualities = tuple(entry.quality for entry in known if entry.family == origin.name)
        recipe = catalogue_recipe(origin.name, qualities[0]) if qualities else None
        library = _SIMULATORS.get(origin.name.partition("/")[0])
        needs = missing_extra(library) if library else None
        yield FamilyFacts(
            name=origin.name,
            source=origin.source,
            description=recipe.description if recipe else None,
            tasks=sum(recipe.splits.sizes.values()) if recipe else None,
            qualities=qualities,
            needs=needs.hint if needs else None,
            installed=library is None or find_spec(library) is not None,
        )


def _unknown(name: str, source: str) -> FamilyFacts:
    return FamilyFacts(name=name, source=source, description=None, tasks=None, qualities=(), needs=None, installed=None)
