"""The commands that make a dataset, its runs and their report again. The one place in this room that spells the CLI."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from idaq.adapt.config import AdaptConfig
from idaq.adapt.results import Results
from idaq.adapt.strategy import STRATEGIES, configured
from idaq.core.config import from_mapping, override, read_toml, to_mapping
from idaq.core.errors import ConfigError, UsageError
from idaq.core.resources import resource_root
from idaq.format.recipe import Recipe, for_family
from idaq.learn.config import DEFAULT_ALGORITHM, settings_for, training_config
from idaq.learn.run import RunRecord


def reproduce(records: Sequence[RunRecord], results: Results, recipe: Recipe | None) -> list[str]:
    """Shell commands from nothing to the report, in order.

    `recipe` gives the dataset's own defaults; without it, settings are given against the library's.
    """
    outs = [run_name(record) for record in records]
    return [
        collect_command(records[0].dataset_id, recipe),
        *(train_command(record, recipe) for record in records),
        adapt_command(outs, results, recipe),
        _command("report", *outs),
    ]


def adapt_command(outs: Sequence[str], results: Results, recipe: Recipe | None) -> str:
    """What adapts the runs `outs` as `results` were made; a setting that all strategies share is given once."""
    defaults, made = (recipe.adapt if recipe else {}), results.strategies
    changed = settings(to_mapping(results.config), to_mapping(_protocol_defaults(defaults)))
    by_key: dict[str, dict[str, str]] = {}
    for name, strategy in made.items():
        for setting in settings(strategy.settings, _strategy_defaults(name, defaults)):
            key, _, value = setting.partition("=")
            by_key.setdefault(key, {})[name] = value
    for key, values in by_key.items():
        shared = len(set(values.values())) == 1 and set(values) == {n for n, one in made.items() if key in one.settings}
        names = [""] if shared else [f"{name}." for name in values]
        changed += [f"{name}{key}={value}" for name, value in zip(names, values.values(), strict=False)]
    words = [] if set(made) == set(STRATEGIES.names()) else ["--strategies", ",".join(made)]
    return _command("adapt", *outs, *words, changed=changed)


def _protocol_defaults(table: dict[str, Any]) -> AdaptConfig:
    """The protocol by the recipe's table; the library's where the table makes none."""
    known = {field.name for field in fields(AdaptConfig)}
    try:
        return from_mapping(AdaptConfig, {k: v for k, v in table.items() if k in known}, where="the recipe's adapt")
    except ConfigError:
        return AdaptConfig()


def _strategy_defaults(name: str, table: dict[str, Any]) -> dict[str, Any]:
    """Settings of a strategy by the recipe's table; nothing for one that is not installed."""
    try:
        return to_mapping(configured(name, STRATEGIES.find(name), [table]))
    except UsageError:
        return {}


def collect_command(dataset_id: str, recipe: Recipe | None) -> str:
    """What collects a dataset: a recipe of the catalogue, and the settings in which the dataset's own differs."""
    *_, family, name = ["FAMILY", *dataset_id.split("/")]
    quality = name.rpartition("-v")[0] or name
    recipes = list(resource_root("datasets").glob("*/*/recipe.toml"))
    if recipe is None:
        suites = {path.parent.parent.name for path in recipes}
        suite, dash, member = family.partition("-")
        named = f"{suite}/{member}" if dash and suite in suites and family not in suites else family
        return _command("collect", named, "--quality", quality)
    found = [path for path in recipes if path.parent.parent.name == recipe.family.partition("/")[0]]
    for path in sorted(found, key=lambda path: (path.parent.name != quality, path)):
        there = for_family(read_toml(path), recipe.family)
        changed = settings(to_mapping(recipe), to_mapping(from_mapping(Recipe, there, where=str(path))))
        try:
            same = from_mapping(Recipe, override(there, changed), where=str(path)) == recipe
        except ConfigError:
            same = False  # another number of behaviours, say
        if same:
            return _command("collect", recipe.family, "--quality", path.parent.name, changed=changed)
    return _command("collect", "--recipe", "recipe.toml") + "  # the recipe that the dataset's manifest.json holds"


def train_command(record: RunRecord, recipe: Recipe | None) -> str:
    """What trains a run, into a directory named after dataset and seed."""
    algorithm = record.config.get("algorithm", DEFAULT_ALGORITHM)
    table = {**settings_for(algorithm, recipe.train if recipe else {}), "seed": record.seed}
    try:
        defaults = to_mapping(training_config({}, {**table, "algorithm": algorithm}))
    except UsageError:  # an algorithm that is not installed
        defaults = table
    known = recipe is not None and recipe.train.get("algorithm", DEFAULT_ALGORITHM) == algorithm
    changed = [] if known or algorithm == DEFAULT_ALGORITHM else [f"algorithm={algorithm}"]
    changed += [setting for setting in settings(record.config, defaults) if not setting.startswith("algorithm=")]
    words = ["--dataset", record.dataset_id, "--seed", str(record.seed), "--out", run_name(record)]
    return _command("train", *words, changed=changed)


def run_name(record: RunRecord) -> str:
    """A run directory that tells dataset and seed, whatever it was called here: what `idaq train` takes by default."""
    return f"runs/{record.dataset_id.replace('/', '-')}-seed{record.seed}"


def settings(value: Mapping[str, Any], default: Mapping[str, Any]) -> list[str]:
    """`a.b=1` for each leaf in which plain data differs from other plain data."""
    base = dict(leaves(default))
    return [f"{key}={json.dumps(leaf)}" for key, leaf in leaves(value) if base.get(key) != leaf]


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of nested plain data; items of a list of objects go by index."""
    if isinstance(value, Mapping):
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
