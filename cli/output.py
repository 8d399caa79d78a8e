"""What every command prints with: tables and JSON on stdout, progress and errors on stderr.

All text passes `printable` here, so that nothing in a document or a file name controls a terminal. No other module of
the command line prints.
"""

import io
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from idaq.core.text import printable

if TYPE_CHECKING:
    from idaq.core.registry import Registry
    from idaq.core.types import Advance

Settings = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; dots go deeper. May be repeated.")
]
Plugin = Annotated[
    list[str],
    typer.Option(metavar="PACKAGE.MODULE:THING", help="Code that a recipe or run may name; you trust it. Repeatable."),
]
Root = Annotated[
    Path | None, typer.Option(help="Folder of datasets. \\[default: $MINARI_DATASETS_PATH or ~/.minari/datasets]")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, nothing else.")]

EnvName = Annotated[
    str | None,
    typer.Option("--env", metavar="ENV", help="Environment: a Gymnasium id or package.module:function."),
]
EnvArg = Annotated[
    list[str], typer.Option("--env-arg", metavar="KEY=VALUE", help="A keyword argument of --env. May be repeated.")
]


def prepare_streams() -> None:
    """Escape what a terminal cannot encode, and print warnings as errors are printed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = lambda message, *_args, **_kwargs: say(f"warning: {message}", err=True)


def say(*lines: str, err: bool = False) -> None:
    """Print each argument on one line, whatever it holds."""
    for line in lines:
        print(printable(line), file=sys.stderr if err else sys.stdout)


def fail(message: str, code: int, hint: str | None = None, details: Sequence[str] = ()) -> NoReturn:
    """Print an error, below it its details and what fixes it, and exit."""
    listed = "".join(f"\n  - {printable(detail)}" for detail in details)
    below = listed + ("" if hint is None else f"\n  fix: {printable(hint)}")
    try:
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), printable(message), below))
    except (ImportError, OSError):  # where too many files are open, nothing more can be imported
        print(f"error: {printable(message)}{below}", file=sys.stderr)
    sys.exit(code)


@contextmanager
def if_interrupted(words: Callable[[], str]) -> Iterator[None]:
    """What an interruption says of what is kept, asked for when it has come."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(words())
        raise


def print_json(value: object) -> None:
    """One JSON document on stdout; characters that control a terminal are JSON escapes."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    print("\n".join(line if line.isprintable() else "".join(map(_json_escape, line)) for line in text.split("\n")))


def _json_escape(letter: str) -> str:
    return letter if letter.isprintable() else json.dumps(letter)[1:-1].replace("\x7f", "\\u007f")


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; all columns but the first are right-aligned. Cells are plain text."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), box=SIMPLE_HEAD, title_justify="left")
    for number, name in enumerate(header):
        table.add_column(Text(printable(name)), justify="right" if number else "left", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    # A pipe or a file has no width to respect: nothing is cut there.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def listing(registry: Callable[[], "Registry[Any]"]) -> type[TyperCommand]:
    """The class of a command whose help says, in place of NAMES, what a registry holds.

    Asked for only when help is; what ships is described, what other packages bring is not imported for that.
    """

    class Listing(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            from rich.markup import escape

            known = registry()
            lines = (
                f"  {origin.name}: "
                + (known.get(origin.name).description if origin.source == "idaq" else f"of {origin.source}")
                for origin in known.origins()
            )
            self.help = (self.help or "").replace("NAMES", escape("\n".join(map(printable, lines))))
            super().format_help(ctx, formatter)

    return Listing


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator["Advance"]:
    """A progress bar with rate and time left, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: object) -> Text:
            speed = getattr(task, "finished_speed", None) or getattr(task, "speed", None)
            if not speed:
                return Text(f"- {unit}/s")
            return Text(f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.2g} {unit}/s")

    label_column = TextColumn("{task.description}", markup=False)  # paths may hold brackets
    columns = (label_column, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        job = bar.add_task(printable(label), total=total)
        yield lambda count: bar.advance(job, count)


@contextmanager
def working(label: str) -> Iterator[None]:
    """A spinner on stderr for what takes seconds but cannot be counted."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(printable(label))):
        yield
