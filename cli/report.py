"""idaq report"""

from pathlib import Path
from typing import Annotated

from idaq.core.errors import IdaqError

from .output import Json, Root, path_argument, path_option, say, say_path, working


def report(
    runs: Annotated[list[Path], path_argument(help="Run directories, adapted.")],
    out: Annotated[Path | None, path_option(help="HTML file. \\[default: report.html in the first run]")] = None,
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
    say_path(target, as_json)
