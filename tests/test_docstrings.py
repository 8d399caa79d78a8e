"""Whatever is public says what it does, and which of our errors it raises itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

from idaq.core import errors

CHECKOUT = Path(__file__).parents[1]
ROOMS = ("idaq", "cli")
Definition = ast.FunctionDef | ast.ClassDef


def definitions(room: str) -> Iterator[tuple[str, Definition, ast.ClassDef | None]]:
    """Public functions, classes and methods: name, node, and the class that it stands in. A test's name says it all."""

    def below(
        body: list[ast.stmt], prefix: str, owner: ast.ClassDef | None
    ) -> Iterator[tuple[str, Definition, ast.ClassDef | None]]:
        for node in body:
            if isinstance(node, Definition) and not node.name.startswith(("_", "test_")):
                yield f"{prefix}{node.name}", node, owner
                if isinstance(node, ast.ClassDef):
                    yield from below(node.body, f"{prefix}{node.name}.", node)

    for path in sorted((CHECKOUT / room).rglob("*.py")):
        module = ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
        yield from below(ast.parse(path.read_text()).body, f"{module}:", None)


def protocol_members(room: str) -> set[str]:
    """Names of methods that our protocols describe: whoever has one does what is said there."""
    return {
        node.name
        for _, node, owner in definitions(room)
        if owner is not None
        and any("Protocol" in ast.unparse(base) for base in owner.bases)
        and ast.get_docstring(node)
    }


def says_elsewhere(node: Definition, owner: ast.ClassDef | None, described: set[str]) -> bool:
    """A method that a base of its class may describe, or that a protocol of ours describes."""
    return isinstance(node, ast.FunctionDef) and owner is not None and (bool(owner.bases) or node.name in described)


def errors_of(function: ast.FunctionDef) -> set[str]:
    """Our errors that a function's own body raises by name."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            name = {"unknown_name": "UnknownNameError"}.get(node.exc.func.id, node.exc.func.id)
            found |= {name} if hasattr(errors, name) else set()
        waiting += ast.iter_child_nodes(node)
    return found


def is_named(error: str, text: str) -> bool:
    """Whether a docstring names an error, or one of which it is a kind."""
    kinds = [kind.__name__ for kind in getattr(errors, error).__mro__ if issubclass(kind, errors.IdaqError)]
    return any(kind in text for kind in kinds[:-1] or kinds)


def test_whatever_is_public_has_a_docstring() -> None:
    every = [entry for room in ROOMS for entry in definitions(room)]
    described = protocol_members("idaq")
    missing = {
        n for n, node, owner in every if not ast.get_docstring(node) and not says_elsewhere(node, owner, described)
    }
    assert sorted(missing) == []


def test_whoever_raises_an_error_of_ours_says_so() -> None:
    every = list(definitions("idaq"))
    silent = {
        name
        for name, node, owner in every
        if isinstance(node, ast.FunctionDef)
        for error in errors_of(node)
        if not is_named(error, f"{ast.get_docstring(node)} {owner and ast.get_docstring(owner)}")
    }
    assert sorted(silent) == []
