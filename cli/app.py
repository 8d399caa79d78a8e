"""The Typer app. Commands import what they need when they run, so that help is instant."""

import sys

import typer

from . import adapt, behavior, collect, dataset, edit, hub, report, reproduce, train, transfer
from .output import fail, prepare_streams, say

INTERRUPTED = 130

app = typer.Typer(
    name="idaq",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""Datasets for learning to adapt: collect them, check them, learn from them, adapt online.

[bold]A first tour[/bold]

  idaq collect point-robot
  idaq dataset verify idaq/point-robot/expert-v0
  idaq train --dataset idaq/point-robot/expert-v0 --out runs/point
  idaq adapt runs/point
  idaq report runs/point

Datasets live below $MINARI_DATASETS_PATH (default ~/.minari/datasets), where plain Minari finds them too.
Exit codes: 0 done, 1 failed, 2 the request was not understood, 130 interrupted.""",
)
app.command("collect")(collect.collect)
edit.register(dataset.app)
transfer.register(dataset.app)
app.add_typer(dataset.app, name="dataset")
app.add_typer(hub.app, name="hub")
app.add_typer(behavior.app, name="behavior")
app.command("train")(train.train)
app.command("adapt")(adapt.adapt)
app.command("report")(report.report)
app.command("reproduce")(reproduce.reproduce)


@app.callback(invoke_without_command=True)
def _main(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        import idaq

        say(f"idaq {idaq.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the app; turn our errors into a message, a hint and an exit code."""
    from idaq.core.errors import IdaqError
    from idaq.core.text import printable

    prepare_streams()
    try:
        code = app(standalone_mode=False)
    except IdaqError as error:
        fail(error.message, error.exit_code, error.hint)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "memory" in str(error)):  # torch raises RuntimeError for it
            raise
        fail(f"there is not enough memory: {error}"[:300], 1, "ask for less: smaller --set values, a smaller dataset")
    except typer.TyperException as error:
        error.message = printable(error.message)
        getattr(error, "show", lambda: None)()
        sys.exit(getattr(error, "exit_code", 2))
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        sys.exit(1)
    if code == INTERRUPTED:  # Typer turns Ctrl-C into this code
        fail("interrupted; what was finished is kept, the same command goes on from there", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
