"""A recipe as it is collected here: its family, splits, behaviours and digest, made once and passed down."""

import functools
import inspect
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import product

from joblib.externals.loky.backend.reduction import dumps

from idaq.collect.behaviours import BEHAVIOURS
from idaq.core.config import canonical_json, to_mapping
from idaq.core.digest import value_digest
from idaq.core.errors import CollectError, ConfigError, PluginError
from idaq.core.extras import missing_extra
from idaq.core.seeds import generator
from idaq.core.types import OBSERVATIONS
from idaq.format.documents import EnvReference
from idaq.format.gym_spaces import supported
from idaq.format.recipe import Behaviour, Recipe, Splits
from idaq.tasks import Family, Spaces, get_family

_NO_CONTENT = ("authors", "license", "citation", "source", "compress", "train", "adapt")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one worker collects at a time. `behaviour_index` = len(recipe.behaviours) is the random reference."""

    task_index: int
    behaviour_index: int

    @property
    def shard(self) -> str:
        """File name of its shard."""
        return f"task{self.task_index:05d}-behaviour{self.behaviour_index:02d}.npz"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a collection does. A worker process gets a copy, without the family where a name leads to it there too."""

    recipe: Recipe
    given: Family | None
    """the family, where it was built in a script and no name leads to it"""
    splits: dict[int, str]
    """task index -> split, in index order"""
    tasks_digest: str
    """of the tasks as they are here"""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    """of this very plan: a family that was edited meanwhile is made anew for the next"""

    @property
    def family(self) -> Family:
        """Raises CollectError where it does not come out as it did when the plan was made."""
        return self.given or _named(self.recipe.family, self.tasks_digest, self.key)

    @functools.cached_property
    def spaces(self) -> Spaces:
        """Those of the family's environment, which is made for it: what a worker gets has them already.

        Raises DatasetError where the format does not hold them.
        """
        spaces = self.family.spaces()
        supported(spaces.observations, OBSERVATIONS)
        return spaces

    @property
    def behaviours(self) -> list[Behaviour]:
        """The recipe's, then the random reference."""
        return behaviours_of(self.recipe)

    @property
    def cells(self) -> list[Cell]:
        """Every (task, behaviour) pair, the random reference included."""
        numbers = range(len(self.behaviours))
        return [Cell(task_index=task, behaviour_index=number) for task, number in product(self.splits, numbers)]

    @property
    def digest(self) -> str:
        """Of the recipe and the tasks as they are here: what one version of a family began, another does not finish."""
        return value_digest([content_of(self.recipe), self.tasks_digest])


def make_plan(recipe: Recipe, family: Family | None = None) -> Plan:
    """Look up the recipe's family, or take the one that is given, and see that the recipe can be collected.

    Raises ConfigError where the recipe does not fit the family, PluginError for a family that cannot be used.
    """
    if family is not None and family.name != recipe.family:
        raise ConfigError(
            f"the recipe is of family {recipe.family}; the family that was given is {family.name}",
            hint="give both one name: the dataset states the recipe's",
        )
    known = get_family(recipe.family) if family is None else family
    splits = assign_splits(recipe, known)
    for behaviour in recipe.behaviours:
        if behaviour.kind == "policy":
            BEHAVIOURS.get(str(behaviour.policy))  # before anything is collected
        elif behaviour.kind == "unknown":
            raise ConfigError(f"behaviour {behaviour.name!r} is of unknown kind, as imported: it cannot be collected")
    if faults := _faults(known):
        raise PluginError(f"the task family {known.name} cannot be collected", details=faults)
    return Plan(recipe=recipe, given=family, splits=splits, tasks_digest=_tasks_digest(known))


@functools.lru_cache(maxsize=1)
def _named(name: str, tasks_digest: str, _key: str) -> Family:
    """A family by name, made once in each process for each plan."""
    family = get_family(name)
    if _tasks_digest(family) != tasks_digest:
        raise CollectError(
            f"the tasks of {name} come out otherwise each time they are made",
            hint="draw them from a generator with a fixed seed",
        )
    return family


def _tasks_digest(family: Family) -> str:
    return value_digest([dict(task.params) for task in family.tasks])


def behaviours_of(recipe: Recipe) -> list[Behaviour]:
    """The recipe's behaviours and, last, the random policy that is only measured."""
    random = Behaviour(
        name="random-reference", kind="random", quality="random", episodes=recipe.reference.random_episodes
    )
    return [*recipe.behaviours, random]


def content_of(recipe: Recipe) -> dict[str, object]:
    """What determines the data; the rest says whose it is and how best to learn from it."""
    return {key: value for key, value in to_mapping(recipe).items() if key not in _NO_CONTENT}


