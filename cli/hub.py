"""idaq hub push | pull | list | show"""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from idaq.core.errors import UsageError

from .dataset import Id as LocalId
from .dataset import summary, summary_rows
from .output import Json, Root, if_interrupted, print_json, print_table, progress, say, working

if TYPE_CHECKING:
    from idaq.hub.pull import Pulled

app = typer.Typer(
    no_args_is_help=True,
    help="""Share datasets: push them to a hub, pull them, list what is there.

    A hub is hf://USER or hf://USER/REPOSITORY (Hugging Face; plain `minari download` with MINARI_REMOTE=hf://USER
    finds it too), s3://, gs:// or file:// and a folder, or https:// (read-only). Without one, $MINARI_REMOTE is meant.

    [bold]Examples[/bold]

      idaq hub push idaq/point-robot/expert-v0 hf://me
      idaq hub list hf://me
      idaq hub pull idaq/point-robot/expert-v0 hf://me

    A hub of your own: --remote package.module:thing, or an installed package's, named by the scheme of its URLs.

    Credentials are the stores' own: hf auth login or HF_TOKEN; AWS_ACCESS_KEY_ID and so on, or aws configure.""",
)
Id = Annotated[str, typer.Argument(metavar="ID", help="A dataset id.")]
Url = Annotated[str | None, typer.Argument(metavar="HUB", help="URL of the hub. \\[default: $MINARI_REMOTE]")]
RemoteName = Annotated[str | None, typer.Option(metavar="NAME", help="What opens HUB. \\[default: by its scheme]")]
Revision = Annotated[str | None, typer.Option(help="hf:// only: a commit, tag or branch to read from.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds of silence after which a connection counts as lost.")]


