"""The catalogue's recipes: datasets/<family>/<quality>/recipe.toml makes idaq/<family>/<quality>-v0.

A suite is many families with one recipe: datasets/ml1/<quality>/recipe.toml, whose every `*` stands for the name in
`ml1/<name>`; its datasets are idaq/ml1-<name>/<quality>-v0. A recipe for some of a suite's families alone names them:
`sets = ["handle-press"]`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from idaq.core.config import from_mapping, override, read_toml
from idaq.core.errors import ConfigError, UnknownNameError, UsageError, unknown_name
from idaq.core.plain import is_table
from idaq.core.registry import is_reference
from idaq.core.resources import resource_root
from idaq.format.recipe import SETS, Recipe, for_family, without_splits
from idaq.tasks import BUILT_IN, FAMILIES


@dataclass(frozen=True)
class Entry:
    """One dataset of the catalogue."""

    family: str
    quality: str

    @property
    def suite(self) -> str:
        """The suite, or the family itself."""
        return self.family.partition("/")[0]

    @property
    def name(self) -> str | None:
        """The set's name in its suite; None for a family of its own."""
        return self.family.partition("/")[2] or None

    @property
    def folder(self) -> Path:
        """Where the recipe lies; the same for all families of a suite."""
        return resource_root("datasets") / self.suite / self.quality

    @property
    def dataset_id(self) -> str:
        """Of what its recipe makes."""
        return f"idaq/{self.family.replace('/', '-')}/{self.quality}-v0"

    def __str__(self) -> str:
        return f"{self.family}/{self.quality}"


def entries() -> list[Entry]:
    """Every dataset of the catalogue, by name."""
    folders = sorted(path.parent for path in resource_root("datasets").glob("*/*/recipe.toml"))
    return [Entry(family, folder.name) for folder in folders for family in _families(folder)]


def _families(folder: Path) -> list[str]:
    """The families of a folder's recipe."""
    suite = folder.parent.name
    members = [family for family in BUILT_IN if family.startswith(f"{suite}/")]
    if not members:
        return [suite]
    sets = read_toml(folder / "recipe.toml").get(SETS)
    return members if sets is None else [f"{suite}/{name}" for name in sets]


def find_entry(family: str, quality: str) -> Entry:
    """A catalogue entry by its names. Raises UnknownNameError with near names, UsageError for a family from outside."""
    if family not in BUILT_IN and (is_reference(family) or family in FAMILIES.names()):
        hint = f'idaq collect --recipe my.toml, in which family = "{family}"'
        raise UsageError(f"{family} is no family of the catalogue: it takes a recipe of your own", hint=hint)
    known = entries()
    qualities = [entry.quality for entry in known if entry.family == family]
    if not qualities:
        raise unknown_name("dataset family", family, {entry.family for entry in known})
    if quality not in qualities:
        suite = family.partition("/")[0]
        if others := [entry.family for entry in known if (entry.suite, entry.quality) == (suite, quality)]:
            said = f"{family} has no quality {quality!r}: it is for {', '.join(others)}"
            raise UnknownNameError(said, hint=f"of {family} there are {', '.join(qualities)}")
        raise unknown_name(f"quality of {family}", quality, qualities)
    return Entry(family, quality)


def matching(pattern: str) -> list[Entry]:
    """The entries that `family/quality` names; `*` stands for any part. Raises UsageError or UnknownNameError."""
    family, slash, quality = pattern.rpartition("/")
    if not slash:
        raise UsageError(f"{pattern!r} is not a catalogue entry", hint="family/quality, for example point-robot/expert")
    return [e for e in entries() if fnmatchcase(str(e), pattern)] or [find_entry(family, quality)]


def catalogue_recipe(family: str, quality: str = "expert", settings: Iterable[str] = ()) -> Recipe:
    """The recipe of a catalogue entry, with `key=value` settings applied as `load_recipe` does."""
    entry = find_entry(family, quality)
    path = entry.folder / "recipe.toml"
    return _configured(for_family(read_toml(path), family), settings, path)


def load_recipe(path: str | Path, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply `key=value` settings; `episodes=N` sets every behaviour's. Raises ConfigError."""
    path = Path(path).expanduser()
    return _configured(read_toml(path), settings, path)


def _configured(mapping: dict[str, Any], settings: Iterable[str], path: Path) -> Recipe:
    sizes = _sizes(mapping)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if equals and key.strip() == "episodes" and isinstance(mapping.get("behaviours"), list):
            every = [f"behaviours.{i}.episodes={value}" for i in range(len(mapping["behaviours"]))]
            mapping = override(mapping, every)
        elif key.strip() == "recipe_version":
            raise ConfigError("recipe_version tells how to read the file; it cannot be set")
        else:
            mapping = override(mapping, [setting])
    lost, train = sizes - _sizes(mapping), mapping.get("train")
    if lost and is_table(train):
        mapping = mapping | {"train": without_splits(train, lost)}
    return from_mapping(Recipe, mapping, where=str(path))


def _sizes(mapping: dict[str, Any]) -> set[str]:
    """The splits that get tasks."""
    splits = mapping.get("splits")
    sizes = splits.get("sizes") if is_table(splits) else None
    return {name for name, size in sizes.items() if size} if is_table(sizes) else set()
