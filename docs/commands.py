"""The page of the command line, from what `--help` of every command says."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

_BOLD, _CODE = re.compile(r"\[bold\](.*?)\[/bold\]"), re.compile(r"\[cyan\](.*?)\[/cyan\]")
NAMES = "NAMES"
"""where a command's help lists what is installed"""
_HEAD = """# Command line

Every command has `--help`, and `--json` where it prints results. An interrupted command resumes when it is run again.
This page is made of the commands' own help.
"""


def commands_page() -> str:
    """Markdown of every command, in the order in which `idaq --help` lists them."""
    from idaq.cli.app import app
    from typer.main import get_command

    root = get_command(app)
    sections = [
        _section(command, context) for command, context in _walk(root, root.context_class(root, info_name="idaq"))
    ]
    return _HEAD + "\n".join(sections)


def _walk(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """A command and those below it, each with its context."""
    yield command, context
    for name, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from _walk(below, below.context_class(below, info_name=name, parent=context))


def _section(command: Any, context: Any) -> str:
    """Heading, usage, help, options."""
    path = context.command_path
    depth = "##" if " " not in path.removeprefix("idaq ") else "###"
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    records = [param.get_help_record(context) for param in command.get_params(context)]
    rows = [f"| `{record[0].replace('|', '/')}` | {_cell(record[1])} |" for record in records if record]
    head = [f"{depth} {path}\n", _code([usage]), *_paragraphs(command.help or "")]
    return "\n".join([*head, "| option | what it does |", "|---|---|", *rows, ""])


def _paragraphs(text: str) -> Iterator[str]:
    """Help as Markdown: what is indented in it is code."""
    for paragraph in text.split("\n\n"):
        lines = ["  (idaq plugins lists them)" if line == NAMES else line for line in paragraph.rstrip().split("\n")]
        if all(line.startswith("  ") for line in lines):
            yield _code(line[2:].replace("\\[", "[") for line in lines)
        else:
            yield _plain(" ".join(lines)) + "\n"


def _code(lines: Iterable[str]) -> str:
    return "\n".join(["```text", *lines, "```", ""])


def _plain(words: str) -> str:
    """Without the terminal's markup."""
    marked = _CODE.sub(r"`\1`", _BOLD.sub(r"**\1**", words)).replace("\\[", "[")
    return marked.replace("<", "&lt;")


def _cell(words: str) -> str:
    return _plain(words).replace("|", "\\|")
