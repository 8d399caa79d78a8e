"""idaq dataset export | import"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idaq.core.errors import UsageError

from .dataset import Id
from .output import Json, Root, listing, print_json, progress, say, working

if TYPE_CHECKING:
    from idaq.core.registry import Registry
    from idaq.share.importing import Import


def register(app: typer.Typer) -> None:
    """Add these commands to `idaq dataset`."""
    app.command(cls=listing(_exporters))(export)
    app.command("import")(import_)


def export(
    dataset: Id,
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="A file or folder that does not exist; for zarr also a URL.")
    ],
    to: Annotated[
        str | None, typer.Option(metavar="NAME", help="An exporter. \\[default: by the ending of OUT]")
    ] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Write a dataset for another library: every (s, a, r, s') in its place, terminals and time-outs apart.

    [bold]Exporters[/bold]

    NAMES
      package.module:thing: your own

    For d3rlpy, TorchRL and torch, which take datasets in memory, see idaq.share.frameworks.

    [bold]Examples[/bold]

      idaq dataset export idaq/point-robot/expert-v0 point.npz
      idaq dataset export idaq/point-robot/expert-v0 point.parquet
      idaq dataset export idaq/point-robot/expert-v0 s3://bucket/point.zarr
      idaq dataset export idaq/point-robot/expert-v0 goals --to focal-npy
    """
    from idaq.share.exporters import export as run

    done = run(dataset, out, to, root=root, show=progress)
    counts = done.counts
    if as_json:
        print_json({"out": out, "format": done.to, "episodes": counts.episodes, "transitions": counts.steps})
    else:
        say(f"{out}: {counts.steps} transitions of {counts.episodes} episodes")


def import_(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="minari:<id>, a folder of goal_idx<k>, .hdf5, .npz, or .zarr."),
    ],
    new: Annotated[str | None, typer.Option("--id", metavar="ID", help="The id of the new dataset.")] = None,
    family: Annotated[str, typer.Option(help="The task family it belongs to, if idaq knows it.")] = "imported",
    description: Annotated[str | None, typer.Option(help="One sentence.")] = None,
    author: Annotated[list[str], typer.Option(help="Whose data it is. May be repeated.")] = [],  # noqa: B006
    license: Annotated[str | None, typer.Option(help="Its licence: an SPDX identifier, or words.")] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Unpickle object arrays. A pickle can run any code: trust its maker.")
    ] = False,
    task: Annotated[
        list[str] | None, typer.Option("--task", metavar="NAME", help="The task's name, once for each source.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="KEY=NUMBERS", help="Parameter of the only task; repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if there is anything to note.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Make a verified dataset of other people's data, every (s, a, r, s') in its place.

    Several sources become several tasks, in the order given. Goal folders are those of FOCAL and its descendants; HDF5
    is laid out as D4RL does; .npz as `idaq dataset export` does. A .zarr folder or URL is an idaq dataset and keeps its
    id. Each cut, cast, drop and assumption is counted and told; --strict makes each an error.

    [bold]Examples[/bold]

      idaq dataset import minari:D4RL/door/human-v2 minari:D4RL/door/expert-v2 --id me/door/both-v0
      idaq dataset import data/sparse-point-robot --id me/point/focal-v0 --allow-pickle
      idaq dataset import hopper-medium.hdf5 --id me/hopper/medium-v0 --task normal --param mass=1
      idaq dataset import goal-a.npz goal-b.npz --id me/goals/both-v0 --task a --task b
      idaq dataset import https://example.org/point.zarr
    """
    from idaq.format.verify import warnings_of
    from idaq.share.importing import state_whose

    if any(source.rstrip("/").endswith(".zarr") for source in sources):
        if len(sources) > 1 or new or family != "imported" or description or author or license or task or param:
            said = "a .zarr is an idaq dataset: it comes alone and states its id, tasks, authors and licence itself"
            raise UsageError(said, hint="idaq dataset relabel changes id, description, authors and licence")
        _from_zarr(sources[0], root, as_json)
        return
    if new is None:
        raise UsageError("the new dataset needs an id", hint="--id me/family/name-v0")
    from idaq.share.sources import parse_params, read_sources

    params = parse_params(param or [])
    with working("reading " + ", ".join(sources)):
        imported = read_sources(sources, tasks=task or [], params=params, allow_pickle=allow_pickle, root=root)
        state_whose(imported, author, license)
    facts = _write(imported, new, family, description, root, strict)
    warnings = [warning.what for warning in warnings_of(Path(str(facts["path"])))]
    if as_json:
        print_json({**facts, "notes": list(imported.notes), "warnings": warnings})
        return
    say(*(f"note: {note}" for note in imported.notes), *(f"warning: {warning}" for warning in warnings))
    say(f"{new}: {facts['tasks']} tasks, {facts['episodes']} episodes", str(facts["path"]))
    say(f"content digest {facts['content_digest']}")


def _write(
    imported: "Import", new: str, family: str, description: str | None, root: Path | None, strict: bool
) -> dict[str, str | int]:
    """Write and verify; what came out, for printing."""
    from idaq.core.ids import datasets_root
    from idaq.core.notes import refuse_notes
    from idaq.format.card import dataset_card
    from idaq.format.reader import open_stored
    from idaq.format.verify import check_sound
    from idaq.format.writer import write_dataset
    from idaq.share.importing import dataset_source

    source = dataset_source(imported, new, family, description or f"Imported from {imported.origin}.")
    if strict:
        refuse_notes(tuple(imported.notes))
    episodes = sum(len(task.episodes) for task in imported.tasks)
    card = dataset_card(source.recipe, source.tasks, f"Made by {source.operation}.")
    with progress(f"writing {new}", 3 * episodes, "episodes") as advance:
        check = partial(check_sound, otherwise="what was imported makes no sound dataset", progress=advance)
        path = write_dataset(source, datasets_root(root), card, advance, check)
    digest = open_stored(path).manifest.content_digest
    return {"path": str(path), "content_digest": digest, "tasks": len(source.tasks), "episodes": episodes}


def _from_zarr(url: str, root: Path | None, as_json: bool) -> None:
    from idaq.core.ids import datasets_root
    from idaq.format.reader import open_stored
    from idaq.format.zarr.reader import open_zarr
    from idaq.format.zarr.transfer import import_zarr

    with progress(f"reading {url}", len(open_zarr(url).episodes), "episodes") as advance:
        path = import_zarr(url, datasets_root(root), advance)
    manifest = open_stored(path).manifest
    if as_json:
        print_json({"id": manifest.dataset_id, "path": str(path), "content_digest": manifest.content_digest})
    else:
        say(manifest.dataset_id, str(path), f"content digest {manifest.content_digest}")


def _exporters() -> "Registry[Any]":
    from idaq.share.exporters import EXPORTERS

    return EXPORTERS
