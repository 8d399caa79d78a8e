"""All that can be replaced from outside: the registry of each kind, named here and imported when asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from idaq.core.errors import IdaqError, unknown_name
from idaq.core.registry import Registry

REGISTRIES = (
    "idaq.tasks:FAMILIES",
    "idaq.collect.behaviours:BEHAVIOURS",
    "idaq.loader.samplers:SAMPLERS",
    "idaq.learn.config:ALGORITHMS",
    "idaq.learn.loggers:LOGGERS",
    "idaq.deploy.formats:POLICY_FORMATS",
    "idaq.adapt.strategy:STRATEGIES",
    "idaq.adapt.uncertainty:UNCERTAINTIES",
    "idaq.share.importers:IMPORTERS",
    "idaq.share.exporters:EXPORTERS",
    "idaq.hub.lookup:REMOTES",
)


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A name that a user may write, and where it leads."""

    kind: str
    name: str
    source: str
    """`idaq`, or the installed package and its version"""
    reference: str
    """`package.module:thing`; empty for what is built in"""
    problem: str
    """why it cannot be used; empty where it can"""


def registries() -> list[Registry[Any]]:
    """The registry of every kind."""
    pairs = (reference.split(":") for reference in REGISTRIES)
    return [getattr(import_module(module), attribute) for module, attribute in pairs]


def plugins(kind: str | None = None) -> list[Plugin]:
    """What ships and what installed packages add, which is imported to see that it can be used.

    Raises UnknownNameError for a kind that there is not.
    """
    known = {registry.kind: registry for registry in registries()}
    if kind is not None and kind not in known:
        raise unknown_name("kind", kind, known)
    chosen = known.values() if kind is None else [known[kind]]
    return [plugin for registry in chosen for plugin in _of(registry)]


def _of(registry: Registry[Any]) -> Iterator[Plugin]:
    for origin in registry.origins():
        problem = "" if origin.source == "idaq" else _problem(registry, origin.name)
        yield Plugin(kind=registry.kind, problem=problem, **vars(origin))
    for origin in registry.shadowed():
        problem = f"{origin.name} is built in: this one is named {origin.reference}"
        yield Plugin(kind=registry.kind, problem=problem, **vars(origin))


def _problem(registry: Registry[Any], name: str) -> str:
    try:
        registry.get(name)
    except IdaqError as error:
        return error.message
    return ""
