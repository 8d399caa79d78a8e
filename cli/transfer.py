"""idaq dataset export | import"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .dataset import Id
from .output import Json, Root, listing, print_json, progress, say

if TYPE_CHECKING:
    from idaq.core.registry import Registry


def register(app: typer.Typer) -> None:
    """Add these commands to `idaq dataset`."""
    app.command(cls=listing(_exporters))(export)
    app.command("import", cls=listing(_importers))(import_)


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
        typer.Argument(metavar="SOURCE...", help="Files, folders, minari:<id>: what an importer reads."),
    ],
    new: Annotated[str | None, typer.Option("--id", metavar="ID", help="The id of the new dataset.")] = None,
    importer: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="An importer. \\[default: by the kind of the source]")
    ] = None,
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

    Several sources become several tasks, in the order given. Each cut, cast, drop and assumption is counted and
    reported; --strict makes each an error. A .zarr folder or URL is an idaq dataset and keeps its id.

    [bold]Importers[/bold]

    NAMES
      package.module:thing: your own

    [bold]Examples[/bold]

      idaq dataset import minari:D4RL/door/human-v2 minari:D4RL/door/expert-v2 --id me/door/both-v0
      idaq dataset import data/sparse-point-robot --id me/point/focal-v0 --allow-pickle
      idaq dataset import hopper-medium.hdf5 --id me/hopper/medium-v0 --task normal --param mass=1
      idaq dataset import goal-a.npz goal-b.npz --id me/goals/both-v0 --task a --task b
      idaq dataset import https://example.org/point.zarr
    """
    from idaq.share.importers import import_dataset
    from idaq.share.sources import parse_params

    done = import_dataset(
        sources,
        new,
        importer=importer,
        tasks=task or [],
        params=parse_params(param or []),
        family=family,
        description=description,
        authors=author,
        license=license,
        allow_pickle=allow_pickle,
        strict=strict,
        root=root,
        show=progress,
    )
    if as_json:
        print_json({"id": done.dataset_id, **vars(done), "path": str(done.path)})
        return
    say(*(f"note: {note}" for note in done.notes), *(f"warning: {warning}" for warning in done.warnings))
    say(f"{done.dataset_id}: {done.tasks} tasks, {done.episodes} episodes", str(done.path))
    say(f"content digest {done.content_digest}")


def _exporters() -> "Registry[Any]":
    from idaq.share.exporters import EXPORTERS

    return EXPORTERS


def _importers() -> "Registry[Any]":
    from idaq.share.importers import IMPORTERS

    return IMPORTERS