@app.command()
def push(
    dataset: LocalId,
    hub: Url = None,
    remote: RemoteName = None,
    timeout: Timeout = 30.0,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Verify a dataset and send it to a hub. Interrupted, the same command sends what is missing.

    [bold]Examples[/bold]

      idaq hub push idaq/point-robot/expert-v0 hf://me        needs hf auth login, or HF_TOKEN
      idaq hub push idaq/point-robot/expert-v0 s3://bucket/datasets
      idaq hub push idaq/point-robot/expert-v0 file:///mnt/share

    A version that is there is never overwritten with other content.
    """
    from idaq.format.store import find_dataset
    from idaq.hub.lookup import open_remote
    from idaq.hub.push import push as run
    from idaq.hub.remote import RESUME_HINT

    with if_interrupted(lambda: RESUME_HINT), open_remote(_url(hub), remote=remote, timeout=timeout) as there:
        done = run(find_dataset(dataset, root), there, progress)
    if as_json:
        print_json(vars(done))
        return
    say(*(f"note: {note}" for note in done.notes))
    if done.existed:
        say(f"{done.dataset_id} is already at {done.url}, with this very content")
    else:
        say(f"{done.dataset_id} is at {done.url}", f"content digest {done.content_digest}")


@app.command()
def pull(
    dataset: Id,
    hub: Url = None,
    tasks: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Only these tasks, such as 3,17,40 or 0:10,task-031."),
    ] = None,
    new_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="With --tasks: id of the part. \\[default: ...-tasks-0-10-v0]"),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="The content digest it must have, or its first 12 or more digits."),
    ] = None,
    revision: Revision = None,
    remote: RemoteName = None,
    timeout: Timeout = 30.0,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Fetch a dataset, every byte checked. Interrupted, the same command resumes.

    [bold]Examples[/bold]

      idaq hub pull idaq/point-robot/expert-v0 hf://me
      idaq hub pull idaq/point-robot/expert-v0 hf://me --revision 1a2b3c4
      idaq hub pull idaq/point-robot/expert-v0 hf://me --expect c9480d3dc079     nothing else is taken
      idaq hub pull idaq/point-robot/expert-v0 https://example.org/datasets
      idaq hub pull idaq/point-robot/expert-v0 s3://bucket/datasets --tasks 0:10     moves only their bytes
      idaq hub pull idaq/point-robot/expert-v0 hf://me --tasks 3,17,40 --id me/point/three-v0
    """
    from idaq.hub.lookup import look_up, open_remote

    if new_id is not None and tasks is None:
        raise UsageError("--id goes with --tasks: a whole dataset keeps its id")
    from idaq.hub.pull import pull as run
    from idaq.hub.remote import RESUME_HINT
    from idaq.hub.tasks import pull_tasks

    with (
        if_interrupted(lambda: RESUME_HINT),
        open_remote(_url(hub), remote=remote, revision=revision, timeout=timeout) as there,
    ):
        with working(f"looking up {dataset}"):
            found = look_up(there, dataset, expect=expect)
        done = run(found, root, progress) if tasks is None else pull_tasks(found, tasks, root, new_id, progress)
    _tell(done, as_json)


@app.command("list")
def list_(
    hub: Url = None,
    revision: Revision = None,
    remote: RemoteName = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """List the datasets of a hub. Reads their metadata.json and nothing else.

    [bold]Examples[/bold]

      idaq hub list hf://me
      idaq hub list s3://bucket/datasets --json | jq '.[].id'
    """
    from idaq.hub.lookup import list_remote, open_remote

    with (
        open_remote(_url(hub), remote=remote, revision=revision, timeout=timeout) as there,
        working(f"listing {there.url}"),
    ):
        found = [summary(listing.dataset_id, listing.metadata) for listing in list_remote(there)]
        url = there.url
    if as_json:
        print_json(found)
    elif not found:
        say(f"no datasets at {url}")
    else:
        print_table(f"Datasets at {url}", list(found[0]), summary_rows(found))


@app.command()
def show(
    dataset: Id,
    hub: Url = None,
    revision: Revision = None,
    remote: RemoteName = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Show what a dataset on a hub holds. Reads its manifest, not its data.

    [bold]Examples[/bold]

      idaq hub show idaq/point-robot/expert-v0 hf://me
      idaq hub show idaq/point-robot/expert-v0 hf://me --json | jq .content_digest
    """
    from idaq.core.config import to_mapping
    from idaq.hub.lookup import look_up, open_remote

    with open_remote(_url(hub), remote=remote, revision=revision, timeout=timeout) as there:
        with working(f"looking up {dataset}"):
            found = look_up(there, dataset)
        url = there.url
    manifest, counts = found.manifest, found.manifest.counts
    if as_json:
        print_json({**to_mapping(manifest), "url": url})
        return
    splits = ", ".join(f"{len(tasks)} {name}" for name, tasks in manifest.splits.items())
    facts = [
        ["hub", url],
        ["family", manifest.family],
        ["description", manifest.recipe.description],
        ["tasks", f"{counts.tasks} ({splits})"],
        ["behaviours", ", ".join(behaviour.name for behaviour in manifest.recipe.behaviours)],
        ["episodes, steps", f"{counts.episodes}, {counts.steps}"],
        ["size", f"{found.size / 1e6:.1f} MB"],
        ["content digest", manifest.content_digest],
        ["collected", f"{manifest.provenance.created} by idaq {manifest.provenance.idaq}"],
    ]
    print_table(manifest.dataset_id, ["", ""], facts)


def _url(hub: str | None) -> str:
    url = hub or os.environ.get("MINARI_REMOTE")
    if not url:
        raise UsageError("which hub?", hint="name it, for example hf://me, or set MINARI_REMOTE")
    return url


def _tell(done: "Pulled", as_json: bool) -> None:
    from idaq.format.verify import warnings_of

    warnings = [warning.what for warning in warnings_of(done.path)]
    if as_json:
        print_json({**vars(done), "path": str(done.path), "warnings": warnings})
        return
    say(*(f"warning: {warning}" for warning in warnings))
    if done.existed:
        say(f"{done.dataset_id} is already here, with this very content")
    say(str(done.path), f"content digest {done.content_digest}")
