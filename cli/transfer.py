"""idaq dataset import"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idaq.core.errors import CorruptDatasetError, UsageError

from .output import Json, Root, print_json, progress, working

if TYPE_CHECKING:
    from idaq.share.importing import Import


def register(app: typer.Typer) -> None:
    """Add these commands to `idaq dataset`."""
    app.command("import")(import_)


def import_(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="minari:<id>, a folder of goal_idx<k>, a .hdf5 or a .npz file."),
    ],
    new: Annotated[str, typer.Option("--id", metavar="ID", help="The id of the new dataset.")],
    family: Annotated[str, typer.Option(help="The task family it belongs to, if idaq knows it.")] = "imported",
    description: Annotated[str | None, typer.Option(help="One sentence.")] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Unpickle object arrays. A pickle can run any code: trust its maker.")
    ] = False,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Make a verified dataset of other people's data, every (s, a, r, s') in its place.

    Several Minari datasets become one task each. Goal folders are those of FOCAL and its descendants; HDF5 is laid out
    as D4RL does; .npz as `idaq dataset export` does. What the source lacks is told: next observations of last steps,
    missing goals. Time-outs stay time-outs.

    [bold]Examples[/bold]

      idaq dataset import minari:D4RL/door/human-v2 minari:D4RL/door/expert-v2 --id me/door/both-v0
      idaq dataset import data/sparse-point-robot --id me/point/focal-v0 --allow-pickle
      idaq dataset import hopper-medium.hdf5 --id me/hopper/medium-v0
    """
    from idaq.core.ids import datasets_root
    from idaq.format.card import dataset_card
    from idaq.format.reader import open_stored
    from idaq.format.verify import verify
    from idaq.format.writer import write_dataset
    from idaq.share.importing import dataset_source

    with working("reading " + ", ".join(sources)):
        imported = _read(sources, allow_pickle, root)
    source = dataset_source(imported, new, family, description or f"Imported from {imported.origin}.")
    episodes = sum(len(task.episodes) for task in imported.tasks)
    card = dataset_card(source.recipe, source.tasks, f"Made by {source.operation}.")
    with progress(f"writing {new}", 3 * episodes, "episodes") as advance:
        path = write_dataset(source, datasets_root(root), card, advance)
        problems = verify(path, advance)
    if problems:
        raise CorruptDatasetError(f"{path} was written, but is not sound: {problems[0]}")
    digest = open_stored(path).manifest.content_digest
    facts = {"path": str(path), "content_digest": digest, "tasks": len(source.tasks), "episodes": episodes}
    if as_json:
        print_json({**facts, "notes": imported.notes})
        return
    for note in imported.notes:
        print(f"note: {note}")
    print(f"{new}: {len(source.tasks)} tasks, {episodes} episodes\n{path}\ncontent digest {digest}")


def _read(sources: list[str], allow_pickle: bool, root: Path | None) -> "Import":
    from idaq.format.store import find_dataset

    if all(source.startswith("minari:") for source in sources):
        from idaq.share.minari import read_minari

        return read_minari([find_dataset(source.removeprefix("minari:"), root) for source in sources])
    if len(sources) > 1:
        raise UsageError("only minari:<id> sources can be several", hint="import one file or folder, then merge")
    path = Path(sources[0]).expanduser()
    if path.is_dir():
        from idaq.share.focal import read_focal

        return read_focal(path, allow_pickle)
    from idaq.share.arrays import read_d4rl, read_npz

    readers = {".npz": read_npz, ".hdf5": read_d4rl, ".h5": read_d4rl}
    if path.suffix not in readers:
        raise UsageError(f"{sources[0]} is nothing that can be imported", hint="minari:<id>, a folder, .hdf5 or .npz")
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    return readers[path.suffix](path)
