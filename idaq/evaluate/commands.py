"""The commands that make a dataset, its runs and their report again. The one place in this room that spells the CLI."""

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from idaq.adapt.config import AdaptConfig
from idaq.core.config import from_mapping, override, read_toml, to_mapping
from idaq.core.errors import ConfigError
from idaq.core.resources import resource_root
from idaq.format.recipe import Recipe, for_family
from idaq.learn.config import TrainConfig
from idaq.learn.run import RunRecord


def reproduce(records: Sequence[RunRecord], adapting: AdaptConfig, recipe: Recipe | None) -> list[str]:
    """Shell commands from nothing to the report, in order.

    `recipe` gives the dataset's own defaults; without it, settings are given against the library's.
    """
    outs = [run_name(record) for record in records]
    default = from_mapping(AdaptConfig, recipe.adapt if recipe else {}, where="the recipe's adapt table")
    return [
        collect_command(records[0].dataset_id, recipe),
        *(train_command(record, recipe) for record in records),
        _command("adapt", *outs, changed=settings(adapting, default)),
        _command("report", *outs),
    ]


def collect_command(dataset_id: str, recipe: Recipe | None) -> str:
    """What collects a dataset: a recipe of the catalogue, and the settings in which the dataset's own differs."""
    *_, family, name = ["FAMILY", *dataset_id.split("/")]
    quality = name.rpartition("-v")[0] or name
    recipes = list(resource_root("datasets").glob("*/*/recipe.toml"))
    if recipe is None:
        suites = {path.parent.parent.name for path in recipes}
        suite, dash, member = family.partition("-")
        told = f"{suite}/{member}" if dash and suite in suites and family not in suites else family
        return _command("collect", told, "--quality", quality)
    found = [path for path in recipes if path.parent.parent.name == recipe.family.partition("/")[0]]
    for path in sorted(found, key=lambda path: (path.parent.name != quality, path)):
        there = for_family(read_toml(path), recipe.family)
        changed = settings(recipe, from_mapping(Recipe, there, where=str(path)))
        try:
            same = from_mapping(Recipe, override(there, changed), where=str(path)) == recipe
        except ConfigError:
            same = False  # another number of behaviours, say
        if same:
            return _command("collect", recipe.family, "--quality", path.parent.name, changed=changed)
    return _command("collect", "--recipe", "recipe.toml") + "  # the recipe that the dataset's manifest.json holds"


def train_command(record: RunRecord, recipe: Recipe | None) -> str:
    """What trains a run, into a directory named after dataset and seed."""
    seed = record.config.seed
    default = from_mapping(
        TrainConfig, {**(recipe.train if recipe else {}), "seed": seed}, where="the recipe's train table"
    )
    changed = settings(record.config, default)
    return _command(
        "train", "--dataset", record.dataset_id, "--seed", str(seed), "--out", run_name(record), changed=changed
    )


def run_name(record: RunRecord) -> str:
    """A run directory that tells dataset and seed, whatever it was called here: what `idaq train` takes by default."""
    return f"runs/{record.dataset_id.replace('/', '-')}-seed{record.config.seed}"


def settings(value: object, default: object) -> list[str]:
    """`a.b=1` for each field in which a config differs from another."""
    base = dict(leaves(to_mapping(default)))
    return [f"{key}={json.dumps(leaf)}" for key, leaf in leaves(to_mapping(value)) if base.get(key) != leaf]


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of nested plain data; items of a list of objects go by index."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = enumerate(value)
    else:
        yield key, value
        return
    for name, item in items:
        yield from leaves(item, f"{key}.{name}" if key else str(name))


def _command(verb: str, *words: str, changed: Sequence[str] = ()) -> str:
    return shlex.join(["idaq", verb, *words, *(word for setting in changed for word in ("--set", setting))])
