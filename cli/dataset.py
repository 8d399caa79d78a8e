"""idaq dataset list | show | verify | plot | explore | card | croissant"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from idaq.core.errors import CorruptDatasetError, UsageError

from .completion import datasets
from .output import Json, Plugin, Root, path_option, print_json, print_table, progress, say, say_path, working

if TYPE_CHECKING:
    from idaq.format.reader import StoredDataset

app = typer.Typer(
    no_args_is_help=True,
    help="""Look at datasets, check them, draw them, hand them on.

    [bold]Examples[/bold]

      idaq dataset list
      idaq dataset show idaq/point-robot/expert-v0
      idaq dataset verify idaq/point-robot/expert-v0""",
)
Id = Annotated[
    str, typer.Argument(metavar="ID", help="A dataset id, or the path of its folder.", autocompletion=datasets)
]


@app.command("list")
def list_(root: Root = None, as_json: Json = False) -> None:
    """List the datasets below the root, plain Minari datasets included.

    [bold]Example[/bold]

      idaq dataset list --json | jq '.[].id'
    """
    from idaq.core.ids import datasets_root
    from idaq.format.store import list_datasets

    found = [summary(listing.dataset_id, listing.metadata) for listing in list_datasets(root)]
    if as_json:
        print_json(found)
    elif not found:
        say(f"no datasets in {datasets_root(root)}; idaq collect point-robot makes one")
    else:
        print_table(f"Datasets in {datasets_root(root)}", list(found[0]), summary_rows(found))


@app.command()
def show(dataset: Id, root: Root = None, as_json: Json = False) -> None:
    """Show what a dataset holds, tasks, splits, behaviours, returns, digest, and what can be done with it.

    [bold]Examples[/bold]

      idaq dataset show idaq/point-robot/expert-v0
      idaq dataset show idaq/point-robot/expert-v0 --json | jq .content_digest
    """
    from idaq.adapt.uses import uses_of
    from idaq.format.reader import is_idaq_dataset, open_stored, read_metadata
    from idaq.format.store import find_dataset

    path = find_dataset(dataset, root)
    if not is_idaq_dataset(path):
        metadata = read_metadata(path)
        if as_json:
            print_json(metadata)
        else:
            print_table(dataset, ["", ""], [[key, str(value)[:120]] for key, value in metadata.items()])
            say(*uses_of(path).lines())
        return
    stored = open_stored(path)
    if as_json:
        from idaq.core.config import to_mapping

        facts = {"path": str(path), "uses": to_mapping(uses_of(path)), "tasks": [to_mapping(t) for t in stored.tasks]}
        print_json({**to_mapping(stored.manifest), **facts})
        return
    _show(stored)
    say(*uses_of(path).lines())


@app.command()
def verify(dataset: Id, root: Root = None, as_json: Json = False) -> None:
    """Check every byte of a dataset against what it states; exit code 1 if anything is wrong.

    [bold]Example[/bold]

      idaq dataset verify idaq/point-robot/expert-v0 && idaq train --dataset idaq/point-robot/expert-v0
    """
    from idaq.format.reader import is_idaq_dataset
    from idaq.format.store import find_dataset
    from idaq.format.verify import verify as run
    from idaq.format.verify import warnings_of

    path = find_dataset(dataset, root)
    if not is_idaq_dataset(path):
        raise CorruptDatasetError(f"{dataset} has no manifest to verify against", hint="only datasets by idaq have one")
    with progress("verifying, each episode twice", 2 * _episodes(path), "checks") as advance:
        problems = run(path, advance)
    warnings = [] if problems else warnings_of(path)
    if as_json:
        listed = {"problems": [vars(p) for p in problems], "warnings": [vars(p) for p in warnings]}
        print_json({"path": str(path), "valid": not problems, **listed})
        raise typer.Exit(bool(problems))
    if problems:
        raise CorruptDatasetError(
            f"{dataset} is damaged",
            details=map(str, problems),
            hint=f"remove {path} and collect it again (same digest) or fetch it again",
        )
    say(*(f"warning: {warning}" for warning in warnings))
    say(f"{dataset} is valid: every file, episode and document agrees")


@app.command()
def plot(
    dataset: Id,
    out: Annotated[Path | None, path_option(help="PNG or SVG file. \\[default: <name>-returns.png]")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Draw the returns of every task.

    [bold]Example[/bold]

      idaq dataset plot idaq/point-robot/expert-v0 --out returns.svg
    """
    from idaq.evaluate.figures import dataset_returns
    from idaq.evaluate.style import save
    from idaq.loader import open_dataset

    opened = open_dataset(dataset, root)
    target = out or Path(opened.dataset_id.replace("/", "-") + "-returns.png")
    with working(f"drawing {target}"):
        save(dataset_returns(opened), target)
    say_path(target, as_json)


