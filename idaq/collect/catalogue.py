"""The catalogue's recipes: datasets/<family>/<quality>/recipe.toml makes idaq/<family>/<quality>-v0."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from idaq.core.config import from_mapping, override, read_toml
from idaq.core.errors import ConfigError, unknown_name
from idaq.core.resources import resource_root
from idaq.format.recipe import Recipe


def recipe_names() -> list[tuple[str, str]]:
    """Every (family, quality) of the catalogue."""
    recipes = resource_root("datasets").glob("*/*/recipe.toml")
    return sorted((path.parent.parent.name, path.parent.name) for path in recipes)


def recipe_path(family: str, quality: str) -> Path:
    """The recipe file of a catalogue entry. Raises UnknownNameError with near names."""
    names = recipe_names()
    qualities = [q for f, q in names if f == family]
    if not qualities:
        raise unknown_name("dataset family", family, {f for f, _ in names})
    if quality not in qualities:
        raise unknown_name(f"quality of {family}", quality, qualities)
    return resource_root("datasets") / family / quality / "recipe.toml"


def load_recipe(path: Path, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply `key=value` settings; `episodes=N` sets every behaviour's. Raises ConfigError."""
    mapping: dict[str, Any] = read_toml(path)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if equals and key.strip() == "episodes" and isinstance(mapping.get("behaviours"), list):
            every = [f"behaviours.{i}.episodes={value}" for i in range(len(mapping["behaviours"]))]
            mapping = override(mapping, every)
        elif key.strip() == "recipe_version":
            raise ConfigError("recipe_version tells how to read the file; it cannot be set")
        else:
            mapping = override(mapping, [setting])
    return from_mapping(Recipe, mapping, where=str(path))
