"""idaq reproduce"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idaq.core.errors import UsageError

from . import completion
from .output import Executor, Json, Root, Settings, if_interrupted, path_option, print_json, print_table, progress, say

if TYPE_CHECKING:
    from idaq.catalogue.entries import Entry
    from idaq.format.recipe import Recipe

EXPERTS = ["point-robot/expert", "point-robot-sparse/expert", "point-robot-wind/expert"]
_CATALOGUE = "Where to write; recipes are always of the installed catalogue. \\[default: that one]"


def reproduce(
    entries: Annotated[
        list[str],
        typer.Argument(help="Catalogue entries, family/quality; * is any.", autocompletion=completion.entries),
    ] = EXPERTS,
    seeds: Annotated[int, typer.Option(min=0, help="Training seeds for each entry; 0 describes the data only.")] = 6,
    out: Annotated[Path, path_option(help="Folder of run directories; finished ones are not run again.")] = Path(
        "runs/reproduce"
    ),
    recipe: Annotated[
        Path | None, path_option(help="A recipe file of your own, in place of entries. Needs --catalogue.")
    ] = None,
    executor: Executor = "joblib",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, one CPU thread each.")] = 2,
    catalogue: Annotated[Path | None, path_option(help=_CATALOGUE)] = None,
    settings: Settings = [],  # noqa: B006 - Typer copies it
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Run the study behind the published table: collect, train several seeds, adapt, and write down what came out.

    Writes baselines.json, card.md and returns.png into the catalogue entry, as soon as an entry is done; the sets of a
    suite (ml1) share one data.json, baselines.json and card.md. Interrupted, the same command resumes.

    [bold]Examples[/bold]

      idaq reproduce                                   all three point-robot families, six seeds
      idaq reproduce point-robot/expert --seeds 2 --catalogue /tmp/catalogue
      idaq reproduce ml1/push/expert ml1/reach/expert --seeds 3
      idaq reproduce --recipe my.toml --catalogue mine --seeds 3     the same study of data of your own
      idaq reproduce "ml1/*/expert" --seeds 0          collect all 50 sets and describe their data
      idaq reproduce "ml1/*/expert" --seeds 0 --set episodes=2 --root small --catalogue sample   the same on a sample
    """
    from idaq.adapt.strategy import STRATEGIES
    from idaq.catalogue.entries import matching
    from idaq.catalogue.study import KEPT, Study
    from idaq.core.config import to_mapping
    from idaq.core.ids import datasets_root
    from idaq.core.resources import resource_root
    from idaq.evaluate.protocol import summary_columns, summary_notes, summary_rows

    if settings and catalogue is None:
        raise UsageError(
            "--set makes other data and agents than the catalogue speaks of: its results are not replaced by theirs",
            hint="--catalogue FOLDER writes them elsewhere",
        )
    if recipe is not None and entries != EXPERTS:
        raise UsageError(f"{' '.join(entries)} beside --recipe: which one?", hint="give entries or a recipe")
    if recipe is not None and catalogue is None:
        raise UsageError("a recipe of your own is no entry of the catalogue", hint="--catalogue FOLDER for its results")
    own = _own(recipe, settings) if recipe else {}
    study = Study(
        seeds=seeds,
        out=out,
        jobs=jobs,
        catalogue=catalogue or resource_root("datasets"),
        root=datasets_root(root),
        settings=settings,
        executor=executor,
        recipes=own,
        progress=progress,
    )
    summaries = {}
    with if_interrupted(lambda: KEPT):
        named = list(own) or [entry for pattern in entries for entry in matching(pattern)]
        for entry, summary in study.run(named):
            summaries[str(entry)] = to_mapping(summary)
            left_out = [name for name in STRATEGIES.builtin if name not in {*summary.strategies, "in-context"}]
            if left_out:
                say(f"note: {', '.join(left_out)} left out: agents of this algorithm cannot run them", err=True)
            if not as_json:
                print_table(f"{entry}: {seeds} training seeds", summary_columns(summary), summary_rows(summary))
                say(*summary_notes(summary))
    if as_json:
        print_json(summaries)


def _own(path: Path, settings: list[str]) -> "dict[Entry, Recipe]":
    """The recipe of a file as an entry, named by the dataset's id."""
    from idaq.catalogue.entries import Entry, load_recipe

    recipe = load_recipe(path, settings)
    *_, family, name = recipe.id.split("/")
    return {Entry(family, name.rpartition("-v")[0]): recipe}
