"""What every command prints with: tables and JSON on stdout, progress and errors on stderr.

All text passes `printable` here, so that nothing in a document or a file name controls a terminal. No other module of
the command line prints.
"""

import io
import json
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand

from idaq.core.text import printable

if TYPE_CHECKING:
    from idaq.core.registry import Registry

_FIRST, _OFTEN, _SELDOM = 1.0, 5.0, 25.0
"""seconds to the first line of a command's progress, and between two: first, and after a while"""


def user_path(text: str) -> Path:
    """A path as a user writes it: `~` is the home folder, also where no shell has put that in its place."""
    return Path(text).expanduser()


def path_option(*names: str, **more: Any) -> Any:
    """An option that is a path; every one is made here, as every argument by `path_argument`."""
    return typer.Option(*names, parser=user_path, **{"metavar": "PATH", **more})


def path_argument(**more: Any) -> Any:
    """An argument that is a path."""
    return typer.Argument(parser=user_path, **{"metavar": "PATH", **more})


Settings = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; dots go deeper. May be repeated.")
]
Plugin = Annotated[
    list[str],
    typer.Option(metavar="PACKAGE.MODULE:THING", help="Code that a recipe or run may name; you trust it. Repeatable."),
]
Root = Annotated[
    Path | None, path_option(help="Folder of datasets. \\[default: $MINARI_DATASETS_PATH or ~/.minari/datasets]")
]
Executor = Annotated[
    Literal["joblib", "ray"], typer.Option(help="joblib: processes here. ray: the cluster of RAY_ADDRESS, or here.")
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


def say_path(path: Path, as_json: bool) -> None:
    """Print what was written."""
    if as_json:
        print_json({"path": str(path)})
    else:
        say(str(path))


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


class Progress:
    """How far a command is: called with what was just finished, as an `Advance` is."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.words = 0, ""
        self.changed: Callable[[], object] = lambda: None
        self._start = time.monotonic()
        self._first: tuple[float, int] | None = None

    def __call__(self, count: int) -> None:
        self.done += count
        if self._first is None:  # what an earlier run has done comes with the first call: it says nothing of the rate
            self._first = time.monotonic(), self.done
        self.changed()

    def tell(self, words: str) -> None:
        """What else there is to say now, such as losses."""
        self.words = words
        self.changed()

    @property
    def rate(self) -> float:
        """Units a second since the first were done; 0 before that."""
        since, before = self._first or (time.monotonic(), self.done)
        return (self.done - before) / max(time.monotonic() - since, 1e-9)

    def line(self) -> str:
        """One line for a log: count, total, rate, time left, words."""
        parts = [f"{self.label}: {self.done:,} of {self.total:,} {self.unit}"]
        rate, spent = self.rate, time.monotonic() - self._start
        parts += [f"{_per_second(rate)} {self.unit}/s"] if rate else []
        to_do = self.total - self.done
        if rate and to_do > 0:
            parts.append(f"{duration(to_do / rate)} left")
        else:
            parts.append(f"{duration(spent)} so far" if to_do > 0 else f"took {duration(spent)}")
        return ", ".join(parts) + (f"; {self.words}" if self.words else "")


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator[Progress]:
    """How far a command is, on stderr: a bar on a terminal, else a line every few seconds."""
    counted = Progress(label, total, unit)
    if sys.stderr.isatty():
        with _bar(counted):
            yield counted
        return
    try:
        with _lines(counted.line):
            yield counted
    finally:
        say(counted.line(), err=True)


@contextmanager
def working(label: str) -> Iterator[None]:
    """On stderr for what takes seconds but cannot be counted: a spinner on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        start = time.monotonic()
        with _lines(lambda: f"{label}: {duration(time.monotonic() - start)}"):
            yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(printable(label))):
        yield


@contextmanager
def _lines(line: Callable[[], str]) -> Iterator[None]:
    """Print a line soon, then every few seconds, then less often, whatever the work between is doing."""
    ended, start = threading.Event(), time.monotonic()

    def speak() -> None:
        pause = _FIRST
        while not ended.wait(pause):
            with suppress(OSError, ValueError):  # nobody reads stderr any more
                say(line(), err=True)
            pause = min(_SELDOM, max(_OFTEN, (time.monotonic() - start) / 4))

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _bar(counted: Progress) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: object) -> Text:
            return Text(f"{_per_second(counted.rate) if counted.rate else '-'} {counted.unit}/s")

    label = TextColumn("{task.description}", markup=False)  # paths may hold brackets
    words = TextColumn("{task.fields[words]}", markup=False)
    with Bar(
        label, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(), words, console=Console(stderr=True)
    ) as bar:
        job = bar.add_task(printable(counted.label), total=counted.total, words="")
        counted.changed = lambda: bar.update(job, completed=counted.done, words=printable(counted.words))
        yield


def _per_second(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    return f"{minutes} min {int(seconds) % 60} s" if not hours else f"{hours} h {minutes % 60} min"
