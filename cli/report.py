"""idaq report"""

from pathlib import Path
from typing import Annotated

import typer

from idaq.core.errors import IdaqError

from .output import Json, Root, print_json, say, working


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, adapted.")],
    out: Annotated[Path | None, typer.Option(help="HTML file. \\[default: report.html in the first run]")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML file: table, figures with their numbers, data, settings and how to do it again.

    [bold]Examples[/bold]

      idaq report runs/point
      idaq report runs/point-seed* --out point.html
    """
    from idaq.evaluate.report import write_report
    from idaq.learn.run import run_dataset

    try:
        dataset = run_dataset(runs[0], root)
    except IdaqError as error:
        say(f"the report will lack the dataset's figure: {error.message}", err=True)
        dataset = None
    target = out or runs[0] / "report.html"
    with working(f"drawing {target}"):
        write_report(runs, dataset, target)
    if as_json:
        print_json({"path": str(target), "bytes": target.stat().st_size, "with_dataset": dataset is not None})
    else:
        say(str(target))
