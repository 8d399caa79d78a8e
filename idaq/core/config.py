"""One definition for code, TOML, `--set a.b=1` and JSON Schema: frozen, keyword-only, nothing extra allowed."""

import copy
import dataclasses
import functools
import json
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from idaq.core.errors import ConfigError, CorruptDatasetError, unknown_name
from idaq.core.files import DEEPEST, check_depth
from idaq.core.plain import children, is_dict, is_list, is_table
from idaq.core.reading import read_document

T = TypeVar("T")
_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only pydantic dataclass that refuses unknown fields, NaN and infinity."""
    return pydantic_dataclass(cls, frozen=True, kw_only=True, config=_CONFIG)  # type: ignore[return-value]


@functools.cache
def _adapter(cls: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(cls)


def from_mapping(cls: type[T], mapping: object, *, where: str, strict: bool = False) -> T:
    """Build `cls` from plain data. Raises ConfigError naming `where`, the field, the rule and near names.

    `strict` is for documents, which must mean to every JSON reader what they mean here: no "3" and no true for 3.
    """
    try:
        if strict:
            return _adapter(cls).validate_json(json.dumps(mapping), strict=True)
        return _adapter(cls).validate_python(mapping)
    except ValidationError as error:
        raise _explain(cls, error, where) from None
    except (RecursionError, OverflowError, ValueError) as error:  # ValueError: an integer of more than 4,300 digits
        raise ConfigError(f"{where}: {error}") from None


def check_name(kind: Any, name: str, what: str) -> str:
    """`name`, if it is one of that kind, such as a Slug. Raises ConfigError."""
    try:
        return str(_adapter(kind).validate_python(name))
    except ValidationError:
        hint = "lower-case letters, digits, '.', '_' and '-'; 64 at most, the ends letters or digits"
        raise ConfigError(f"{name!r} is no name of a {what}", hint=hint) from None


def to_mapping(value: object) -> dict[str, Any]:
    """Plain JSON-able data of a config or document."""
    return _adapter(type(value)).dump_python(value, mode="json")


def json_schema(cls: type[Any]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a config or document."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter(cls).json_schema()}


def canonical_json(value: object) -> str:
    """One text for one value: sorted keys, no spaces, no NaN. What recipe and config digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file. Raises ConfigError with the line of a syntax error."""
    try:
        return _parse_toml(read_document(path).decode("utf-8"))
    except CorruptDatasetError as error:
        raise ConfigError(error.message) from None
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _parse_toml(text: str) -> dict[str, Any]:
    """A TOML document of bounded depth, its integers of 64 bits as TOML has them. Raises ValueError."""
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    check_depth(value)
    _check_integers(value)
    return value


def _check_integers(value: object) -> None:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError("an integer does not fit into 64 bits")
    for inner in children(value):
        _check_integers(inner)


def merge(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Nested plain data with `extra` on top of `base`, table by table."""
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if is_table(old) and is_table(value) else value
    return merged


def override(mapping: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b=1` settings to a copy of nested plain data; list items go by index or by their `name`.

    Values are TOML (`0.5`, `true`, `[1, 2]`, `"text"`); what is not TOML is taken as text. Raises ConfigError.
    """
    result: dict[str, Any] = copy.deepcopy(dict(mapping))
    for setting in settings:
        key, equals, text = setting.partition("=")
        setting = _short(setting)  # as messages quote it
        if not equals or not key.strip():
            message = f"--set {setting} is not of the form key=value"
            raise ConfigError(message, hint="for example --set seed=1")
        *parents, last = key.strip().split(".")
        if len(parents) >= DEEPEST:
            raise ConfigError(f"--set {setting}: a key of {len(parents) + 1} parts is deeper than any setting")
        node: Any = result
        for part in parents:
            node = _child(node, part, setting)
        if is_list(node):
            node[_index(node, last, setting)] = _value(text, setting)
        elif is_dict(node):
            node[last] = _value(text, setting)
        else:
            raise ConfigError(f"--set {setting}: {'.'.join(parents)} is a value, it has no {last!r}")
    return result


def _child(node: Any, part: str, setting: str) -> Any:
    if is_list(node):
        return node[_index(node, part, setting)]
    if is_dict(node):
        return node.setdefault(part, {})
    raise ConfigError(f"--set {setting}: nothing lies below a plain value at {part!r}")


def _index(items: list[Any], part: str, setting: str) -> int:
    names = [item.get("name") if is_dict(item) else None for item in items]
    if part in names:
        return names.index(part)
    indices = [str(index) for index in range(len(items))]
    if part in indices:
        return indices.index(part)
    raise ConfigError(f"--set {setting}: no item {part!r}", hint=f"an index below {len(items)} or one of {names}")


def _value(text: str, setting: str) -> Any:
    try:
        parsed = _parse_toml(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    except ValueError as error:
        raise ConfigError(f"--set {setting}: {error}") from None
    return parsed["value"] if len(parsed) == 1 else text


def _explain(cls: type[Any], error: ValidationError, where: str) -> ConfigError:
    lines, hints = list[str](), list[str]()
    for item in error.errors(include_url=False)[:8]:
        place = ".".join(str(part) for part in item["loc"]) or "(top)"
        if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            hints.append(unknown_name("field", str(item["loc"][-1]), _field_names(cls, item["loc"][:-1])).hint or "")
            lines.append(f"{place}: there is no such field")
        else:
            lines.append(f"{place}: {item['msg'].removeprefix('Value error, ')} (got {_short(item['input'])})")
    hints.sort(key=lambda hint: not hint.startswith("did you mean"))
    return ConfigError(f"{where}: " + "; ".join(lines), hint=hints[0] if hints else None)


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits
        return "a value too large to show"
    return text if len(text) <= 60 else text[:57] + "..."


def _field_names(cls: Any, location: tuple[int | str, ...]) -> list[str]:
    """Fields of the config that stands at `location` below `cls`."""
    hints = [cls]
    for part in location:
        hints = [below for hint in hints for below in _below(hint, part)]
    return [field.name for hint in hints for alternative in _alternatives(hint) for field in _fields(alternative)]


def _below(hint: Any, part: int | str) -> Iterator[Any]:
    """Types of what stands at `part` of a value of type `hint`: a field, an item of a list, a value of a dict."""
    for alternative in _alternatives(hint):
        inner = typing.get_args(alternative)
        types = {field.name: field.type for field in _fields(alternative)}
        if part in types:
            yield types[str(part)]
        elif types and part == alternative.__name__:  # how pydantic tells the members of a union apart
            yield alternative
        elif isinstance(part, int) and inner:
            yield inner[0]
        elif typing.get_origin(alternative) is dict:
            yield inner[1]


def _alternatives(hint: Any) -> Iterator[Any]:
    """The members of a union, annotations stripped; anything else is its own only alternative."""
    if typing.get_origin(hint) is Annotated:
        yield from _alternatives(typing.get_args(hint)[0])
    elif typing.get_origin(hint) in (Union, UnionType):
        for member in typing.get_args(hint):
            yield from _alternatives(member)
    else:
        yield hint


def _fields(hint: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(hint) if dataclasses.is_dataclass(hint) else ()