@app.command()
def explore(
    dataset: Id,
    out: Annotated[Path | None, path_option(help="HTML file. \\[default: <name>.html]")] = None,
    episodes: Annotated[
        str, typer.Option(metavar="auto|all|N", help="Which to draw as curves: what fits near 15 MB, all, N a task.")
    ] = "auto",
    film: Annotated[int, typer.Option(min=0, metavar="N", help="Play N episodes again and film them.")] = 0,
    plugin: Plugin = [],  # noqa: B006 - Typer copies it
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write one HTML file to look into a dataset: filter, sort and search its episodes, open one as curves, path, film.

    It needs no server and no network. Every episode is listed; where a dataset is large, some can be opened, and the
    page says which.

    [bold]Examples[/bold]

      idaq dataset explore idaq/point-robot/expert-v0 --out point.html
      idaq dataset explore idaq/ml1-reach/expert-v0 --episodes 2 --film 4
    """
    from idaq.evaluate.explorer import write_explorer
    from idaq.loader import open_dataset

    wanted = _wanted(episodes)
    opened = open_dataset(dataset, root)
    target = out or Path(opened.dataset_id.replace("/", "-") + ".html")
    made = write_explorer(opened, target, episodes=wanted, films=film, allow=plugin, show=progress)
    if as_json:
        print_json({**vars(made), "path": str(made.path), "bytes": made.path.stat().st_size})
        return
    say(*made.notes)
    films = f", {made.films} filmed" if film else ""
    size = f"{made.path.stat().st_size / 1e6:.1f} MB"
    say(f"{made.path} ({size}; {made.episodes} episodes, {made.curves} as curves{films})")


def _wanted(episodes: str) -> Literal["auto", "all"] | int:
    """The value of --episodes. Raises UsageError."""
    if episodes == "auto" or episodes == "all":
        return episodes
    if not (episodes.isascii() and episodes.isdecimal() and 0 < len(episodes) < 10 and int(episodes)):
        raise UsageError(f"--episodes {episodes}", hint="auto, all, or how many of each task, such as 3")
    return int(episodes)


@app.command()
def card(dataset: Id, root: Root = None, as_json: Json = False) -> None:
    """Print a dataset's card: the README.md that a hub shows, with front matter and figures.

    [bold]Example[/bold]

      idaq dataset card idaq/point-robot/expert-v0 > README.md
    """
    from idaq.format.card import dataset_card
    from idaq.format.published import with_configs
    from idaq.format.reader import open_stored
    from idaq.format.store import find_dataset

    stored = open_stored(find_dataset(dataset, root))
    text = with_configs(dataset_card(stored))
    if as_json:
        print_json({"id": stored.manifest.dataset_id, "card": text})
    else:
        say(*text.removesuffix("\n").split("\n"))


@app.command()
def croissant(
    dataset: Id,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the folder that it is published as, README.md in it.")
    ] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Print a dataset's Croissant 1.1 file, which catalogues of data read; idaq hub push writes it beside the card.

    It states what the dataset's documents state: whose it is, its files, columns, tasks and episodes, how it was
    collected, its limits. What they do not know is left out. mlcroissant writes and validates it.

    [bold]Examples[/bold]

      idaq dataset croissant idaq/point-robot/expert-v0 > croissant.json
      idaq dataset croissant idaq/point-robot/expert-v0 --url https://example.org/datasets/point-robot/expert-v0
    """
    from idaq.format.croissant import Published, croissant_text
    from idaq.format.reader import open_stored
    from idaq.format.store import find_dataset

    stored = open_stored(find_dataset(dataset, root))
    with working("writing and validating"):
        text = croissant_text(stored, Published(page=url, files=url))
    if as_json:
        print_json({"id": stored.manifest.dataset_id, "croissant": json.loads(text)})
    else:
        say(*text.removesuffix("\n").split("\n"))


def _episodes(path: Path) -> int:
    from idaq.format.reader import read_metadata

    total = read_metadata(path).get("total_episodes")
    return total if isinstance(total, int) else 0


def summary(dataset_id: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """The columns of a listing; what the document lacks is None."""
    stated = metadata.get("idaq")
    counts = stated.get("counts") if isinstance(stated, dict) else None
    return {
        "id": dataset_id,
        "format": f"idaq {_number(stated.get('format_version'))}" if isinstance(stated, dict) else "minari",
        "tasks": _number(counts.get("tasks")) if isinstance(counts, dict) else None,
        "episodes": _number(metadata.get("total_episodes")),
        "steps": _number(metadata.get("total_steps")),
        "size_mb": _number(metadata.get("dataset_size")),
    }


def summary_rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """Listings as the rows of a table."""
    return [["-" if value is None else str(value) for value in entry.values()] for entry in found]


def _number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _show(stored: "StoredDataset") -> None:
    from idaq.format.documents import mean_random
    from idaq.format.reader import count_histories

    manifest, counts, recipe = stored.manifest, stored.manifest.counts, stored.manifest.recipe
    table, splits = stored.episodes, stored.manifest.splits
    facts = [
        ["path", str(stored.path)],
        ["family", manifest.family],
        ["description", manifest.recipe.description],
        ["tasks", f"{counts.tasks} ({', '.join(f'{len(tasks)} {name}' for name, tasks in splits.items())})"],
        ["episodes, steps", f"{counts.episodes}, {counts.steps}"],
        ["size", f"{stored.hdf5.stat().st_size / 1e6:.1f} MB"],
        ["whose", f"{', '.join(recipe.authors) or 'unknown'}; licence: {recipe.license or 'unknown'}"],
        *([["source", recipe.source]] if recipe.source else []),
        *([["learning histories", str(count_histories(table))]] if (table.history >= 0).any() else []),
        ["content digest", manifest.content_digest],
        ["collected", f"{manifest.provenance.created} by idaq {manifest.provenance.idaq}"],
    ]
    print_table(manifest.dataset_id, ["", ""], facts)
    rows = []
    for behaviour in manifest.recipe.behaviours:
        mine = table.behaviour == behaviour.name
        if not mine.any():
            rows.append([behaviour.name, behaviour.kind, "0", *"-----"])
            continue
        returns = table.total_reward[mine]
        values = (returns.mean(), returns.std(), returns.min(), returns.max())
        spread = ["unknown" if math.isnan(value) else f"{value:.3f}" for value in values]
        rows.append([behaviour.name, behaviour.kind, str(int(mine.sum())), *spread, table.success_text(mine)])
    random = mean_random(stored.tasks)
    if random is not None:
        rows.append(["random (reference)", "random", "-", f"{random:.3f}", "-", "-", "-", "-"])
    print_table("Returns", ["behaviour", "kind", "episodes", "mean", "std", "min", "max", "success"], rows)
    print_table("Columns", ["column", "rows", "dtype", "row", "space", "unit", "meaning"], _columns(stored))


def _columns(stored: "StoredDataset") -> list[list[str]]:
    """A row a column: what it holds, as far as it is said."""
    from idaq.format.spaces import read_leaves

    columns, leaves = stored.manifest.columns, read_leaves(stored.metadata, stored.manifest.columns, str(stored.path))
    rows = []
    for name, column in columns.items():
        space = leaves[name].text if name in leaves else "-"
        shape = " x ".join(map(str, column.shape)) or "1"
        meaning = (column.meaning or "-") if column.known else "not known: all 0"
        dtype = column.dtype.lstrip("<|") + (", gzip" if column.chunk_rows else "")
        rows.append([name, column.rows, dtype, shape, space, column.unit or "-", meaning])
    return rows
