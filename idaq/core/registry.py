"""Whatever ships can be replaced from outside: one registry a kind of thing, and one way to name it.

A name is, looked up in this order,

    focal-td3bc             built in: one literal dict a kind
    their-algorithm         an entry point of an installed package, in the group of the kind
    package.module:thing    an attribute of a module, which is imported

A user may write any of the three: in a command, in a recipe file, in Python. A document may not cause an import: what a
manifest, a run.json or a hub says goes through `find`, which takes `package.module:thing` only where the user has
written the same name in this very command.
"""

import difflib
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from idaq.core.errors import IdaqError, PluginError, unknown_name
from idaq.core.extras import naming_extras
from idaq.core.outside import place
from idaq.core.plain import children

T = TypeVar("T")
_DOTTED = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
REFERENCE = f"{_DOTTED}:{_DOTTED}"
"""the pattern of `package.module:thing`"""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A name, and where it leads."""

    name: str
    source: str
    """`idaq`, or the distribution and its version"""
    reference: str
    """`package.module:thing`; empty for what stands in the dict itself"""


def is_reference(name: str) -> bool:
    """Whether a name is of the form `package.module:thing`."""
    return re.fullmatch(REFERENCE, name) is not None


def check_document(value: object, what: str, allow: Collection[str] = ()) -> None:
    """Refuse a `package.module:thing` anywhere in plain data of a document, unless it is among `allow`.

    Raises PluginError naming `what` it was found in.
    """
    for name in references_in(value):
        if not _is_among(name, allow):
            raise _untrusted(f"{what} of a document name {name!r}", name)


def references_in(value: object) -> Iterator[str]:
    """Every `package.module:thing` among the values of plain data."""
    if isinstance(value, str) and is_reference(value):
        yield value
    for inner in children(value):
        yield from references_in(inner)


def _is_among(name: str, allow: Collection[str]) -> bool:
    """Whether a user has written this very name; a text in place of a collection is one name, not its parts."""
    return name in ([allow] if isinstance(allow, str) else allow)


def _untrusted(said: str, name: str) -> PluginError:
    return PluginError(
        f"{said}: code is never imported because a document says so",
        hint=f"if you trust that code, say so yourself: --plugin {name}",
    )


class Registry(Generic[T]):
    """The things of one kind, by name.

    `builtin` gives each thing itself, or as `package.module:thing` where importing it takes long. `accept` turns what a
    name led to into the thing; it raises TypeError for what is none, in words that say what was expected.
    """

    def __init__(
        self, kind: str, group: str, builtin: Mapping[str, object], accept: Callable[[str, object], T]
    ) -> None:
        self.kind, self.group = kind, group
        self.builtin, self._accept = builtin, accept

    def names(self) -> list[str]:
        """Built-in names in their order, then those of installed packages."""
        return [origin.name for origin in self.origins()]

    def origins(self) -> Iterator[Origin]:
        """What `names` names; an installed name that is built in too is not reachable, and left out."""
        for name, thing in self.builtin.items():
            yield Origin(name=name, source="idaq", reference=thing if isinstance(thing, str) else "")
        for name, points in sorted(self._installed().items()):
            if name not in self.builtin:
                yield from (Origin(name=name, source=_distribution(p), reference=p.value) for p in points)

    def shadowed(self) -> Iterator[Origin]:
        """What installed packages have under a built-in name: reachable by `package.module:thing` alone."""
        for name, points in sorted(self._installed().items()):
            if name in self.builtin:
                yield from (Origin(name=name, source=_distribution(p), reference=p.value) for p in points)

    def get(self, name: str) -> T:
        """The thing that a user has named, by any of the three ways.

        Raises UnknownNameError with near names, PluginError for a module that cannot be imported, that has no such
        attribute, or whose attribute is no such thing.
        """
        return self._accepted(name, _load(name, here=True) if is_reference(name) else self._named(name))

    def find(self, name: str, allow: Collection[str] = ()) -> T:
        """The thing that a document has named: built in, installed, or among `allow`, which the user has written.

        Raises PluginError for another `package.module:thing`, which is not imported; else as `get` does.
        """
        if is_reference(name) and not _is_among(name, allow):
            raise _untrusted(f"a document names the {self.kind} {name!r}", name)
        return self.get(name)

    def _named(self, name: str) -> object:
        if name in self.builtin:
            thing = self.builtin[name]
            return _load(thing) if isinstance(thing, str) else thing
        installed = self._installed()
        points = installed.get(name, [])
        if not points:
            raise unknown_name(self.kind, name, {*self.builtin, *installed})
        if len(points) > 1:
            raise PluginError(
                f"several installed packages have a {self.kind} {name!r}: {', '.join(map(_distribution, points))}",
                hint=f"name the one you mean: {' or '.join(point.value for point in points)}",
            )
        return _load(points[0].value)

    def _accepted(self, name: str, thing: object) -> T:
        try:
            return self._accept(name, thing)
        except TypeError as error:
            raise PluginError(f"{name} is no {self.kind}: {error}") from None

    def _installed(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            found.setdefault(point.name, []).append(point)
        return found


def accept_like(protocol: type[T]) -> Callable[[str, object], T]:
    """An `accept` for things with all public members of a Protocol; a class is first called without arguments."""

    def accept(_name: str, thing: object) -> T:
        made = thing() if isinstance(thing, type) else thing
        missing = missing_members(protocol, made)
        if missing:
            raise TypeError(f"it has no {', '.join(missing)}")
        return cast(T, made)

    return accept


def missing_members(protocol: type[Any], thing: object) -> list[str]:
    """The public members of a Protocol that a thing does not have."""
    return [name for name in vars(protocol) if not name.startswith("_") and not hasattr(thing, name)]


def check_members(protocol: type[Any], thing: object, what: str) -> None:
    """Raise PluginError where a thing lacks public members of a Protocol; `what` says what gave it."""
    if lacking := missing_members(protocol, thing):
        raise PluginError(f"{what} gave {thing!r:.80}, which lacks {', '.join(lacking)}")


def load_built_in(reference: str) -> Any:
    """What ships as `package.module:thing`, imported. Raises PluginError where that fails."""
    return _load(reference)


def load_reference(reference: str) -> object:
    """What a user has named as `package.module:thing`, imported. Raises PluginError where that fails."""
    return _load(reference, here=True)


def _distribution(point: EntryPoint) -> str:
    return "unknown" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _load(reference: str, here: bool = False) -> object:
    """The attribute that `package.module:thing` names; `here` also looks for the module in the current folder."""
    module, _, path = reference.partition(":")
    if here:
        search_current_folder()
    try:
        with naming_extras():
            return reduce(getattr, path.split("."), import_module(module))
    except IdaqError:  # a missing extra, say: it tells what to install
        raise
    except ModuleNotFoundError as error:
        raise PluginError(f"{reference}: there is no module {error.name!r}", hint=_where(here)) from None
    except AttributeError as error:
        raise PluginError(f"{reference}: {error}", hint=_near(module, path)) from None
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{reference}: importing {module} raised {type(error).__name__}: {error}", details=[place(error)]
        ) from error


def search_current_folder() -> None:
    """Let modules of the current folder be imported, after all installed ones; worker processes inherit it."""
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def _where(here: bool) -> str:
    return "install the package, or run the command in the folder that holds the module" if here else "install it again"


def _near(module: str, path: str) -> str | None:
    names = [name for name in vars(sys.modules[module]) if not name.startswith("_")] if module in sys.modules else []
    near = difflib.get_close_matches(path, names, n=5, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else None
