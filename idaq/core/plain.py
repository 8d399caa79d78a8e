"""Plain data, what JSON and TOML hold, as a type checker may see it: it comes as `Any` from every parser."""

from collections.abc import Collection, Mapping
from typing import Any, TypeGuard


def is_table(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether it has values by name."""
    return isinstance(value, Mapping)


def is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is a table that can be written to."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether it holds items by index."""
    return isinstance(value, list)


def children(value: object) -> Collection[Any]:
    """The values of a table, the items of a list; none of anything else."""
    if is_table(value):
        return value.values()
    return value if is_list(value) else ()