def assign_splits(recipe: Recipe, family: Family) -> dict[int, str]:
    """Task index -> split, in index order: the first tasks of a seeded permutation for the first split, and so on.

    Raises ConfigError for splits that ask for more tasks than the family has, or for a parameter that a task lacks.
    """
    sizes, stated = recipe.splits.sizes, {task.split for task in family.tasks}
    if not 0 < sum(sizes.values()) <= len(family.tasks):
        raise ConfigError(f"splits {sizes} ask for {sum(sizes.values())} tasks; {family.name} has {len(family.tasks)}")
    left, splits = _drawn_order(recipe.splits, family), dict[int, str]()
    for name, size in sizes.items():
        source = name if name in stated else "train"
        there = [i for i in left if recipe.splits.assigned_by == "recipe" or family.tasks[i].split == source]
        if size > len(there):
            said = f"split {name} asks for {size} tasks; {family.name} has {len(there)} left that it states as {source}"
            raise ConfigError(said, hint='or assigned_by = "recipe" below [splits]: drawn from all tasks')
        splits |= dict.fromkeys(there[:size], name)
        left = [i for i in left if i not in splits]
    return dict(sorted(splits.items()))


def _drawn_order(splits: Splits, family: Family) -> list[int]:
    """Task indices by a seeded permutation; balanced, each value of the parameter has its turn in every round."""
    order = generator(splits.seed).permutation(len(family.tasks)).tolist()
    if splits.balance is None:
        return order
    if lacking := [task.task_id for task in family.tasks if splits.balance not in task.params]:
        known = ", ".join(sorted({name for task in family.tasks for name in task.params}))
        said = f"splits.balance is {splits.balance!r}, which task {lacking[0]} of {family.name} has no parameter of"
        raise ConfigError(said, hint=f"one of {known}")
    rounds, counted = dict[int, int](), Counter[str]()
    for index in order:
        value = str(family.tasks[index].params[splits.balance])
        rounds[index], counted[value] = counted[value], counted[value] + 1
    return sorted(order, key=rounds.__getitem__)


def simulator_versions(family: Family) -> dict[str, str]:
    """Version of each package that decides what an episode holds. Raises PackageNotFoundError."""
    return {name: version(name) for name in family.simulators}


def entry_point_of(family: Family) -> str:
    """`package.module:thing` of the environment, also where the family holds the class itself."""
    entry = family.env_spec.entry_point
    return entry if isinstance(entry, str) else f"{entry.__module__}:{entry.__qualname__}"  # type: ignore[union-attr]


def env_reference(family: Family) -> EnvReference:
    """The environment as each task of a dataset states it."""
    spec = family.env_spec
    return EnvReference(
        id=spec.id,
        entry_point=entry_point_of(family),
        kwargs=dict(spec.kwargs),
        max_episode_steps=spec.max_episode_steps,
    )


def environment_notes(family: Family) -> list[str]:
    """What a user should know of where the environment comes from."""
    entry = entry_point_of(family)
    if not entry.startswith("__main__:"):
        return []
    return [f"{entry} is defined in a script: no other program can make the environment; a module can be imported"]


def env_spec_json(family: Family) -> str:
    """The environment as Minari states it in metadata.json."""
    return replace(family.env_spec, entry_point=entry_point_of(family)).to_json()


def _faults(family: Family) -> list[str]:
    """Why a dataset of this family could not be written."""
    spec, faults = family.env_spec, list[str]()
    if spec.max_episode_steps != family.horizon:
        faults.append(f"env_spec.max_episode_steps is {spec.max_episode_steps}; the horizon is {family.horizon}")
    if not (isinstance(spec.entry_point, str) or inspect.isclass(spec.entry_point)):
        faults.append(f"env_spec.entry_point is {spec.entry_point!r}; a class or its name is needed")
    try:
        canonical_json(spec.kwargs)
    except (TypeError, ValueError, RecursionError):
        faults.append("env_spec.kwargs hold what JSON cannot: numbers, texts, lists and dicts of them are needed")
    try:
        simulator_versions(family)
    except PackageNotFoundError as error:
        extra = missing_extra(str(error.name))
        if extra is not None:
            raise extra from None
        faults.append(f"simulators names {error.name}, which is no installed package")
    return faults


def check_sendable(plan: Plan) -> None:
    """Raise CollectError where worker processes cannot get a copy of the plan, naming what they cannot get."""
    hint = 'put it into a module, which the recipe names: "module:thing"; or --workers 1 (in Python workers=1)'
    names = (plan.recipe.family, *(behaviour.policy or "" for behaviour in plan.recipe.behaviours))
    for name in names:
        if name.startswith("__main__:"):
            raise CollectError(f"{name} stands in a script, where worker processes do not find it", hint=hint)
    for name, value in ({} if plan.given is None else vars(plan.given)).items():
        try:
            dumps(value)
        except Exception as error:  # whatever a part raises when it is taken apart
            raise CollectError(
                f"{name} of the family {plan.recipe.family} cannot be sent to worker processes: {error}", hint=hint
            ) from None
