"""idaq dataset export | import"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from idaq.core.errors import UsageError

from . import completion
from .dataset import Id
from .edit import pairs
from .output import EnvArg, EnvName, Json, Root, listing, print_json, progress, say

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

    What the other form cannot hold, or calls otherwise, is counted and reported.

    [bold]Exporters[/bold]

    NAMES
      package.module:thing: your own

    For d3rlpy, TorchRL, AMAGO, JAX and torch, which take datasets in memory, see idaq.share.frameworks.

    [bold]Examples[/bold]

      idaq dataset export idaq/point-robot/expert-v0 point.npz
      idaq dataset export idaq/point-robot/expert-v0 point.parquet
      idaq dataset export idaq/point-robot/expert-v0 s3://bucket/point.zarr
      idaq dataset export idaq/point-robot/expert-v0 point-ogbench.npz --to ogbench
      idaq dataset export idaq/point-robot/expert-v0 goals --to focal-npy
    """
    from idaq.share.exporters import export as run

    done = run(dataset, out, to, root=root, show=progress)
    counts = done.counts
    if as_json:
        found = {"out": out, "format": done.to, "episodes": counts.episodes, "transitions": counts.steps}
        print_json({**found, "notes": done.notes})
    else:
        say(*(f"note: {note}" for note in done.notes))
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
    family: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Its task family: built in, installed, or package.module:thing.",
            autocompletion=completion.families,
        ),
    ] = None,
    task_index: Annotated[
        str | None, typer.Option(metavar="LIST", help="Which of the family's tasks they are, one each: 3,7.")
    ] = None,
    env: EnvName = None,
    env_arg: EnvArg = [],  # noqa: B006
    split: Annotated[
        list[str], typer.Option(metavar="NAME=LIST", help="Tasks of a split: test=c. Repeatable. \\[default: train]")
    ] = [],  # noqa: B006
    test_tasks: Annotated[
        int | None, typer.Option(metavar="N", help="So many tasks, drawn at random, in the split test.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="One sentence.")] = None,
    author: Annotated[list[str], typer.Option(help="Whose data it is. May be repeated.")] = [],  # noqa: B006
    license: Annotated[str | None, typer.Option(help="Its licence: an SPDX identifier, or words.")] = None,
    compress: Annotated[
        list[str], typer.Option(metavar="COLUMN", help="Compress a column, such as pictures. May be repeated.")
    ] = [],  # noqa: B006
    citation: Annotated[str | None, typer.Option(metavar="TEXT", help="How to cite it, BibTeX say.")] = None,
    source: Annotated[str | None, typer.Option(metavar="TEXT", help="Where it is from: a URL, or words.")] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle", help="Read pickles and object arrays: their numbers, and nothing that they would run."
        ),
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
    reported; --strict makes each an error. A .zarr folder or URL is an idaq dataset and keeps its id, unless it is a
    replay buffer with meta/episode_ends. What cannot be read is described: what it holds, and what is missing.

    --family makes tasks those of a family: by --task-index, else by their parameters, else by their id. --env is an
    environment of your own: each parameter of a task (--param) is a keyword argument of it.

    [bold]Importers[/bold]

    NAMES
      package.module:thing: your own

    [bold]Examples[/bold]

      idaq dataset import minari:D4RL/door/human-v2 minari:D4RL/door/expert-v2 --id me/door/both-v0
      idaq dataset import data/sparse-point-robot --id me/point/focal-v0 --allow-pickle
      idaq dataset import hopper-medium.hdf5 --id me/hopper/medium-v0 --task normal --param mass=1
      idaq dataset import low_dim.hdf5 --id me/lift/human-v0 --author "the robomimic authors"
      idaq dataset import recordings/pick-cube --id me/so101/cube-v0
      idaq dataset import sac_buffer.pkl --id me/pendulum/sac-v0 --allow-pickle
      idaq dataset import goal-a.npz goal-b.npz --id me/goals/both-v0 --task a --task b
      idaq dataset import a.npz b.npz c.npz --id me/goals/all-v0 --test-tasks 1
      idaq dataset import a.npz --id me/point/a-v0 --family point-robot --task-index 31
      idaq dataset import light heavy --id me/pendulum/both-v0 --env my_envs:pendulum --split test=heavy
      idaq dataset import a.npz --id me/arm/a-v0 --author Ada --license CC-BY-4.0 --source https://example.org/arm
      idaq dataset import https://example.org/point.zarr
    """
    from idaq.adapt.uses import uses_of
    from idaq.core.config import override, to_mapping
    from idaq.share.importers import import_dataset
    from idaq.share.sources import parse_params

    done = import_dataset(
        sources,
        new,
        importer=importer,
        tasks=task or [],
        params=parse_params(param or []),
        family=family,
        task_indices=_indices(task_index),
        env=env,
        env_settings=override({}, env_arg),
        splits=pairs(split, "--split"),
        test_tasks=test_tasks,
        description=description,
        authors=author,
        license=license,
        compress=compress,
        citation=citation,
        source=source,
        allow_pickle=allow_pickle,
        strict=strict,
        root=root,
        show=progress,
    )
    uses = uses_of(done.path, [] if family is None else [family])
    if as_json:
        print_json({"id": done.dataset_id, **vars(done), "path": str(done.path), "uses": to_mapping(uses)})
        return
    say(*(f"note: {note}" for note in done.notes), *(f"warning: {warning}" for warning in done.warnings))
    say(f"{done.dataset_id}: {done.tasks} tasks, {done.episodes} episodes", str(done.path))
    say(f"content digest {done.content_digest}", *uses.lines())


def _indices(text: str | None) -> list[int]:
    try:
        return [] if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--task-index {text} is not understood", hint="--task-index 3,7: one for each task") from None


def _exporters() -> "Registry[Any]":
    from idaq.share.exporters import EXPORTERS

    return EXPORTERS


def _importers() -> "Registry[Any]":
    from idaq.share.importers import IMPORTERS

    return IMPORTERS
