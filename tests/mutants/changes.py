"""Single changes of a module's source: mutmut's operators, and a few of ours, on every node that says what code does.

Left out: annotations, aliases of types, imports, docstrings, decorators, and what a raised error says. mutmut's own
runner leaves out decorated functions as well, half of what learns here; hence we apply its operators ourselves.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, CodeSpan, MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_arg_removal, operator_string

_OPPOSITES = {
    "min": "max",
    "amin": "amax",
    "argmin": "argmax",
    "minimum": "maximum",
    "clamp_min": "clamp_max",
    "any": "all",
    "cumsum": "cumprod",
    "floor": "ceil",
}
_OPPOSITES |= {there: here for here, there in _OPPOSITES.items()}
_UNTOUCHED = (cst.Annotation, cst.Import, cst.ImportFrom, cst.Decorator, cst.Raise, cst.TypeAlias)
_TRIVIAL = ("len", "isinstance")
"""without an argument they raise, whatever the tests"""


_INVARIANTS = ("strict",)
"""keywords that check what we believe, as `assert` does"""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One mutant of a module."""

    module: str
    line: int
    lines: tuple[int, int]
    """first and last line of what decides which tests reach the change"""
    was: str
    now: str
    source: str

    @property
    def key(self) -> str:
        """The same for the same mutant of the same source."""
        return hashlib.sha256(f"{self.module}\0{self.source}".encode()).hexdigest()[:16]


def changes_of(module: str, source: str) -> list[Change]:
    """All single changes of a module, in order of lines."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    places, spans = wrapper.resolve(PositionProvider), wrapper.resolve(ByteSpanPositionProvider)
    content, found = source.encode(), dict[str, Change]()
    for node, statement in _nodes(wrapper.module, None):
        for mutated in _mutations(node):
            changed = _put(wrapper.module, node, mutated, content, spans[node])
            if changed == source or not _is_program(changed):
                continue
            was, now = _difference(source, changed)
            line, last = places[node].start.line, places[node].end.line
            first = line if statement is None else places[statement].start.line
            if isinstance(statement, cst.SimpleStatementLine):
                last = places[statement].end.line
            change = Change(module=module, line=line, lines=(first, last), was=was, now=now, source=changed)
            found.setdefault(change.key, change)
    return sorted(found.values(), key=lambda change: change.line)


def _put(module: cst.Module, node: cst.CSTNode, mutated: cst.CSTNode, content: bytes, span: CodeSpan) -> str:
    """The source with `mutated` in the place of `node`. By the whole tree only where it must be: that is slow."""
    begin, end = span.start, span.start + span.length
    if b"\n" in content[begin:end]:
        return module.deep_replace(node, mutated).code
    code = module.code_for_node(mutated)
    if module.code_for_node(node).encode() != content[begin:end]:
        code = code.strip()  # blanks that are the node's, and not of its span
    return (content[:begin] + code.encode() + content[end:]).decode()


def _nodes(node: cst.CSTNode, statement: cst.CSTNode | None) -> Iterator[tuple[cst.CSTNode, cst.CSTNode | None]]:
    """Each node that may change, with the innermost statement it is part of."""
    if isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value in _INVARIANTS:
        return
    if isinstance(node, _UNTOUCHED) or (statement is None and _is_alias(node)):
        return
    if isinstance(node, (cst.SimpleStatementLine, cst.BaseCompoundStatement)):
        statement = node
    yield node, statement
    for child in node.children:
        yield from _nodes(child, statement)


def _is_alias(node: cst.CSTNode) -> bool:
    """Whether a statement of the module itself names a type: `Floats = NDArray[np.float32]`."""
    line = node.body[0] if isinstance(node, cst.SimpleStatementLine) else None
    target = line.targets[0].target if isinstance(line, cst.Assign) else None
    return isinstance(target, cst.Name) and target.value[0].isupper() and not target.value.isupper()


def _mutations(node: cst.CSTNode) -> Iterable[cst.CSTNode]:
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in _TRIVIAL:
        return
    for kind, operator in mutation_operators:
        if isinstance(node, kind) and operator is not operator_arg_removal:
            most = 1 if operator is operator_string else None  # upper and lower case tell no more than another word
            yield from islice(operator(node), most)
    if isinstance(node, cst.Call):
        yield from _calls(node)
    if isinstance(node, cst.Expr) and isinstance(node.value, cst.Call):
        yield cst.Pass()
    if isinstance(node, cst.Name) and node.value in _OPPOSITES:
        yield node.with_changes(value=_OPPOSITES[node.value])


def _calls(node: cst.Call) -> Iterator[cst.Call]:
    """Without each keyword, and with None for each other argument: mutmut does both to all, and twice is no more."""
    for place, argument in enumerate(node.args):
        before, after = node.args[:place], node.args[place + 1 :]
        if argument.keyword is not None and argument.keyword.value in _INVARIANTS:
            continue
        if argument.keyword is not None:
            yield node.with_changes(args=[*before, *after])
        elif not argument.star and not (isinstance(argument.value, cst.Name) and argument.value.value == "None"):
            yield node.with_changes(args=[*before, argument.with_changes(value=cst.Name("None")), *after])


def _is_program(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def _difference(source: str, changed: str) -> tuple[str, str]:
    """The lines that differ, each side as one line."""
    was, now = source.splitlines(), changed.splitlines()
    while was and now and was[0] == now[0]:
        del was[0], now[0]
    while was and now and was[-1] == now[-1]:
        del was[-1], now[-1]
    return " ".join(map(str.strip, was)), " ".join(map(str.strip, now))
