"""The Typer app. Commands import what they need when they run, so that help is instant."""

import os
import sys

import typer

from . import (
    adapt,
    behavior,
    bench,
    collect,
    dataset,
    edit,
    families,
    hub,
    own,
    plugins,
    policy,
    record,
    rehearse,
    report,
    reproduce,
    sweep,
    train,
    transfer,
)
from .output import fail, prepare_streams, say

INTERRUPTED, TERMINATED = 130, 143

app = typer.Typer(
    name="idaq",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
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
idaq --install-completion lets Tab complete commands, datasets, families and strategies.
Exit codes: 0 done, 1 failed, 2 the request was not understood, 130 interrupted, 143 terminated.""",
)
app.command("families")(families.families)
app.command("collect")(collect.collect)
edit.register(dataset.app)
transfer.register(dataset.app)
own.register(dataset.app)
app.add_typer(dataset.app, name="dataset")
app.add_typer(hub.app, name="hub")
app.add_typer(behavior.app, name="behavior")
app.command("record")(record.record)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("adapt")(adapt.adapt)
app.command("rehearse")(rehearse.rehearse)
app.add_typer(policy.app, name="policy")
app.command("report")(report.report)
app.command("reproduce")(reproduce.reproduce)
app.command("bench")(bench.bench)
app.command("plugins")(plugins.plugins)


@app.callback(invoke_without_command=True)
def _main(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        import idaq

        say(f"idaq {idaq.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the app; turn our errors and signals into a message, a hint and an exit code."""
    from idaq.core.errors import IdaqError
    from idaq.core.extras import naming_extras
    from idaq.core.interrupts import Terminated, interrupts_raised
    from idaq.core.text import printable

    prepare_streams()
    command = typer.main.get_command(app)
    code = None
    if "_IDAQ_COMPLETE" in os.environ:  # a shell asks what may follow
        command.main(prog_name="idaq")
    try:
        with interrupts_raised(), naming_extras(), command.make_context("idaq", sys.argv[1:]) as context:
            code = command.invoke(context)
    except IdaqError as error:
        fail(error.message, error.exit_code, error.hint, error.details)
    except typer.Exit as done:
        code = done.exit_code
    except typer.TyperException as error:
        error.message = printable(error.message)
        getattr(error, "show", lambda: None)()
        sys.exit(getattr(error, "exit_code", 2))
    except (KeyboardInterrupt, typer.Abort) as interrupt:
        words = getattr(interrupt, "__notes__", ["nothing new is kept: run the same command again"])
        fail("; ".join(("interrupted", *words)), TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "memory" in str(error)):  # torch raises RuntimeError for it
            raise
        fail(f"there is not enough memory: {error}"[:300], 1, "ask for less: smaller --set values, a smaller dataset")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails to flush it once more
        sys.exit(1)
    except OSError as error:
        from idaq.core.disk import explain

        explained = explain(error)
        fail(explained.message, explained.exit_code, explained.hint)
    sys.exit(code if isinstance(code, int) else 0)
